"""The numbers of documents in which no candle has closed since the version before."""

from typing import Any

import pytest

from database import DatabaseUnavailable
from market.markets import Exchange
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from stores.cold.markets import Markets
from tests.fixtures.jobs import OpenRunner, by_key
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.jobs.test_closes import MIDNIGHT_MS, Closes, opened
from tests.jobs.test_collection import in_the_cold_store, metas, volatility

EACH = 2


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(**dict.fromkeys(Exchange, EACH), now=NOW_MS, frozen=True)


async def checked(closes: Closes, timeframe: Timeframe = Timeframe.D1) -> Any:
    """Compares the numbers of a document with its rows; returns it."""
    document = await closes.runner.document(timeframe)
    for key, market in by_key(document).items():
        expected = volatility(document, market)
        told = market["meta"]["realised_volatility"]
        assert told == (None if expected is None else pytest.approx(expected, abs=1e-6)), key
    assert any(meta["realised_volatility"] for meta in metas(document).values())
    return document


@pytest.mark.parametrize("restarted", [False, True])
async def test_they_are_those_of_the_close_though_the_database_was_away_then(
    open_runner: OpenRunner,
    exchanges: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    restarted: bool,
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("away")

    async def goes_on(closes: Closes) -> None:
        closes.go_to(MIDNIGHT_MS + 15 * MINUTE_MS + 5_000)
        assert "1d" in (await closes.all())["documents"]
        again = await checked(closes)
        assert metas(again) == metas(at_close)
        if not restarted:
            found = await in_the_cold_store(closes.runner, Timeframe.D1)
            assert found == metas(again)

    async with opened(open_runner, exchanges) as closes:
        closes.go_to(MIDNIGHT_MS + 5_000)
        with monkeypatch.context() as patch:
            patch.setattr(Markets, "save_metadata", away)
            assert (await closes.all())["metadata_not_stored"] == "away"
        at_close = await checked(closes)
        assert await in_the_cold_store(closes.runner, Timeframe.D1) != metas(at_close)
        if not restarted:
            await goes_on(closes)
    if restarted:
        async with opened(open_runner, exchanges, MIDNIGHT_MS + 5_000) as closes:
            await goes_on(closes)


async def test_they_are_there_for_markets_that_failed_at_the_close_or_came_since(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with opened(open_runner, exchanges) as closes:
        symbol = (await closes.runner.document("1d"))["markets"][0]["symbol"]
        closes.go_to(MIDNIGHT_MS + 5_000)
        closes.runner.fault(
            {"kind": "status", "status": 400, "symbol": symbol, "exchange": "binance"}
        )
        await closes.all()
        before = metas(await closes.runner.document("1d"))
        exchanges.delete("/sim/faults")
        added = {"kind": "list_new", "exchange": "binance", "symbol": "NEW1"}
        closes.runner.fault({**added, "age_ms": 60 * 24 * HOUR_MS})
        await closes.runner.complete("discovery")
        closes.go_to(MIDNIGHT_MS + 5 * MINUTE_MS + 5_000)
        assert "1d" in (await closes.all())["documents"]
        found = metas(await checked(closes))
        assert found[f"binance:{symbol}"] != before[f"binance:{symbol}"]
        assert found["binance:NEW1USDT"]["realised_volatility"] is not None
        assert await in_the_cold_store(closes.runner, Timeframe.D1) == found
        closes.go_to(MIDNIGHT_MS + 20 * MINUTE_MS + 5_000)
        await closes.all()
        assert metas(await checked(closes)) == found
