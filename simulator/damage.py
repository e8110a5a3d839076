"""Damage that faults do to answers: truncated bodies, wrong types, impossible rows."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from simulator.answers import Answer, dump, error_page
from simulator.bad_rows import IMPOSSIBLE, NONSENSE, Rows
from simulator.exchange import BodyShape, Exchange

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


def impossible_candles(answer: Answer, variants: Mapping[int, str], shape: BodyShape) -> None:
    """Makes the candles that open at these times impossible, each by its variant."""
    body = orjson.loads(answer.body)
    found = _rows_of(body, shape)
    if found is None:
        return
    keys, rows = found
    spoilt = [
        IMPOSSIBLE[variants[int(row[0])]](row) if int(row[0]) in variants else row for row in rows
    ]
    answer.body = dump(_with_rows(body, keys, spoilt))


def _with_rows(body: Any, keys: tuple[str, ...], rows: Rows) -> Any:
    if not keys:
        return rows
    return {**body, keys[0]: _with_rows(body[keys[0]], keys[1:], rows)}


def short_list(answer: Answer, variant: str, shape: BodyShape) -> None:
    """Keeps the first quarter of the rows, without a sign that there were more."""
    body = orjson.loads(answer.body)
    found = _rows_of(body, shape)
    if found is not None:
        keys, rows = found
        answer.body = dump(_with_rows(body, keys, rows[: len(rows) // 4]))


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
        answer.body = dump(_with_rows(body, found[0], NONSENSE[variant](found[1], shape)))


NONSENSE_VARIANTS: Final = tuple(NONSENSE)


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
    "short_list": short_list,
    "wrong_types": wrong_types,
    "nonsense": nonsense,
    "deep_nesting": deep_nesting,
}
