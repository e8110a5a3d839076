"""Book: one market's order book as a pure function of time, so that REST and streams agree.

It changes in versions of 10 ms. The best bid and ask are one tick apart, and one of them is the
last trade's price; each level keeps its size for 0.2 to 20 s.
"""

from typing import Final, NamedTuple

import numpy as np

from simulator.candles import SLOT_MS, Ints
from simulator.market import Market
from simulator.present import last_price
from simulator.randomness import draws
from simulator.streams.candle_view import Tapes

VERSION_MS: Final = 10
DEPTH: Final = 1000  # levels of a side, some of them empty
_SHORTEST: Final = 20  # versions that a level keeps its size
_LONGEST: Final = 2000
_EMPTY_ONE_IN: Final = 9

Levels = list[tuple[int, int]]  # price and size, the best one first; size 0: no longer there


class BookState(NamedTuple):
    """The levels at one version: prices in ticks from the best one on, and their sizes."""

    version: int
    bids: Ints  # (2, n): ticks, size; sizes are never 0
    asks: Ints


class Book:
    """One market's order book."""

    def __init__(self, market: Market, tapes: Tapes, seed: int) -> None:
        self.market = market
        self._tapes = tapes
        self._seed = seed

    def at(self, now_ms: int, depth: int = DEPTH) -> BookState:
        """The book at a time, `depth` levels of each side at most."""
        version = now_ms // VERSION_MS
        bid, ask = self.best(now_ms)
        if not bid:
            return BookState(version, _NO_LEVELS, _NO_LEVELS)
        for looked_at in (min(2 * depth + 20, DEPTH), DEPTH):
            down = np.arange(bid, max(bid - looked_at, 0), -1, dtype=np.int64)
            up = np.arange(ask, ask + looked_at, dtype=np.int64)
            bids, asks = self._filled("bid", down, version), self._filled("ask", up, version)
            if min(bids.shape[1], asks.shape[1]) >= depth:
                break
        return BookState(version, bids[:, :depth], asks[:, :depth])

    def best(self, now_ms: int) -> tuple[int, int]:
        """The best bid and ask, in ticks; 0, 0 before the first trade."""
        tape = self._tapes.at(self.market, now_ms)
        if tape is None:
            price, is_buy = last_price(self.market, now_ms), False
        else:
            event = tape.count_at(now_ms)
            price, is_buy = tape.price(event), bool(event) and tape.trade(event).is_buy
        ticks = price // self.market.tick
        if ticks < 2:
            return 0, 0
        return (ticks - 1, ticks) if is_buy else (ticks, ticks + 1)

    def touched(self, before_ms: int, now_ms: int) -> tuple[Levels, Levels]:
        """The levels of both sides that may have changed at any moment since `before_ms`, each
        with its size now. Applied to the book of any moment in between they make the present one.
        """
        state, (bid, ask) = self.at(now_ms), self.best(now_ms)
        passed = self._passed(before_ms, now_ms)
        low, high = passed or (bid, ask)
        version = before_ms // VERSION_MS
        found = []
        for side, filled, edge in (("bid", state.bids, -DEPTH), ("ask", state.asks, DEPTH)):
            first, last = min(low, low + edge), max(high, high + edge)
            ticks = np.arange(max(first, 1), last + 1, dtype=np.int64)
            chosen = self._turns(side, ticks, version) != self._turns(side, ticks, state.version)
            if passed:  # where the best prices have been, and the far end of the book
                far = (ticks >= low + edge) & (ticks <= high + edge)
                chosen |= ((ticks >= low) & (ticks <= high)) | far
            found.append(levels(_sizes(filled, ticks[chosen]), self.market.tick))
        bids, asks = found
        return bids[::-1], asks

    def _passed(self, before_ms: int, now_ms: int) -> tuple[int, int] | None:
        """The lowest and the highest best price, in ticks, that may have been between two times;
        None if there was no trade."""
        seen: list[int] = []
        time_ms = before_ms
        while time_ms <= now_ms:
            tape = self._tapes.at(self.market, time_ms)
            if tape is None:
                time_ms += SLOT_MS - time_ms % SLOT_MS
                seen += self.best(min(time_ms, now_ms))
                continue
            before, event = tape.count_at(time_ms), tape.count_at(now_ms)
            if event > before or time_ms > before_ms:
                for price in tape.extremes(before, event):
                    ticks = price // self.market.tick
                    seen += (ticks - 1, ticks + 1)
            time_ms = tape.start_ms + tape.length_ms
        return (min(seen), max(seen)) if seen else None

    def _turns(self, side: str, ticks: Ints, version: int) -> Ints:
        """The number of each level's present size; it changes with the size, and only then."""
        own = draws(self._seed, self.market.name, side, ticks)
        kept = (own % np.uint64(_LONGEST - _SHORTEST)).astype(np.int64) + _SHORTEST
        turns: Ints = (version + (own >> np.uint64(32)).astype(np.int64)) // kept
        return turns

    def _filled(self, side: str, ticks: Ints, version: int) -> Ints:
        turn = self._turns(side, ticks, version)
        words = draws(self._seed, self.market.name, "size", ticks * 8191 + turn)
        sizes = (words >> np.uint64(40)).astype(np.int64) % 9000 + 1
        there = words % np.uint64(_EMPTY_ONE_IN) != 0
        there[0] = True  # the best level is one
        return np.stack((ticks, sizes * self.market.step))[:, there]


_NO_LEVELS: Final[Ints] = np.empty((2, 0), dtype=np.int64)


def _sizes(filled: Ints, ticks: Ints) -> Ints:
    """These levels with their sizes in one side of a book, 0 for those that it does not have."""
    sizes = np.zeros_like(ticks)
    if filled.shape[1]:
        order = np.argsort(filled[0])
        at = np.searchsorted(filled[0], ticks, sorter=order).clip(max=len(order) - 1)
        there = filled[0][order][at] == ticks
        sizes[there] = filled[1][order][at][there]
    return np.stack((ticks, sizes))


def levels(side: Ints, tick: int) -> Levels:
    """A side's levels as prices and sizes."""
    return list(zip((side[0] * tick).tolist(), side[1].tolist(), strict=True))


def changes(before: Ints, now: Ints, tick: int) -> Levels:
    """What turns one state of a side into a later one: new sizes, and 0 for levels that went."""
    gone = ~np.isin(before[0], now[0])
    same = np.isin(now[0], before[0])
    place = np.argsort(before[0])
    old = np.zeros(now.shape[1], dtype=np.int64)
    old[same] = before[1][place][np.searchsorted(before[0][place], now[0][same])]
    new = now[:, old != now[1]]
    removed = np.stack((before[0][gone], np.zeros(int(gone.sum()), dtype=np.int64)))
    return levels(np.concatenate((new, removed), axis=1), tick)
