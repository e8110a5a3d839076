"""A bounded cache of series rendered as text, from which pages of rows are cut.

A chunk has the rows of 64 grid times in the exchange's order (ascending or descending), each
followed by a comma. It includes rows of the future, so callers give the last time to serve.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

CHUNK_ROWS: Final = 64


@dataclass(frozen=True, slots=True)
class Chunk:
    times: "array[int]"  # always ascending
    offsets: "array[int]"  # in the order of the text
    text: bytes
    ascending: bool

    @classmethod
    def from_rows(cls, times: Sequence[int], rows: Sequence[bytes], *, ascending: bool) -> "Chunk":
        """From ascending `times` and `rows`; the text is reversed if not `ascending`."""
        ordered = rows if ascending else rows[::-1]
        offsets, at = array("I", [0]), 0
        for row in ordered:
            at += len(row)
            offsets.append(at)
        return cls(array("q", times), offsets, b"".join(ordered), ascending)

    def cut(self, first: int, end: int) -> bytes:
        """The text of the rows `first` to `end` (excluded), counted ascending."""
        if not self.ascending:
            first, end = len(self.times) - end, len(self.times) - first
        return self.text[self.offsets[first] : self.offsets[end]]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a series: their text with a final comma, their number, first and last time."""

    text: bytes
    count: int
    first_ms: int = 0
    last_ms: int = 0


class PageCache:
    """Chunks of rendered rows; beyond `limit_bytes` the least recently used are dropped."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._chunks: OrderedDict[Hashable, Chunk] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Chunk]) -> Chunk:
        chunk = self._chunks.get(key)
        if chunk is not None:
            self._chunks.move_to_end(key)
            return chunk
        chunk = self._chunks[key] = make()
        self._bytes += _size(chunk)
        while self._bytes > self._limit_bytes and len(self._chunks) > 1:
            self._bytes -= _size(self._chunks.popitem(last=False)[1])
        return chunk

    def clear(self) -> None:
        """Drops all chunks, after a change of rendered data."""
        self._chunks.clear()
        self._bytes = 0


@dataclass(frozen=True, slots=True)
class RowPages:
    """The rendered rows of one series at one interval."""

    cache: PageCache
    key: Hashable
    interval_ms: int
    start_ms: int  # the first row's time
    ascending: bool
    render: Callable[[int, int], tuple[Sequence[int], Sequence[bytes]]]  # rows of a time range

    def newest(self, limit: int, first_ms: int, last_ms: int) -> Page:
        """The last `limit` rows from `first_ms` to `last_ms`."""
        first_ms = max(first_ms, self.start_ms)
        pieces: list[bytes] = []
        count, newest_ms, oldest_ms = 0, 0, 0
        span_ms = self.interval_ms * CHUNK_ROWS
        index = last_ms // span_ms
        while count < limit and (index + 1) * span_ms > first_ms and last_ms >= first_ms:
            chunk = self._chunk(index)
            end = bisect_right(chunk.times, last_ms)
            start = max(bisect_left(chunk.times, first_ms), end - (limit - count))
            if end > start:
                pieces.append(chunk.cut(start, end))
                newest_ms = newest_ms or chunk.times[end - 1]
                oldest_ms = chunk.times[start]
                count += end - start
            index -= 1
        if self.ascending:
            pieces.reverse()
        return Page(b"".join(pieces), count, oldest_ms, newest_ms)

    def oldest(self, limit: int, first_ms: int, last_ms: int) -> Page:
        """The first `limit` rows from `first_ms` to `last_ms`."""
        first_ms = max(first_ms, self.start_ms)
        pieces: list[bytes] = []
        count, newest_ms, oldest_ms = 0, 0, 0
        span_ms = self.interval_ms * CHUNK_ROWS
        index = first_ms // span_ms
        while count < limit and index * span_ms <= last_ms:
            chunk = self._chunk(index)
            start = bisect_left(chunk.times, first_ms)
            end = min(bisect_right(chunk.times, last_ms), start + limit - count)
            if end > start:
                pieces.append(chunk.cut(start, end))
                oldest_ms = oldest_ms or chunk.times[start]
                newest_ms = chunk.times[end - 1]
                count += end - start
            index += 1
        if not self.ascending:
            pieces.reverse()
        return Page(b"".join(pieces), count, oldest_ms, newest_ms)

    def _chunk(self, index: int) -> Chunk:
        return self.cache.get((self.key, self.interval_ms, index), lambda: self._make(index))

    def _make(self, index: int) -> Chunk:
        span_ms = self.interval_ms * CHUNK_ROWS
        times, rows = self.render(index * span_ms, (index + 1) * span_ms - self.interval_ms)
        return Chunk.from_rows(times, rows, ascending=self.ascending)


def _size(chunk: Chunk) -> int:
    return len(chunk.text) + 12 * len(chunk.times) + 400
