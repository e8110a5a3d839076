"""Holes of a real record, asked for against the simulated exchanges, which tell their truth."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from prometheus_client import generate_latest

from database import Database, HoleFilter, ListedHole, SeriesKey, SeriesRows
from market.markets import Exchange, Market
from market.timeframes import DAY_MS, Timeframe
from tests.fixtures.exchange_answers import our_key
from tests.fixtures.jobs import JobRunner, OpenRunner
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

M5, H4, H8 = Timeframe.M5, Timeframe.H4, Timeframe.H8
CANDLES = 2000


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    # The sixth market of each exchange is one of those that have no trades at times.
    return start_simulator(binance=6, bybit=1, now=NOW_MS, frozen=True)


def at(runner: JobRunner, exchanges: Simulator, now_ms: int) -> None:
    """It is that time, for us and for the exchanges."""
    exchanges.post("/sim/clock", {"now_ms": now_ms})
    runner.context = replace(runner.context, now_ms=lambda: now_ms)


async def searched(runner: JobRunner) -> Any:
    """Runs the job and returns its result."""
    await runner.complete("holes")
    job = await runner.context.queue.get("holes")
    assert job is not None and job.last is not None
    return job.last.result


async def all_holes(database: Database) -> list[ListedHole]:
    return await database.holes.listed(HoleFilter(), None, 1000)


async def times_of(database: Database, key: SeriesKey) -> list[int]:
    async with database.history.snapshot() as snapshot:
        times: list[int] = (await snapshot.versions([key], 0, 10**14))[key].times.tolist()
        return times


async def store(database: Database, key: SeriesKey, rows: list[Any]) -> None:
    times = np.array([row[0] for row in rows])
    values = np.array([row[1:7] for row in rows])
    await database.history.store([SeriesRows(key, times, values)], NOW_MS)


def closed(exchanges: Simulator, market: Market, timeframe: Timeframe, now_ms: int) -> list[Any]:
    told = exchanges.truth(timeframe, candles=CANDLES, as_of=now_ms, exchange=market.exchange)
    rows = {our_key(key): each for key, each in told.items()}[market.key]
    return [row for row in rows if row[0] + timeframe.interval_ms <= now_ms]


@pytest.mark.parametrize("exchange", Exchange)
async def test_a_hole_is_filled_or_after_a_day_the_exchanges(
    open_runner: OpenRunner, start_simulator: StartSimulator, exchange: Exchange
) -> None:
    exchanges = start_simulator(
        **{**dict.fromkeys(Exchange, 0), exchange: 6}, now=NOW_MS, frozen=True
    )
    async with open_runner(exchanges, exchanges=exchange) as runner:
        at(runner, exchanges, NOW_MS)
        assert (await searched(runner))["looked_at"] == 0  # no market is known yet
        await runner.complete("discovery")
        context = runner.context
        database, markets = (
            context.database,
            await context.database.get_all_unique_coins(**context.selection),
        )
        by_gaps = {market: gaps(closed(exchanges, market, M5, NOW_MS)) for market in markets}
        market = max(by_gaps, key=lambda each: len(by_gaps[each]))
        lacking = by_gaps[market]
        assert lacking
        key = SeriesKey.candles(market.exchange, market.symbol, M5)
        rows = closed(exchanges, market, M5, NOW_MS)
        kept = rows[:500] + rows[520:900] + rows[905:]  # beside a gap, or apart from all
        await store(database, key, kept)
        result = await searched(runner)
        counts = result["looked_at"], result["asked"], result["filled"]
        assert counts == (1, len(gaps(kept)), 25)
        assert await times_of(database, key) == [row[0] for row in rows]
        found = await all_holes(database)
        assert [(each.key, each.hole.from_ms, each.hole.to_ms) for each in found] == [
            (key, *each) for each in lacking
        ]
        assert {(each.hole.state, each.hole.asked_ms) for each in found} == {("asked", NOW_MS)}
        assert result["holes"] == {"asked": len(lacking)}
        assert f'perpcache_history_holes{{exchange="{exchange}",state="asked"}}' in told(runner)
        assert (await searched(runner))["asked"] == 0

        # A day later it is asked again, and so is what has closed since.
        later_ms = NOW_MS + DAY_MS
        at(runner, exchanges, later_ms)
        before = exchanges.stats()["limits_broken"]
        result = await searched(runner)
        assert result["asked"] > len(lacking)
        settled = {
            (each.hole.from_ms, each.hole.state, each.hole.first_asked_ms, each.hole.asked_ms)
            for each in await all_holes(database)
            if each.hole.from_ms < NOW_MS
        }
        assert settled == {(begin, "exchange", NOW_MS, later_ms) for begin, _ in lacking}
        assert {row[0] for row in closed(exchanges, market, M5, later_ms - DAY_MS // 24)} <= {
            *(await times_of(database, key)),
            *(row[0] for row in closed(exchanges, market, M5, later_ms) if row[0] < rows[0][0]),
        }
        at(runner, exchanges, later_ms + 2 * DAY_MS // 3)
        await searched(runner)
        still = {
            each.hole.from_ms for each in await all_holes(database) if each.hole.state == "exchange"
        }
        assert {begin for begin, _ in lacking} <= still
        assert exchanges.stats()["limits_broken"] == before == {}


def told(runner: JobRunner) -> str:
    return generate_latest(runner.context.metrics.registry).decode()


def gaps(rows: list[Any]) -> list[tuple[int, int]]:
    """The ranges between the rows that have no candle, but for the last hour."""
    times = [row[0] for row in rows]
    return [
        (one + M5.interval_ms, other)
        for one, other in pairwise(times)
        if other - one > M5.interval_ms
    ]


async def test_what_is_made_of_shorter_candles_is_asked_for_as_those(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges) as runner:
        at(runner, exchanges, NOW_MS)
        await runner.complete("discovery")
        context = runner.context
        market = (await context.database.get_all_unique_coins(**context.selection))[0]
        rows = closed(exchanges, market, H8, NOW_MS)[-100:]
        key = SeriesKey.candles(market.exchange, market.symbol, H8)
        await store(context.database, key, rows[:50] + rows[53:])
        result = await searched(runner)
        assert result["asked"] == 1
        assert {each.key.interval_ms for each in await all_holes(context.database)} <= {
            H4.interval_ms  # a series that begins with these candles
        }
        assert await times_of(context.database, key) == [row[0] for row in rows]


async def test_a_backfill_goes_first_and_is_followed_by_a_search(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges) as runner:
        at(runner, exchanges, NOW_MS)
        await runner.complete("discovery")
        context = runner.context
        database = context.database
        market = (await database.get_all_unique_coins(**context.selection))[0]
        rows = closed(exchanges, market, H4, NOW_MS)[-60:]
        key = SeriesKey.candles(market.exchange, market.symbol, H4)
        await store(database, key, rows[:20] + rows[23:])
        wanted = {
            "exchanges": [str(market.exchange)], "symbols": [market.symbol], "timeframes": ["4h"],
            "what": ["candles"], "from": rows[40][0], "to": None,
        }  # fmt: skip
        await database.backfills.add(wanted, NOW_MS)
        assert (await searched(runner))["asked"] == 0
        assert [each.hole.state for each in await all_holes(database)] == ["not_asked"]
        await runner.complete("backfill")
        job = await context.queue.get("holes")
        assert job is not None and job.is_pending
