"""Backfills against the simulated exchanges: what is stored is what the simulator knows to be true.

The simulator makes the truth from its own numbers, and counts what it was asked.
"""

from collections.abc import Iterable
from typing import Any

import pytest

from database import Database, SeriesKey, Versions
from history.backfill.wanted import wish
from market.timeframes import DAY_MS, Timeframe
from tests.fixtures.jobs import JobRunner, OpenRunner
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

DAYS = 33
FROM_MS = (NOW_MS - DAYS * DAY_MS) // DAY_MS * DAY_MS
H1, H4, H8 = Timeframe.H1, Timeframe.H4, Timeframe.H8


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=3, bybit=3, now=NOW_MS, frozen=True)


async def wished(runner: JobRunner, **named: Any) -> Any:
    """Wishes for it, runs the job to its end, and returns the wish."""
    context = runner.context
    wanted = wish(
        **{"from_ms": FROM_MS, "timeframes": ["1h", "4h"], **named},
        collected=context.settings.exchanges,
        usual=context.settings.timeframes,
        now_ms=NOW_MS,
    )
    wish_id = await context.database.backfills.add(wanted.plain(), context.now_ms())
    await runner.complete("backfill")
    return await context.database.backfills.find(wish_id)


async def stored(database: Database, key: SeriesKey) -> Versions:
    async with database.history.snapshot() as snapshot:
        return (await snapshot.versions([key], 0, 10**14))[key]


async def assert_is_truth(
    database: Database, exchanges: Simulator, timeframes: Iterable[Timeframe], *, interest: bool
) -> None:
    """The candles, snapshots and settlements from FROM_MS on are what the simulator knows."""
    for timeframe in timeframes:
        candles = (DAYS + 1) * DAY_MS // timeframe.collected_as.interval_ms
        for key, rows in exchanges.truth(timeframe, candles=candles).items():
            exchange, _, symbol = key.partition(":")
            ours = await stored(database, SeriesKey.candles(exchange, symbol, timeframe))
            last_ms = NOW_MS - timeframe.interval_ms
            closed = [row for row in rows if FROM_MS <= row[0] <= last_ms]
            assert ours.times.tolist() == [row[0] for row in closed], (key, timeframe)
            assert ours.values.tolist() == [row[1:7] for row in closed], (key, timeframe)
            if timeframe is H1 and interest:
                snapshots = await stored(database, SeriesKey.open_interest(exchange, symbol))
                known = [(row[0], row[7]) for row in rows if row[7] is not None]
                assert _pairs(snapshots) == [pair for pair in known if pair[0] >= FROM_MS], key
    for key, settled in settlements(exchanges).items():
        exchange, _, symbol = key.partition(":")
        ours = await stored(database, SeriesKey.funding(exchange, symbol))
        assert _pairs(ours) == [pair for pair in settled if pair[0] >= FROM_MS], key


def settlements(exchanges: Simulator) -> dict[str, list[tuple[int, float]]]:
    """All regular settlements that the simulator knows, by market."""
    answer = exchanges.get("/sim/funding", funding_history=24 * (DAYS + 1))
    return {
        f"{each['exchange']}:{each['symbol']}": [tuple(row[:2]) for row in each["rows"]]
        for each in answer["markets"]
    }


def _pairs(found: Versions) -> list[tuple[int, float]]:
    return list(zip(found.times.tolist(), found.values[:, 0].tolist(), strict=True))


async def test_what_is_stored_is_the_truth_and_nothing_is_asked_twice(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges) as runner:
        await runner.complete("discovery")
        exchanges.post("/sim/stats/reset")
        found = await wished(runner)
        assert (found.state, dict(found.failures), found.error) == ("complete", {}, None)
        assert (found.done, found.total) == (found.total, found.total)
        await assert_is_truth(runner.context.database, exchanges, (H1, H4, H8), interest=True)
        stats = exchanges.stats()
        assert stats["limits_broken"] == {}
        # Known instants of a market, asked once; and the clock of each exchange.
        again = await wished(runner)
        assert (again.state, again.total, again.rows, again.requests) == ("complete", 0, 0, 2)
