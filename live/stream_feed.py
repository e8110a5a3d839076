"""StreamFeed: makes of the events of all connections one sequence, without what came twice.

While a connection is replaced two deliver the same. What is new is queued for the collector; the
queue is bounded, and what is dropped is counted.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from live.arrivals import MarketEvent
from live.book_keeper import BookKeeper
from live.contracts import Sized, in_coins
from live.events import BookEvent, CandleEvent, LeftOut, Level, TickerEvent, TradeEvent
from live.points import Tickers
from live.stream_venue import Channel, Topic
from timing.clock import Clock

MOST_QUEUED: Final = 100_000  # some 50 MB of trades
_REMEMBERED: Final = 50_000  # trades of the time in which two connections deliver
_AFTER_OVERLAP_S: Final = 60.0


class BookView(msgspec.Struct, frozen=True):
    """The best levels of a whole book."""

    symbol: str
    time_ms: int
    bids: list[Level]
    asks: list[Level]
    last_id: int


class TickerView(msgspec.Struct, frozen=True):
    """All that is known of a market's ticker."""

    symbol: str
    time_ms: int
    values: Mapping[str, str]


Item = CandleEvent | TradeEvent | TickerView | BookView


class _CandleKey(msgspec.Struct):
    """The newest candle of a market and timeframe that was handed on, and the newest closed one."""

    epoch: int
    newest: CandleEvent | None = None
    closed: CandleEvent | None = None


