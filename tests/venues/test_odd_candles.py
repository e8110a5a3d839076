"""Candles read row by row: what is read at once, what cell by cell, and why rows are left out."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from market.candles import Candle
from market.left_out import LeftOut
from market.markets import Exchange
from market.timeframes import HOUR_MS, MINUTE_MS
from venues.entries import Unreadable
from venues.odd_candles import OddCandles
from venues.plain_candles import MatrixForm, other_length, plain_candles
from venues.reading import AnswerFaults

T0: Final = 1_786_816_800_000
# Time, prices, volume, end, turnover, something else.
FORM: Final = MatrixForm(width=9, quotes=14, columns=(1, 2, 3, 4, 5, 7), closes=6)
# As FORM, without the end.
SHORT: Final = MatrixForm(width=7, quotes=14, columns=(1, 2, 3, 4, 5, 6))
ROW: Final[list[Any]] = [
    *(T0, "10.50", "11", "9.75", "10.25", "123.40"),
    *(T0 + HOUR_MS - 1, "1300.500", 0),
]
CANDLE: Final = Candle(T0, 10.5, 11.0, 9.75, 10.25, "123.40", "1300.500")


@pytest.fixture
def faults() -> AnswerFaults:
    return AnswerFaults(Exchange.BINANCE, "klines", "XUSDT")


def row(**changes: Any) -> list[Any]:
    """ROW with other cells, by their column: `c3=...`."""
    return [changes.get(f"c{column}", cell) for column, cell in enumerate(ROW)]


def read(faults: AnswerFaults, *rows: list[Any] | str, form: MatrixForm = FORM) -> list[Candle]:
    texts = [(each if isinstance(each, str) else json.dumps(each)).encode() for each in rows]
    return OddCandles(form)(texts, HOUR_MS, faults)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails where a row is read cell by cell."""

    def refuse(*_: Any) -> None:
        raise AssertionError("read cell by cell")

    monkeypatch.setattr(OddCandles, "_from_cells", refuse)
    yield


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    "cells",
    [
        {},
        {"c0": str(T0)},
        {"c1": 10.5, "c2": "11e0", "c3": 9.75},
        {"c6": str(T0 + HOUR_MS - 1)},
        {"c6": None},
        {"c6": []},
        {"c6": T0 + HOUR_MS},
        {"c8": "x"},
    ],
)
def test_rows_that_are_read_at_once(faults: AnswerFaults, cells: dict[str, Any]) -> None:
    assert read(faults, row(**cells)) == [CANDLE]
    assert faults.left_out == []


@pytest.mark.usefixtures("at_once")
def test_the_smallest_time_is_read_at_once(faults: AnswerFaults) -> None:
    assert read(faults, row(c0=0)) == [CANDLE._replace(open_time_ms=0)]


@pytest.mark.parametrize(
    ("cells", "candle"),
    [
        ({"c5": 123.4}, CANDLE._replace(volume="123.4")),
        ({"c5": "1234e-1"}, CANDLE._replace(volume="123.4")),
        ({"c7": "13005e-1"}, CANDLE._replace(turnover="1300.5")),
        ({"c1": "1050e-2", "c5": 7, "c7": 8}, CANDLE._replace(volume="7", turnover="8")),
        ({"c5": "0e9", "c6": None}, CANDLE._replace(volume="0")),
        ({"c5": 7, "c6": "x"}, CANDLE._replace(volume="7")),
        ({"c0": 1.7868168e12, "c5": 7}, CANDLE._replace(volume="7")),
        ({"c0": 0, "c5": 7}, CANDLE._replace(open_time_ms=0, volume="7")),
        ({"c0": "999999999999999", "c5": 7}, CANDLE._replace(open_time_ms=10**15 - 1, volume="7")),
    ],
)
def test_rows_that_are_read_cell_by_cell(
    faults: AnswerFaults, cells: dict[str, Any], candle: Candle
) -> None:
    assert read(faults, row(**cells)) == [candle]
    assert faults.left_out == []


