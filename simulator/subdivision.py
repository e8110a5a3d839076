"""The split of a block's candle into 5-minute candles that add up to it exactly."""

import numpy as np
from numpy.typing import NDArray

from simulator.candles import COLUMN_COUNT, TIME, Ints
from simulator.prices import SlotPath

Flags = NDArray[np.bool_]


def subdivide(
    blocks: Ints, latent: Ints, exists: Flags, path: SlotPath, random: np.random.Generator,
    quiet: float,
) -> Ints:  # fmt: skip
    """Splits each block into as many candles as `exists` has columns; they add up exactly.

    Their prices follow the asset's `path` within its `latent` range; volumes are the market's own.
    Each candle has its block's open time; candles that do not exist have meaningless values. The
    result is flattened, block after block.
    """
    rows, parts = exists.shape
    normal = random.standard_normal((rows, parts))
    uniform = random.random((rows, parts))
    each = np.arange(rows)
    opened, high, low, close, volume, turnover = (blocks[i][:, None] for i in range(1, 7))
    trades, taker_volume, taker_turnover = (blocks[i][:, None] for i in range(7, 10))

    active = (uniform >= quiet) & exists
    last = parts - 1 - np.argmax(exists[:, ::-1], axis=1)
    active[each, last] = exists[each, last]  # so that the block's close is a trade
    active &= volume > 0

    weight = np.exp(0.9 * normal) * active
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
    biggest = np.argmax(weight, axis=1)
    alive = active.sum(axis=1, keepdims=True)

    def shares(total: Ints, least: int) -> Ints:
        part: Ints = np.floor((total - least * alive) * weight).astype(np.int64)
        part += least * active
        part[each, biggest] += total[:, 0] - part.sum(axis=1)
        return part

    part_volume = shares(volume, 1)

    began, highest, lowest = (row[:, None] for row in latent)
    straight = began + (close - began) * (np.arange(1, parts + 1) / parts)
    bent = straight + path.bend * opened
    prices = np.clip(np.rint(bent).astype(np.int64), lowest, highest)
    prices[each, last] = close[:, 0]
    latest = np.maximum.accumulate(np.where(active, np.arange(parts), -1), axis=1)
    part_close = np.where(
        latest >= 0, np.take_along_axis(prices, np.maximum(latest, 0), axis=1), opened
    )
    part_open = np.concatenate((opened, part_close[:, :-1]), axis=1)
    up = np.rint(path.up * (high - low) * 0.07).astype(np.int64) * active
    down = np.rint(path.down * (high - low) * 0.1).astype(np.int64) * active
    part_high = np.minimum(np.maximum(part_open, part_close) + up, high)
    part_low = np.maximum(np.minimum(part_open, part_close) - down, low)
    trading = alive[:, 0] > 0
    top = np.argmax(np.where(active, part_high, -1), axis=1)
    bottom = np.argmin(np.where(active, part_low, np.iinfo(np.int64).max), axis=1)
    part_high[each, top] = np.where(trading, high[:, 0], part_high[each, top])
    part_low[each, bottom] = np.where(trading, low[:, 0], part_low[each, bottom])

    part_turnover, part_high, part_low = _split_turnover(
        turnover, part_volume, part_high, part_low, high, low, active
    )
    fine = np.empty((COLUMN_COUNT, rows, parts), dtype=np.int64)
    fine[TIME] = blocks[TIME][:, None]
    fine[1], fine[2], fine[3], fine[4] = part_open, part_high, part_low, part_close
    fine[5], fine[6] = part_volume, part_turnover
    fine[7], fine[8] = shares(trades, 1), shares(taker_volume, 0)
    fine[9] = shares(taker_turnover, 0)
    flat: Ints = fine.reshape(COLUMN_COUNT, rows * parts)
    return flat


def _split_turnover(
    turnover: Ints, volume: Ints, part_high: Ints, part_low: Ints, high: Ints, low: Ints,
    active: Flags,
) -> tuple[Ints, Ints, Ints]:  # fmt: skip
    """Splits turnover so that each part's average price is within its candle's range."""
    least = (part_low * volume).sum(axis=1, keepdims=True)
    most = (part_high * volume).sum(axis=1, keepdims=True)
    # If the block's average price is outside its candles' ranges, these are widened.
    part_high = np.where(active & (turnover > most), high, part_high)
    part_low = np.where(active & (turnover < least), low, part_low)
    floor, ceiling = part_low * volume, part_high * volume
    room = ceiling - floor
    missing = turnover - floor.sum(axis=1, keepdims=True)
    ratio = missing / np.maximum(room.sum(axis=1, keepdims=True), 1)
    part = floor + np.clip((room * ratio).astype(np.int64), 0, room)
    rest = turnover - part.sum(axis=1, keepdims=True)
    up = ceiling - part
    part += np.clip(rest - (np.cumsum(up, axis=1) - up), 0, up)
    down = part - floor
    part -= np.clip(-rest - (np.cumsum(down, axis=1) - down), 0, down)
    return part, part_high, part_low
