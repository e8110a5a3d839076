"""Bybit's orderbook streams: snapshots and changes numbered by `u`."""

from collections.abc import Iterable
from typing import Final

from simulator.answers import dump
from simulator.streams.book import Book, BookState, Levels, changes, levels
from simulator.streams.clockwork import ClockFeed
from simulator.streams.feeds import Kind, Message
from simulator.text import plain

EVERY_MS: Final = {1: 10, 50: 20, 200: 100, 1000: 200}  # depth -> how often it is pushed
_REPEAT_MS: Final = 3_000  # depth 1 repeats its snapshot when nothing changes


class OrderbookFeed(ClockFeed):
    """`orderbook.<depth>.<symbol>`; each change has the `u` after that of the one before."""

    def __init__(self, book: Book, depth: int) -> None:
        super().__init__(EVERY_MS[depth])
        self._book = book
        self._depth = depth
        self._state: BookState | None = None
        self._pushed_ms = 0
        self._u = 0

    def start(self, now_ms: int) -> None:
        super().start(now_ms)
        self._state = self._book.at(now_ms, self._depth)
        self._pushed_ms = now_ms
        self._u = self._state.version % 10**9

    def snapshot(self, now_ms: int) -> Iterable[Message]:
        if self._state is None:
            return ()
        return (self._snapshot(self._state, self._pushed_ms),)

    def messages(self, now_ms: int) -> Iterable[Message]:
        before, state = self._state, self._book.at(now_ms, self._depth)
        if before is None or state.version <= before.version:
            return ()
        tick = self._book.market.tick
        bids = changes(before.bids, state.bids, tick)
        asks = changes(before.asks, state.asks, tick)
        if not bids and not asks:
            if self._depth == 1 and now_ms >= self._pushed_ms + _REPEAT_MS:
                self._pushed_ms = now_ms
                return (self._snapshot(before, now_ms),)
            return ()
        self._state, self._pushed_ms = state, now_ms
        self._u += 1
        if self._depth == 1:
            return (self._snapshot(state, now_ms),)
        return (self._message("delta", state, now_ms, bids, asks),)

    def _snapshot(self, state: BookState, now_ms: int) -> Message:
        tick = self._book.market.tick
        return self._message(
            "snapshot", state, now_ms, levels(state.bids, tick), levels(state.asks, tick)
        )

    def _message(
        self, kind: str, state: BookState, now_ms: int, bids: Levels, asks: Levels
    ) -> Message:
        market = self._book.market
        body = {
            "topic": f"orderbook.{self._depth}.{market.symbol}",
            "type": kind,
            "ts": now_ms,
            "data": {
                "s": market.symbol,
                "b": self._texts(bids),
                "a": self._texts(asks),
                "u": self._u,
                "seq": state.version * 10,
            },
            "cts": now_ms - 1,
        }
        return Message(dump(body), Kind.BOOK)

    def _texts(self, found: Levels) -> list[tuple[str, str]]:
        prices, amounts = self._book.market.price_decimals, self._book.market.quantity_decimals
        return [(plain(price, prices), plain(size, amounts)) for price, size in found]