def test_more_elements_than_known_are_ignored(faults: AnswerFaults) -> None:
    assert read(faults, [*ROW, "more"], ROW[:8]) == [CANDLE, CANDLE]
    assert read(faults, [*ROW[:6], ROW[7]], form=SHORT) == [CANDLE]
    assert read(faults, [*ROW[:6], ROW[7], "more"], form=SHORT) == [CANDLE]
    assert faults.left_out == []


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"c1": None}, "open is not a number: blank"),
        ({"c2": "1,5"}, "high is not a number: '1,5'"),
        ({"c1": "nan"}, "open is not a number: 'nan'"),
        ({"c2": "inf"}, "high is not a number: 'inf'"),
        ({"c3": "nan"}, "low is not a number: 'nan'"),
        ({"c4": "-inf"}, "close is not a number: '-inf'"),
        ({"c4": "X1X"}, "close is not a number: 'X1X'"),
        ({"c4": "1e999"}, "close is not a number: '1e999'"),
        ({"c4": []}, "close is not a number: '[]'"),
        ({"c5": None}, "volume is not a number of at least 0: blank"),
        ({"c5": "-1"}, "volume is not a number of at least 0: '-1'"),
        ({"c7": "x"}, "turnover is not a number of at least 0: 'x'"),
        ({"c7": -7}, "turnover is not a number of at least 0: '-7'"),
        ({"c6": T0 + 2 * HOUR_MS - 1}, "a candle of 7200000 ms, not of 3600000"),
        ({"c6": str(T0 + MINUTE_MS - 1)}, "a candle of 60000 ms, not of 3600000"),
        ({"c5": 7, "c6": T0 + 2 * HOUR_MS - 1}, "a candle of 7200000 ms, not of 3600000"),
    ],
)
def test_a_row_is_left_out_with_its_time(
    faults: AnswerFaults, cells: dict[str, Any], reason: str
) -> None:
    good = [T0 - HOUR_MS, *ROW[1:6], None, *ROW[7:]]
    assert read(faults, good, row(**cells)) == [CANDLE._replace(open_time_ms=T0 - HOUR_MS)]
    assert faults.left_out == [LeftOut(T0, reason)]


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ([], "its time cannot be read: blank"),
        ([None, *ROW[1:]], "its time cannot be read: blank"),
        ([10**15, *ROW[1:]], "its time cannot be read: '1000000000000000'"),
        ([-1, *ROW[1:]], "its time cannot be read: '-1'"),
        (["x", *ROW[1:]], "its time cannot be read: 'x'"),
        ("[7", "not JSON: '[7'"),
        ("7", "Expected `array`, got `int`"),
    ],
)
def test_a_row_without_a_time_is_left_out_after_the_one_before(
    faults: AnswerFaults, odd: list[Any] | str, reason: str
) -> None:
    assert read(faults, ROW, odd) == [CANDLE]
    assert faults.left_out == [LeftOut(T0, reason, after=True)]


def test_a_cell_that_is_no_text(faults: AnswerFaults) -> None:
    text = json.dumps(row(c5="?")).encode().replace(b"?", b"\xff")
    assert OddCandles(FORM)([text], HOUR_MS, faults) == []
    assert faults.left_out == [LeftOut(T0, "volume is not a number of at least 0: '\ufffd'")]


def test_a_row_that_is_too_short(faults: AnswerFaults) -> None:
    assert read(faults, ROW[:7], ROW[:1], ROW[:8]) == [CANDLE]
    assert faults.left_out == [LeftOut(T0, "only 7 elements"), LeftOut(T0, "only 1 elements")]


# --- the matrix ----------------------------------------------------------------------------------


def text(*rows: list[Any]) -> bytes:
    return json.dumps(rows, separators=(",", ":")).encode()


def plain(body: bytes, form: MatrixForm = SHORT) -> list[Candle] | None:
    pytest.importorskip("simdjson")
    found = plain_candles(body, form, HOUR_MS)
    return None if found is None else list(found)


QUOTED: Final[list[Any]] = [str(T0), "10.50", "11", "9.75", "10.25", "123.40", "1300.500"]


