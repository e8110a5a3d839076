"""Merging against recorded series and the design's words."""

from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from data_collector.api_parser import Candle
from data_collector.data_processing import merge_data, why_lost
from market.markets import Exchange, FundingRow, FundingSeries, Market
from market.rows import TimedValues
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.recorded_csv import read_candles, read_csv

H4, H8 = 4 * HOUR_MS, 8 * HOUR_MS
MIDNIGHT = 1_767_225_600_000  # 2026-01-01T00:00:00Z
BTC = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")


def candle(open_ms: int, volume: str = "1.5", turnover: str = "150.25") -> Candle:
    return Candle(open_ms, 100.0, 101.0, 99.0, 100.5, volume, turnover)


def funding(
    rows: Sequence[FundingRow], *, checked_at_ms: int, interval_hours: int = 8
) -> FundingSeries:
    return FundingSeries(BTC, rows, interval_hours, checked_at_ms)


def merged_rates(
    candles: Sequence[Candle], series: FundingSeries | None, as_of_ms: int
) -> tuple[list[float | None], bool]:
    merged = merge_data(
        candles, [], series, timeframe=Timeframe.H4, as_of_ms=as_of_ms, history_candles=499
    )
    return [row[8] for row in merged.rows], merged.funding_outdated


# --- merge: open interest, window, funding -----------------------------------------------------


def test_a_row_holds_the_candle_and_the_snapshot_of_its_open_time() -> None:
    merged = merge_data(
        [
            Candle(MIDNIGHT, 1.5, 3.0, 1.0, 2.5, "10.250", "25.62500"),
            Candle(MIDNIGHT + H4, 2.5, 2.75, 2.0, 2.25, "0", "0"),
            Candle(MIDNIGHT + 2 * H4, 2.25, 2.5, 2.0, 2.5, "7", "15.75"),
        ],
        # 04:00 is absent; a snapshot a millisecond later is not the candle's.
        [(MIDNIGHT, 55.0), (MIDNIGHT + H4 + 1, 66.0), (MIDNIGHT + 2 * H4, 77.0)],
        funding([(MIDNIGHT + 11, 0.0001)], checked_at_ms=MIDNIGHT + H4),
        timeframe=Timeframe.H4,
        as_of_ms=MIDNIGHT + H8 - 1,
        history_candles=499,
    )
    assert merged.rows == [
        (MIDNIGHT, 1.5, 3.0, 1.0, 2.5, 10.25, 25.625, 55.0, 0.0001),
        (MIDNIGHT + H4, 2.5, 2.75, 2.0, 2.25, 0.0, 0.0, None, 0.0001),
    ]  # 08:00 opens after as_of
    assert merged.exact == (("10.250", "0"), ("25.62500", "0"))
    assert all(type(value) is float for row in merged.rows for value in row[1:7])
    assert not merged.funding_outdated


