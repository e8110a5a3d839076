"""What a market's documents become when requests fail, and single sentences of the plan."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from data_collector.base_merge import MergedFromBase, merge_from_base
from data_collector.base_plan import BasePlan, plan_from_base
from data_collector.data_processing import aggregate_4h_to_8h
from market.base import Base, extended
from market.candles import Candle
from market.markets import Exchange, FundingSeries, Market, MarketSeries, Row
from market.rows import Rows
from market.timeframes import DAY_MS, HOUR_MS, Timeframe
from tests.fixtures.base_rows import MIDNIGHT, STEP_MS, base_of, five

BTC = Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT")
M5, M15, H1, H4, H8 = (Timeframe(name) for name in ("5m", "15m", "1h", "4h", "8h"))
FUNDING = FundingSeries(BTC, [(MIDNIGHT - HOUR_MS, 0.25)], 8, MIDNIGHT)


def series(rows: Sequence[Row], checked_ms: int, stale_ms: int | None = None) -> MarketSeries:
    return MarketSeries(BTC, Rows.of(rows), MIDNIGHT + checked_ms, stale_ms)


def row(timeframe: Timeframe, place: int, close: float = 1.0, interest: float | None = 3.0) -> Row:
    """The row of that number after midnight."""
    open_ms = MIDNIGHT + place * timeframe.interval_ms
    return (open_ms, 1.0, 2.0, 0.5, close, 10.0, 20.0, interest, None)


def plan(
    timeframe: Timeframe,
    base: Base | None,
    earlier: Mapping[Timeframe, MarketSeries],
    as_of_ms: int,
    *,
    history: int = 4,
    market: Market = BTC,
) -> BasePlan:
    return plan_from_base(
        market,
        timeframe,
        base,
        earlier,
        as_of_ms=MIDNIGHT + as_of_ms,
        history_candles=history,
    )


def merged(
    made: BasePlan,
    native: Sequence[Sequence[Candle] | None] = (),
    snapshots: Sequence[tuple[int, float]] = (),
) -> MergedFromBase:
    funding = replace(FUNDING, checked_at_ms=made.as_of_ms)
    found = merge_from_base(made, native, snapshots, funding)
    assert found is not None
    return found


def spans(made: BasePlan) -> list[tuple[int, int]]:
    """The candles to ask for, in candles after midnight."""
    step_ms = made.timeframe.interval_ms
    return [
        ((task.start_ms - MIDNIGHT) // step_ms, (task.end_ms - MIDNIGHT) // step_ms)
        for task in made.klines
    ]


def places(made: MergedFromBase, timeframe: Timeframe) -> list[int]:
    rows = made.series[timeframe].rows
    return [(line[0] - MIDNIGHT) // timeframe.interval_ms for line in rows]


# --- what is kept and made -----------------------------------------------------------------------


def test_closed_rows_are_kept_and_later_ones_made() -> None:
    earlier = {M15: series([row(M15, 0), row(M15, 1, 7.0)], 5 * STEP_MS)}
    base = base_of(range(3, 8), 7 * STEP_MS)
    base = replace(base, read_ms=base.read_ms.copy())
    base.read_ms[:2] = MIDNIGHT + 5 * STEP_MS
    made = plan(M15, base, earlier, 7 * STEP_MS)
    assert not made.klines
    assert made.interest is None
    found = merged(made).series[M15]
    assert found.rows == [
        (*row(M15, 0)[:8], 0.25),
        (MIDNIGHT + 3 * STEP_MS, 100.0, 102.0, 99.0, 100.5, 4.5, 450.75, 5.0, 0.25),
        (MIDNIGHT + 6 * STEP_MS, 100.0, 102.0, 99.0, 100.5, 3.0, 300.5, 5.0, 0.25),
    ]
    assert (found.checked_at_ms, found.stale_since_ms) == (MIDNIGHT + 7 * STEP_MS, None)


@pytest.mark.parametrize("timeframe", [M5, M15, H1, H4])
def test_a_fresh_base_leaves_nothing_to_ask_for(timeframe: Timeframe) -> None:
    base = base_of(range(-310, 8), 7 * STEP_MS + 5)
    for later_ms in (0, 59_999):
        made = plan(timeframe, base, {}, 7 * STEP_MS + 5 + later_ms)
        assert (made.klines, made.interest) == ((), None)
        found = merged(made).series[timeframe]
        assert len(found.rows) == 4
        assert found.rows[-1][0] == timeframe.floor(MIDNIGHT + 7 * STEP_MS)
        assert (found.checked_at_ms, found.stale_since_ms) == (base.as_of_ms, None)
    assert plan(timeframe, base, {}, 7 * STEP_MS + 5 + 60_000).klines


@pytest.mark.parametrize(
    ("checked_ms", "kept"),
    [
        (3 * STEP_MS + 59_999, False),
        (3 * STEP_MS + 60_000, True),
        (4 * STEP_MS - 1, True),
    ],
)
def test_a_row_is_kept_once_it_was_final(checked_ms: int, kept: bool) -> None:
    """Its 5m candles were all read before; only its own age counts."""
    base = base_of(range(6), 5 * STEP_MS)
    base = replace(base, read_ms=base.read_ms.copy())
    base.read_ms[:3] = MIDNIGHT + 3 * STEP_MS
    earlier = {M15: series([row(M15, 0, 9.0), row(M15, 1)], checked_ms)}
    rows = merged(plan(M15, base, earlier, 5 * STEP_MS)).series[M15].rows
    assert [line[4] for line in rows] == [9.0 if kept else 100.5, 100.5]


def test_a_changed_5m_candle_remakes_every_candle_that_holds_it() -> None:
    base = base_of(range(12), 11 * STEP_MS)
    earlier = {
        timeframe: merged(plan(timeframe, base, {}, 11 * STEP_MS, history=n)).series[timeframe]
        for timeframe, n in ((M15, 4), (H1, 1))
    }
    answer = [five(slot, volume="2.5" if slot == 4 else "1.5") for slot in range(2, 13)]
    later = extended(
        base, answer, asked_ms=MIDNIGHT + 2 * STEP_MS, as_of_ms=MIDNIGHT + 12 * STEP_MS
    )
    for timeframe, n, sums in ((M15, 5, [4.5, 5.5, 4.5, 4.5, 1.5]), (H1, 2, [19.0, 1.5])):
        made = plan(timeframe, later, {timeframe: earlier[timeframe]}, 12 * STEP_MS, history=n)
        assert not made.klines
        assert [line[5] for line in merged(made).series[timeframe].rows] == sums


def test_a_new_base_leaves_what_it_holds_in_part_as_it_was() -> None:
    base = base_of(range(64, 378), 377 * STEP_MS)  # from 05:20, as far back as it reaches
    earlier = {H1: series([row(H1, 5, 9.0), row(H1, 6, 9.0)], 7 * HOUR_MS + 60_000)}
    made = plan(H1, base, earlier, 377 * STEP_MS, history=27)
    assert (made.klines, made.interest) == ((), None)
    closes = [line[4] for line in merged(made).series[H1].rows]
    assert closes == [9.0, *[100.5] * 26]
    # A candle that it holds in part, and that was not final then, is asked for.
    earlier = {H1: series([row(H1, 5, 9.0)], 6 * HOUR_MS)}
    made = plan(H1, base, earlier, 377 * STEP_MS, history=27)
    assert spans(made) == [(5, 5)]


def test_the_first_candle_of_a_young_market_is_asked_for_where_the_base_holds_it_in_part() -> None:
    # All slots may have been read again since, as they were changed.
    earlier = {H1: series([row(H1, 0, 9.0), row(H1, 1, 9.0)], 2 * HOUR_MS + 60_000)}
    made = plan(H1, base_of(range(6, 30), 29 * STEP_MS), earlier, 29 * STEP_MS, history=3)
    assert spans(made) == [(0, 0)]


@pytest.mark.parametrize(
    "earlier",
    [
        {},
        {H4: series([row(H4, n) for n in range(4)], 13 * HOUR_MS)},  # 8h is absent
        {
            H4: series([row(H4, n) for n in range(4)], 13 * HOUR_MS),
            H8: series([row(H8, 1)], 13 * HOUR_MS),  # it lacks a candle
        },
        {
            H4: series([row(H4, n) for n in range(4)], 13 * HOUR_MS),
            H8: series([row(H8, 0), row(H8, 1)], 17 * HOUR_MS),  # of a time to come
        },
    ],
)
def test_documents_that_cannot_be_used_are_asked_for_whole(
    earlier: Mapping[Timeframe, MarketSeries],
) -> None:
    made = plan(H4, None, earlier, 16 * HOUR_MS, history=5)
    assert made.checked_ms is None
    assert spans(made) == [(0, 4)]


def test_usable_documents_of_4h_and_8h() -> None:
    earlier = {
        H4: series([row(H4, n) for n in range(4)], 13 * HOUR_MS),
        H8: series([row(H8, 0), row(H8, 1)], 13 * HOUR_MS),
    }
    made = plan(H4, None, earlier, 16 * HOUR_MS, history=5)
    # What forms an 8h candle is asked for as a whole, from its beginning.
    assert spans(made) == [(2, 4)]
    assert made.checked_ms == MIDNIGHT + 13 * HOUR_MS
    native = [
        Candle(MIDNIGHT + n * 4 * HOUR_MS, 1.0, 3.0, 0.5, n, volume, "1")
        for n, volume in ((2, "12345678901234567.25"), (3, "0.5"), (4, "1"))
    ]
    found = merged(made, [native], [(MIDNIGHT + 8 * HOUR_MS, 6.0), (MIDNIGHT + 16 * HOUR_MS, 7.0)])
    rows4, rows8 = found.series[H4].rows, found.series[H8].rows
    assert [line[7] for line in rows4] == [3.0, 3.0, 6.0, None, 7.0]
    # The sum is that of the texts: 12345678901234567.75, nearest to ...568.
    assert [(line[4], line[5], line[7]) for line in rows8] == [
        (1.0, 10.0, 3.0),
        (3.0, 12345678901234568.0, 6.0),
        (4.0, 1.0, 7.0),
    ]
    assert [(line[0] - MIDNIGHT) // (8 * HOUR_MS) for line in rows8] == [0, 1, 2]
    assert {line[8] for line in [*rows4, *rows8]} == {0.25}


@pytest.mark.parametrize("hours", [(13, 17), (17, 13)])
def test_of_two_documents_the_older_one_counts(hours: tuple[int, int]) -> None:
    earlier = {
        H4: series([row(H4, n) for n in range(5)], hours[0] * HOUR_MS),
        H8: series([row(H8, n) for n in range(3)], hours[1] * HOUR_MS),
    }
    made = plan(H4, None, earlier, 18 * HOUR_MS, history=5)
    assert made.checked_ms == MIDNIGHT + 13 * HOUR_MS
    assert spans(made) == [(2, 4)]


@pytest.mark.parametrize("history", [1, 2, 3, 4, 5, 6])
def test_8h_from_the_base_is_what_4h_make(history: int) -> None:
    as_of_ms = 21 * HOUR_MS + 5
    base = base_of(range(-3, 21 * 12 + 1), as_of_ms)
    found = merged(plan(H4, base, {}, as_of_ms, history=history))
    start_ms = H4.window_start(MIDNIGHT + as_of_ms, history)
    expected = aggregate_4h_to_8h(found.series[H4].rows, window_start_ms=start_ms)
    assert found.series[H8].rows == expected
    assert len(found.series[H4].rows) == history


@pytest.mark.parametrize("settled", [[0.1], [0.1, 0.2]])
def test_a_forming_8h_row_has_no_rate_that_is_old_while_its_second_half_is_unknown(
    settled: list[float],
) -> None:
    """It settles at 08:00 and 12:00, and nothing was traded since."""
    as_of_ms, open_ms = 12 * HOUR_MS + 5000, MIDNIGHT + 8 * HOUR_MS
    made = plan(H4, base_of(range(12 * 12), as_of_ms), {}, as_of_ms)
    rows = [(open_ms + n * 4 * HOUR_MS, rate) for n, rate in enumerate(settled)]
    checked_ms = made.as_of_ms if len(settled) > 1 else made.as_of_ms - 60_000
    found = merge_from_base(made, (), (), FundingSeries(BTC, rows, 4, checked_ms))
    assert found is not None
    half, whole = found.series[H4].rows[-1], found.series[H8].rows[-1]
    assert (half[0], half[-1]) == (whole[0], 0.1) == (open_ms, 0.1)
    assert whole[-1] == (0.2 if len(settled) > 1 else None)
    assert found.funding_outdated is (len(settled) == 1)


# --- requests that failed ------------------------------------------------------------------------


def test_rows_that_had_closed_stay_when_a_request_fails() -> None:
    """0 to 2 had closed in the document and are read anew, with a hole in 2; 3 formed."""
    earlier = {M15: series([row(M15, n, float(n)) for n in range(4)], 10 * STEP_MS)}
    base = base_of([*range(7), *range(8, 17)], 16 * STEP_MS)
    made = plan(M15, base, earlier, 16 * STEP_MS, history=8)
    assert spans(made) == [(2, 2)]
    found = merged(made, [None])
    result = found.series[M15]
    assert places(found, M15) == [0, 1, 2, 3, 4, 5]
    assert [line[4] for line in result.rows] == [100.5, 100.5, 2.0, 100.5, 100.5, 100.5]
    assert result.checked_at_ms == MIDNIGHT + 10 * STEP_MS
    assert result.stale_since_ms == MIDNIGHT + 16 * STEP_MS


def test_what_has_closed_since_is_left_out_and_tells_since_when() -> None:
    earlier = {M15: series([row(M15, n, float(n)) for n in range(4)], 10 * STEP_MS)}
    base = base_of(range(11), 10 * STEP_MS)
    made = plan(M15, base, earlier, 16 * STEP_MS)
    assert spans(made) == [(3, 5)]
    found = merged(made, [None])
    # 3 formed in the document and has closed since, as has 4; 5 forms, and nothing is known of it.
    assert places(found, M15) == [2]
    assert found.series[M15].stale_since_ms == MIDNIGHT + 12 * STEP_MS
    assert found.series[M15].checked_at_ms == MIDNIGHT + 10 * STEP_MS


def test_a_forming_row_stays_while_it_forms() -> None:
    earlier = {M15: series([row(M15, n, float(n)) for n in range(4)], 10 * STEP_MS)}
    made = plan(M15, None, earlier, 11 * STEP_MS)
    assert spans(made) == [(3, 3)]
    found = merged(made, [None])
    assert [line[4] for line in found.series[M15].rows] == [0.0, 1.0, 2.0, 3.0]
    assert found.series[M15].stale_since_ms == MIDNIGHT + 11 * STEP_MS


def test_a_market_stays_stale_since_the_first_failure() -> None:
    earlier = {M15: series([row(M15, n) for n in range(4)], 10 * STEP_MS, MIDNIGHT + 11 * STEP_MS)}
    for as_of in (11, 13, 20):
        found = merged(plan(M15, None, earlier, as_of * STEP_MS), [None])
        assert found.series[M15].stale_since_ms == MIDNIGHT + 11 * STEP_MS
    answered = merged(plan(M15, None, earlier, 11 * STEP_MS), [[]])
    assert answered.series[M15].stale_since_ms is None
    assert answered.series[M15].checked_at_ms == MIDNIGHT + 11 * STEP_MS


def test_a_failure_without_earlier_documents_leaves_nothing() -> None:
    made = plan(M15, base_of(range(4), 3 * STEP_MS), {}, 3 * STEP_MS)
    assert made.klines
    assert merge_from_base(made, [None], [], FUNDING) is None


def test_one_of_two_requests_fails() -> None:
    earlier = {M15: series([row(M15, n, float(n)) for n in range(4)], 10 * STEP_MS)}
    base = base_of([*range(3), *range(4, 10), 11, 12, 13], 13 * STEP_MS)
    made = plan(M15, base, earlier, 13 * STEP_MS)
    assert spans(made) == [(1, 1), (3, 3)]
    fresh = Candle(MIDNIGHT + 9 * STEP_MS, 1.0, 2.0, 0.5, 8.0, "1", "1")
    found = merged(made, [None, [fresh]])
    assert [line[4] for line in found.series[M15].rows] == [1.0, 100.5, 8.0, 100.5]
    assert found.series[M15].checked_at_ms == MIDNIGHT + 10 * STEP_MS
    assert found.series[M15].stale_since_ms == MIDNIGHT + 13 * STEP_MS


def test_what_closed_at_the_very_instant_of_the_document_had_closed() -> None:
    earlier = {M15: series([row(M15, n, float(n)) for n in range(4)], 9 * STEP_MS)}
    made = plan(M15, None, earlier, 12 * STEP_MS)
    assert spans(made) == [(2, 4)]
    found = merged(made, [None])
    assert places(found, M15) == [1, 2]
    assert found.series[M15].stale_since_ms == MIDNIGHT + 12 * STEP_MS


def test_each_gap_is_asked_for_on_its_own() -> None:
    base = base_of([*range(1, 6), *range(7, 10), 12, 13, *range(15, 18), 19, 20], 20 * STEP_MS)
    made = plan(M15, base, {}, 20 * STEP_MS, history=7)
    assert spans(made) == [(0, 0), (2, 4), (6, 6)]
    # An answer without the last of them is incomplete.
    assert [task.newest_ms for task in made.klines] == [task.end_ms for task in made.klines]


@pytest.mark.parametrize(("as_of_ms", "due"), [(3 * STEP_MS, 0), (3 * STEP_MS + 240_000, 1)])
def test_the_newest_snapshot_may_be_late(as_of_ms: int, due: int) -> None:
    made = plan(M15, None, {}, as_of_ms, history=2)
    assert made.interest is not None
    assert made.interest.end_ms == MIDNIGHT + 3 * STEP_MS
    assert made.interest.newest_ms == MIDNIGHT + due * 3 * STEP_MS


# --- open interest and lives ---------------------------------------------------------------------


def test_open_interest_is_asked_for_only_where_the_base_did_not() -> None:
    base = base_of(range(3, 8), 7 * STEP_MS)
    made = plan(M15, base, {}, 7 * STEP_MS, history=3)
    assert spans(made) == [(0, 0)]
    assert made.interest is not None
    assert (made.interest.start_ms, made.interest.end_ms) == (MIDNIGHT, MIDNIGHT)
    native = [Candle(MIDNIGHT, 1.0, 2.0, 0.5, 8.0, "1", "1")]
    found = merged(made, [native], [(MIDNIGHT, 4.0)])
    assert [line[7] for line in found.series[M15].rows] == [4.0, 5.0, 5.0]
    late = base_of(range(3, 8), 7 * STEP_MS, interest=False)
    late = late.with_interest([(MIDNIGHT + 3 * STEP_MS, 2.0)], MIDNIGHT + 5 * STEP_MS)
    made = plan(M15, late, {}, 7 * STEP_MS, history=2)
    assert made.interest is not None
    # The last request was before the snapshot of the forming candle.
    assert made.interest.start_ms == made.interest.end_ms == MIDNIGHT + 6 * STEP_MS


def test_a_kept_row_gets_a_snapshot_that_came_late() -> None:
    earlier = {H1: series([row(H1, 0, interest=None), row(H1, 1)], HOUR_MS + 120_000)}
    base = base_of(range(-24, 14), 13 * STEP_MS)
    made = plan(H1, base, earlier, 13 * STEP_MS, history=2)
    assert len(made.parts[0].kept) == 0  # the base was read for the first time: all is remade
    earlier = {H1: series([row(H1, 0, interest=None), row(H1, 1)], 13 * STEP_MS)}
    made = plan(H1, base, earlier, 13 * STEP_MS + 1, history=2)
    assert len(made.parts[0].kept) == 1
    assert made.interest is None
    assert [line[7] for line in merged(made).series[H1].rows] == [5.0, 5.0]


@pytest.mark.parametrize(("lacks", "asked"), [(False, (3, 3)), (True, (0, 3))])
def test_without_a_base_only_late_snapshots_are_asked_for_again(
    lacks: bool, asked: tuple[int, int]
) -> None:
    rows = [row(H1, 0, interest=None), row(H1, 1), row(H1, 2), row(H1, 3)]
    known = replace(series(rows, 3 * HOUR_MS + 60_000), lacks_open_interest=lacks)
    made = plan(H1, None, {H1: known}, 3 * HOUR_MS + 120_000)
    assert made.interest is not None
    span = (made.interest.start_ms, made.interest.end_ms)
    assert span == (MIDNIGHT + asked[0] * HOUR_MS, MIDNIGHT + asked[1] * HOUR_MS)


def test_a_kept_snapshot_of_the_last_hour_may_be_late() -> None:
    rows = [row(M15, place, interest=None) for place in range(6)]
    made = plan(M15, None, {M15: series(rows, 80 * 60_000)}, 81 * 60_000, history=6)
    assert spans(made) == [(5, 5)]
    assert made.interest is not None
    # Checked at 01:20: what opened after 00:20 may still come.
    assert made.interest.start_ms == MIDNIGHT + 30 * 60_000
    assert made.interest.end_ms == MIDNIGHT + 75 * 60_000


def test_snapshots_from_before_the_base_are_asked_for() -> None:
    rows = [row(M15, place, interest=None) for place in range(6)]
    base = base_of(range(9, 17), 81 * 60_000)
    made = plan(M15, base, {M15: series(rows, 80 * 60_000)}, 81 * 60_000, history=6)
    assert made.interest is not None  # of a kept row that may be late
    assert (made.interest.start_ms, made.interest.end_ms) == (MIDNIGHT + 30 * 60_000,) * 2
    day = Timeframe.D1
    base = base_of(range(12, 283), 282 * STEP_MS)
    made = plan(day, base, {day: series([row(day, 0)], 280 * STEP_MS)}, 282 * STEP_MS)
    assert made.interest is not None  # of the forming candle, which is asked for as well
    assert (made.interest.start_ms, made.interest.end_ms) == (MIDNIGHT, MIDNIGHT)


def test_a_base_asked_at_the_very_instant_of_a_snapshot_has_asked_for_it() -> None:
    base = base_of(range(3, 8), 7 * STEP_MS, interest=False)
    base = base.with_interest([], MIDNIGHT + 6 * STEP_MS)
    assert plan(M15, base, {}, 7 * STEP_MS, history=1).interest is None


def test_a_market_without_candles() -> None:
    made = plan(H4, None, {}, HOUR_MS)
    for funding, outdated in ((None, True), (FUNDING, False)):
        found = merge_from_base(made, [[]], [], funding)
        assert found is not None
        assert [len(found.series[timeframe].rows) for timeframe in (H4, H8)] == [0, 0]
        assert found.funding_outdated == outdated
    made = plan(M15, base_of(range(4), 3 * STEP_MS), {}, 3 * STEP_MS, history=1)
    found = merge_from_base(made, [], [], None)
    assert found is not None
    assert found.funding_outdated


def test_binance_shows_no_open_interest_before_30_days() -> None:
    market = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")
    days = 40
    rows = [row(Timeframe.D1, place) for place in range(days)]
    earlier = {Timeframe.D1: MarketSeries(market, Rows.of(rows), MIDNIGHT + 39 * DAY_MS + 90_000)}
    made = plan(Timeframe.D1, None, earlier, 39 * DAY_MS + 120_000, history=days, market=market)
    found = merge_from_base(made, [[]], [], FUNDING)
    assert found is not None
    kept = found.series[Timeframe.D1].rows
    assert [line[7] for line in kept] == [None] * 10 + [3.0] * 29


def test_a_new_life_begins_with_what_was_asked_for() -> None:
    """Relisted at 00:20: what opened before is another contract's, but for the rest of a candle."""
    market = replace(BTC, since_ms=MIDNIGHT + 4 * STEP_MS)
    base = base_of(range(-12, 13), 12 * STEP_MS)
    earlier = {M15: series([row(M15, n) for n in range(-3, 4)], 11 * STEP_MS)}
    made = plan(M15, base, earlier, 12 * STEP_MS, history=8, market=market)
    assert made.checked_ms is None
    assert spans(made) == [(1, 1)]
    native = [Candle(MIDNIGHT + 3 * STEP_MS, 1.0, 2.0, 0.5, 8.0, "1", "1")]
    found = merged(made, [native])
    rows = found.series[M15].rows
    assert [(line[4], line[7]) for line in rows] == [
        (8.0, None),
        (100.5, 5.0),
        (100.5, 5.0),
        (100.5, 5.0),
    ]
    assert [line[8] for line in rows] == [None] * 4  # its only settlement was before


