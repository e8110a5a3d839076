"""What a refresh asks of open interest, and what must come back unchanged, by exact rows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from data_collector.incremental import RefreshPlan
from data_collector.task_builder import klines_task
from market.candles import Candle
from market.markets import Exchange, Row
from market.rows import Rows, TimedValues
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.markets import market
from venues.venue import Endpoint

H1 = Timeframe.H1
T0 = 1_795_132_800_000
CANDLES = klines_task(
    H1, market(Exchange.BINANCE, "XUSDT"), as_of_ms=T0 + 8 * HOUR_MS, history_candles=9
)


def at(hours: float) -> int:
    return T0 + round(hours * HOUR_MS)


def row(hour: float) -> Row:
    return (at(hour), 2.0, 3.0, 1.0, 2.0, 5.0, 5.0, 7.0, 0.0001)


def candle(hour: float, close: float = 2.0) -> Candle:
    return Candle(at(hour), 2.0, 3.0, 1.0, close, "5", "5")


def _plan(
    known: Sequence[int], *, late: int = 4, all_interest: bool = False, reused: int = 4
) -> RefreshPlan:
    """Rows 0 to 3 are reused, those up to 5 have been requested."""
    return RefreshPlan(
        timeframe=H1,
        klines=CANDLES,
        reused=Rows.of([row(n) for n in range(reused)]),
        longer={},
        compared=Rows.of([row(n) for n in (4, 5)]),
        interest=TimedValues.of([(at(n), 7.0) for n in known]),
        requested=np.array([at(n) for n in range(6)]),
        late_ms=at(late),
        all_interest=all_interest,
    )


@pytest.mark.parametrize(
    ("plan", "asked"),
    [
        (_plan([0, 1]), (5, 7)),  # the snapshot of hour 4 is an hour late: an old null
        (_plan([0, 1], late=3), (4, 7)),
        (_plan([0, 1], all_interest=True), (2, 7)),
        (_plan([0, 1, 5]), (6, 7)),
        (_plan([0, 1, 7]), (5, 6)),
        (_plan([5, 6, 7]), None),
        (_plan([5, 6, 7], all_interest=True), (0, 4)),
        (_plan([], reused=0), (5, 7)),
        (_plan([]), (5, 7)),
        # A row of before has come: the first that was known may have a snapshot after all.
        (replace(_plan([0]), requested=np.array([at(n) for n in range(1, 6)])), (1, 7)),
        (replace(_plan([0, 1]), requested=np.array([at(n) for n in range(1, 6)])), (5, 7)),
    ],
)
def test_which_open_interest_is_asked_for(plan: RefreshPlan, asked: tuple[int, int] | None) -> None:
    whole = replace(CANDLES, endpoint=Endpoint.OPEN_INTEREST, start_ms=T0, newest_ms=at(6))
    task = plan.open_interest_task(whole, [candle(n) for n in range(4, 8)])
    if asked is None:
        assert task is None
        return
    first, last = asked
    assert task == replace(whole, start_ms=at(first), end_ms=at(last), newest_ms=at(min(last, 6)))
    later = plan.open_interest_task(replace(whole, start_ms=at(6)), [candle(6), candle(7)])
    assert later is None or later.start_ms >= at(6)


def test_interest_is_merged_unless_known_snapshots_have_changed() -> None:
    plan = _plan([0, 1, 4])
    asked = replace(CANDLES, start_ms=at(1), end_ms=at(6))

    def merged(*snapshots: tuple[int, float]) -> list[tuple[int, float]] | None:
        found = plan.merged_interest(asked, [(at(hour), value) for hour, value in snapshots])
        return None if found is None else [(round((t - T0) / HOUR_MS), v) for t, v in found]

    assert plan.merged_interest(None, []) is plan.interest
    whole = [(0, 7.0), (1, 7.0), (4, 7.0), (5, 8.0)]
    assert merged((1, 7.0), (4, 7.0), (5, 8.0)) == whole
    assert merged((1, 7.0), (5, 8.0)) is None
    assert merged((4, 7.0)) is None
    assert merged((1, 7.0), (4, 7.5)) is None
    assert merged() is None


def test_candles_that_must_come_back_unchanged() -> None:
    plan = _plan([])
    assert plan.matches([candle(n) for n in range(3, 9)])
    assert plan.matches([candle(4), candle(5)])
    assert not plan.matches([candle(5), candle(6)])
    assert not plan.matches([candle(4)])
    assert not plan.matches([candle(4), candle(5, close=2.5)])
    assert not plan.matches([])
    assert replace(plan, compared=Rows.of([])).matches([candle(7)])
