"""ChunkedText: filters a document from its zlib stream, of which it inflates only what it needs."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple

import orjson

from documents.chunk_index import ChunkIndex, IndexedMarket, Size
from documents.deflated import HEADER_BYTES, inflate_parts
from documents.text import DocumentError, DocumentFilter, DocumentText, FilteredSize

_ROWS: Final = b',"rows":['
_MARKET_END: Final = b"]}"
_MARKETS: Final = b',"markets":['
_MISSING: Final = b'],"missing":'
_DAMAGED: Final = "the chunks of the document are damaged: {}"


class ChunksDamaged(DocumentError):
    """The index does not lead to the chunks that it names; the document itself may be whole."""


class _Chunks(NamedTuple):
    """The chunks of a market that a slice needs, [first, end), beside the one with its head."""

    place: int  # of the market in the index
    first: int
    end: int


class ChunkText(NamedTuple):
    """A chunk as it is stored, and its text and number of rows as the index tells them."""

    deflated: bytes
    text: memoryview
    rows: int


class MarketText(NamedTuple):
    """A market of a document: its fields without the rows, these as JSON, and its chunks."""

    head: dict[str, Any]
    rows: memoryview
    chunks: Sequence[ChunkText]


class ChunkedText:
    """A document's zlib stream with the index of its chunks; threads may share it.

    `inflated_bytes` counts the text that was made for all slices so far. Whatever reads the text
    raises ChunksDamaged.
    """

    def __init__(self, stream: bytes, index: ChunkIndex) -> None:
        self.index = index
        self.inflated_bytes = 0
        self._stream = memoryview(stream)
        # The bytes of chunks before each one, and behind the last.
        self._before = array("Q", accumulate(index.deflated, initial=0))

    @property
    def markets(self) -> Sequence[IndexedMarket]:
        return self.index.markets

    @property
    def memory_bytes(self) -> int:
        """About what it takes in memory."""
        return len(self._stream) + self.index.memory_bytes

    def header(self) -> dict[str, Any]:
        """The document's fields before its markets."""
        try:
            return self._fields()
        except ValueError as error:
            raise ChunksDamaged(_DAMAGED.format(error)) from error

    def missing(self) -> list[Any]:
        """The entries of the document's `missing`."""
        try:
            text = self._end()
            found = orjson.loads(text[len(_MISSING) : -1])
            if not (text.startswith(_MISSING) and isinstance(found, list)):
                raise DocumentError("they end elsewhere")
        except ValueError as error:
            raise ChunksDamaged(_DAMAGED.format(error)) from error
        return found

    def head(self, place: int) -> dict[str, Any]:
        """The fields of a market before its rows; `place`: its number in the index."""
        return self._head(place, 1)[0]

    def market(self, place: int) -> MarketText:
        """The whole market; `place`: its number in the index."""
        index, (exchange, symbol, first, end) = self.index, self.markets[place]
        head, text, rows_start = self._head(place, end - first)
        if not text.endswith(_MARKET_END):
            raise ChunksDamaged(f"{exchange}:{symbol}: the chunks of the document end elsewhere")
        start = HEADER_BYTES + index.header.deflated + place * index.comma.deflated
        view = memoryview(text)
        ends = accumulate(index.text[first:end], initial=0)
        chunks = [
            ChunkText(
                bytes(self._stream[start + self._before[chunk] : start + self._before[chunk + 1]]),
                view[since:upto],
                index.rows[chunk],
            )
            for chunk, (since, upto) in enumerate(pairwise(ends), first)
        ]
        return MarketText(head, view[rows_start - 1 : 1 - len(_MARKET_END)], chunks)

    def _head(self, place: int, chunks: int) -> tuple[dict[str, Any], bytes, int]:
        """The fields of a market, the text of its first chunks, and where its rows begin in it."""
        exchange, symbol, first, _ = self.markets[place]
        try:
            text = self._inflate(place, first, place, first + chunks)
            rows_start = text.index(_ROWS) + len(_ROWS)
            head: dict[str, Any] = orjson.loads(text[: rows_start - len(_ROWS)] + b"}")
            if (head["exchange"], head["symbol"]) != (exchange, symbol):
                raise DocumentError("they are of another market")
        except (ValueError, KeyError, TypeError) as error:
            raise ChunksDamaged(f"{exchange}:{symbol}: {_DAMAGED.format(error)}") from error
        return head, text, rows_start

    def filtered(self, where: DocumentFilter) -> "list[bytes | memoryview]":
        """The very bytes that DocumentText.filtered gives for the whole document."""
        try:
            chosen = list(self._chosen(where))
            text = DocumentText(b"".join(self._pieces(chosen)))
            found = [(span.exchange, span.symbol) for span in text.markets]
            if found != [self.markets[place][:2] for place, _, _ in chosen]:
                raise DocumentError("its chunks are of other markets")
            return text.filtered(where)
        except (ValueError, KeyError, TypeError) as error:
            raise ChunksDamaged(_DAMAGED.format(error)) from error

    def filtered_size(self, where: DocumentFilter) -> FilteredSize:
        """At least the memory of what `filtered` returns; it is made of the chunks' whole text."""
        try:
            index = self.index
            size = index.header.text + index.end.text
            for place, first, end in self._chosen(where):
                size += index.comma.text + len(_MARKET_END) + sum(index.text[first:end])
                if self._lacks_head(place, first, end):
                    size += index.text[self.markets[place].first]
        except (ValueError, KeyError, TypeError) as error:
            raise ChunksDamaged(_DAMAGED.format(error)) from error
        return FilteredSize(size, False)

    def _chosen(self, where: DocumentFilter) -> Iterator[_Chunks]:
        """The markets that match, with the chunks that hold their matching rows, and few others."""
        interval_ms, opened = self.index.interval_ms, self.index.first
        last_ms = self._last_closed_ms() if where.closed else None
        for place, market in enumerate(self.markets):
            if not where.matches(market.exchange, market.symbol):
                continue
            first, end = market.first, market.end
            if last_ms is not None:
                end = bisect_right(opened, last_ms // interval_ms, first, end)
            if where.since_ms is not None:
                # The chunk before the first that begins after `since` may hold rows after it, too.
                later = bisect_right(opened, where.since_ms // interval_ms, first, end)
                first = max(first, later - 1)
            if where.limit is not None:
                first = self._last_rows(first, end, where.limit, last_ms is not None)
            yield _Chunks(place, first, end)

    def _last_rows(self, first: int, end: int, limit: int, is_cut: bool) -> int:
        """The first of the chunks that hold the last `limit` rows of [first, end); `is_cut`: some
        rows of the last chunk are not counted."""
        rows = 0
        for chunk in range(end - 1, first, -1):
            if not (is_cut and chunk == end - 1):
                rows += self.index.rows[chunk]
            if rows >= limit:
                return chunk
        return first

    def _pieces(self, chosen: Sequence[_Chunks]) -> Iterator[bytes]:
        """A document with the chosen chunks alone."""
        yield self._header()
        position = 0
        while position < len(chosen):
            if position:
                yield b","
            place, first, end = chosen[position]
            position += 1
            if not self._is_whole(place, first, end):
                yield from self._part_of(place, first, end)
                continue
            # Whole markets that follow each other are inflated together.
            last = place
            while position < len(chosen) and chosen[position].place == last + 1:
                if not self._is_whole(*chosen[position]):
                    break
                last, end = last + 1, chosen[position].end
                position += 1
            yield self._inflate(place, first, last, end)
        yield self._end()

    def _is_whole(self, place: int, first: int, end: int) -> bool:
        market = self.markets[place]
        return (first, end) == (market.first, market.end)

    def _lacks_head(self, place: int, first: int, end: int) -> bool:
        """Whether a market's head is not in its chunks [first, end)."""
        return first > self.markets[place].first or first == end

    def _part_of(self, place: int, first: int, end: int) -> Iterator[bytes]:
        """A market with the rows of its chunks [first, end) alone."""
        market = self.markets[place]
        if self._lacks_head(place, first, end):
            head = self._inflate(place, market.first, place, market.first + 1)
            yield head[: head.index(_ROWS) + len(_ROWS)]
        rows = self._inflate(place, first, place, end) if first < end else b""
        if end < market.end:
            yield rows.removesuffix(b",")
            yield _MARKET_END
        else:
            yield rows

    def _inflate(self, place: int, first: int, last_place: int, end: int) -> bytes:
        """The text of the chunks [first, end), which begin in one market and end in another."""
        index = self.index
        start = HEADER_BYTES + index.header.deflated
        between = last_place - place
        return self._text(
            start + self._before[first] + place * index.comma.deflated,
            Size(
                self._before[end] - self._before[first] + between * index.comma.deflated,
                sum(index.text[first:end]) + between * index.comma.text,
            ),
        )

    def _header(self) -> bytes:
        return self._text(HEADER_BYTES, self.index.header)

    def _end(self) -> bytes:
        index = self.index
        commas = max(0, len(index.markets) - 1)
        start = HEADER_BYTES + index.header.deflated + self._before[-1]
        return self._text(start + commas * index.comma.deflated, index.end)

    def _last_closed_ms(self) -> int:
        last_ms: int = self._fields()["last_closed_open_time"]
        return last_ms

    def _fields(self) -> dict[str, Any]:
        text = self._header()
        found: dict[str, Any] = orjson.loads(text[: text.rindex(_MARKETS)] + b"}")
        return found

    def _text(self, start: int, size: Size) -> bytes:
        self.inflated_bytes += size.text
        return inflate_parts(self._stream[start : start + size.deflated], size.text)
