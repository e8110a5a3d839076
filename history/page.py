"""A page of an answer while it is surveyed: its spans, its rows, and where it ends."""

from collections.abc import AsyncIterator
from hashlib import blake2b
from typing import Final

from history.rows import (
    DIGEST_BYTES,
    MarketDigest,
    State,
    kept_revisions,
)
from history.selection import MarketName, Place, Span, Survey
from market.rows import Times
from stores.cold.history.series import Revisions, SeriesKey, Versions

# The rows of a span: 32 chunks of the store, 1.5 MB of numbers.
SPAN_ROWS: Final = 32 * 576


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
        self._begun = 0  # where the spans of this market begin
        self.digest = MarketDigest()  # of this market
        self._end: Place | None = None
        self._total = blake2b(digest_size=DIGEST_BYTES)

    def begin(self, market: MarketName) -> None:
        """The next rows are of this market."""
        self._begun, self.digest = len(self._spans), MarketDigest()
        if self._left != 0:
            self._markets.append(market)

    def add(self, market: MarketName, rows: Versions) -> None:
        """Adds the next rows of the market."""
        count = self._taken(len(rows.times))
        if not count:
            return
        times, known_at = rows.times[:count], rows.known_at[:count]
        self.digest.add_rows(times, known_at)
        first_ms, end_ms = int(times[0]), int(times[-1]) + 1
        last = self._spans.pop() if len(self._spans) > self._begun else None
        if last is not None and last.rows + count <= SPAN_ROWS:
            self._spans.append(last._replace(to_ms=end_ms, rows=last.rows + count))
        else:
            if last is not None:  # nothing lies between two spans
                self._spans.append(last._replace(to_ms=first_ms))
            self._spans.append(Span(market, first_ms, end_ms, count))
        self._unrecorded += self.state.unrecorded_of(known_at)
        self.newest_ms = max(self.newest_ms, int(known_at.max()))
        self._end = Place(market, end_ms - 1)

    def whole(self) -> Span | None:
        """All rows of this market in one span, if there are any."""
        spans = self._spans[self._begun :]
        return spans[0]._replace(to_ms=spans[-1].to_ms) if spans else None

    def end(self) -> None:
        """Ends the market, whose digest is complete."""
        if len(self._spans) > self._begun:
            self._total.update(self.digest.digest())

    def add_known(self, known_at: Times) -> None:
        """Since when something is known that is put on the rows."""
        self.newest_ms = max(self.newest_ms, int(known_at.max(initial=0)))

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
        self.digest.add_rows(rows.times, rows.known_from, rows.known_to)
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
