"""A simulated week of real collections, with the database killed twice: the record of it is what
the documents told, at the times when they told it, and what the exchanges say was true."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import asyncpg
import pytest

from cache_manager import CacheManager, DocumentMeta
from database import SeriesKey
from documents.names import DOCUMENTS, GLOBAL_FR
from market.markets import Exchange
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from stores.hot.journal import read_state
from tests.fixtures.exchange_answers import our_key
from tests.fixtures.jobs import JobRunner, OpenRunner
from tests.fixtures.postgres import OwnPostgres
from tests.fixtures.simulator import NOW_MS, StartSimulator
from tests.history.past import Values, Version, in_order, naive, publishes, recorded

CANDLES: Final = 30
BEGIN_MS: Final = NOW_MS - NOW_MS % DAY_MS + 5_000


class Watched(CacheManager):
    """Keeps what it has published, as a naive list of versions."""

    versions: list[Version]

    async def save_to_cache(self, name: str, *args: Any, **options: Any) -> DocumentMeta:
        meta = await super().save_to_cache(name, *args, **options)
        if not name.startswith("base:") and name != "overview":
            self.versions.append(version_of(await self.get_from_cache(name)))
        return meta


def version_of(document: Any) -> Version:
    """A published document, read without any code of the record."""
    name = document["timeframe"]
    found = Version(name, document["version"], document["updated_at"], {}, {}, {})
    for market in document["markets"]:
        of, rows = (market["exchange"], market["symbol"]), market["rows"]
        if not rows:
            continue
        if name == GLOBAL_FR:
            window = rows[0][0], max(rows[-1][0], market["checked_at"])
            settled: Values = {row[0]: (row[1],) for row in rows}
            found.closed[SeriesKey.funding(*of)] = window, settled
            continue
        interval_ms = document["interval_ms"]
        last_ms = market["checked_at"] // interval_ms * interval_ms - interval_ms
        closed: Values = {row[0]: tuple(row[1:7]) for row in rows if row[0] <= last_ms}
        found.closed[SeriesKey.candles(*of, Timeframe(name))] = (rows[0][0], last_ms), closed
        interest: Values = {row[0]: (row[7],) for row in rows if row[7] is not None}
        found.interest[SeriesKey.open_interest(*of)] = interest
        if market["stale_since"] is not None:
            found.carried.add(SeriesKey.open_interest(*of))
    return found


async def live_through(
    runner: JobRunner, steps: int, step_ms: int, before: Callable[[int], None]
) -> int:
    """Collects at every step, and records; returns how many recordings failed."""
    failed, now_ms = 0, BEGIN_MS
    for step in range(steps):
        before(step)
        for job in ("funding", "collect:all"):
            await runner.complete(job)
        state = (await runner.run("record")).state
        assert state in ("complete", "failed")
        failed += state == "failed"
        now_ms += step_ms
        runner.exchanges.post("/sim/clock", {"now_ms": now_ms})
        runner.context.last_as_of.elapsed_s = lambda: math.inf
    return failed


@pytest.mark.parametrize(
    ("steps", "step_ms"),
    [
        (6, 110 * MINUTE_MS),
        pytest.param(168, HOUR_MS, marks=[pytest.mark.slow, pytest.mark.timeout(3000)]),
    ],
)
@pytest.mark.timeout(300)
async def test_a_week_is_recorded_as_it_was_told(
    start_simulator: StartSimulator,
    open_runner: OpenRunner,
    own_postgres: OwnPostgres,
    steps: int,
    step_ms: int,
) -> None:
    exchanges = start_simulator(**dict.fromkeys(Exchange, 1), now=BEGIN_MS, frozen=True)
    outages = {steps * 2 // 10: steps * 4 // 10, steps * 6 // 10: steps * 8 // 10}
    ends, is_away = set(outages.values()), False

    def before(step: int) -> None:
        nonlocal is_away
        if step in outages:
            own_postgres.kill()
            is_away = True
        elif step in ends:
            own_postgres.start()
            is_away = False

    settings = {
        "database_url": own_postgres.url,
        "history_candles": CANDLES,
        "exchanges": ",".join(Exchange),
    }
    async with open_runner(exchanges, **settings) as runner:
        context = runner.context
        cache = Watched(context.store)
        cache.versions = []
        made_ms = iter(range(BEGIN_MS, 2**60, 7))  # each version is made at a time of its own
        runner.context = replace(context, cache=cache, now_ms=lambda: next(made_ms))
        await runner.complete("discovery")
        failed = await live_through(runner, steps, step_ms, before)
        assert not is_away and failed == sum(end - begin for begin, end in outages.items())
        assert (await read_state(context.store)).waiting == 0
        gaps = (await read_state(context.store)).told.get("gaps")
        assert gaps is None
        told = await recorded(context.database)
    session = await asyncpg.connect(own_postgres.url, timeout=30)
    logged = await publishes(session)
    await session.close()
    assert logged == [(v.document, v.version, v.updated_at_ms) for v in cache.versions]
    assert len({version.document for version in cache.versions}) == len(DOCUMENTS)
    assert in_order(told) == in_order(naive(cache.versions))
    check_truth(told, exchanges, BEGIN_MS + (steps - 1) * step_ms)


def check_truth(told: Any, exchanges: Any, last_ms: int) -> None:
    """The newest version of each candle is what the exchanges say, and none of them lacks."""
    for timeframe in Timeframe:
        # 8h candles are made from those of 4h.
        of = timeframe.collected_as
        first_ms = of.window_start(BEGIN_MS, CANDLES)
        candles = (last_ms - first_ms) // of.interval_ms + 1
        truth = exchanges.truth(timeframe, candles=candles, as_of=last_ms, funding_history=20)
        for market, rows in truth.items():
            exchange, _, symbol = our_key(market).partition(":")
            series = told[SeriesKey.candles(exchange, symbol, timeframe)]
            newest = {at_ms: versions[-1][2] for at_ms, versions in series.items()}
            assert newest == {
                row[0]: tuple(row[1:7])
                for row in rows
                if first_ms <= row[0] <= timeframe.last_closed_open_time(last_ms)
            }, (timeframe, market)
