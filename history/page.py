"""A page of an answer while it is surveyed: its spans, its rows, and where it ends."""

from collections.abc import AsyncIterator, Iterator
from hashlib import blake2b
from typing import Final

from history.rows import (
    DIGEST_BYTES,
    Joined,
    State,
    as_bytes,
    digest_of,
    kept_revisions,
    revisions_digest,
)
from history.selection import MarketName, Place, Span, Survey
from stores.cold.history.series import Revisions, SeriesKey, Versions

# The rows of a span: 16 chunks of the store, 0.7 MB of numbers.
SPAN_ROWS: Final = 16 * 576


class Page:
    """The rows of a page, added market by market. `limit`: of rows, None for all.

    It is full when there is a row that it does not take. Versions of one row are not parted, so
    that a page of revisions may have more than `limit` rows.
    """

    def __init__(self, state: State, limit: int | None) -> None:
        self.state = state
        self.newest_ms = 0
        self.is_full = False
        self._left = limit
        self._rows = 0
        self._unrecorded = 0
        self._markets: list[MarketName] = []
        self._spans: list[Span] = []
        self._open: list[tuple[Span, blake2b]] = []  # of this market, without what is joined
        self._end: Place | None = None
        self._total = blake2b(digest_size=DIGEST_BYTES)

    def begin(self, market: MarketName) -> None:
        """The next rows are of this market."""
        if self._left != 0:
            self._markets.append(market)

    def add(self, market: MarketName, rows: Versions) -> None:
        """Adds the next rows of the market."""
        count = self._taken(len(rows.times))
        if not count:
            return
        times, known_at = rows.times[:count], rows.known_at[:count]
        first_ms, end_ms = int(times[0]), int(times[-1]) + 1
        if self._open and self._open[-1][0].rows + count <= SPAN_ROWS:
            span, digest = self._open.pop()
            digest.update(as_bytes(times, known_at))
            span = span._replace(to_ms=end_ms, rows=span.rows + count)
        else:
            span, digest = Span(market, first_ms, end_ms, count), digest_of(times, known_at)
        self._open.append((span, digest))
        self._unrecorded += self.state.unrecorded_of(known_at)
        self.newest_ms = max(self.newest_ms, int(known_at.max()))
        self._end = Place(market, end_ms - 1)

    def end(self) -> Iterator[tuple[Span, blake2b]]:
        """Ends the market: its spans, each to be finished by `add_joined`."""
        open_, self._open = self._open, []
        for span, digest in open_:
            self._spans.append(span)
            yield span, digest

    def add_joined(self, joined: Joined, digest: blake2b) -> None:
        self._total.update(joined.digest(digest))
        self.newest_ms = max(self.newest_ms, joined.newest_ms)

    async def ends_of_blocks(
        self, pieces: AsyncIterator[tuple[SeriesKey, Versions]]
    ) -> AsyncIterator[int]:
        """Times that part the rows into blocks, each before a row."""
        rows = 0
        async for _, piece in pieces:
            rows += len(piece.times)
            if rows > SPAN_ROWS:
                yield int(piece.times[0])
                rows = len(piece.times)

    def add_revisions(self, market: MarketName, from_ms: int, to_ms: int, found: Revisions) -> None:
        """Adds all versions of the market's rows in that range."""
        rows = kept_revisions(self.state, found)
        count = len(rows.times)
        if self._left is not None and count > self._left:
            # To the last version of the row at which the page would end, if that is not the end.
            last = rows.times[self._left - 1] if self._left else -1
            count = int(rows.times.searchsorted(last, side="right"))
            self.is_full = count < len(rows.times)
            rows = Revisions(
                *(rows.times[:count], rows.values[:count]),
                *(rows.known_from[:count], rows.known_to[:count]),
            )
            to_ms = int(rows.times[-1]) + 1 if count else from_ms
        if not count:
            return
        if self._left is not None:
            self._left = max(0, self._left - count)
        self._rows += count
        self._unrecorded += self.state.unrecorded_of(rows.known_from)
        self._spans.append(Span(market, from_ms, to_ms, count))
        self._total.update(revisions_digest(rows))
        known_to = rows.known_to[rows.known_to <= self.state.pin_ms]
        newest_ms = int(rows.known_from.max())
        self.newest_ms = max(self.newest_ms, newest_ms, int(known_to.max(initial=0)))
        self._end = Place(market, int(rows.times[-1]))

    def survey(self, pin_ms: int) -> Survey:
        """What was found. `pin_ms`: the state in which the page can be read again."""
        as_of_ms = self.state.selection.as_of_ms
        return Survey(
            as_of_ms=(pin_ms or None) if as_of_ms is None else as_of_ms,
            pin_ms=pin_ms,
            markets=tuple(self._markets),
            spans=self._spans,
            rows=self._rows,
            unrecorded=self._unrecorded,
            last=self._end if self.is_full else None,
            digest=self._total.digest(),
        )

    def _taken(self, offered: int) -> int:
        """How many of the offered rows the page takes; it is full if those are fewer."""
        count = offered if self._left is None else min(offered, self._left)
        self.is_full = count < offered
        if self._left is not None:
            self._left -= count
        self._rows += count
        return count
