"""Documents made from those of before where these are held, or read, as chunks."""

from dataclasses import replace
from typing import Any

import pytest

from cache_manager import StaleVersion
from documents.chunked_series import ChunkedSeries
from documents.kept import KeptDocuments, KeptSeries
from jobs.bases import Bases
from jobs.stored import previous_series
from market.previous_series import PreviousSeries
from market.timeframes import DAY_MS, MINUTE_MS, Timeframe
from stores.hot.leases import try_acquire
from tests.fixtures.jobs import JobRunner, OpenRunner, by_key
from tests.fixtures.simulator import NOW_MS, StartSimulator
from tests.jobs.test_closes import CANDLE, MIDNIGHT_MS, Closes, opened

EACH = 2
LITTLE_MB = 0.8  # the rows of most documents, after the bases


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


async def check_as_told(closes: Closes, now_ms: int) -> None:
    """Collects then, and compares all documents, as long and as wide as the settings tell."""
    closes.go_to(now_ms)
    await closes.all()
    settings = closes.runner.context.settings
    for timeframe in Timeframe:
        document = await closes.runner.document(timeframe)
        assert document["as_of"] == now_ms
        assert len(document["columns"]) == (12 if settings.trade_columns else 9)
        truth = closes.runner.truth(
            timeframe, candles=settings.history_candles, as_of=now_ms, funding_history=20
        )
        found = by_key(document)
        assert found.keys() == truth.keys()
        for key, market in found.items():
            assert {len(row) for row in market["rows"]} == {len(document["columns"])}
            candles = [row[:CANDLE] for row in market["rows"]]
            assert candles == [row[:CANDLE] for row in truth[key]], (timeframe, key)


async def test_hosts_of_other_settings_go_on_in_turn_and_after_publishes_that_failed(
    open_runner: OpenRunner, start_simulator: StartSimulator
) -> None:
    exchanges = start_simulator(binance=EACH, bybit=EACH, now=NOW_MS, frozen=True)
    async with opened(open_runner, exchanges) as closes:
        runner = closes.runner
        restart(closes, LITTLE_MB)
        one = runner.context
        restart(closes, 0.2)
        settings = one.settings.model_copy(update={"trade_columns": True, "history_candles": 100})
        other = replace(runner.context, settings=settings)
        save = one.cache.save_to_cache

        async def refuse(name: str, *args: Any, **options: Any) -> Any:
            if name == Timeframe.H4:  # finer ones are published, all are encoded
                raise StaleVersion(name)
            return await save(name, *args, **options)

        for close, context in enumerate((one, other, one, one, other)):
            runner.context = context
            now_ms = MIDNIGHT_MS + close * DAY_MS + 500
            await check_as_told(closes, now_ms)
            closes.go_to(now_ms + 240 * MINUTE_MS)
            context.cache.save_to_cache = refuse  # type: ignore[method-assign]
            try:
                assert (await runner.run("collect:all")).state == "failed"
            finally:
                context.cache.save_to_cache = save  # type: ignore[method-assign]


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