def test_the_window_ends_with_the_candle_that_holds_as_of() -> None:
    candles = [candle(MIDNIGHT + n * H4) for n in range(-5, 5)]

    def opens(as_of_ms: int, history_candles: int) -> list[int]:
        rows = merge_data(
            candles,
            [],
            None,
            timeframe=Timeframe.H4,
            as_of_ms=as_of_ms,
            history_candles=history_candles,
        ).rows
        return [(row[0] - MIDNIGHT) // H4 for row in rows]

    assert opens(MIDNIGHT, 3) == [-2, -1, 0]
    assert opens(MIDNIGHT - 1, 3) == [-3, -2, -1]
    assert opens(MIDNIGHT + H4 - 1, 1) == [0]
    assert opens(MIDNIGHT, 499) == [-5, -4, -3, -2, -1, 0]
    assert opens(MIDNIGHT - 40 * H4, 3) == []


def test_a_window_counts_instants_and_not_candles() -> None:
    with_hole = [candle(MIDNIGHT + n * H4) for n in (-6, -5, -2, 0)]
    rows = merge_data(
        with_hole, [], None, timeframe=Timeframe.H4, as_of_ms=MIDNIGHT, history_candles=4
    ).rows
    assert [(row[0] - MIDNIGHT) // H4 for row in rows] == [-2, 0]


def test_the_rate_is_the_last_one_settled_before_the_candles_end() -> None:
    candles = [candle(MIDNIGHT + n * H4) for n in (0, 1, 2, 3)]
    settled = [
        (MIDNIGHT + 47, 0.1),
        (MIDNIGHT + H8, 0.2),  # exactly the end of the candle of 04:00: not its
        (MIDNIGHT + 2 * H8 + 2, 0.3),
    ]
    series = funding(settled, checked_at_ms=MIDNIGHT + 2 * H8 + HOUR_MS)
    rates, outdated = merged_rates(candles, series, MIDNIGHT + 4 * H4 + HOUR_MS)
    assert rates == [0.1, 0.1, 0.2, 0.2]
    assert not outdated


def test_no_rate_before_the_first_known_settlement_nor_after_as_of() -> None:
    candles = [candle(MIDNIGHT + n * H4) for n in (-1, 0, 1)]
    series = funding([(MIDNIGHT + 9, 0.1), (MIDNIGHT + H4 + 9, 0.2)], checked_at_ms=MIDNIGHT + H8)
    # At as_of the second settlement had not happened, though the book knows it.
    assert merged_rates(candles, series, MIDNIGHT + H4 + 8)[0] == [None, 0.1, 0.1]
    assert merged_rates(candles, series, MIDNIGHT + H4 + 9)[0] == [None, 0.1, 0.2]


def test_settlements_inside_a_hole_are_not_lost() -> None:
    candles = [candle(MIDNIGHT), candle(MIDNIGHT + 6 * H4)]
    settled = [(MIDNIGHT + n * H8, n / 10) for n in range(4)]
    series = funding(settled, checked_at_ms=MIDNIGHT + 3 * H8 + 1)
    assert merged_rates(candles, series, MIDNIGHT + 6 * H4 + 1)[0] == [0.0, 0.3]


def test_a_rate_that_may_be_old_is_left_out() -> None:
    candles = [candle(MIDNIGHT + n * H4) for n in range(4)]
    as_of = MIDNIGHT + 3 * H4 + 60_000
    known = [(MIDNIGHT + 5, 0.1)]
    # Checked before 08:00: candles that reach 08:00 or later may have a newer rate. The candle
    # of 04:00 ends at 08:00, and that settlement is not inside it.
    stale = funding(known, checked_at_ms=MIDNIGHT + H8 - 1)
    assert merged_rates(candles, stale, as_of) == ([0.1, 0.1, None, None], True)
    # Checked at 08:00 sharp: the settlement of that instant is covered.
    checked = funding(known, checked_at_ms=MIDNIGHT + H8)
    assert merged_rates(candles, checked, as_of) == ([0.1, 0.1, 0.1, 0.1], False)


def test_funding_checked_in_the_future_is_complete_to_its_last_settlement() -> None:
    candles = [candle(MIDNIGHT + n * H4) for n in range(4)]
    as_of = MIDNIGHT + 3 * H4 + 60_000
    known = [(MIDNIGHT + 5, 0.1)]
    wrong_clock = funding(known, checked_at_ms=as_of + 2 * 24 * HOUR_MS)
    assert merged_rates(candles, wrong_clock, as_of) == ([0.1, 0.1, None, None], True)
    little_ahead = funding(known, checked_at_ms=as_of + 5 * 60_000)
    assert merged_rates(candles, little_ahead, as_of) == ([0.1, 0.1, 0.1, 0.1], False)


def test_a_settlement_after_as_of_cannot_make_a_rate_old() -> None:
    candles = [candle(MIDNIGHT + n * H4) for n in range(2)]
    series = funding([(MIDNIGHT, 0.1)], checked_at_ms=MIDNIGHT + HOUR_MS, interval_hours=1)
    assert merged_rates(candles[:1], series, MIDNIGHT + 2 * HOUR_MS - 1) == ([0.1], False)
    assert merged_rates(candles[:1], series, MIDNIGHT + 2 * HOUR_MS) == ([None], True)


def test_a_market_without_funding_asks_for_it() -> None:
    assert merged_rates([candle(MIDNIGHT)], None, MIDNIGHT) == ([None], True)


def test_no_candles_make_no_rows() -> None:
    series = funding([], checked_at_ms=MIDNIGHT)
    merged = merge_data(
        [], [], series, timeframe=Timeframe.H1, as_of_ms=MIDNIGHT, history_candles=499
    )
    assert (list(merged.rows), merged.exact, merged.funding_outdated) == ([], ((), ()), False)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_rates_follow_the_design_to_the_letter(data: st.DataObject) -> None:
    """Every row against the sentence of the design, evaluated by looking at everything."""
    timeframe = data.draw(st.sampled_from([Timeframe.M5, Timeframe.H1, Timeframe.H4, Timeframe.D1]))
    step = timeframe.interval_ms
    hours = data.draw(st.sampled_from([1, 2, 4, 8]))
    slots = data.draw(st.lists(st.integers(0, 30), unique=True, max_size=20))
    candles = [candle(MIDNIGHT + slot * step) for slot in sorted(slots)]
    nominal = range(MIDNIGHT - 2 * 24 * HOUR_MS, MIDNIGHT + 31 * step, hours * HOUR_MS)
    as_of = MIDNIGHT + data.draw(st.integers(0, 31 * step))
    checked = MIDNIGHT + data.draw(st.integers(-24 * HOUR_MS, 31 * step))
    late = data.draw(st.integers(0, 47))
    known = [(time + late, i / 7) for i, time in enumerate(nominal) if time + late <= checked]
    merged = merge_data(
        candles,
        [],
        funding(known, checked_at_ms=checked, interval_hours=hours),
        timeframe=timeframe,
        as_of_ms=as_of,
        history_candles=20,
    )
    last = as_of // step * step
    inside = [c for c in candles if last - 19 * step <= c[0] <= last]
    assert [row[0] for row in merged.rows] == [c[0] for c in inside]
    doubtful = 0
    for row in merged.rows:
        end = row[0] + step
        held = [r for t, r in known if t < end and t <= as_of]
        unknown = [
            t
            for t in range(checked + 1 + -(checked + 1) % (hours * HOUR_MS), end, hours * HOUR_MS)
            if t <= as_of
        ]
        doubtful += bool(unknown)
        assert row[8] == (None if unknown or not held else held[-1])
    assert merged.funding_outdated == bool(doubtful)


def test_open_interest_and_funding_of_a_recorded_market(recorded_data: Path) -> None:
    """IOTAUSDT, which lacks two open-interest periods of its own, by looking up each row."""
    history = recorded_data / "history"
    candles = read_candles(
        history / "binance_IOTAUSDT_kline_4h_2025-09-13_2026-03-19.csv.gz", turnover="quote_volume"
    )
    interest = {
        int(t): float(v)
        for t, v in read_csv(
            history / "binance_IOTAUSDT_oi_4h_2026-02-20_2026-03-20.csv",
            "timestamp",
            "sum_open_interest",
        )
    }
    settled = [
        (int(t), float(r))
        for t, r in read_csv(
            history / "binance_IOTAUSDT_funding_2026-01-12_2026-03-20.csv",
            "funding_time",
            "funding_rate",
        )
    ]
    as_of = candles[-1][0] + HOUR_MS
    merged = merge_data(
        candles,
        list(interest.items()),
        funding(settled, checked_at_ms=as_of),
        timeframe=Timeframe.H4,
        as_of_ms=as_of,
        history_candles=499,
    )
    assert len(merged.rows) == 499
    assert not merged.funding_outdated
    for row in merged.rows:
        assert row[7] == interest.get(row[0])
        before = [rate for time, rate in settled if time < row[0] + H4 and time <= as_of]
        assert row[8] == (before[-1] if before else None)
    holes = [row[0] for row in merged.rows if row[0] > min(interest) and row[7] is None]
    assert holes == [1772078400000, 1772236800000]  # 2026-02-26 04:00 and 2026-02-28 00:00


# --- edges -------------------------------------------------------------------------------------


def test_snapshots_beyond_the_rows_are_nobodys() -> None:
    snapshots = [(MIDNIGHT - H4, 1.0), (MIDNIGHT, 2.0), (MIDNIGHT + H4, 3.0), (MIDNIGHT + H8, 4.0)]
    for known, expected in ((snapshots, 2.0), (snapshots[2:], None), (snapshots[1:2], 2.0)):
        merged = merge_data(
            [candle(MIDNIGHT)],
            known,
            None,
            timeframe=Timeframe.H4,
            as_of_ms=MIDNIGHT + H4 - 1,
            history_candles=5,
        )
        assert [row[7] for row in merged.rows] == [expected]


def test_a_rate_counts_from_the_ms_of_its_settlement() -> None:
    opened = [candle(MIDNIGHT - H4), candle(MIDNIGHT)]
    for settled_ms, rates in ((0, [0.1, 0.2]), (-1, [0.2, 0.2]), (1, [0.1, 0.1])):
        settled = [(MIDNIGHT - H8, 0.1), (MIDNIGHT + settled_ms, 0.2)]
        for rows in (settled, TimedValues.of(settled)):
            series = funding(rows, checked_at_ms=MIDNIGHT)
            assert merged_rates(opened, series, MIDNIGHT) == (rates, False)


def test_why_candles_that_lack_known_ones_cannot_be_right() -> None:
    known = [1, 2, 3]
    assert why_lost(known, {1, 2, 3}, holes_too=True) is None
    assert why_lost(known, {1, 2, 3, 4}, holes_too=True) is None
    ended = "its candles end at 2, before one known at 3"
    for holes_too in (True, False):
        assert why_lost(known, {1, 2}, holes_too=holes_too) == ended
    gone = "2 known candles are gone, the first of 1"
    assert why_lost(known, {3}, holes_too=True) == gone
    assert why_lost(known, {3}, holes_too=False) is None
    assert why_lost(known, {3, 4}, holes_too=True) == gone
    assert why_lost([], {3}, holes_too=True) is None
