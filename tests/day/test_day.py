"""A day of closes with faults: every document is there in time, and none is wrong.

`make day` runs a whole day; DAY_SEED, DAY_CLOSES and DAY_MARKETS choose another.
"""

import os

import pytest
import structlog

from chaos.names import EXCHANGES
from tests.day.closes import run_day
from tests.day.day import LIMITS, Day
from tests.fixtures.jobs import OpenRunner
from tests.fixtures.simulator import StartSimulator

SEED = int(os.environ.get("DAY_SEED", "4"))
CLOSES = int(os.environ.get("DAY_CLOSES", "9"))
MARKETS = int(os.environ.get("DAY_MARKETS", "3"))
HISTORY = int(os.environ.get("DAY_HISTORY", "40"))
# 2026-11-20T23:48:00Z by `date -u -d @1795218480`: midnight is the third close.
BEFORE_MIDNIGHT_MS = 1_795_218_480_000


@pytest.mark.timeout(0 if CLOSES > 20 else 120)
async def test_every_document_is_complete_after_every_close(
    start_simulator: StartSimulator, open_runner: OpenRunner
) -> None:
    exchanges = start_simulator(
        **dict.fromkeys(EXCHANGES, MARKETS),
        now=BEFORE_MIDNIGHT_MS,
        frozen=True,
        seed=SEED,
        **LIMITS,
    )
    with structlog.testing.capture_logs() as log:
        day = Day(exchanges, open_runner, SEED, BEFORE_MIDNIGHT_MS, HISTORY, log)
        try:
            await run_day(day, CLOSES)
        finally:
            await day.aclose()
    report = day.report
    late, requests = sorted(report.late_s) or [0.0], sorted(report.requests) or [0.0]
    report.say(f"seed {SEED}: {report.documents} documents, {dict(report.compared)}")
    report.say(
        f"{len(report.late_s)} closes that nothing held up: late {late[len(late) // 2]:.1f} s in"
        f" the median, {late[-1]:.1f} s at most; requests a market"
        f" {requests[len(requests) // 2]:.2f}, {requests[-1]:.2f} at most"
    )
    assert not report.problems, report.problems
    # One for candles and one for open interest; markets with holes are asked for more.
    assert len(requests) < 20 or requests[len(requests) // 2] <= 2.5
    assert report.compared["rows"]
