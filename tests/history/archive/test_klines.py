"""Candles of archive files: headers, units, doubles, spans, and rows that are no candles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from history.archive.errors import ArchiveError
from history.archive.klines import read_klines
from history.archive.names import parse_name
from history.archive.rows import ArchiveRows
from tests.history.archive.files import DAY, H1, KLINES, kline, ms, text_of

MARCH = ms("2026-03-01")
LATER = ms("2026-11-30")


def read(
    lines: list[str], name: str = "BTCUSDT-1h-2026-03-01.zip", now_ms: int = LATER
) -> ArchiveRows:
    return read_klines(text_of(lines), parse_name(name), now_ms)


def refused(rows: ArchiveRows) -> list[str]:
    return list(rows.refusals.texts())


CANDLES = [
    kline(MARCH, H1, ("0.1", "0.3", "0.1", "0.25", "1000.5", "250.125")),
    kline(MARCH + H1, H1, ("0.25", "0.25", "0.2", "0.21", "0", "0")),
    kline(
        MARCH + 2 * H1, H1, ("0.21", "1e1", "0.21", "9.99999999", "43210.161", "1263866286.41699")
    ),
]
VALUES = [
    [0.1, 0.3, 0.1, 0.25, 1000.5, 250.125],
    [0.25, 0.25, 0.2, 0.21, 0.0, 0.0],
    [0.21, 10.0, 0.21, 9.99999999, 43210.161, 1263866286.41699],
]


@pytest.mark.parametrize("header", [[], [KLINES]])
@pytest.mark.parametrize("unit", [1, 1000])
def test_a_file_has_a_header_or_none_and_either_unit(header: list[str], unit: int) -> None:
    fields = [line.split(",") for line in CANDLES]
    for row in fields:
        begin = int(row[0])
        row[0], row[6] = str(begin * unit), str((begin + H1) * unit - 1)
    rows = read([*header, *map(",".join, fields)])
    assert rows.times.tolist() == [MARCH, MARCH + H1, MARCH + 2 * H1]
    assert rows.values.tolist() == VALUES
    assert refused(rows) == []
    assert rows.lacking == 21


def test_columns_are_found_by_the_header() -> None:
    columns = KLINES.split(",")
    order = [6, 0, 5, 4, 3, 2, 1, 7]
    lines = [",".join(row.split(",")[place] for place in order) for row in CANDLES]
    rows = read([",".join(columns[place] for place in order), *lines])
    assert rows.values.tolist() == VALUES


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "it is empty"),
        (["open_time,open,high,low", CANDLES[0]], "its header .* lacks close, volume"),
        ([KLINES.replace("quote_volume", "turnover"), *CANDLES], "lacks quote_volume"),
    ],
)
def test_another_table_is_refused(lines: list[str], words: str) -> None:
    with pytest.raises(ArchiveError, match=words):
        read(lines)


def test_times_of_other_units_are_refused_with_their_lines() -> None:
    wrong = [str(MARCH // 1000), f"{MARCH}000000", f"{MARCH}001"]
    lines = [CANDLES[0].replace(str(MARCH), text, 1) for text in wrong]
    rows = read([KLINES, *CANDLES, *lines])
    assert refused(rows) == [
        "line 5: its open_time is neither milliseconds (13 digits) nor microseconds (16 digits)",
        "line 6: its open_time is neither milliseconds (13 digits) nor microseconds (16 digits)",
        "line 7: its open_time is not on the grid of 1h",
    ]
    assert rows.values.tolist() == VALUES


def test_doubled_rows_are_dropped_and_contradictory_ones_refused() -> None:
    other = CANDLES[1].replace("0.21", "0.22")
    rows = read([KLINES, *CANDLES, CANDLES[0], other, CANDLES[2], CANDLES[2]])
    assert rows.times.tolist() == [MARCH, MARCH + 2 * H1]
    assert rows.values.tolist() == [VALUES[0], VALUES[2]]
    assert rows.doubled == 3
    assert refused(rows) == [
        "line 3: it has the time of line 6, and other values",
        "line 6: it has the time of line 3, and other values",
    ]


def test_rows_outside_of_the_span_of_the_name_are_refused() -> None:
    rows = read([*CANDLES, kline(MARCH + DAY, H1), kline(MARCH - H1, H1)])
    assert rows.values.tolist() == VALUES
    assert refused(rows) == [
        "line 4: 2026-03-02T00:00:00Z is outside of what the file's name says",
        "line 5: 2026-02-28T23:00:00Z is outside of what the file's name says",
    ]


@pytest.mark.parametrize(
    ("candle", "cause"),
    [
        (("nan", "12", "9", "11", "5", "55"), "'nan' is no number"),
        (("10", "inf", "9", "11", "5", "55"), "'inf' is no number"),
        (("10", "10", "9", "11", "5", "55"), "its numbers are those of no candle"),
        (("10", "12", "10.5", "11", "5", "55"), "its numbers are those of no candle"),
        (("10", "12", "9", "11", "-5", "55"), "its numbers are those of no candle"),
        (("0", "12", "0", "11", "5", "55"), "its numbers are those of no candle"),
        (("10", "12", "9", "11", "", "55"), "'' is no number"),
        (("1_0", "12", "9", "11", "5", "55"), "'1_0' is no number"),
        (("10,10", "12", "9", "11", "5", "55"), "13 columns in place of 12"),
        (("1e999", "12", "9", "11", "5", "55"), "its numbers are those of no candle"),
    ],
)
def test_what_is_no_candle_is_refused_with_its_line(candle: tuple[str, ...], cause: str) -> None:
    rows = read([KLINES, *CANDLES, kline(MARCH + 3 * H1, H1, candle)])
    assert refused(rows) in ([f"line 5: {cause}"], ["line 5: its numbers are those of no candle"])
    assert rows.values.tolist() == VALUES


def test_a_line_that_was_cut_off_is_refused() -> None:
    text = text_of([KLINES, *CANDLES, kline(MARCH + 3 * H1, H1)])
    for cut in (40, 10):
        rows = read_klines(text[:-cut], parse_name("BTCUSDT-1h-2026-03-01.csv"), LATER)
        assert refused(rows)[0].startswith("line 5: ")
        assert rows.values.tolist() == VALUES


def test_candles_of_another_length_than_the_name_says_are_refused() -> None:
    lines = [kline(MARCH + place * 2 * H1, 2 * H1) for place in range(12)]
    with pytest.raises(
        ArchiveError, match=r"12 of its lines .* line 1: its close_time is not that"
    ):
        read(lines)


def test_candles_that_have_not_closed_are_left_out() -> None:
    rows = read(CANDLES, now_ms=MARCH + 3 * H1 - 1)
    assert rows.values.tolist() == VALUES[:2]
    assert rows.forming == 1
    assert rows.lacking == 0
    assert read(CANDLES, now_ms=MARCH + 3 * H1).forming == 0


def test_prices_without_trades_are_no_candles_of_the_market() -> None:
    marks = [kline(MARCH + place * H1, H1, ("10", "12", "9", "11", "0", "0")) for place in range(3)]
    with pytest.raises(ArchiveError, match="they are mark or index prices"):
        read([KLINES, *marks])


FLAT = ("11", "11", "11", "11", "0", "0")


def test_flat_candles_after_the_settlement_of_a_contract_are_left_out() -> None:
    traded = [kline(MARCH + place * H1, H1) for place in range(9)]
    flat = [kline(MARCH + place * H1, H1, FLAT) for place in range(9, 24)]
    rows = read([KLINES, *traded, *flat])
    assert rows.times.tolist() == [MARCH + place * H1 for place in range(9)]
    assert rows.after_end == 15
    assert rows.lacking == 0
    assert rows.notes == [
        "15 flat candles without a trade at its end were left out: the contract was settled"
    ]
    whole = read([kline(MARCH + place * H1, H1, FLAT) for place in range(24)])
    assert (len(whole.times), whole.after_end) == (0, 24)


@pytest.mark.parametrize(
    "candles",
    [
        # 11 hours of silence, silence that ends, silence before the last rows of a half file, and
        # prices that stand still while there are trades.
        [None] * 13 + [FLAT] * 11,
        [FLAT] * 23 + [None],
        [None] * 2 + [FLAT] * 14,
        [("11", "11", "11", "11", "1", "11")] * 24,
    ],
)
def test_a_market_without_trades_for_a_while_is_not_settled(
    candles: list[tuple[str, ...] | None],
) -> None:
    lines = [
        kline(MARCH + place * H1, H1, candle or ("10", "12", "9", "11", "5", "55"))
        for place, candle in enumerate(candles)
    ]
    rows = read(lines)
    assert len(rows.times) == len(candles)
    assert rows.after_end == 0


NUMBER = st.floats(0, 1e15).map(repr)


@given(st.lists(st.tuples(*[NUMBER] * 6), min_size=1, max_size=24))
def test_numbers_come_out_bit_for_bit_in_whatever_way_they_are_read(
    candles: list[tuple[str, ...]],
) -> None:
    ordered = []
    for prices in candles:
        low, opened, close, high = sorted(map(float, prices[:4]))
        ordered.append(
            [opened + 1, high + 1, low + 1, close + 1, float(prices[4]), float(prices[5]) + 1]
        )
    lines = [
        kline(MARCH + place * H1, H1, [repr(value) for value in candle])
        for place, candle in enumerate(ordered)
    ]
    at_once = read([KLINES, *lines])
    line_by_line = read([KLINES, *lines, "x"])
    for rows in (at_once, line_by_line):
        assert np.array_equal(rows.values, np.array(ordered))
    assert refused(at_once) == []
    assert refused(line_by_line)[-1] == f"line {len(lines) + 2}: 1 columns in place of 12"


@given(st.binary(max_size=300), st.integers(0, 500), st.booleans())
def test_any_bytes_are_read_or_refused(noise: bytes, place: int, keeps: bool) -> None:
    name = parse_name("BTCUSDT-1h-2026-03-01.csv")
    text = text_of([KLINES, *CANDLES])
    for hostile in (noise, text[:place] + noise + text[place + (0 if keeps else len(noise)) :]):
        try:
            rows = read_klines(hostile, name, LATER)
        except ArchiveError:
            continue
        assert len(rows.times) == len(rows.values)
        assert np.isfinite(rows.values).all()
        assert (rows.times % H1 == 0).all()
