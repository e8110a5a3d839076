"""Binance's order books: depth and bookTicker streams, and the book of GET /fapi/v1/depth.

Ids are ten times the book's version. A book of REST has an id between the last event and the next
one, so that one event after it holds `U` <= lastUpdateId <= `u`.
"""

from collections.abc import Iterable
from typing import Any, Final

from simulator.answers import dump
from simulator.streams.book import VERSION_MS, Book, Levels, levels
from simulator.streams.clockwork import ClockFeed
from simulator.streams.feeds import Kind, Message
from simulator.text import fixed

_IDS: Final = 10  # ids of one version
_LONGEST_MS: Final = 600_000  # that one event tells of


class DepthFeed(ClockFeed):
    """`<symbol>@depth[@100ms|@500ms]`: all levels that have changed since the last event, at any
    moment, so that it fits the book of REST of each of them. After a long jump of time there is a
    gap in the numbers, and what changed in it is not sent."""

    def __init__(self, book: Book, every_ms: int) -> None:
        super().__init__(every_ms)
        self._book = book
        self._at_ms = 0  # the time of the last event

    def start(self, now_ms: int) -> None:
        super().start(now_ms)
        self._at_ms = now_ms

    def messages(self, now_ms: int) -> Iterable[Message]:
        before_ms, self._at_ms = max(self._at_ms, now_ms - _LONGEST_MS), now_ms
        bids, asks = self._book.touched(before_ms, now_ms)
        if not bids and not asks:
            self._at_ms = before_ms
            return ()
        before_id, last_id = before_ms // VERSION_MS * _IDS, now_ms // VERSION_MS * _IDS
        data = _event(self._book, now_ms, (before_id + 1, last_id, before_id), bids, asks)
        return (Message(data, Kind.BOOK),)


class PartialDepthFeed(ClockFeed):
    """`<symbol>@depth<5|10|20>[@...]`: the best levels, whole each time, if changed."""

    def __init__(self, book: Book, depth: int, every_ms: int) -> None:
        super().__init__(every_ms)
        self._book = book
        self._depth = depth
        self._pushed: tuple[Levels, Levels] = ([], [])
        self._last_id = 0

    def messages(self, now_ms: int) -> Iterable[Message]:
        state, tick = self._book.at(now_ms, self._depth), self._book.market.tick
        now = levels(state.bids, tick), levels(state.asks, tick)
        if now == self._pushed:
            return ()
        self._pushed = now
        last_id = state.version * _IDS
        ids = (last_id - 3, last_id, self._last_id or last_id - 9)
        self._last_id = last_id
        return (Message(_event(self._book, now_ms, ids, *now), Kind.BOOK),)


class BookTickerFeed(ClockFeed):
    """`<symbol>@bookTicker`: the best bid and ask, if changed (looked at every 50 ms: choice)."""

    def __init__(self, book: Book, every_ms: int = 50) -> None:
        super().__init__(every_ms)
        self._book = book
        self._pushed: tuple[Levels, Levels] = ([], [])

    def messages(self, now_ms: int) -> Iterable[Message]:
        state, market = self._book.at(now_ms, 1), self._book.market
        now = levels(state.bids, market.tick), levels(state.asks, market.tick)
        if now == self._pushed or not now[0]:
            return ()
        self._pushed = now
        (bid, bids), (ask, asks) = now[0][0], now[1][0]
        prices, amounts = market.price_decimals, market.quantity_decimals
        data = (
            f'{{"e":"bookTicker","u":{state.version * _IDS},"s":"{market.symbol}",'
            f'"ps":"{market.symbol.partition("_")[0]}","b":"{fixed(bid, prices)}",'
            f'"B":"{fixed(bids, amounts)}","a":"{fixed(ask, prices)}",'
            f'"A":"{fixed(asks, amounts)}","T":{now_ms - 1},"E":{now_ms},"st":1}}'
        )
        return (Message(data.encode()),)


class AllBookTickersFeed(ClockFeed):
    """`!bookTicker`: every 5 s the best bid and ask of each market, one message for each."""

    def __init__(self, books: Iterable[Book]) -> None:
        super().__init__(5_000)
        self._feeds = [BookTickerFeed(book) for book in books]

    def messages(self, now_ms: int) -> Iterable[Message]:
        return [message for feed in self._feeds for message in feed.messages(now_ms)]


def rest_book(book: Book, now_ms: int, depth: int) -> dict[str, Any]:
    """The body of GET /fapi/v1/depth."""
    state, market = book.at(now_ms, depth), book.market
    return {
        "lastUpdateId": state.version * _IDS + _IDS // 2,
        "E": now_ms,
        "T": now_ms - 1,
        "bids": _texts(book, levels(state.bids, market.tick)),
        "asks": _texts(book, levels(state.asks, market.tick)),
    }


def _texts(book: Book, found: Levels) -> list[tuple[str, str]]:
    prices, amounts = book.market.price_decimals, book.market.quantity_decimals
    return [(fixed(price, prices), fixed(size, amounts) if size else "0") for price, size in found]


def _event(book: Book, now_ms: int, ids: tuple[int, int, int], bids: Levels, asks: Levels) -> bytes:
    symbol = book.market.symbol
    first_id, last_id, before_id = ids
    head = (
        f'{{"e":"depthUpdate","E":{now_ms},"T":{now_ms - 1},"s":"{symbol}",'
        f'"ps":"{symbol.partition("_")[0]}","U":{first_id},"u":{last_id},"pu":{before_id},"b":'
    )
    sides = dump(_texts(book, bids)), dump(_texts(book, asks))
    return b'%s%s,"a":%s,"st":1}' % (head.encode(), *sides)
