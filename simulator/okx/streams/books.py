"""OKX's order books: `books`, `books5` and `bbo-tbt`, and the book of /market/books.

seqId is the book's version. Each update's prevSeqId is the seqId before it, also in an empty update
after a minute of silence, and when numbering starts again.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from simulator.answers import dump
from simulator.market import Market
from simulator.okx import contracts
from simulator.streams.book import VERSION_MS, Book, BookState, Levels, changes, levels
from simulator.streams.candle_view import Tapes
from simulator.streams.clockwork import ClockFeed
from simulator.streams.feeds import Kind, Message
from simulator.text import plain

DEPTH: Final = 400
KEEP_ALIVE_MS: Final = 60_000
BOOKS_MS: Final = 100
BBO_MS: Final = 10
# `--okx-checksum`: always 0, or left out as well; both: left out for every second instrument.
CHECKSUMS: Final = ("0", "absent", "both")


class OkxBook:
    """The order book of one instrument as a function of time, in OKX's numbers and units.

    In a 5-minute candle without a trade the book stands still (choice).
    """

    def __init__(self, market: Market, tapes: Tapes, seed: int, checksum: str = "both") -> None:
        self.market = market
        self._tapes = tapes
        self._book = Book(market, tapes, seed)
        absent = checksum == "absent" or (checksum == "both" and market.number % 2 == 0)
        self._checksum = {} if absent else {"checksum": 0}

    def at(self, now_ms: int, depth: int = DEPTH) -> BookState:
        tape = self._tapes.at(self.market, now_ms)
        still = tape is not None and not tape.events
        return self._book.at(tape.start_ms if tape is not None and still else now_ms, depth)

    def top(self, now_ms: int) -> dict[str, str]:
        """The best ask and bid as tickers tell them; empty before the first trade."""
        state = self.at(now_ms, 1)
        found: dict[str, str] = {}
        for name, side in (("ask", state.asks), ("bid", state.bids)):
            texts = self._texts(levels(side, self.market.tick)) or [("", "")]
            found |= {f"{name}Px": texts[0][0], f"{name}Sz": texts[0][1]}
        return found

    def number(self, state: BookState) -> int:
        """seqId: counted from the last restart of the numbering."""
        restarted = self.market.renumbered_ms // VERSION_MS
        return state.version - restarted + 1 if state.version >= restarted else state.version

    def whole(self, state: BookState, now_ms: int, **numbers: Any) -> dict[str, Any]:
        """All levels of a state."""
        tick = self.market.tick
        return self._entry(levels(state.asks, tick), levels(state.bids, tick), now_ms, numbers)

    def change(
        self, before: BookState, state: BookState, now_ms: int, numbers: dict[str, Any]
    ) -> dict[str, Any] | None:
        """The levels that differ; None if none does."""
        asks = changes(before.asks, state.asks, self.market.tick)
        bids = changes(before.bids, state.bids, self.market.tick)
        if not asks and not bids:
            return None
        return self._entry(asks, bids, now_ms, self._checksum | numbers)

    def nothing(self, now_ms: int, number: int) -> dict[str, Any]:
        """The sign of life of a book that does not change."""
        numbers = {**self._checksum, "prevSeqId": number, "seqId": number}
        return self._entry([], [], now_ms, numbers)

    def snapshot(self, state: BookState, now_ms: int, number: int) -> dict[str, Any]:
        """The first message of `books`."""
        return self.whole(state, now_ms, **self._checksum, prevSeqId=-1, seqId=number)

    def _entry(
        self, asks: Levels, bids: Levels, now_ms: int, numbers: dict[str, Any]
    ) -> dict[str, Any]:
        return {"asks": self._texts(asks), "bids": self._texts(bids), "ts": str(now_ms), **numbers}

    def _texts(self, found: Levels) -> list[Sequence[str]]:
        """Price, size, "0" and the number of orders."""
        market = self.market
        amounts = contracts.sizes(
            market, [size for _, size in found], [price * size for price, size in found]
        )
        return [
            (plain(price, market.price_decimals), amount, "0", str(size // market.step % 19 + 1))
            if size
            else (plain(price, market.price_decimals), "0", "0", "0")
            for (price, size), amount in zip(found, amounts, strict=True)
        ]


def rest_book(book: OkxBook, now_ms: int, depth: int) -> dict[str, Any]:
    """The entry of /market/books."""
    state = book.at(now_ms, depth)
    return book.whole(state, now_ms, seqId=book.number(state))


class BooksFeed(ClockFeed):
    """`books`: a snapshot for each subscriber, then what has changed, every 100 ms."""

    def __init__(self, book: OkxBook) -> None:
        super().__init__(BOOKS_MS)
        self._book = book
        self._state: BookState | None = None
        self._number = 0  # the last seqId
        self._pushed_ms = 0
        self._goes_on = False  # whether what subscribers know is good after the last start

    def start(self, now_ms: int) -> None:
        super().start(now_ms)
        self._goes_on = self._state is not None and now_ms >= self._pushed_ms
        if not self._goes_on:
            self._state = self._book.at(now_ms)
            self._number = self._book.number(self._state)
            self._pushed_ms = now_ms

    def messages(self, now_ms: int) -> Iterable[Message]:
        if self._state is None:
            return ()
        state = self._book.at(now_ms)
        number = self._book.number(state)
        found = self._book.change(
            self._state, state, now_ms, {"prevSeqId": self._number, "seqId": number}
        )
        if found is None and now_ms < self._pushed_ms + KEEP_ALIVE_MS:
            return ()
        if found is None:
            found = self._book.nothing(now_ms, self._number)
        else:
            self._state, self._number = state, number
        self._pushed_ms = now_ms
        return (Message(b'"action":"update","data":' + dump([found]), Kind.BOOK),)

    def snapshot(self, now_ms: int) -> Iterable[Message]:
        if self._state is None:
            return ()
        found = self._book.snapshot(self._state, self._pushed_ms, self._number)
        return (Message(b'"action":"snapshot","data":' + dump([found]), Kind.BOOK),)

    def again(self, now_ms: int) -> Iterable[Message]:
        return () if self._goes_on else self.snapshot(now_ms)


class TopFeed(ClockFeed):
    """`books5` and `bbo-tbt`: the best levels, whole each time, if changed."""

    def __init__(self, book: OkxBook, depth: int, every_ms: int) -> None:
        super().__init__(every_ms)
        self._book = book
        self._depth = depth
        self._pushed: tuple[Levels, Levels] | None = None

    def messages(self, now_ms: int) -> Iterable[Message]:
        state, tick = self._book.at(now_ms, self._depth), self._book.market.tick
        found = levels(state.bids, tick), levels(state.asks, tick)
        if found == self._pushed:
            return ()
        self._pushed = found
        return (self._message(state, now_ms),)

    def snapshot(self, now_ms: int) -> Iterable[Message]:
        return (self._message(self._book.at(now_ms, self._depth), now_ms),)

    def _message(self, state: BookState, now_ms: int) -> Message:
        entry = self._book.whole(state, now_ms, seqId=self._book.number(state))
        if self._depth > 1:
            entry["instId"] = self._book.market.symbol
        return Message(b'"data":' + dump([entry]), Kind.BOOK)
