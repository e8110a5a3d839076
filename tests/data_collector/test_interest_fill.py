"""Which series fill in open interest, and which rows get which snapshot."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_collector.interest_answers import Answer, InterestAnswers
from data_collector.interest_fill import (
    Series,
    Span,
    fetch_task,
    filled,
    filled_from,
    lacking,
    plan_series,
    served,
)
from data_collector.task_builder import open_interest_task
from data_collector.url_builder import source_period
from market.base import REACH_MS
from market.left_out import LeftOut
from market.markets import Exchange, Market, Row
from market.rows import Rows, TimedValues
from market.timeframes import COLLECTED, DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from venues.venue import Endpoint

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
# 2026-11-20 14:37:21.250 UTC
NOW_MS = 1_795_185_441_250
M5, M15, M30, H1, H2, H4, H6, H8, H12, D1 = Timeframe
BTC = Market(BINANCE, "BTCUSDT", "BTC", "USDT")


def whole(history: int, timeframes: tuple[Timeframe, ...] = COLLECTED) -> dict[Timeframe, Span]:
    return {each: (each.window_start(NOW_MS, history), each.floor(NOW_MS)) for each in timeframes}


def row(open_ms: int, interest: float | None) -> Row:
    return (open_ms, 1.0, 2.0, 0.5, 1.5, 10.0, 20.0, interest, 0.25)


# --- the series ----------------------------------------------------------------------------------


def test_one_series_of_30_days_serves_an_hour_and_more_on_binance() -> None:
    found = plan_series(BINANCE, whole(499), NOW_MS)
    assert [(each.period, each.timeframes, each.pages(BINANCE)) for each in found] == [
        (H1, (H1, H2, H4, H6, H12, D1), 2),
        (M5, (M5,), 1),
        (M15, (M15,), 1),
        (M30, (M30,), 1),
    ]
    # 2026-10-21 16:00 UTC: the first even hour within 30 days; 1h does not reach as far.
    assert found[0].first_ms == 1_792_598_400_000
    assert found[0].last_ms == H1.floor(NOW_MS)


def test_series_of_bybit_reach_as_far_back_as_its_history() -> None:
    """Hours for a year would be more pages than a series of their own for longer candles."""
    found = plan_series(BYBIT, whole(499), NOW_MS)
    assert [(each.period, each.timeframes, each.pages(BYBIT)) for each in found] == [
        (H1, (H1, H2, H6), 15),
        (H4, (H4, H12), 8),
        (D1, (D1,), 3),
        (M5, (M5,), 3),
        (M15, (M15,), 3),
        (M30, (M30,), 3),
    ]
    assert found[2].first_ms == D1.window_start(NOW_MS, 499)


def test_a_long_timeframe_alone_has_its_own_series() -> None:
    found = plan_series(BINANCE, whole(499, (D1,)), NOW_MS)
    assert found == [Series(D1, 1_792_627_200_000, D1.floor(NOW_MS), (D1,))]
    # 4h and 1d of 30 days take one page, of 4h.
    (both,) = plan_series(BINANCE, whole(499, (H4, D1)), NOW_MS)
    assert (both.period, both.timeframes, both.pages(BINANCE)) == (H4, (H4, D1), 1)


def test_nothing_is_asked_for_that_is_no_longer_served() -> None:
    old = (NOW_MS // DAY_MS * DAY_MS - 40 * DAY_MS, NOW_MS // DAY_MS * DAY_MS - 31 * DAY_MS)
    assert plan_series(BINANCE, {D1: old, H4: old}, NOW_MS) == []
    assert served(BINANCE, D1, old, NOW_MS) is None
    assert served(BYBIT, D1, old, NOW_MS) == old


@settings(max_examples=150, deadline=None)
@given(
    exchange=st.sampled_from([BINANCE, BYBIT]),
    timeframes=st.sets(st.sampled_from(COLLECTED), min_size=1),
    histories=st.lists(st.integers(1, 1500), min_size=9, max_size=9),
    covered_h=st.integers(0, 40),
)
def test_every_timeframe_is_served_with_no_more_requests_than_by_its_own_series(
    exchange: Exchange, timeframes: set[Timeframe], histories: list[int], covered_h: int
) -> None:
    spans = {}
    for timeframe, history in zip(COLLECTED, histories, strict=True):
        first_ms = timeframe.window_start(NOW_MS, history)
        last_ms = timeframe.floor(NOW_MS - covered_h * HOUR_MS)
        if timeframe in timeframes and first_ms <= last_ms:
            spans[timeframe] = (first_ms, last_ms)
    found = plan_series(exchange, spans, NOW_MS)
    own = 0
    for timeframe, span in spans.items():
        ours = served(exchange, timeframe, span, NOW_MS)
        chosen = [each for each in found if timeframe in each.timeframes]
        if ours is None:
            assert not chosen
            continue
        (series,) = chosen
        assert timeframe.interval_ms % series.period.interval_ms == 0
        assert source_period(exchange, Endpoint.OPEN_INTEREST, series.period) is series.period
        assert series.first_ms <= ours[0] <= ours[1] <= series.last_ms
        assert series.first_ms % series.period.interval_ms == 0
        period = source_period(exchange, Endpoint.OPEN_INTEREST, timeframe)
        assert period is not None
        own += Series(period, *ours, (timeframe,)).pages(exchange)
    assert sum(each.pages(exchange) for each in found) <= own


def test_the_task_of_a_series_is_that_of_its_period() -> None:
    series = Series(H1, NOW_MS // HOUR_MS * HOUR_MS - 9 * HOUR_MS, H1.floor(NOW_MS), (H1, H2))
    task = fetch_task(BTC, series, NOW_MS)
    assert task == open_interest_task(H1, BTC, as_of_ms=NOW_MS, history_candles=10)


def test_a_task_ends_with_the_last_row_that_lacks_its_snapshot() -> None:
    last_ms = M5.floor(NOW_MS) - 26 * HOUR_MS
    series = Series(M5, last_ms - HOUR_MS, last_ms, (M5,))
    for later_ms in (0, 5 * MINUTE_MS, HOUR_MS):
        task = fetch_task(BTC, series, NOW_MS + later_ms)
        assert task is not None
        assert (task.period, task.start_ms, task.end_ms) == (M5, last_ms - HOUR_MS, last_ms)
        assert task.newest_ms == last_ms  # none of them may still come late
    late = fetch_task(BTC, Series(M5, last_ms, M5.floor(NOW_MS), (M5,)), M5.floor(NOW_MS) + 1)
    assert late is not None
    assert (late.end_ms, late.newest_ms) == (M5.floor(NOW_MS), M5.floor(NOW_MS) - 5 * MINUTE_MS)


def test_a_task_asks_for_nothing_that_has_passed_the_horizon_since() -> None:
    (series,) = plan_series(BINANCE, whole(1000, (H1,)), NOW_MS)
    task = fetch_task(BTC, series, NOW_MS + HOUR_MS)
    assert task is not None
    assert task.start_ms == series.first_ms + HOUR_MS
    assert fetch_task(BTC, series, NOW_MS + 31 * DAY_MS) is None


# --- the rows ------------------------------------------------------------------------------------


def test_only_nulls_are_filled_and_only_by_snapshots_of_their_time() -> None:
    rows = Rows.of(
        [row(0, None), row(HOUR_MS, 7.0), row(2 * HOUR_MS, None), row(3 * HOUR_MS, None)]
    )
    snapshots = TimedValues.of([
        (0, 1.0), (HOUR_MS, 2.0), (2 * HOUR_MS - 300_000, 3.0), (3 * HOUR_MS, 4.0),
    ])  # fmt: skip
    assert filled(BTC, H1, rows, snapshots) == [
        row(0, 1.0),
        row(HOUR_MS, 7.0),
        row(2 * HOUR_MS, None),
        row(3 * HOUR_MS, 4.0),
    ]
    assert rows == [row(0, None), row(HOUR_MS, 7.0), row(2 * HOUR_MS, None), row(3 * HOUR_MS, None)]


@pytest.mark.parametrize(
    ("launched_h", "since_h", "expected"),
    [
        (0.0, 0.0, [1.0, 2.0, 3.0]),
        (24.0, 0.0, [1.0, 2.0, 3.0]),  # at the open of the first row
        (25.0, 0.0, [None, 2.0, 3.0]),  # within it: the snapshot is of the time before
        (60.0, 0.0, [1.0, 2.0, 3.0]),  # told days late
        (20.0, 30.0, [None, 2.0, 3.0]),
        (24.0, 49.0, [None, None, 3.0]),  # another contract has got the symbol since
    ],
)
def test_no_snapshot_from_before_a_market_s_life_is_used(
    launched_h: float, since_h: float, expected: list[float | None]
) -> None:
    rows = Rows.of([row(day * DAY_MS, None) for day in (1, 2, 3)])
    snapshots = TimedValues.of([(day * DAY_MS, float(day)) for day in (1, 2, 3)])
    market = Market(
        *(BINANCE, "BTCUSDT", "BTC", "USDT"),
        launched_ms=round(launched_h * HOUR_MS),
        since_ms=round(since_h * HOUR_MS),
    )
    assert [line[7] for line in filled(market, D1, rows, snapshots)] == expected


def test_longer_rows_take_the_open_interest_of_those_they_are_made_of() -> None:
    """One whose first half is missing has none."""
    longer = Rows.of([row(0, None), row(8 * HOUR_MS, None), row(16 * HOUR_MS, 5.0)])
    shorter = Rows.of(
        [row(0, 1.0), row(4 * HOUR_MS, 2.0), row(12 * HOUR_MS, 3.0), row(16 * HOUR_MS, 4.0)]
    )
    assert filled_from(longer, shorter) == [
        row(0, 1.0),
        row(8 * HOUR_MS, None),
        row(16 * HOUR_MS, 5.0),
    ]


@pytest.mark.parametrize("empty", [Rows.of([]), Rows.of([row(0, None)])])
def test_without_rows_or_snapshots_nothing_is_filled(empty: Rows) -> None:
    nothing = TimedValues.of([])
    assert filled(BTC, H1, empty, nothing) == empty
    assert filled_from(empty, Rows.of([])) == empty
    assert filled(BTC, H1, Rows.of([]), TimedValues.of([(0, 1.0)])) == []


_interest = st.one_of(st.none(), st.integers(1, 9).map(float))


@settings(max_examples=200, deadline=None)
@given(
    rows=st.dictionaries(st.integers(0, 30), _interest),
    snapshots=st.dictionaries(st.integers(-10, 130), st.integers(10, 99).map(float)),
)
def test_rows_are_filled_like_a_table(
    rows: Mapping[int, float | None], snapshots: Mapping[int, float]
) -> None:
    """A series of a quarter of the length, with holes on both sides."""
    before = Rows.of([row(H1.interval_ms * at, interest) for at, interest in sorted(rows.items())])
    found = filled(
        BTC,
        H1,
        before,
        TimedValues.of([(M15.interval_ms * at, n) for at, n in sorted(snapshots.items())]),
    )
    assert found == [
        row(H1.interval_ms * at, snapshots.get(4 * at) if interest is None else interest)
        for at, interest in sorted(rows.items())
    ]
    nulls = [at * H1.interval_ms for at, interest in sorted(rows.items()) if interest is None]
    assert lacking(before) == ((nulls[0], nulls[-1]) if nulls else None)


# --- what is kept between runs -------------------------------------------------------------------


def answer(series: Series, reason: str | None = None, snapshots: int = 10) -> Answer:
    values = TimedValues.of([(series.first_ms + at, 1.0) for at in range(snapshots)])
    return Answer(series, values, (LeftOut(1, "odd"),), reason)


def test_an_answer_serves_multiples_of_its_period_within_its_span() -> None:
    hours = answer(Series(H1, DAY_MS, 5 * DAY_MS, (H1, H4)))
    answers = InterestAnswers()
    answers.put(BTC.key, hours)
    assert answers.get(BTC.key, H1, (DAY_MS, 5 * DAY_MS), 5 * DAY_MS) is hours
    assert answers.get(BTC.key, H4, (2 * DAY_MS, 3 * DAY_MS), 5 * DAY_MS) is hours
    assert answers.get(BTC.key, D1, (2 * DAY_MS, 3 * DAY_MS), 5 * DAY_MS) is hours
    assert answers.get(BTC.key, H1, (DAY_MS - HOUR_MS, 2 * DAY_MS), 5 * DAY_MS) is None
    assert answers.get(BTC.key, M30, (2 * DAY_MS, 3 * DAY_MS), 5 * DAY_MS) is None
    assert answers.get("bybit:BTCUSDT", H1, (2 * DAY_MS, 3 * DAY_MS), 5 * DAY_MS) is None
    # Rows of a newer document got theirs from the base, as far as that reaches.
    later_ms = 5 * DAY_MS + REACH_MS
    assert answers.get(BTC.key, H1, (DAY_MS, later_ms), later_ms) is hours
    assert answers.get(BTC.key, H1, (DAY_MS, 5 * DAY_MS + HOUR_MS), later_ms + 1) is None
    assert answers.get(BTC.key, H1, (DAY_MS, 5 * DAY_MS), later_ms + 1) is hours


def test_a_series_that_came_is_used_before_one_that_failed() -> None:
    answers = InterestAnswers()
    failed = answer(Series(H1, 0, DAY_MS, (H1, H4)), "HTTP 502")
    came = answer(Series(H4, 0, DAY_MS, (H4,)))
    answers.put(BTC.key, failed)
    answers.put(BTC.key, came)
    assert answers.get(BTC.key, H4, (0, DAY_MS), 5 * DAY_MS) is came
    assert answers.get(BTC.key, H1, (0, DAY_MS), 5 * DAY_MS) is failed
    answers.forget_failures("bybit:")
    assert answers.get(BTC.key, H1, (0, DAY_MS), 5 * DAY_MS) is failed
    answers.forget_failures("binance:")
    assert answers.get(BTC.key, H1, (0, DAY_MS), 5 * DAY_MS) is None
    assert answers.get(BTC.key, H4, (0, DAY_MS), 5 * DAY_MS) is came


def test_memory_is_counted_until_no_document_waits_any_more() -> None:
    answers = InterestAnswers()
    hours, minutes = Series(H1, 0, DAY_MS, (H1, H4)), Series(M5, 0, DAY_MS, (M5,))
    answers.put(BTC.key, answer(hours, snapshots=10))
    small = answers.bytes
    answers.put(BTC.key, answer(hours, snapshots=700))
    assert answers.bytes - small == 690 * 16
    answers.put("bybit:ETHUSDT", answer(minutes))
    answers.keep_only({BTC.key: [H4, M5], "bybit:ETHUSDT": [H4]})
    assert answers.get(BTC.key, H4, (0, DAY_MS), 5 * DAY_MS) is not None
    assert answers.get("bybit:ETHUSDT", M5, (0, DAY_MS), 5 * DAY_MS) is None
    assert 700 * 16 < answers.bytes < 700 * 16 + 1000
    answers.keep_only({})
    assert answers.bytes == 0
