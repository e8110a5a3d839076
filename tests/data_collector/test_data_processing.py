"""Merging and 8h against recorded candles, exact decimals, and the design's words."""

import csv
import gzip
from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_collector.api_parser import Candle
from data_collector.data_processing import aggregate_4h_to_8h, merge_data
from market.markets import Exchange, FundingRow, FundingSeries, Market, Row
from market.timeframes import HOUR_MS, Timeframe

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


# --- 8h ----------------------------------------------------------------------------------------


def four_hours(open_ms: int, **values: float | None) -> Row:
    given = {"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 1.0} | values
    return (
        open_ms,
        given["open"] or 0.0,
        given["high"] or 0.0,
        given["low"] or 0.0,
        given["close"] or 0.0,
        given["volume"] or 0.0,
        values.get("turnover") or 10.0,
        values.get("open_interest"),
        values.get("rate"),
    )


def test_a_group_of_two() -> None:
    rows = [
        four_hours(
            MIDNIGHT,
            open=1.0,
            high=4.0,
            low=0.5,
            close=2.0,
            volume=0.1,
            open_interest=7.0,
            rate=0.01,
        ),
        four_hours(
            MIDNIGHT + H4, open=2.0, high=3.0, low=0.25, close=2.5, volume=0.2, open_interest=8.0
        ),
    ]
    # 0.1 + 0.2 is 0.3 in decimals, and the rate is the last candle's, here not known.
    assert aggregate_4h_to_8h(rows, window_start_ms=MIDNIGHT) == [
        (MIDNIGHT, 1.0, 4.0, 0.25, 2.5, 0.3, 20.0, 7.0, None)
    ]


@pytest.mark.parametrize(
    ("slots", "window_start", "opened"),
    [
        ([0, 1, 2, 3], 0, [0, 2]),
        ([1, 2, 3], 1, [2]),  # our window begins inside the first group
        ([1, 2, 3], 0, [0, 2]),  # the market was listed inside it, or it has a hole
        ([1], 0, [0]),
        ([1], 1, []),
        ([0, 1, 2], 0, [0, 2]),  # the last is forming
        ([0, 3, 4, 9], 0, [0, 2, 4, 8]),  # holes
        ([3, 4, 5], 3, [4]),
        ([], 0, []),
    ],
)
def test_which_groups_there_are(slots: list[int], window_start: int, opened: list[int]) -> None:
    rows = [four_hours(MIDNIGHT + slot * H4, open_interest=float(slot)) for slot in slots]
    result = aggregate_4h_to_8h(rows, window_start_ms=MIDNIGHT + window_start * H4)
    assert [(row[0] - MIDNIGHT) // H4 for row in result] == opened
    # The candle that opens the group gives its open interest, no other.
    assert [row[7] for row in result] == [float(s) if s in slots else None for s in opened]


def whole_8h(rows: Sequence[tuple[int, str, str, str, str, str]]) -> Iterator[tuple[object, ...]]:
    """8h candles from finer ones, by decimal arithmetic."""
    for opened, group in groupby(rows, key=lambda row: row[0] - row[0] % H8):
        part = list(group)
        yield (
            opened,
            float(part[0][1]),
            float(max(Decimal(row[2]) for row in part)),
            float(min(Decimal(row[3]) for row in part)),
            float(part[-1][4]),
            float(sum(Decimal(row[5]) for row in part)),
        )


def read_csv(path: Path, *columns: str) -> list[tuple[str, ...]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        return [tuple(record[name] for name in columns) for record in csv.DictReader(lines)]


def read_candles(
    path: Path, *, opened: str = "open_time", turnover: str = "volume"
) -> list[Candle]:
    """Recorded candles; where a file has no turnover its volume stands in, to be summed too."""
    columns = (opened, "open", "high", "low", "close", "volume", turnover)
    return [
        Candle(int(t), float(o), float(h), float(lo), float(c), v, q)
        for t, o, h, lo, c, v, q in read_csv(path, *columns)
    ]


def to_8h(candles: Sequence[Candle], *, window_start_ms: int | None = None) -> Sequence[Row]:
    merged = merge_data(
        candles,
        [],
        None,
        timeframe=Timeframe.H4,
        as_of_ms=candles[-1][0],
        history_candles=(candles[-1][0] - candles[0][0]) // H4 + 3,
    )
    assert len(merged.rows) == len(candles)
    start = candles[0][0] - 2 * H4 if window_start_ms is None else window_start_ms
    exact = aggregate_4h_to_8h(merged.rows, window_start_ms=start, exact=merged.exact)
    # These files hold no text beyond 15 digits, so the floats alone lead to the same sums.
    assert exact == aggregate_4h_to_8h(merged.rows, window_start_ms=start)
    return exact


def test_equals_the_native_8h_candles(recorded_data: Path) -> None:
    history = recorded_data / "history"
    ours = to_8h(read_candles(history / "binance_BTCUSDT_kline_4h_2021-11-01_2022-06-08.csv.gz"))
    native = read_candles(history / "binance_BTCUSDT_kline_8h_2021-11-01_2022-06-08.csv")
    assert len(ours) == 657
    assert [row[:6] for row in ours] == [(*row[:5], float(row[5])) for row in native]


@pytest.mark.parametrize(
    ("symbol", "period"),
    [
        ("BTCUSDT", "2021-11-01_2022-06-08"),
        ("LTCUSDT", "2022-01-01_2022-05-01"),
    ],
)
def test_equals_native_8h_by_way_of_hours(recorded_data: Path, symbol: str, period: str) -> None:
    """1h into 4h by decimals here, then 4h into 8h by the code."""
    history = recorded_data / "history"
    columns = ("open_time", "open", "high", "low", "close", "volume")
    hours = read_csv(history / f"binance_{symbol}_kline_1h_{period}.csv.gz", *columns)
    fours: list[Candle] = []
    for opened, group in groupby(hours, key=lambda row: int(row[0]) // H4 * H4):
        part = list(group)
        volume = format(sum(Decimal(row[5]) for row in part), "f")
        high = max(float(row[2]) for row in part)
        low = min(float(row[3]) for row in part)
        close = float(part[-1][4])
        fours.append(Candle(opened, float(part[0][1]), high, low, close, volume, volume))
    expected = read_candles(history / f"binance_{symbol}_kline_8h_{period}.csv")
    assert [row[:6] for row in to_8h(fours)] == [(*row[:5], float(row[5])) for row in expected]


@pytest.mark.parametrize(
    ("market", "fine", "coarse", "groups"),
    [
        ("bybit_BTCUSDT", "60_2024-01-01_2024-07-01.csv.gz", "240_2024-01-01_2024-07-01.csv", 546),
        ("bybit_SOLUSDT", "60_2025-07-01_2026-01-05.csv.gz", "240_2025-07-01_2026-01-05.csv", 560),
        # A market's first days: its first candle of 4h opens at 04:00, its first hour at 05:00.
        ("binance_KATUSDT", "1h_2026-03-02_2026-03-19.csv", "4h_2026-03-02_2026-03-19.csv", 52),
    ],
)
def test_equals_what_the_hours_say(
    recorded_data: Path, market: str, fine: str, coarse: str, groups: int
) -> None:
    history = recorded_data / "history"
    opened = "start_time" if market.startswith("bybit") else "open_time"
    columns = (opened, "open", "high", "low", "close", "volume")
    hours = [
        (int(row[0]), *row[1:]) for row in read_csv(history / f"{market}_kline_{fine}", *columns)
    ]
    expected = list(whole_8h(hours))  # type: ignore[arg-type]
    ours = to_8h(read_candles(history / f"{market}_kline_{coarse}", opened=opened))
    # The last group was forming while one file was recorded after the other.
    compared = [row[:6] for row in ours[:groups]]
    assert len(compared) == groups
    assert compared == expected[:groups]


def test_turnover_equals_the_decimal_sum(recorded_data: Path) -> None:
    """BTCUSDT: 4h turnovers of up to 16 digits, more than a float64 can give back."""
    path = recorded_data / "history" / "binance_BTCUSDT_kline_4h_2025-09-13_2026-03-19.csv.gz"
    candles = read_candles(path, turnover="quote_volume")
    texts = {row[0]: Decimal(row[6]) for row in candles}
    assert max(len(row[6].replace(".", "")) for row in candles) >= 16
    merged = merge_data(
        candles, [], None, timeframe=Timeframe.H4, as_of_ms=candles[-1][0], history_candles=5000
    )
    ours = aggregate_4h_to_8h(merged.rows, window_start_ms=0, exact=merged.exact)
    for row in ours:
        pair = [texts[t] for t in (row[0], row[0] + H4) if t in texts]
        assert row[6] == float(sum(pair))


def test_every_recorded_market_sums_to_its_decimals(recorded_data: Path) -> None:
    path = recorded_data / "history" / "binance_ALL_kline_4h_2026-03-20.csv.gz"
    columns = ("symbol", "open_time", "open", "high", "low", "close", "volume", "quote_volume")
    markets = 0
    for _, group in groupby(read_csv(path, *columns), key=lambda row: row[0]):
        candles: list[Candle] = [
            Candle(int(t), float(o), float(h), float(lo), float(c), v, q)
            for _, t, o, h, lo, c, v, q in group
        ]
        start = candles[0][0]
        merged = merge_data(
            candles, [], None, timeframe=Timeframe.H4, as_of_ms=candles[-1][0], history_candles=999
        )
        ours = aggregate_4h_to_8h(merged.rows, window_start_ms=start, exact=merged.exact)
        decimals: dict[int, list[Decimal]] = {}
        for row in candles:
            sums = decimals.setdefault(row[0] // H8 * H8, [Decimal(0), Decimal(0)])
            sums[0] += Decimal(row[5])
            sums[1] += Decimal(row[6])
        expected = [
            (opened, float(v), float(q)) for opened, (v, q) in decimals.items() if opened >= start
        ]
        assert [(row[0], row[5], row[6]) for row in ours] == expected
        markets += 1
    assert markets == 270


@st.composite
def plain_decimals(draw: st.DrawFn, *, max_digits: int, decimals: int | None = None) -> str:
    digits = str(draw(st.integers(0, 10 ** draw(st.integers(1, max_digits)) - 1)))
    places = draw(st.integers(0, 10)) if decimals is None else decimals
    if not places:
        return digits
    digits = digits.zfill(places + 1)
    text = f"{digits[:-places]}.{digits[-places:]}"
    # Binance pads to a fixed number of decimals, Bybit drops trailing zeros.
    return text if decimals is not None else text.rstrip("0").rstrip(".")


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_sums_are_the_floats_nearest_to_the_decimal_sums(data: st.DataObject) -> None:
    decimals = data.draw(st.none() | st.integers(0, 8))
    digits = data.draw(st.sampled_from([6, 15, 16, 18, 25]))
    number = plain_decimals(max_digits=digits, decimals=decimals)
    texts = data.draw(st.lists(st.tuples(number, number), min_size=1, max_size=12))
    slots = data.draw(st.sampled_from([range(12), range(1, 13), [0, 3, *range(4, 24, 2)]]))
    candles = [
        candle(MIDNIGHT + slot * H4, volume, turnover)
        for slot, (volume, turnover) in zip(slots, texts, strict=False)
    ]
    merged = merge_data(
        candles, [], None, timeframe=Timeframe.H4, as_of_ms=candles[-1][0], history_candles=99
    )
    assert [row[5:7] for row in merged.rows] == [(float(v), float(q)) for v, q in texts]
    exact = aggregate_4h_to_8h(merged.rows, window_start_ms=MIDNIGHT, exact=merged.exact)
    shortest = aggregate_4h_to_8h(merged.rows, window_start_ms=MIDNIGHT)
    with localcontext(prec=60):
        for column, place in ((5, 5), (6, 6)):
            by_text: dict[int, Decimal] = {}
            by_float: dict[int, Decimal] = {}
            for row, source in zip(merged.rows, candles, strict=True):
                opened = row[0] // H8 * H8
                by_text[opened] = by_text.get(opened, Decimal(0)) + Decimal(str(source[column]))
                by_float[opened] = by_float.get(opened, Decimal(0)) + Decimal(repr(row[place]))
            assert [row[place] for row in exact] == [float(total) for total in by_text.values()]
            assert [row[place] for row in shortest] == [float(total) for total in by_float.values()]


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
