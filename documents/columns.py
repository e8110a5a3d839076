"""Reads a document's text as columns: the rows of some markets at a time, as arrays of numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from documents.text import DocumentError, DocumentText, MarketSpan
from market.rows import Floats, Times

simdjson: Any
try:
    import simdjson
except ImportError:  # it has no wheels for the newest Python
    simdjson = None

# Rows of one step, in which other threads wait: some milliseconds.
_STEP_ROWS: Final = 16 * 1024
_STEP_BYTES: Final = 100 * _STEP_ROWS
_NULL: Final = b"null"
NO_NUMBER: Final = b"-1e300"  # stands for null; no row holds such a number
_NO_TIME: Final = 2.0**53  # a float does not tell such integers apart


@dataclass(frozen=True, slots=True)
class MarketRows:
    """The rows of adjacent markets. `counts`: the rows of each; `values`: an array for each column
    of numbers, in which NaN stands for null."""

    markets: Sequence[MarketSpan]
    counts: Sequence[int]
    times: Times
    values: Floats


def column_names(text: DocumentText) -> list[str]:
    """The document's columns: the time, and those of numbers. Raises DocumentError."""
    names = text.header.get("columns")
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(n, str) for n in names):
        raise DocumentError("the document has no columns")
    return names


def read_rows(text: DocumentText) -> Iterator[MarketRows]:
    """All rows in the order of the text, some at a time. Raises DocumentError."""
    width = len(column_names(text))
    for markets in _steps(text.markets):
        rows = _joined([text.rows(span) for span in markets])
        # A search for one byte is much faster, and no number has that one.
        has_null = b"n" in rows
        counts, lines = lines_of(rows.replace(_NULL, NO_NUMBER) if has_null else rows, width)
        if len(lines) != sum(counts):
            raise DocumentError("a row has not as many numbers as there are columns")
        if not (np.abs(lines[:, 0]) < _NO_TIME).all():
            raise DocumentError("a row has no time")
        columns = np.ascontiguousarray(lines.T)
        if has_null:
            columns[columns == float(NO_NUMBER)] = np.nan
        yield MarketRows(markets, counts, columns[0].astype(np.int64), columns[1:])


def _steps(markets: Sequence[MarketSpan]) -> Iterator[Sequence[MarketSpan]]:
    """Markets with about as much text as one step takes, at least one."""
    start = size = 0
    for place, span in enumerate(markets):
        length = span.rows_end - span.rows_start
        if place > start and size + length > _STEP_BYTES:
            yield markets[start:place]
            start, size = place, 0
        size += length
    if start < len(markets):
        yield markets[start:]


def _joined(rows: Sequence[memoryview]) -> bytes:
    """The lists of markets as one list."""
    first, *others = rows
    return b",".join((b"[" + first, *others)) + b"]"


def lines_of(rows: bytes, width: int) -> tuple[list[int], Floats]:
    """How many rows each market has, and the numbers of all in lines of `width`, with the sign for
    null."""
    try:
        if simdjson is None:
            markets = orjson.loads(rows)
            numbers = [number for market in markets for row in market for number in row]
            if not {*map(type, numbers)} <= {int, float}:
                raise ValueError("not only numbers")
            found = np.fromiter(numbers, np.float64, len(numbers))
        else:
            markets = simdjson.Parser().parse(rows)
            # It goes through the lists in the list.
            found = np.frombuffer(markets.as_buffer(of_type="d"))
        return [len(market) for market in markets], found.reshape(-1, width)
    except (ValueError, TypeError, RuntimeError) as error:  # the last: simdjson's, as for 10**25
        raise DocumentError(f"unreadable rows: {error}") from None
