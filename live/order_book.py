"""OrderBook: the order book of one market, kept whole by the numbers of its changes.

    WAITING ── change ──> BUFFERING ── snapshot joins ──> LIVE ── a gap ──> BROKEN
       └──────────── snapshot of the stream ───────────────^ ^── snapshot ────┘

Only a live book serves levels. Which numbers follow each other is told by the exchange's BookRule.
"""

from collections import deque
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from live.book_rules import BookRule, Place
from live.book_side import BookSide
from live.events import BookEvent, Level

MOST_LEVELS: Final = 5_000  # of each side
MOST_BUFFERED: Final = 1_000  # changes: more than a minute of them
_MOST_BUFFERED_LEVELS: Final = 200_000


class BookState(StrEnum):
    """What is known of a book."""

    WAITING = "waiting for a snapshot"
    BUFFERING = "buffering changes"  # until a snapshot that they join
    LIVE = "live"
    BROKEN = "broken"  # changes are buffered; a snapshot makes the book whole again


class PriceLevel(NamedTuple):
    """One level; the size is in the units that the exchange counts."""

    price: Decimal
    size: Decimal


class OrderBook:
    """One market's book. `reason`: why it is not live, or was not the last time; `breaks` counts
    how often it broke. `time_ms` is the exchange's time of the last change, 0: none yet.

    Where `wants_snapshot` is True a snapshot over REST is needed: fetch it, within the exchange's
    limits, and hand it to `load`. Where the exchange sends snapshots by itself a broken book needs
    its stream unsubscribed and subscribed again.
    """

    def __init__(self, symbol: str, rule: BookRule, *, most_levels: int = MOST_LEVELS) -> None:
        self.symbol = symbol
        self.state = BookState.WAITING
        self.reason = "nothing has come yet"
        self.breaks = 0
        self.time_ms = 0
        self.last_id = -1
        self._rule = rule
        self._bids = BookSide(is_bid=True, most=most_levels)
        self._asks = BookSide(is_bid=False, most=most_levels)
        self._buffer: deque[BookEvent] = deque()
        self._buffered_levels = 0
        self._loaded: BookEvent | None = None  # a snapshot that no change has joined yet

    # --- what it serves -------------------------------------------------------------------------

    @property
    def is_live(self) -> bool:
        """Whether the book is whole."""
        return self.state is BookState.LIVE

    @property
    def wants_snapshot(self) -> bool:
        """Whether a snapshot over REST is needed now: only where the stream sends none."""
        collects = self.state in (BookState.BUFFERING, BookState.BROKEN)
        return collects and self._loaded is None and not self._rule.sends_snapshot

    def bids(self, count: int) -> list[PriceLevel]:
        """The highest bids, the best first; none unless the book is live."""
        return _exact(self._bids.best(count)) if self.is_live else []

    def asks(self, count: int) -> list[PriceLevel]:
        """The lowest asks, the best first; none unless the book is live."""
        return _exact(self._asks.best(count)) if self.is_live else []

    @property
    def best_bid(self) -> PriceLevel | None:
        """The highest bid; None if there is none, or the book is not live."""
        return next(iter(self.bids(1)), None)

    @property
    def best_ask(self) -> PriceLevel | None:
        """The lowest ask; None if there is none, or the book is not live."""
        return next(iter(self.asks(1)), None)

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        """The best bids and asks as the texts that were sent, the best first, in O(count); none
        unless the book is live."""
        if not self.is_live:
            return [], []
        return self._bids.best(count), self._asks.best(count)

    # --- what changes it ------------------------------------------------------------------------

    def apply(self, event: BookEvent) -> bool:
        """Takes an event of the stream; whether the book is live after it. Raises ValueError for
        one of another market."""
        self._check_symbol(event)
        if event.is_snapshot:
            self._forget_buffer()
            self._begin(event)
        elif self.state is BookState.LIVE:
            self._follow(event)
        else:
            self._keep(event)
            self._join()
        return self.is_live

    def load(self, snapshot: BookEvent) -> bool:
        """Takes a snapshot that was fetched over REST; whether the book is live after it. It is
        kept until a change joins it, and dropped if that is too late for it. Raises ValueError for
        one of another market."""
        self._check_symbol(snapshot)
        if self.state is not BookState.LIVE and self._rule.place is not None:
            self._loaded = snapshot
            self._join()
        return self.is_live

    def reset(self, reason: str) -> None:
        """Forgets everything: the stream has ended, or begins anew."""
        self._forget_buffer()
        self._forget_levels()
        self.state = BookState.WAITING
        self.reason = reason

    # --- how ------------------------------------------------------------------------------------

    def _check_symbol(self, event: BookEvent) -> None:
        if event.symbol != self.symbol:
            raise ValueError(f"{event.symbol} is not {self.symbol}")

    def _keep(self, event: BookEvent) -> None:
        """Buffers a change. The oldest are dropped where there are too many: a snapshot of their
        time would be older than the newest."""
        if self._rule.place is None:
            return  # only a snapshot of the stream helps
        if self.state is BookState.WAITING:
            self.state = BookState.BUFFERING
            self.reason = "no snapshot yet"
        self._buffer.append(event)
        self._buffered_levels += len(event.bids) + len(event.asks)
        while len(self._buffer) > MOST_BUFFERED or self._buffered_levels > _MOST_BUFFERED_LEVELS:
            self._drop_oldest()

    def _join(self) -> None:
        """Makes the book of the loaded snapshot and the buffered changes, if they join."""
        snapshot, place = self._loaded, self._rule.place
        if snapshot is None or place is None:
            return
        while self._buffer:
            where = place(self._buffer[0], snapshot.last_id)
            if where is Place.JOINS:
                break
            if where is Place.AFTER:
                self._loaded = None
                self.reason = f"the snapshot {snapshot.last_id} was older than the changes"
                return
            self._drop_oldest()
        else:
            return
        changes = list(self._buffer)
        self._forget_buffer()
        self._begin(snapshot)
        if self.is_live:
            self._change(changes[0])
        for change in changes[1:]:
            self.apply(change)

    def _begin(self, snapshot: BookEvent) -> None:
        cut = self._rule.cut_depths
        try:
            self._bids.replace(snapshot.bids, is_cut=len(snapshot.bids) in cut)
            self._asks.replace(snapshot.asks, is_cut=len(snapshot.asks) in cut)
        except ValueError as error:
            self._break(str(error))
            return
        self.state = BookState.LIVE
        self.last_id = snapshot.last_id
        self.time_ms = snapshot.time_ms
        self._check()

    def _follow(self, event: BookEvent) -> None:
        fault = self._rule.fault(event, self.last_id)
        if fault is None:
            self._change(event)
        else:
            self._break(fault)
            self._keep(event)

    def _change(self, event: BookEvent) -> None:
        try:
            self._bids.change(event.bids)
            self._asks.change(event.asks)
        except ValueError as error:
            self._break(str(error))
            return
        self.last_id = event.last_id
        self.time_ms = event.time_ms
        self._check()

    def _check(self) -> None:
        bid, ask = self._bids.best_key, self._asks.best_key
        if bid is not None and ask is not None and bid >= -ask:
            self._break(f"the best bid {bid} is not below the best ask {-ask}")
        elif self._bids.is_used_up or self._asks.is_used_up:
            self._break("few levels are left of those that the snapshot had")

    def _break(self, reason: str) -> None:
        self._forget_levels()
        self.state = BookState.BROKEN
        self.reason = reason
        self.breaks += 1

    def _forget_levels(self) -> None:
        self._bids.clear()
        self._asks.clear()
        self.last_id = -1

    def _forget_buffer(self) -> None:
        self._buffer.clear()
        self._buffered_levels = 0
        self._loaded = None

    def _drop_oldest(self) -> None:
        oldest = self._buffer.popleft()
        self._buffered_levels -= len(oldest.bids) + len(oldest.asks)


def _exact(levels: list[Level]) -> list[PriceLevel]:
    return [PriceLevel(Decimal(price), Decimal(size)) for price, size in levels]
