"""Documents made from those of before where these are held, or read, as chunks."""

from dataclasses import replace

import pytest

from documents.chunked_series import ChunkedSeries
from documents.kept import KeptDocuments, KeptSeries
from jobs.bases import Bases
from jobs.stored import previous_series
from market.previous_series import PreviousSeries
from market.timeframes import DAY_MS, Timeframe
from stores.hot.leases import try_acquire
from tests.fixtures.jobs import JobRunner, OpenRunner
from tests.fixtures.simulator import NOW_MS, StartSimulator
from tests.jobs.test_closes import MIDNIGHT_MS, Closes, opened

EACH = 2
LITTLE_MB = 0.6  # the rows of about half of the documents, after the bases


def restart(closes: Closes, memory_mb: float = 512) -> None:
    """The worker is another process now."""
    context = closes.runner.context
    closes.runner.context = replace(context, kept=KeptDocuments(memory_mb), bases=Bases())


async def before(runner: JobRunner, timeframe: Timeframe) -> PreviousSeries | None:
    lease = await try_acquire(runner.context.store, "test", holder="runner", ttl_s=30)
    assert lease is not None
    try:
        return await previous_series(runner.context, timeframe, lease)
    finally:
        await lease.release()


async def check_all(closes: Closes, now_ms: int) -> int:
    """Collects then, and compares all documents; how many requests for candles of 5m it took."""
    closes.go_to(now_ms)
    await closes.all()
    for timeframe in Timeframe:
        document = await closes.check(timeframe)
        assert document["as_of"] == now_ms
    return closes.asked()["klines"]


async def test_closes_are_the_same_with_rows_of_some_documents_alone(
    open_runner: OpenRunner, start_simulator: StartSimulator
) -> None:
    exchanges = start_simulator(binance=EACH, bybit=EACH, now=NOW_MS, frozen=True)
    async with opened(open_runner, exchanges) as closes:
        restart(closes, LITTLE_MB)
        await check_all(closes, MIDNIGHT_MS + 500)
        found = [await before(closes.runner, timeframe) for timeframe in Timeframe]
        kinds = {type(each) for each in found}
        assert kinds == {KeptSeries, ChunkedSeries}
        assert all(each is not None and each.is_ours for each in found)
        asked = await check_all(closes, MIDNIGHT_MS + DAY_MS + 500)
        restart(closes)
        assert await check_all(closes, MIDNIGHT_MS + 2 * DAY_MS + 500) == asked


@pytest.mark.parametrize("stored", [None, b"", b"nonsense", "another's"])
async def test_a_document_without_an_index_of_its_chunks_goes_on_from_its_text(
    open_runner: OpenRunner, start_simulator: StartSimulator, stored: bytes | str | None
) -> None:
    exchanges = start_simulator(binance=EACH, bybit=EACH, now=NOW_MS, frozen=True)
    async with opened(open_runner, exchanges) as closes:
        store = closes.runner.context.store
        restart(closes)
        assert isinstance(await before(closes.runner, Timeframe.H4), ChunkedSeries)
        for timeframe in Timeframe:
            key = f"cache:{timeframe}:chunks"
            if stored is None:
                await store.execute("DEL", key)
            elif stored == "another's" and timeframe is not Timeframe.M30:
                await store.execute("COPY", "cache:30m:chunks", key, "REPLACE")
            elif isinstance(stored, bytes):
                await store.execute("SET", key, stored)
        found = await before(closes.runner, Timeframe.H4)
        assert found is not None
        assert not isinstance(found, ChunkedSeries)
        await check_all(closes, MIDNIGHT_MS + 500)