class StreamFeed:
    """The owner of a pool (StreamOwner). `contract_sizes`: base units in one contract, by symbol,
    for markets whose sizes are contracts; those without an entry are held back and counted."""

    def __init__(self, clock: Clock, book_depth: int, *, most_queued: int = MOST_QUEUED) -> None:
        self.books: BookKeeper | None = None
        self.contract_sizes: Mapping[str, Decimal] = {}
        self.counts_contracts: Collection[str] = ()
        self.counts: Counter[str] = Counter()
        self.filled = asyncio.Event()
        self._clock = clock
        self._book_depth = book_depth
        self._most_queued = most_queued
        self._queue: deque[Item] = deque()
        self._epochs: dict[int, set[Topic]] = {}
        self._candles: dict[tuple[str, str], _CandleKey] = {}
        self._tickers = Tickers()
        self._told: dict[str, tuple[int, int]] = {}  # of tickers: epoch and time, by symbol
        self._overlaps = False
        self._trades: dict[tuple[str, str], None] | None = None  # of an overlap
        self._until_s = 0.0
        self._take: dict[type, Any] = {
            CandleEvent: self._candle,
            TradeEvent: self._trade,
            TickerEvent: self._ticker,
            BookEvent: self._book,
        }

    # What the pool tells.

    def on_epoch_began(self, epoch: int, topics: Collection[Topic]) -> None:
        self._epochs[epoch] = set()
        self._add(epoch, topics)

    def on_topics_changed(
        self, epoch: int, added: Collection[Topic], removed: Collection[Topic]
    ) -> None:
        self._remove(epoch, [topic for topic in removed if topic not in added])
        self._add(epoch, added)

    def on_heartbeat(self, epoch: int) -> None:
        pass

    def needs(self, epoch: int) -> Collection[str]:
        return ()

    def on_epoch_ended(self, epoch: int, reason: str) -> None:
        self._epochs.pop(epoch, None)
        self._tickers.end(epoch)
        if self.books is not None:
            self.books.end(epoch)
        self._see_overlap()

    def on_event(self, epoch: int, event: MarketEvent | LeftOut) -> None:
        take = self._take.get(type(event))
        if take is not None:
            take(epoch, event)

    def _add(self, epoch: int, topics: Iterable[Topic]) -> None:
        self._epochs[epoch].update(topics)
        books = [topic.symbol for topic in topics if topic.channel is Channel.ORDERBOOK]
        if self.books is not None and books:
            self.books.begin(epoch, books)
        self._see_overlap()

    def _remove(self, epoch: int, topics: Collection[Topic]) -> None:
        self._epochs[epoch].difference_update(topics)
        by_channel: dict[Channel, list[str]] = {}
        for topic in topics:
            by_channel.setdefault(topic.channel, []).append(topic.symbol)
            self._candles.pop((topic.symbol, topic.timeframe), None)
        if self.books is not None and (books := by_channel.get(Channel.ORDERBOOK)):
            self.books.end(epoch, books)
        if tickers := by_channel.get(Channel.TICKER):
            self._tickers.end(epoch, tickers)
            for symbol in tickers:
                self._told.pop(symbol, None)

    def _see_overlap(self) -> None:
        seen: set[Topic] = set()
        overlaps = False
        for topics in self._epochs.values():
            overlaps = overlaps or not seen.isdisjoint(topics)
            seen |= topics
        if overlaps and not self._overlaps:
            self._trades = {}
        if self._overlaps and not overlaps:
            # The new connection may be behind the old one.
            self._until_s = self._clock.monotonic_s() + _AFTER_OVERLAP_S
        self._overlaps = overlaps

    # What is new.

    def _candle(self, epoch: int, event: CandleEvent) -> None:
        key = event.symbol, event.timeframe
        known = self._candles.get(key)
        if known is None:
            known = self._candles[key] = _CandleKey(epoch)
        if event.closed:
            is_new = _is_new_close(known.closed, event)
            if is_new:
                known.closed = event
        else:
            is_new = _is_new_state(known, epoch, event)
        if not is_new:
            self.counts["repeated"] += 1
            return
        if known.newest is None or event.open_time_ms >= known.newest.open_time_ms:
            known.newest, known.epoch = event, epoch
        self._put(event)

    def _trade(self, epoch: int, event: TradeEvent) -> None:
        if self._trades is not None and self._is_repeated(event):
            self.counts["repeated"] += 1
            return
        sized = self.in_coins(event)
        if sized is not None:
            self._put(sized)

    def _is_repeated(self, event: TradeEvent) -> bool:
        trades, key = self._trades, (event.symbol, event.trade_id)
        if trades is None or key in trades:
            return trades is not None
        if not self._overlaps and self._clock.monotonic_s() > self._until_s:
            self._trades = None
            return False
        trades[key] = None
        if len(trades) > _REMEMBERED:
            del trades[next(iter(trades))]
        return False

    def _ticker(self, epoch: int, event: TickerEvent) -> None:
        sized = self.in_coins(event)
        values = self._tickers.merged(epoch, sized) if sized is not None else None
        if values is None:
            return
        told_epoch, told_ms = self._told.get(event.symbol, (epoch, -1))
        if event.time_ms < told_ms or (event.time_ms == told_ms and epoch != told_epoch):
            self.counts["repeated"] += 1
            return
        self._told[event.symbol] = epoch, event.time_ms
        self._put(TickerView(event.symbol, event.time_ms, values))

    def _book(self, epoch: int, event: BookEvent) -> None:
        sized = self.in_coins(event)
        if self.books is None or sized is None:
            return
        book = self.books.take(epoch, sized)
        if book is not None:
            bids, asks = book.top(self._book_depth)
            self._put(BookView(event.symbol, book.time_ms, bids, asks, book.last_id))

    def in_coins(self, event: Sized) -> Sized | None:
        """The event with sizes in base units; None while the size of a contract is not known."""
        if event.symbol not in self.counts_contracts:
            return event
        size = self.contract_sizes.get(event.symbol)
        if size is None:
            self.counts["without_contract_size"] += 1
            return None
        return in_coins(event, size)

    def _put(self, item: Item) -> None:
        if len(self._queue) >= self._most_queued:
            self._queue.popleft()
            self.counts["dropped"] += 1
        self._queue.append(item)
        self.filled.set()

    # What the collector takes.

    def take(self, count: int) -> list[Item]:
        """The oldest items, at most so many."""
        queue = self._queue
        return [queue.popleft() for _ in range(min(count, len(queue)))]

    @property
    def queued(self) -> int:
        return len(self._queue)


def _is_new_close(known: CandleEvent | None, event: CandleEvent) -> bool:
    """Whether a closing says more than the last one: a repeated one says nothing, unless its
    values are others."""
    if known is None or event.open_time_ms > known.open_time_ms:
        return True
    return event.open_time_ms == known.open_time_ms and _values(event) != _values(known)


def _values(event: CandleEvent) -> tuple[str, ...]:
    return event.open, event.high, event.low, event.close, event.volume, event.turnover


def _is_new_state(known: _CandleKey, epoch: int, event: CandleEvent) -> bool:
    """Whether a state of a forming candle is newer than what was handed on."""
    closed, newest = known.closed, known.newest
    if closed is not None and event.open_time_ms <= closed.open_time_ms:
        return False
    if newest is None or event.open_time_ms > newest.open_time_ms:
        return True
    if event.open_time_ms < newest.open_time_ms or event.event_time_ms < newest.event_time_ms:
        return False
    if epoch == known.epoch:
        return event != newest
    # Another connection tells the same, or is behind.
    return float(event.volume) > float(newest.volume)
