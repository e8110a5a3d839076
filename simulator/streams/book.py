"""Book: one market's order book as a pure function of time, so that REST and streams agree.

It changes in versions of 10 ms. The best bid and ask are one tick apart, and one of them is the
last trade's price; each level keeps its size for 0.2 to 20 s.
"""

from typing import Final, NamedTuple

import numpy as np

from simulator.candles import Ints
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

    def _filled(self, side: str, ticks: Ints, version: int) -> Ints:
        own = draws(self._seed, self.market.name, side, ticks)
        kept = (own % np.uint64(_LONGEST - _SHORTEST)).astype(np.int64) + _SHORTEST
        turn = (version + (own >> np.uint64(32)).astype(np.int64)) // kept
        words = draws(self._seed, self.market.name, "size", ticks * 8191 + turn)
        sizes = (words >> np.uint64(40)).astype(np.int64) % 9000 + 1
        there = words % np.uint64(_EMPTY_ONE_IN) != 0
        there[0] = True  # the best level is one
        return np.stack((ticks, sizes * self.market.step))[:, there]


_NO_LEVELS: Final[Ints] = np.empty((2, 0), dtype=np.int64)


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
