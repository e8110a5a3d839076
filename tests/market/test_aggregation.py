"""Longer candles against recorded ones, exact decimals, and a loop over the rows."""

from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_collector.api_parser import Candle
from data_collector.data_processing import aggregate_4h_to_8h, merge_data
from market.aggregation import aggregate, with_merged
from market.columns import COLUMNS
from market.markets import Row
from market.rows import Rows
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.recorded_csv import read_candles, read_csv

H4, H8 = 4 * HOUR_MS, 8 * HOUR_MS
MIDNIGHT = 1_767_225_600_000  # 2026-01-01T00:00:00Z


def candle(open_ms: int, volume: str, turnover: str) -> Candle:
    return Candle(open_ms, 100.0, 101.0, 99.0, 100.5, volume, turnover)


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


# --- any lengths ---------------------------------------------------------------------------------


def by_hand(
    rows: Sequence[Row], made: Timeframe, window_start_ms: int
) -> list[tuple[float | None, ...]]:
    """The same by a loop over the rows, sums of the shortest decimals."""
    longer = []
    for opened, group in groupby(rows, key=lambda row: made.floor(row[0])):
        part = [dict(zip(COLUMNS, row, strict=True)) for row in group]
        first, last = part[0], part[-1]
        if opened < window_start_ms:
            continue
        longer.append(
            (
                opened,
                first["open"],
                max(row["high"] or 0 for row in part),
                min(row["low"] or 0 for row in part),
                last["close"],
                *(
                    float(sum(Decimal(repr(row[name])) for row in part))
                    for name in ("volume", "turnover")
                ),
                first["open_interest"] if first["open_time"] == opened else None,
                last["funding_rate"],
            )
        )
    return longer


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_length_is_made_of_any_that_divides_it(data: st.DataObject) -> None:
    pairs = [(a, b) for a in Timeframe for b in Timeframe if b.interval_ms % a.interval_ms == 0]
    source, made = data.draw(st.sampled_from([(a, b) for a, b in pairs if a is not b]))
    begin = data.draw(st.integers(0, 300))
    count = data.draw(st.integers(1, 60))
    holes = data.draw(st.sets(st.integers(1, count))) if data.draw(st.booleans()) else set()
    price = st.integers(1, 10**6).map(lambda number: number / 8)
    amount = st.sampled_from([0.1, 0.2, 0.3, 999_999_999_999.999, 12_345_678_901_234.5, 7e17])
    maybe = st.none() | st.integers(0, 10**9).map(float)
    line = st.tuples(price, price, price, price, amount, amount, maybe, maybe)
    rows: list[Row] = [
        (MIDNIGHT + slot * source.interval_ms, *data.draw(line))
        for slot in range(begin, begin + count)
        if slot - begin not in holes
    ]
    window_start_ms = MIDNIGHT + data.draw(st.integers(begin, begin + count)) * source.interval_ms
    expected = by_hand(rows, made, window_start_ms)
    longer = aggregate(rows, source, made, window_start_ms=window_start_ms)
    assert list(longer) == expected
    # What is merged to candles can be taken anew from the rows they were made of.
    blank = Rows(longer.times, longer.values.copy())
    for name in ("open_interest", "funding_rate"):
        blank.column(name)[:] = -1.0
    assert list(with_merged(blank, Rows.of(rows), made)) == expected


def test_twelve_sums_of_fifteen_digits_have_more_than_a_float_counts() -> None:
    """Each volume is recovered from its float, but their sum in thousandths is above 2**53."""
    ends = (316755, 601944, 172963, 779846, 901581, 488445, 970275, 63289, 123636, 591255, 546210)
    volumes = [float(f"999999999{end:06}") / 1000 for end in (*ends, 363055)]
    rows: list[Row] = [
        (MIDNIGHT + slot * 300_000, 1.0, 1.0, 1.0, 1.0, volume, 1.0, None, None)
        for slot, volume in enumerate(volumes)
    ]
    (hour,) = aggregate(rows, Timeframe.M5, Timeframe.H1, window_start_ms=MIDNIGHT)
    assert hour[COLUMNS.index("volume")] == 11_999_999_993_919.254
