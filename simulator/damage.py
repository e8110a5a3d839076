"""Damage that faults do to answers: truncated bodies, wrong types, impossible rows."""

from collections.abc import Callable
from typing import Any, Final

import orjson

from simulator.answers import Answer, dump, error_page
from simulator.exchange import BodyShape, Exchange

Rows = list[Any]
_DEPTH: Final = 100_000


def truncated(answer: Answer, variant: str, shape: BodyShape) -> None:
    """Keeps the first half of the body."""
    answer.body = answer.body[: len(answer.body) // 2] or b"{"


def _rows_of(body: Any, shape: BodyShape) -> tuple[tuple[str, ...], Rows] | None:
    """The rows of an answer and the keys that lead to them, or None."""
    for keys in shape.rows_at:
        found = body
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, list):
            return keys, list(found)
    return None


def _with_rows(body: Any, keys: tuple[str, ...], rows: Rows) -> Any:
    if not keys:
        return rows
    return {**body, keys[0]: _with_rows(body[keys[0]], keys[1:], rows)}


def wrong_types(answer: Answer, variant: str, shape: BodyShape) -> None:
    """Replaces rows by values of other JSON types."""
    body = orjson.loads(answer.body)
    found = _rows_of(body, shape)
    if found is None:
        answer.body = dump([body])
        return
    keys, rows = found
    turned = [_with_wrong_type(row, index) for index, row in enumerate(rows)]
    answer.body = dump(_with_rows(body, keys, turned)) if turned else dump("nothing")


def _with_wrong_type(row: Any, index: int) -> Any:
    if index % 3 == 0:
        return None
    if isinstance(row, list):
        return {str(place): value for place, value in enumerate(row)}
    if isinstance(row, dict):
        return {name: [value] for name, value in row.items()}
    return 0


def nonsense(answer: Answer, variant: str, shape: BodyShape) -> None:
    """Makes some rows impossible; an answer without rows stays unchanged."""
    body = orjson.loads(answer.body)
    found = _rows_of(body, shape)
    if found is not None and found[1]:
        answer.body = dump(_with_rows(body, found[0], _NONSENSE[variant](found[1], shape)))


def _set(row: Any, place: int, names: tuple[str, ...], value: str) -> None:
    """Replaces a number: in a candle by its place, in an object by its names."""
    if isinstance(row, list):
        row[place] = value
        return
    for name in names:
        if name in row:
            row[name] = value


def _high_below_low(rows: Rows, shape: BodyShape) -> Rows:
    row = rows[len(rows) // 2]
    if isinstance(row, list):
        row[2], row[3] = row[3], row[2]
        if row[2] == row[3]:
            row[2], row[3] = "1", "2"
    return rows


def _negative_volume(rows: Rows, shape: BodyShape) -> Rows:
    _set(rows[len(rows) // 2], 5, shape.open_interest, "-1")
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
    _set(rows[len(rows) // 2], 4, shape.open_interest + shape.rates, "NaN")
    return rows


_NONSENSE: Final[dict[str, Callable[[Rows, BodyShape], Rows]]] = {
    "high_below_low": _high_below_low,
    "negative_volume": _negative_volume,
    "unsorted": _unsorted,
    "duplicate": _duplicate,
    "off_grid": _off_grid,
    "nan": _nan,
}
NONSENSE_VARIANTS: Final = tuple(_NONSENSE)


def deep_nesting(answer: Answer, variant: str, shape: BodyShape) -> None:
    """Adds arrays in arrays, as another field or another element."""
    deep = b"[" * _DEPTH + b"]" * _DEPTH
    start, end = answer.body[:-1], answer.body[-1:]
    comma = b"," if len(start.strip()) > 1 else b""
    answer.body = start + comma + (b'"retExtInfo":' if end == b"}" else b"") + deep + end


# Kinds that replace the whole answer, and kinds that damage a normal one.
REPLACING: Final[dict[str, Callable[[Exchange], Answer]]] = {
    "geo": lambda exchange: exchange.geo_blocked(),
    "html_200": lambda exchange: error_page(200, "Maintenance"),
    "empty_body": lambda exchange: Answer(200, b""),
}
DAMAGING: Final[dict[str, Callable[[Answer, str, BodyShape], None]]] = {
    "truncated_json": truncated,
    "wrong_types": wrong_types,
    "nonsense": nonsense,
    "deep_nesting": deep_nesting,
}
