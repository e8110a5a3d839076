"""Rows that faults make odd or impossible, in an answer's own form: lists (candles) or objects."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from simulator.exchange import BodyShape

Rows = list[Any]
_CLOSE: Final = 4
_VOLUME: Final = 5
_CANDLE_COLUMNS: Final = 6  # at least


# --- one candle ----------------------------------------------------------------------------------


def _crossed(row: Rows) -> Rows:
    """High and low exchanged."""
    high, low = row[3], row[2]
    return [*row[:2], *((high, low) if high != low else ("1", "2")), *row[4:]]


def _zeros(row: Rows) -> Rows:
    return [row[0], "0", "0", "0", "0", *row[5:]]


def _above_high(row: Rows) -> Rows:
    """Its close is above its high, by one digit more than the exchange has."""
    close = f"{row[2]}1" if "." in row[2] else f"{row[2]}.1"
    return [*row[:4], close, *row[5:]]


def _shifted(row: Rows) -> Rows:
    """It opens off the grid."""
    return [type(row[0])(int(row[0]) + 61_000), *row[1:]]


def _blank(row: Rows) -> Rows:
    return [row[0], *(None if place < 6 else value for place, value in enumerate(row[1:], 1))]


# What a candle that cannot be may look like.
IMPOSSIBLE: Final[dict[str, Callable[[Rows], Rows]]] = {
    "high_below_low": _crossed,
    "zero_price": _zeros,
    "close_above_high": _above_high,
    "off_grid": _shifted,
    "blank": _blank,
}


def _middle(change: Callable[[Rows], Rows]) -> Callable[[Rows, BodyShape], Rows]:
    """Changes the middle row of candles; other rows stay."""

    def changed(rows: Rows, shape: BodyShape) -> Rows:
        middle = len(rows) // 2
        if isinstance(rows[middle], list):
            rows[middle] = change(rows[middle])
        return rows

    return changed


# --- an answer's rows ----------------------------------------------------------------------------


def _place(row: Rows, place: int, shape: BodyShape) -> int:
    """Where a list has the number that candles have in their fifth (close) or sixth column
    (volume): in a short one, of open interest, that."""
    if len(row) < _CANDLE_COLUMNS:
        return shape.interest_place
    return shape.volume_place if place == _VOLUME else place


def _set(row: Any, place: int, names: tuple[str, ...], value: str, shape: BodyShape) -> None:
    """Replaces a number: in a list by its place, in an object by its names."""
    if isinstance(row, list):
        row[_place(row, place, shape)] = value
        return
    for name in names:
        if name in row:
            row[name] = value


def _high_below_low(rows: Rows, shape: BodyShape) -> Rows:
    if isinstance(rows[0], list):
        middle = len(rows) // 2
        rows[middle] = _crossed(rows[middle])
    return rows


def _negative_volume(rows: Rows, shape: BodyShape) -> Rows:
    _set(rows[len(rows) // 2], _VOLUME, shape.open_interest, "-1", shape)
    return rows


def _unsorted(rows: Rows, shape: BodyShape) -> Rows:
    return rows[1::2] + rows[::2]


def _duplicate(rows: Rows, shape: BodyShape) -> Rows:
    middle = len(rows) // 2
    return [*rows[: middle + 1], *rows[middle:]]


def _off_grid(rows: Rows, shape: BodyShape) -> Rows:
    row = rows[len(rows) // 2]
    if isinstance(row, list):
        row[0] = type(row[0])(int(row[0]) + 61_000)
    for name in shape.times:
        if isinstance(row, dict) and name in row:
            row[name] = type(row[name])(int(row[name]) + 61_000)
    return rows


def _nan(rows: Rows, shape: BodyShape) -> Rows:
    _set(rows[len(rows) // 2], _CLOSE, shape.open_interest + shape.rates, "NaN", shape)
    return rows


def _disputed(rows: Rows, shape: BodyShape) -> Rows:
    """Two different rows for one instant."""
    middle = len(rows) // 2
    other: Any = rows[middle].copy()
    _set(other, _VOLUME, shape.open_interest + shape.rates, "0.5", shape)
    return [*rows[:middle], other, *rows[middle:]]


def _exponent(rows: Rows, shape: BodyShape) -> Rows:
    """The same numbers, written with an exponent."""
    row: Any = rows[len(rows) // 2]
    names = shape.open_interest + shape.rates
    for place in (_place(row, _VOLUME, shape),) if isinstance(row, list) else names:
        if isinstance(row, list) or row.get(place):
            row[place] = f"{Decimal(row[place]):E}"
    return rows


def _extra_element(rows: Rows, shape: BodyShape) -> Rows:
    """Each row has more than is documented."""
    return [
        [*row, "more"] if isinstance(row, list) else {**row, "more": {"nested": [None]}}
        for row in rows
    ]


def _null_list(rows: Rows, shape: BodyShape) -> Any:
    return None


def _blank_rate(rows: Rows, shape: BodyShape) -> Rows:
    row = rows[len(rows) // 2]
    for name in shape.rates:
        if isinstance(row, dict) and name in row:
            row[name] = ""
    return rows


def _blank_entries(rows: Rows, shape: BodyShape) -> Rows:
    """Entries about contracts that nobody collects, with nulls and blanks."""
    if not isinstance(rows[0], dict) or shape.symbol not in rows[0]:
        return rows
    blanks: Rows = [None, "", []]
    entries = [{**dict.fromkeys(rows[0], blank), shape.symbol: "0BLANKUSDT"} for blank in blanks]
    return [None, *rows, *entries]


def _unclear_entries(rows: Rows, shape: BodyShape) -> Rows:
    """Of the entries of a list of contracts, the first has no status and the second a blank after
    its symbol."""
    symbol, status = shape.symbol, shape.status
    if len(rows) < 2 or not all(isinstance(row, dict) and status in row for row in rows[:2]):
        return rows
    first, second, *rest = rows
    return [{**first, status: None}, {**second, symbol: f"{second[symbol]} "}, *rest]


NONSENSE: Final[dict[str, Callable[[Rows, BodyShape], Rows]]] = {
    "high_below_low": _high_below_low,
    "negative_volume": _negative_volume,
    "unsorted": _unsorted,
    "duplicate": _duplicate,
    "off_grid": _off_grid,
    "nan": _nan,
    "zero_price": _middle(_zeros),
    "close_above_high": _middle(_above_high),
    "disputed": _disputed,
    "exponent": _exponent,
    "extra_element": _extra_element,
    "null_list": _null_list,
    "blank_rate": _blank_rate,
    "blank_entries": _blank_entries,
    "unclear_entries": _unclear_entries,
}
