"""BookKeeper: the order books of a collector's markets, one for each market on each connection.

A book that is not whole serves nothing. It is repaired by a snapshot: over REST, one at a time,
where the exchange sends none, else by subscribing its stream anew.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from live.errors import StreamError
from live.events import BookEvent
from live.exchange_rest import ExchangeRest
from live.order_book import OrderBook
from live.pacing import due_or_woken
from live.stream_venue import StreamVenue
from logging_setup import EventLog, ThrottledLog
from timing.backoff import Backoff
from timing.clock import Clock

MOST_BOOKS: Final = 200  # of one collector
FIRST_PAUSE_S: Final = 2.0
SLOWEST_PAUSE_S: Final = 300.0
STEADY_S: Final = 60.0  # a book that was whole for so long begins with short pauses again
_RESUBSCRIPTIONS: Final = 2  # then a snapshot is fetched, where the exchange offers one


@dataclass(slots=True, eq=False)
class _Kept:
    """One book. `due_s`: when it may be repaired, None: it needs no repair."""

    epoch: int
    book: OrderBook
    pauses: Backoff
    due_s: float | None = None
    repairs: int = 0  # since it was last whole for a while
    live_since_s: float | None = None


class BookKeeper:
    """The books of one exchange's markets. `subscribe_anew(epoch, symbol)` asks for a snapshot by
    the stream; `rest` fetches one otherwise, whose sizes `in_coins` makes base units of, as those
    of the events are: None while it cannot."""

    def __init__(
        self, venue: StreamVenue, rest: ExchangeRest,
        subscribe_anew: Callable[[int, str], None],
        in_coins: Callable[[BookEvent], BookEvent | None], clock: Clock, log: EventLog,
    ) -> None:  # fmt: skip
        self._venue = venue
        self._rest = rest
        self._subscribe_anew = subscribe_anew
        self._in_coins = in_coins
        self._clock = clock
        self._books: dict[str, dict[int, _Kept]] = {}  # by symbol, then by epoch
        self._wake = asyncio.Event()
        self._log = ThrottledLog(log, clock=clock.monotonic_s)
        self.counts: Counter[str] = Counter()

    def begin(self, epoch: int, symbols: Iterable[str]) -> None:
        """These markets' books begin on this connection, anew if they were there."""
        for symbol in symbols:
            kept = self._books.setdefault(symbol, {}).get(epoch)
            if kept is not None:
                kept.book.reset("subscribed anew")
                kept.live_since_s = None
                continue
            book = OrderBook(symbol, self._venue.book)
            pauses = Backoff(FIRST_PAUSE_S, SLOWEST_PAUSE_S)
            self._books[symbol][epoch] = _Kept(epoch, book, pauses)

    def end(self, epoch: int, symbols: Iterable[str] | None = None) -> None:
        """A connection has ended, or these markets are not subscribed on it any more."""
        for symbol in list(self._books) if symbols is None else symbols:
            of_symbol = self._books.get(symbol, {})
            of_symbol.pop(epoch, None)
            if not of_symbol:
                self._books.pop(symbol, None)

    def take(self, epoch: int, event: BookEvent) -> OrderBook | None:
        """Applies an event. The book if it is whole and the one that serves: of two connections
        the older one's, as long as it is whole."""
        of_symbol = self._books.get(event.symbol)
        kept = of_symbol.get(epoch) if of_symbol is not None else None
        if of_symbol is None or kept is None:
            return None
        was_live = kept.book.is_live
        if not kept.book.apply(event):
            self._is_not_whole(kept, was_live=was_live)
            return None
        if not was_live:
            kept.live_since_s = self._clock.monotonic_s()
            kept.due_s = None
        if len(of_symbol) > 1:
            serving = min(each.epoch for each in of_symbol.values() if each.book.is_live)
            if serving != epoch:
                return None
        return kept.book

    def _is_not_whole(self, kept: _Kept, *, was_live: bool) -> None:
        now = self._clock.monotonic_s()
        if was_live:
            self.counts["breaks"] += 1
            self._log.warning(
                "book_broken", exchange=self._venue.exchange, market=kept.book.symbol,
                reason=kept.book.reason,
            )  # fmt: skip
            if kept.live_since_s is not None and now - kept.live_since_s >= STEADY_S:
                kept.pauses.reset()
                kept.repairs = 0
            kept.live_since_s = None
        is_waited_for = not self._venue.book.sends_snapshot and not kept.book.wants_snapshot
        if kept.due_s is None and not is_waited_for:
            # The first snapshot over REST is fetched at once.
            is_new = kept.repairs == 0 and not was_live
            at_once = is_new and not self._venue.book.sends_snapshot
            kept.due_s = now if at_once else now + kept.pauses.pause_s()
            self._wake.set()

    async def run(self) -> None:
        """Repairs books, one at a time, until cancelled."""
        while True:
            kept = self._next_due()
            if kept is None or kept.due_s is None or kept.due_s > self._clock.monotonic_s():
                due_s = kept.due_s if kept is not None else None
                await due_or_woken(self._clock, self._wake, due_s)
                continue
            kept.due_s = None
            if not kept.book.is_live:
                kept.repairs += 1
                await self._repair(kept)

    def _next_due(self) -> _Kept | None:
        due = [
            kept
            for of_symbol in self._books.values()
            for kept in of_symbol.values()
            if kept.due_s is not None
        ]
        return min(due, key=lambda kept: kept.due_s or 0.0, default=None)

    async def _repair(self, kept: _Kept) -> None:
        rule = self._venue.book
        resubscribes = rule.sends_snapshot and kept.repairs <= _RESUBSCRIPTIONS
        if resubscribes or rule.snapshot_path is None or rule.read_snapshot is None:
            self.counts["resubscriptions"] += 1
            self._subscribe_anew(kept.epoch, kept.book.symbol)
            return
        symbol = kept.book.symbol
        self.counts["snapshots"] += 1
        try:
            body = await self._rest.get(rule.snapshot_path(symbol), symbol)
            snapshot = rule.read_snapshot(symbol, body)
        except StreamError as error:
            self.counts["failed_snapshots"] += 1
            self._log.warning("book_snapshot_failed", exchange=error.exchange, error=str(error))
            kept.due_s = self._clock.monotonic_s() + kept.pauses.pause_s()
            return
        sized = self._in_coins(snapshot)
        if sized is not None and kept.book.load(sized):
            kept.live_since_s = self._clock.monotonic_s()

    def status(self) -> dict[str, object]:
        """How many books are whole, and why the others are not."""
        books = {
            symbol: [kept.book for kept in of_symbol.values()]
            for symbol, of_symbol in self._books.items()
        }
        waiting = {
            symbol: of_symbol[0].reason
            for symbol, of_symbol in books.items()
            if of_symbol and not any(book.is_live for book in of_symbol)
        }
        counts = {name: self.counts[name] for name in _COUNTS}
        return {"live": len(books) - len(waiting), "waiting": waiting, **counts}


_COUNTS: Final = ("breaks", "resubscriptions", "snapshots", "failed_snapshots")
