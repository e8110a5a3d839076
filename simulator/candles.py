"""Candles as integer columns, and their aggregation, independent of any exchange's format.

A block of candles is an int64 array of shape (10, n), one row for each column below, times
ascending. Prices are in units of 10^-price_decimals, volumes in 10^-quantity_decimals, turnover
in the product of both units, so every sum is exact.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

TIME: Final = 0
OPEN: Final = 1
HIGH: Final = 2
LOW: Final = 3
CLOSE: Final = 4
VOLUME: Final = 5
TURNOVER: Final = 6
TRADES: Final = 7
TAKER_VOLUME: Final = 8
TAKER_TURNOVER: Final = 9
COLUMN_COUNT: Final = 10

MINUTE_MS: Final = 60_000
SLOT_MS: Final = 5 * MINUTE_MS  # the length of the finest candle
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

NO_CANDLES: Final[Ints] = np.empty((COLUMN_COUNT, 0), dtype=np.int64)
NO_CANDLES.setflags(write=False)


def aggregate(candles: Ints, interval_ms: int) -> Ints:
    """Aggregates finer candles to `interval_ms`; missing ones add nothing to the sums."""
    if candles.shape[1] == 0:
        return candles
    times = candles[TIME] - candles[TIME] % interval_ms
    starts = np.flatnonzero(np.concatenate(([True], times[1:] != times[:-1])))
    merged = np.empty((COLUMN_COUNT, len(starts)), dtype=np.int64)
    merged[TIME] = times[starts]
    merged[OPEN] = candles[OPEN][starts]
    merged[HIGH] = np.maximum.reduceat(candles[HIGH], starts)
    merged[LOW] = np.minimum.reduceat(candles[LOW], starts)
    merged[CLOSE] = candles[CLOSE][np.append(starts[1:], candles.shape[1]) - 1]
    merged[VOLUME:] = np.add.reduceat(candles[VOLUME:], starts, axis=1)
    return merged


def one_candle(open_time_ms: int, candles: Ints) -> Ints:
    """Merges `candles` into one that opens at `open_time_ms`; empty if there are none."""
    if candles.shape[1] == 0:
        return candles
    merged = np.empty((COLUMN_COUNT, 1), dtype=np.int64)
    merged[TIME] = open_time_ms
    merged[OPEN] = candles[OPEN, 0]
    merged[HIGH] = candles[HIGH].max()
    merged[LOW] = candles[LOW].min()
    merged[CLOSE] = candles[CLOSE, -1]
    merged[VOLUME:, 0] = candles[VOLUME:].sum(axis=1)
    return merged


def between(candles: Ints, first_ms: int, last_ms: int) -> Ints:
    """The candles that open from `first_ms` to `last_ms`, both included."""
    start = int(np.searchsorted(candles[TIME], first_ms, "left"))
    end = int(np.searchsorted(candles[TIME], last_ms, "right"))
    return candles[:, start:end]
