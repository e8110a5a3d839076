"""Documents cut as text: markets and rows are found by their brackets, and only times are parsed.

Relies on how building.py writes them: no whitespace, fixed key order, rows of plain numbers. In
such text the bytes `"rows":[` and `"markets":[` occur nowhere else (a quote inside a string is
escaped), and the first `}` after a market's `"rows":[` ends that market.
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
    """The text is not a document as building.py writes it."""


@dataclass(frozen=True, slots=True)
class Query:
    """What of a document is wanted; applied in the order of the fields.

    None means all. A symbol in upper case names a market in any case. `closed` leaves out rows
    that opened after the header's `last_closed_open_time`; `limit` keeps the last n rows of each
    market.
    """

    exchanges: frozenset[str] | None = None
    symbols: frozenset[str] | None = None
    since_ms: int | None = None
    closed: bool = False
    limit: int | None = None

    @property
    def is_whole(self) -> bool:
        return self == _WHOLE

    def wants(self, exchange: str, symbol: str) -> bool:
        if self.exchanges is not None and exchange not in self.exchanges:
            return False
        symbols = self.symbols
        return symbols is None or symbol in symbols or symbol.upper() in symbols

    def canonical(self) -> bytes:
        """Equal for queries that mean the same, whatever their spelling was."""
        return orjson.dumps(
            [
                None if self.exchanges is None else sorted(self.exchanges),
                None if self.symbols is None else sorted(self.symbols),
                self.since_ms,
                self.closed,
                self.limit,
            ]
        )


_WHOLE: Final = Query()


class MarketSpan(NamedTuple):
    """Where one market lies in the text: `{...,"rows":[` | rows | `]}`."""

    exchange: str
    symbol: str
    start: int
    rows_start: int
    rows_end: int
    end: int


class DocumentText:
    """A document's JSON with the places of its markets, found once.

    Immutable after construction, so threads may share it. Raises DocumentError.
    """

    def __init__(self, text: bytes) -> None:
        self.text = text
        header_end = text.find(_MARKETS)
        if header_end < 0 or not text.endswith(b"}"):
            raise DocumentError("no markets in the document")
        self.header = _object(text[:header_end] + b"}")
        self._markets_start = header_end + len(_MARKETS)
        self.markets: list[MarketSpan] = []
        self._missing_start = self._scan() + len(_MISSING)
        self._view = memoryview(text)

    def _scan(self) -> int:
        """Fills `markets` and gives the place of `],"missing":`."""
        text, position = self.text, self._markets_start
        while not text.startswith(_MISSING, position):
            if self.markets:
                position += 1  # the comma
            head_end = text.find(_ROWS, position)
            rows_start = head_end + len(_ROWS)
            # One character is found ten times as fast as two.
            rows_end = text.find(b"}", rows_start) - 1
            if head_end < 0 or rows_end < rows_start or text[rows_end] != _CLOSING:
                raise DocumentError("a market without an end")
            head = _object(text[position:head_end] + b"}")
            end = rows_end + 2
            try:
                span = MarketSpan(
                    head["exchange"], head["symbol"], position, rows_start, rows_end, end
                )
            except KeyError as error:
                raise DocumentError(f"a market without {error}") from None
            self.markets.append(span)
            position = end
        return position

    def head(self, span: MarketSpan) -> dict[str, Any]:
        """All of a market but its rows."""
        return _object(self.text[span.start : span.rows_start - len(_ROWS)] + b"}")

    def missing(self) -> list[Any]:
        """What the document lacks, as it says itself."""
        return _array(self.text[self._missing_start : -1])

    def rows(self, span: MarketSpan) -> memoryview:
        """A market's rows as a JSON array."""
        return self._view[span.rows_start - 1 : span.rows_end + 1]

    def cut(self, query: Query) -> "list[bytes | memoryview]":
        """The document with the markets and rows asked for, `missing` of the same markets only.

        Every other byte is as it was; so are the order and the form of what is kept. The parts,
        put together, are the JSON; large ones are views of the text. No step of it copies much
        at once, so that threads beside this one get their turn.
        """
        if query.is_whole:
            return [self.text]
        pieces = _Pieces()
        pieces.add(self._view[: self._markets_start])
        last_ms = self.header["last_closed_open_time"] if query.closed else None
        if query.since_ms is None and query.limit is None and last_ms is None:
            self._add_markets(pieces, query)
        else:
            self._add_rows(pieces, query, last_ms)
        pieces.add(_MISSING, self._cut_missing(query), b"}")
        return pieces.joined()

    def _add_markets(self, pieces: "_Pieces", query: Query) -> None:
        """Neighbours in the text stay together."""
        start = end = -1
        for span in self.markets:
            if not query.wants(span.exchange, span.symbol):
                continue
            if span.start == end + 1:
                end = span.end
                continue
            if start >= 0:
                pieces.add(self._view[start:end], b",")
            start, end = span.start, span.end
        if start >= 0:
            pieces.add(self._view[start:end])

    def _add_rows(self, pieces: "_Pieces", query: Query, last_ms: int | None) -> None:
        view = self._view
        comma: tuple[bytes, ...] = ()
        for span in self.markets:
            if query.wants(span.exchange, span.symbol):
                start, end = self._cut_rows(span, query.since_ms, last_ms, query.limit)
                pieces.add(*comma, view[span.start : span.rows_start], view[start:end], b"]}")
                comma = (b",",)

    def _cut_missing(self, query: Query) -> bytes | memoryview:
        if query.exchanges is None and query.symbols is None:
            return self._view[self._missing_start : -1]
        return orjson.dumps(
            [entry for entry in self.missing() if query.wants(entry["exchange"], entry["symbol"])]
        )

    def _cut_rows(
        self, span: MarketSpan, since_ms: int | None, last_ms: int | None, limit: int | None
    ) -> tuple[int, int]:
        """The part of the text that holds the rows wanted: from a `[` to behind a `]`."""
        start, end = span.rows_start, span.rows_end
        if since_ms is not None:
            start = self._first_row_from(start, end, since_ms)
        if last_ms is not None:
            behind = self._first_row_from(start, end, last_ms + 1)
            # Without the comma before the first row that is left out.
            end = behind if behind in (start, end) else behind - 1
        if limit is not None and start < end:
            start = self._last_rows(start, end, limit)
        return start, end

    def _first_row_from(self, start: int, end: int, time_ms: int) -> int:
        """The place of the first row of [start, end) with a time >= `time_ms`, or `end`.

        Bisects the bytes: rows ascend, and the `[` after any byte begins a row.
        """
        text = self.text
        low, high = start, end  # rows before low are too early; the one at high is not
        while low < high:
            row = text.rfind(b"[", low, (low + high) // 2 + 1)
            if row < 0:
                raise DocumentError("rows without a beginning")
            if int(text[row + 1 : text.index(b",", row)]) < time_ms:
                following = text.find(b"[", row + 1, high)
                low = high if following < 0 else following
            else:
                high = row
        return low

    def _last_rows(self, start: int, end: int, limit: int) -> int:
        """The place of the last `limit` rows of [start, end)."""
        position = end
        for _ in range(limit):
            position = self.text.rfind(b"[", start, position)
            if position <= start:
                return start
        return position


class _Pieces:
    """Puts small pieces together to some of a size that is worth sending, and leaves large ones."""

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

    def joined(self) -> list[bytes | memoryview]:
        self._flush()
        return self._parts

    def _flush(self) -> None:
        if self._small:
            self._parts.append(b"".join(self._small))
            self._small.clear()
            self._small_bytes = 0


def _object(text: bytes) -> dict[str, Any]:
    value = _loads(text)
    if not isinstance(value, dict):
        raise DocumentError("not an object")
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
