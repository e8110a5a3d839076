"""A collection's documents hold the numbers that are computed from their own rows."""

import math
from itertools import pairwise
from typing import Any

import pytest

from documents import deflated
from documents.deflated import DeflatedPart
from jobs import document_draft
from market.timeframes import DAY_MS, HOUR_MS, Timeframe
from tests.fixtures.jobs import JobRunner, OpenRunner, by_key
from tests.fixtures.postgres import OwnPostgres
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

EACH = 4
CANDLES = 200
NUMBERS = {"hurst", "entropy", "realised_volatility"}


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=EACH, bybit=EACH, now=NOW_MS, frozen=True)


def metas(document: Any) -> dict[str, Any]:
    return {key: market["meta"] for key, market in by_key(document).items()}


async def without_funding(runner: JobRunner) -> None:
    """Aborts the funding job that a discovery asked for: a collection waits for it for 30 s."""
    await runner.context.queue.abort("funding")


async def in_the_cold_store(runner: JobRunner, timeframe: Timeframe) -> dict[str, Any]:
    coins = await runner.context.database.get_coins_from_db(timeframe, **runner.context.selection)
    return {coin.market.key: dict(coin.meta) for coin in coins}


def volatility(document: Any, market: Any) -> float | None:
    """As its definition says: the root of the mean squared log return of closed candles, a year."""
    closes = [row[4] for row in market["rows"] if row[0] <= document["last_closed_open_time"]]
    if len(closes) <= 20:
        return None
    returns = [math.log(later / earlier) for earlier, later in pairwise(closes)]
    a_year = 365 * DAY_MS / document["interval_ms"]
    return math.sqrt(sum(x * x for x in returns) / len(returns) * a_year)


@pytest.mark.parametrize("held", [1, 3, 16])
async def test_the_first_document_holds_the_numbers_that_the_cold_store_then_holds(
    open_runner: OpenRunner, exchanges: Simulator, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr(document_draft, "_BATCH_SIZE", held)
    async with open_runner(exchanges, history_candles=CANDLES) as runner:
        await runner.complete("discovery")
        await runner.complete("funding")
        await runner.complete("collect:4h")
        for timeframe in (Timeframe.H4, Timeframe.H8):
            document = await runner.document(timeframe)
            found = metas(document)
            assert len(found) == 2 * EACH
            assert found == await in_the_cold_store(runner, timeframe)
            for key, market in by_key(document).items():
                assert set(market["meta"]) == NUMBERS
                expected = volatility(document, market)
                told = found[key]["realised_volatility"]
                assert told == (None if expected is None else pytest.approx(expected, abs=1e-6))
        four_hours = metas(await runner.document("4h"))
        known = [meta for meta in four_hours.values() if None not in meta.values()]
        assert len(known) > EACH  # the youngest have too few candles for some


async def test_carried_over_markets_keep_the_numbers_of_their_rows(
    open_runner: OpenRunner, exchanges: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.01)
    async with open_runner(exchanges, history_candles=CANDLES) as runner:
        await runner.complete("collect:1h")
        await without_funding(runner)
        before = metas(await runner.document("1h"))
        runner.fault({"kind": "status", "status": 502, "exchange": "bybit", "endpoint": "klines"})
        assert (await runner.complete("collect:1h"))["carried_over"] == EACH
        assert metas(await runner.document("1h")) == before


async def test_names_that_nobody_computes_stay_in_the_document(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, history_candles=CANDLES) as runner:
        await runner.complete("discovery")
        key = "binance:BTCUSDT"
        await runner.context.database.markets.save_metadata(
            Timeframe.H1, {key: {"rank": 3.0}}, computed_at_ms=1
        )
        await runner.complete("collect:1h")
        meta = metas(await runner.document("1h"))[key]
        assert meta["rank"] == 3.0
        assert meta["hurst"] is not None


async def test_the_numbers_are_there_while_the_database_is_away(
    open_runner: OpenRunner,
    exchanges: Simulator,
    own_postgres: OwnPostgres,
) -> None:
    async with open_runner(
        exchanges, history_candles=CANDLES, database_url=own_postgres.url
    ) as runner:
        await runner.complete("collect:1h")
        await without_funding(runner)
        own_postgres.kill()
        result = await runner.complete("collect:4h")
        assert (result["markets"], result["missing"]) == (2 * EACH, 2 * EACH)
        lone = metas(await runner.document("4h"))
    # The same markets at the same instant, with a database.
    async with open_runner(exchanges, history_candles=CANDLES) as runner:
        await runner.complete("discovery")
        await without_funding(runner)
        await runner.complete("collect:4h")
        assert lone == metas(await runner.document("4h"))
        assert any(meta["hurst"] is not None for meta in lone.values())


async def test_a_later_run_uses_the_chunks_of_the_one_before(
    open_runner: OpenRunner, exchanges: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def note(texts: list[bytes]) -> list[DeflatedPart]:
        sizes.append(len(texts))
        return deflated.deflate_each(texts)

    monkeypatch.setattr("documents.chunks.deflate_each", note)
    async with open_runner(exchanges, history_candles=300) as runner:
        await runner.complete("collect:1h")
        await without_funding(runner)
        kept = runner.context.kept
        before, first, size = await runner.document("1h"), sum(sizes), kept.bytes
        assert first > 4 * EACH
        assert 0 < size < 10_000_000
        sizes.clear()
        exchanges.post("/sim/clock", {"advance_ms": HOUR_MS})
        await runner.complete("collect:1h")
        after = await runner.document("1h")
    assert after["last_closed_open_time"] - before["last_closed_open_time"] == HOUR_MS
    assert max(sizes) <= 3
    assert sum(sizes) <= 2.5 * 2 * EACH < first
    changed = [market["rows"][-1] for market in after["markets"]]
    assert changed != [market["rows"][-1] for market in before["markets"]]
