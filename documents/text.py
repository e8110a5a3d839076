"""Filters a document's JSON as text: markets and rows by their brackets, only times parsed.

It relies on the form that building.py writes: no whitespace, fixed key order, rows of plain
numbers. The bytes `"rows":[` and `"markets":[` occur nowhere else in such text (a quote inside a
string is escaped), and the first `}` after a market's `"rows":[` ends that market.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from market.markets import UnreadableSeries

_MARKETS: Final = b',"markets":['
_ROWS: Final = b',"rows":['
_MISSING: Final = b'],"missing":'
_CLOSING: Final = ord("]")
_PART_BYTES: Final = 256 * 1024


class DocumentError(UnreadableSeries):
    """The text does not have the form that building.py writes."""


@dataclass(frozen=True, slots=True)
class DocumentFilter:
    """The filters of a request, applied in the order of the fields; None means no filter.

    An upper-case symbol matches a market's symbol in any case. `closed` drops rows that opened
    after the header's `last_closed_open_time`. `limit` keeps the last n rows of each market.
    """

    exchanges: frozenset[str] | None = None
    symbols: frozenset[str] | None = None
    since_ms: int | None = None
    closed: bool = False
    limit: int | None = None

    @property
    def is_whole(self) -> bool:
        return self == _WHOLE

    def matches(self, exchange: str, symbol: str | None) -> bool:
        """A symbol of None, an entry of `missing` about a whole exchange, matches any symbol."""
        if self.exchanges is not None and exchange not in self.exchanges:
            return False
        symbols = self.symbols
        if symbols is None or symbol is None:
            return True
        return symbol in symbols or symbol.upper() in symbols

    def canonical(self) -> bytes:
        """The same bytes for all queries that mean the same."""
        return orjson.dumps(
            [
                None if self.exchanges is None else sorted(self.exchanges),
                None if self.symbols is None else sorted(self.symbols),
                self.since_ms,
                self.closed,
                self.limit,
            ]
        )


_WHOLE: Final = DocumentFilter()


class MarketSpan(NamedTuple):
    """The offsets of one market in the text: `{...,"rows":[` | rows | `]}`."""

    exchange: str
    symbol: str
    start: int
    rows_start: int
    rows_end: int
    end: int


class DocumentText:
    """A document's JSON with the offsets of its markets, found at construction.

    It is immutable, so threads may share it. Raises DocumentError.
    """

    def __init__(self, text: bytes) -> None:
        self.text = text
        header_end = text.find(_MARKETS)
        if header_end < 0 or not text.endswith(b"}"):
            raise DocumentError("the document has no list of markets, or no end")
        self.header = _object(text[:header_end] + b"}")
        self._markets_start = header_end + len(_MARKETS)
        self.markets: list[MarketSpan] = []
        self._missing_start = self._scan() + len(_MISSING)
        self._view = memoryview(text)

    def _scan(self) -> int:
        """Fills `markets` and returns the offset of `],"missing":`."""
        text, position = self.text, self._markets_start
        while not text.startswith(_MISSING, position):
            if self.markets:
                position += 1  # the comma
            head_end = text.find(_ROWS, position)
            rows_start = head_end + len(_ROWS)
            # A search for one byte is ten times as fast as for two.
            rows_end = text.find(b"}", rows_start) - 1
            if head_end == -1 or rows_end < rows_start or text[rows_end] != _CLOSING:
                raise DocumentError("a market has no end")
            head = _object(text[position:head_end] + b"}")
            end = rows_end + 2
            try:
                span = MarketSpan(
                    head["exchange"], head["symbol"], position, rows_start, rows_end, end
                )
            except KeyError as error:
                raise DocumentError(f"a market lacks the key {error}") from None
            self.markets.append(span)
            position = end
        return position

    def head(self, span: MarketSpan) -> dict[str, Any]:
        """A market's fields without its rows."""
        return _object(self.text[span.start : span.rows_start - len(_ROWS)] + b"}")

    def missing(self) -> list[Any]:
        """The entries of the document's `missing`."""
        return _array(self.text[self._missing_start : -1])

    def rows(self, span: MarketSpan) -> memoryview:
        """A market's rows as a JSON array."""
        return self._view[span.rows_start - 1 : span.rows_end + 1]

    def split_rows(self, span: MarketSpan, time_ms: int) -> tuple[memoryview, memoryview]:
        """A market's rows before that time and from it on, each without the array's brackets."""
        start, end = span.rows_start, span.rows_end
        first = self._first_row_from(start, end, time_ms)
        before = first if first in (start, end) else first - 1  # without the comma
        return self._view[start:before], self._view[first:end]

    def filtered(self, where: DocumentFilter) -> "list[bytes | memoryview]":
        """The JSON, in parts, with only the markets and rows that match; `missing` likewise.

        The bytes that remain are unchanged and in order. Large parts are views of the text. No
        step copies much at once, so that it does not hold the GIL for long.
        """
        if where.is_whole:
            return [self.text]
        pieces = _Pieces()
        self._add(pieces, where)
        return pieces.finish()

    def filtered_size(self, where: DocumentFilter) -> "FilteredSize":
        """What `filtered` would return, without copying anything."""
        sizes = _Sizes()
        self._add(sizes, where)
        return sizes.finish()

    def _add(self, pieces: "_Pieces | _Sizes", where: DocumentFilter) -> None:
        pieces.add(self._view[: self._markets_start])
        last_ms = self.header["last_closed_open_time"] if where.closed else None
        if where.since_ms is None and where.limit is None and last_ms is None:
            self._add_markets(pieces, where)
        else:
            self._add_rows(pieces, where, last_ms)
        pieces.add(_MISSING, self._filtered_missing(where), b"}")

    def _add_markets(self, pieces: "_Pieces | _Sizes", where: DocumentFilter) -> None:
        """Adds whole markets; adjacent ones as one piece."""
        runs: list[list[int]] = []
        for span in self.markets:
            if not where.matches(span.exchange, span.symbol):
                continue
            if runs and span.start == runs[-1][1] + 1:
                runs[-1][1] = span.end
            else:
                runs.append([span.start, span.end])
        comma: tuple[bytes, ...] = ()
        for start, end in runs:
            pieces.add(*comma, self._view[start:end])
            comma = (b",",)

    def _add_rows(
        self, pieces: "_Pieces | _Sizes", where: DocumentFilter, last_ms: int | None
    ) -> None:
        view = self._view
        comma: tuple[bytes, ...] = ()
        for span in self.markets:
            if where.matches(span.exchange, span.symbol):
                start, end = self._rows_span(span, where.since_ms, last_ms, where.limit)
                pieces.add(*comma, view[span.start : span.rows_start], view[start:end], b"]}")
                comma = (b",",)

    def _filtered_missing(self, where: DocumentFilter) -> bytes | memoryview:
        if where.exchanges is None and where.symbols is None:
            return self._view[self._missing_start : -1]
        return orjson.dumps(
            [entry for entry in self.missing() if where.matches(entry["exchange"], entry["symbol"])]
        )

    def _rows_span(
        self, span: MarketSpan, since_ms: int | None, last_ms: int | None, limit: int | None
    ) -> tuple[int, int]:
        """The offsets of the matching rows, from a `[` to behind a `]`."""
        start, end = span.rows_start, span.rows_end
        if since_ms is not None:
            start = self._first_row_from(start, end, since_ms)
        if last_ms is not None:
            dropped = self._first_row_from(start, end, last_ms + 1)
            # The comma before the first dropped row is dropped, too.
            end = dropped if dropped in (start, end) else dropped - 1
        if limit is not None:
            start = self._last_rows(start, end, limit)
        return start, end

    def _first_row_from(self, start: int, end: int, time_ms: int) -> int:
        """The offset of the first row of [start, end) with a time >= `time_ms`, or `end`.

        Bisects the bytes: rows ascend, and each `[` begins a row.
        """
        text = self.text
        low, high = start, end  # rows before low are too early; the one at high is not
        while low < high:
            row = text.rfind(b"[", low, (low + high) // 2)
            if row == -1:
                raise DocumentError("a row has no beginning")
            if int(text[row + 1 : text.index(b",", row)]) < time_ms:
                following = text.find(b"[", row + 1, high)
                low = high if following == -1 else following
            else:
                high = row
        return low

    def _last_rows(self, start: int, end: int, limit: int) -> int:
        """The offset of the first of the last `limit` rows of [start, end)."""
        position = end
        for _ in range(limit):
            row = self.text.rfind(b"[", start, position)
            if row == -1:
                break
            position = row
        return position


class _Pieces:
    """Joins small pieces to parts of at least _PART_BYTES; leaves large pieces as they are."""

    def __init__(self) -> None:
        self._parts: list[bytes | memoryview] = []
        self._small: list[bytes | memoryview] = []
        self._small_bytes = 0

    def add(self, *pieces: bytes | memoryview) -> None:
        for piece in pieces:
            if len(piece) >= _PART_BYTES:
                self._flush()
                self._parts.append(piece)
                continue
            self._small.append(piece)
            self._small_bytes += len(piece)
            if self._small_bytes >= _PART_BYTES:
                self._flush()

    def finish(self) -> list[bytes | memoryview]:
        self._flush()
        return self._parts

    def _flush(self) -> None:
        if self._small:
            self._parts.append(b"".join(self._small))
            self._small.clear()
            self._small_bytes = 0


class FilteredSize(NamedTuple):
    """The bytes that a filtered text copies, and whether it has views of the whole text."""

    copied: int
    has_views: bool


class _Sizes:
    """Counts the bytes that _Pieces would copy."""

    def __init__(self) -> None:
        self._copied = 0
        self._has_views = False

    def add(self, *pieces: bytes | memoryview) -> None:
        for piece in pieces:
            if len(piece) < _PART_BYTES or isinstance(piece, bytes):
                self._copied += len(piece)
            else:
                self._has_views = True

    def finish(self) -> FilteredSize:
        return FilteredSize(self._copied, self._has_views)


def _object(text: bytes) -> dict[str, Any]:
    value: dict[str, Any] = _loads(text)  # no other JSON ends with a brace
    return value


def _array(text: bytes) -> list[Any]:
    value = _loads(text)
    if not isinstance(value, list):
        raise DocumentError("not a list")
    return value


def _loads(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DocumentError(f"not JSON: {error}") from None
