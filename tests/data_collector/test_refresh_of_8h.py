"""Refreshes of 4h candles with the 8h rows made from them, and the daily fetch of all candles."""

from collections.abc import Sequence
from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest

from data_collector.incremental import PreviousDocuments, RefreshPlan
from data_collector.task_builder import build_tasks
from market.markets import Exchange, MarketSeries, Row
from market.rows import Rows
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from tests.fixtures.markets import market

H4, H8 = Timeframe.H4, Timeframe.H8
X = market(Exchange.BINANCE, "XUSDT")
T0 = 1_795_132_800_000
STEP = 4 * HOUR_MS
# The moment of the market's day at which a fetch of all candles becomes due.
DUE_MS = crc32(b"binance:XUSDT") % DAY_MS
NEWEST = 200  # the candle that is forming


def as_of_ms() -> int:
    """In the candle 200, hours after the moment of the day."""
    day_ms = T0 + NEWEST * STEP
    due_ms = day_ms - (day_ms - DUE_MS) % DAY_MS  # the last such moment
    assert day_ms - due_ms >= 2 * HOUR_MS
    return day_ms + 3 * HOUR_MS


def row(number: int, step_ms: int = STEP, volume: float = 5.0, close: float = 2.0) -> Row:
    return (T0 + number * step_ms, 2.0, 3.0, 1.0, close, volume, volume, 7.0, 0.0001)


def longer(numbers: Sequence[int], volume: float = 10.0, close: float = 2.0) -> list[Row]:
    return [row(number, 2 * STEP, volume, close) for number in numbers]


def planned(
    rows: Sequence[Row] | None,
    *,
    newest: int = NEWEST,
    checked_ms: int | None = None,
    volume: float = 5.0,
) -> RefreshPlan | None:
    """By 4h rows 0 to 200 and these 8h rows; window of 201 candles."""
    now_ms = as_of_ms() + (newest - NEWEST) * STEP
    checked_ms = now_ms - MINUTE_MS if checked_ms is None else checked_ms
    known = MarketSeries(X, [row(n, volume=volume) for n in range(newest + 1)], checked_ms)
    held = {H4: {X.key: known}}
    if rows is not None:
        held[H8] = {X.key: MarketSeries(X, rows, checked_ms)}
    (tasks,) = build_tasks(
        H4,
        [X],
        as_of_ms=now_ms,
        history_candles=newest + 1,
        with_funding=False,
        funding_history=1,
    )
    previous = PreviousDocuments(held, H4, as_of_ms=now_ms, history_candles=newest + 1)
    return previous.plan(tasks)


def begin(plan: RefreshPlan | None) -> int:
    """The number of the first candle that is fetched."""
    assert plan is not None
    return (plan.klines.start_ms - T0) // STEP


@pytest.mark.parametrize(("newest", "first"), [(200, 102), (201, 104)])
def test_a_refresh_begins_with_a_whole_8h_candle(
    newest: int, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PreviousDocuments, "_is_full_fetch_due", lambda *_: False)
    plan = planned(longer(range(101)), newest=newest)
    assert begin(plan) == first
    assert plan is not None
    assert plan.longer[H8].times.tolist() == [T0 + n * 2 * STEP for n in range(first // 2)]


def test_8h_rows_that_do_not_agree_with_their_4h_rows_are_made_anew() -> None:
    good = longer(range(101))
    assert begin(planned(good)) == 102
    # Sums of floats may differ in their last digits.
    assert begin(planned(longer(range(101), volume=10.0 * (1 + 5e-13)))) == 102
    assert begin(planned(longer(range(101), volume=0.0), volume=0.0)) == 102
    bad = [
        [*good[:50], *longer([50], volume=11.0), *good[51:]],
        None,
        [],
        good[1:],
        longer(range(101), volume=10.0 * (1 + 2e-12)),
        longer(range(101), volume=10.0 * (1 - 2e-12)),
        longer(range(101), close=2.5),
        [*good[:50], *longer([50], volume=np.inf), *good[51:]],
    ]
    for rows in bad:
        plan = planned(rows)
        assert begin(plan) == 0
        assert plan is not None
        assert (len(plan.reused), plan.longer, len(plan.compared)) == (0, {}, 200)


def test_reused_8h_rows_keep_their_sums() -> None:
    plan = planned(longer(range(101)))
    assert plan is not None
    rows = Rows.of([row(n) for n in range(110)])
    known = {H8: Rows.of(longer(range(51), volume=10.000000000001))}
    plan = replace(plan, longer=known)
    # Of the rows after the reused ones, with more digits than a float has.
    exact = (("6.0000000000000000",) * 8, ("6.0000000000000000",) * 8)
    made = plan.aggregate(rows, H8, exact=exact, window_start_ms=T0)
    assert made.times.tolist() == [T0 + n * 2 * STEP for n in range(55)]
    assert made.column("volume").tolist() == [10.000000000001] * 51 + [12.0] * 4


def test_all_candles_are_fetched_once_a_day() -> None:
    now_ms = as_of_ms()
    due_ms = now_ms - (now_ms - DUE_MS) % DAY_MS
    for checked_ms, first, again in (
        (due_ms, 102, False),
        (due_ms - 1, 0, True),
        (due_ms - DAY_MS, 0, True),
    ):
        plan = planned(longer(range(101)), checked_ms=checked_ms)
        assert plan is not None
        assert (begin(plan), plan.all_interest) == (first, again)