def test_a_matrix_is_read_as_rows_are() -> None:
    later = [str(T0 + HOUR_MS), *QUOTED[1:]]
    candles = [CANDLE, CANDLE._replace(open_time_ms=T0 + HOUR_MS)]
    assert plain(text(QUOTED)) == candles[:1]
    assert plain(text(QUOTED, later)) == candles
    newest_first = MatrixForm(7, 14, (1, 2, 3, 4, 5, 6), newest_first=True)
    assert plain(text(later, QUOTED), newest_first) == candles
    # The columns of a candle in another order: turnover before volume.
    turned = MatrixForm(7, 14, (1, 2, 3, 4, 6, 5))
    assert plain(text(QUOTED), turned) == [CANDLE._replace(volume="1300.500", turnover="123.40")]


@pytest.mark.parametrize(
    "odd",
    [
        text([T0, *QUOTED[1:]]),  # fewer quotes
        text([*QUOTED, "1"]),
        text(QUOTED[:6]),
        text(QUOTED, QUOTED[:6]),
        b"[]",
        b"[[]]",
        b"7",
        b"",
        text([str(10**15), *QUOTED[1:]]),
        text(QUOTED, [str(10**15), *QUOTED[1:]]),
        text([f"{T0}.5", *QUOTED[1:]]),
        text(QUOTED).replace(b'"10.50"', b'1"0.50"'),
        text(QUOTED).replace(b'"10.50"', b'"10.5"0'),
        text(QUOTED, QUOTED).replace(b"],[", b","),
        text([QUOTED]),
        text(QUOTED)[1:-1],
        text(["-1", *QUOTED[1:]]),
        text([QUOTED[0], "1e1", *QUOTED[2:]]),
        text([QUOTED[0], "1E1", *QUOTED[2:]]),
        text([QUOTED[0], "-1", *QUOTED[2:]]),
        text(QUOTED).replace(b",", b", "),
    ],
)
def test_what_is_no_matrix_is_left_to_the_other_parser(odd: bytes) -> None:
    assert plain(odd) is None


def test_the_last_time_of_a_matrix() -> None:
    last = str(10**15 - 1)
    assert plain(text([last, *QUOTED[1:]])) == [CANDLE._replace(open_time_ms=10**15 - 1)]
    assert plain(text(["0", *QUOTED[1:]])) == [CANDLE._replace(open_time_ms=0)]


def test_the_end_of_a_candle_in_a_matrix() -> None:
    def ends(end: int) -> bytes:
        return text([*ROW[:6], end, *ROW[7:]])

    form = MatrixForm(width=9, quotes=12, columns=(1, 2, 3, 4, 5, 7), closes=6)
    assert plain(ends(T0 + HOUR_MS - 1), form) == [CANDLE]
    assert plain(ends(T0 + HOUR_MS), form) == [CANDLE]  # the end of no candle: not looked at
    assert plain(ends(T0 + 2 * HOUR_MS - 1), form) is None
    assert plain(ends(T0 + MINUTE_MS - 1), form) is None


@pytest.mark.parametrize(
    "minutes", [1, 3, 5, 15, 30, 60, 120, 240, 360, 480, 720, 1440, 4320, 10080]
)
def test_the_lengths_of_candles(minutes: int) -> None:
    length_ms = minutes * 60_000
    assert other_length(T0, T0 + length_ms - 1, 7) == length_ms
    assert type(other_length(float(T0), float(T0 + length_ms - 1), 7)) is int
    assert other_length(T0, T0 + length_ms - 1, length_ms) is None
    assert other_length(T0, T0 + length_ms, 7) is None
    assert other_length(T0, T0 + length_ms - 2, 7) is None


def test_other_lengths_are_none() -> None:
    for minutes in (0, 2, 10, 45, 180, 600, 2880, 43200):
        assert other_length(T0, T0 + minutes * 60_000 - 1, 7) is None


def test_an_error_of_a_row_is_unreadable() -> None:
    assert str(Unreadable("why", 7)) == "why"
