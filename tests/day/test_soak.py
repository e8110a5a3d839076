"""Hours of closes by streams with cuts and faults: bases and documents equal the truth.

`make soak` runs two days; SOAK_SEED, SOAK_HOURS and SOAK_MARKETS choose another.
"""

import os
import tracemalloc
from itertools import accumulate

import pytest
import structlog

from chaos.names import EXCHANGES
from tests.day.closes import run_day
from tests.day.day import FRACTION, LIMITS, Day
from tests.day.soak import Soak
from tests.day.streams import Feeds
from tests.fixtures.jobs import OpenRunner
from tests.fixtures.simulator import StartSimulator

SEED = int(os.environ.get("SOAK_SEED", "1"))
HOURS = float(os.environ.get("SOAK_HOURS", "3"))
MARKETS = int(os.environ.get("SOAK_MARKETS", "6"))
HISTORY = 15  # more than candles in a row are ever made impossible
SETTLED_HOURS = 6  # then all that is kept has been filled
MOST_GROWTH = 1.1
MEMORY = os.environ.get("SOAK_MEMORY", "1" if HOURS > SETTLED_HOURS else "") != ""
# 2026-11-20T22:48:00Z by `date -u -d @1795214880`
BEFORE_MIDNIGHT_MS = 1_795_214_880_000


@pytest.mark.slow
@pytest.mark.timeout(0)
async def test_bases_and_documents_equal_the_truth(
    start_simulator: StartSimulator, open_runner: OpenRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchanges = start_simulator(
        **dict.fromkeys(EXCHANGES, MARKETS),
        now=BEFORE_MIDNIGHT_MS,
        frozen=True,
        seed=SEED,
        **LIMITS,
    )
    # Closing events that come late are looked for every 5 s, as over Upstash: it is faster.
    monkeypatch.setattr("jobs.live_rows._LOOK_LATE_EVERY_S", {"native": 5.0})
    # What a thousand markets fill within minutes.
    monkeypatch.setattr("live.closing_watch._KEPT_LAGS", 500)
    if MEMORY:
        tracemalloc.start()
    with structlog.testing.capture_logs() as log:
        day = Day(exchanges, open_runner, SEED, BEFORE_MIDNIGHT_MS, HISTORY, log, streamed=True)
        feeds = Feeds(day.clock, FRACTION)
        day.soak = soak = Soak(day, feeds, SEED, HOURS)
        try:
            await run_day(day, round(HOURS * 12))
        finally:
            await day.aclose()
            tracemalloc.stop()
    report = day.report
    report.say(f"seed {SEED}: {report.documents} documents, {dict(report.compared)}")
    report.say(f"{dict(soak.reconnects)}; bases: {dict(soak.compared)}")
    report.say(f"ways {dict(soak.ways)}; requests of quiet closes {dict(soak.requests)}")
    report.say(f"{soak.cuts} cuts; most memory added by {soak.memory.grown(SETTLED_HOURS)}")
    assert not report.problems, report.problems
    assert soak.ways["stream"] > soak.ways["rest"] > 0
    if HOURS >= 24:  # a connection that was not cut has been replaced before the exchange does
        assert soak.reconnects["binance age"] >= 1
    # Listings come and go; what is kept of one that is gone goes later.
    hours = soak.memory.hours
    most = accumulate((each.markets for each in hours), max)
    a_market = [each.live / markets for each, markets in zip(hours, most, strict=True)]
    a_market = a_market[SETTLED_HOURS - 1 :]
    if MEMORY and len(a_market) > 1:
        assert max(a_market[1:]) <= MOST_GROWTH * a_market[0], soak.memory.hours