def test_rows_before_a_launch_without_trades_are_left_out() -> None:
    market = replace(BTC, launched_ms=MIDNIGHT + 4 * STEP_MS)
    still = [five(slot, volume="0" if slot < 4 else "1.5") for slot in range(13)]
    base = extended(None, still, asked_ms=MIDNIGHT, as_of_ms=MIDNIGHT + 12 * STEP_MS)
    made = plan(M15, base, {}, 12 * STEP_MS, history=5, market=market)
    assert not made.klines
    assert places(merged(made), M15) == [1, 2, 3, 4]
    assert places(merged(plan(M5, base, {}, 12 * STEP_MS, history=13, market=market)), M5) == [
        *range(4, 13)
    ]


def test_an_8h_candle_of_a_life_that_began_within_it() -> None:
    """Nothing was traded before 05:00: of its first 8h candle only the second half is its own."""
    market = replace(BTC, launched_ms=MIDNIGHT + 5 * HOUR_MS)
    still = [
        five(slot, price=slot + 1.0, volume="0" if slot < 60 else "1.5") for slot in range(109)
    ]
    base = extended(None, still, asked_ms=MIDNIGHT, as_of_ms=MIDNIGHT + 9 * HOUR_MS)
    found = merged(plan(H4, base, {}, 9 * HOUR_MS, history=3, market=market))
    assert places(found, H4) == [1, 2]
    first, second = found.series[H8].rows
    # 48 candles from 04:00 on, of which 36 were traded.
    assert first[:7] == (MIDNIGHT, 49.0, 98.0, 48.0, 96.5, 54.0, 7212.0)
    assert second[:2] == (MIDNIGHT + 8 * HOUR_MS, 97.0)


def test_an_8h_candle_in_which_the_symbol_was_listed_again() -> None:
    """At 05:00: the 4h candle of 04:00 is the first, and makes the 8h candle of midnight."""
    market = replace(BTC, since_ms=MIDNIGHT + 5 * HOUR_MS)
    base = base_of(range(109), 9 * HOUR_MS)
    made = plan(H4, base, {}, 9 * HOUR_MS, history=6, market=market)
    assert spans(made) == [(1, 1)]
    native = [Candle(MIDNIGHT + 4 * HOUR_MS, 1.0, 3.0, 0.5, 2.0, "7", "8")]
    found = merged(made, [native])
    assert found.series[H8].rows[0][:7] == (
        MIDNIGHT,
        *(1.0, 3.0, 0.5, 2.0, 7.0, 8.0),
    )
    assert places(found, H4) == [1, 2]
    assert places(found, H8) == [0, 1]
