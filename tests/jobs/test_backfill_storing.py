"""Answers of a backfill that are stored while documents are recorded: nothing of their windows."""

import asyncio

import numpy as np

from database import Cursor, FillRows, SeriesKey
from jobs.backfill_storing import Storing, Windows
from jobs.backfill_tally import Tally
from jobs.holes import _not_wished
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.jobs import OpenRunner
from tests.fixtures.simulator import NOW_MS, StartSimulator

KEY = SeriesKey.candles("binance", "BTCUSDT", Timeframe.H1)


def rows(from_ms: int, hours: int) -> FillRows:
    times = from_ms + HOUR_MS * np.arange(hours)
    values = np.full((hours, KEY.width), 7.0)
    return FillRows(KEY, from_ms, from_ms + hours * HOUR_MS, times, values, covered=True)


async def test_documents_that_were_recorded_meanwhile_keep_their_windows(
    open_runner: OpenRunner, start_simulator: StartSimulator
) -> None:
    exchanges = start_simulator(binance=2, bybit=1, now=NOW_MS, frozen=True)
    async with open_runner(exchanges) as runner:
        for job_id in ("discovery", "collect:1h", "record"):
            await runner.complete(job_id)
        context = runner.context
        database = context.database
        newest = await Windows.read(database, context.store)
        assert not newest.waiting
        first_ms = newest.by_document["1h"].first_ms
        assert first_ms is not None
        stale = {"1h": Cursor(newest.cursors["1h"].version - 1, 0)}
        tally = Tally(_not_wished(NOW_MS))
        storing = Storing(database, context.store, lambda: NOW_MS, Windows(stale, {}), tally)
        # Far from the window it does not matter that a version was recorded: nothing is read anew.
        await storing.store([rows(first_ms - 90 * HOUR_MS, 10)])
        assert (tally.filled.added, storing.windows.by_document) == (10, {})
        # At its edge it does, also for all that share the transaction.
        await asyncio.gather(
            storing.store([rows(first_ms - 5 * HOUR_MS, 10)]),
            storing.store([rows(first_ms - 80 * HOUR_MS, 10)]),
        )
        assert (tally.filled.added, tally.filled.corrected, tally.to_documents) == (25, 0, 5)
        assert storing.windows == newest
        (covered, second) = (await database.history.coverage([KEY]))[KEY]
        assert (covered.from_ms, covered.to_ms) == (
            first_ms - 90 * HOUR_MS,
            first_ms - 70 * HOUR_MS,
        )
        assert (second.from_ms, second.to_ms) == (first_ms - 5 * HOUR_MS, first_ms)
