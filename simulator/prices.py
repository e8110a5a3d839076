"""The latent price of each asset in US dollars, which its candles on all exchanges follow.

It is a random walk between daily anchors, within a band around the asset's usual price, so that a
known asset keeps its magnitude. It depends only on the seed and the asset's name.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulator.randomness import RecentlyUsed, draw, generator

CHUNK_DAYS: Final = 32
BLOCKS_A_DAY: Final = 12
BLOCKS_A_CHUNK: Final = CHUNK_DAYS * BLOCKS_A_DAY
SLOTS_A_BLOCK: Final = 24
_ANCHOR_DAYS: Final = 256
# The price stays within exp(+-16 daily volatilities) of the usual one: a factor of 1.5 for
# Bitcoin, 2.4 for most.
_BAND_DAYS: Final = 16

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BlockPath:
    """The price in the 384 blocks (of 2 hours) of one chunk, as natural logarithms."""

    start: float  # at the chunk's first instant
    close: Floats
    up: Floats  # how far the price rose above both ends of the block, relative to the price
    down: Floats  # how far it fell below them


@dataclass(frozen=True, slots=True)
class SlotPath:
    """The price in the 5-minute slots of one day's blocks, each of shape (12, 24).

    `bend` is the distance from the straight line between the block's ends, as a share of the
    price. `up` and `down` are standard numbers that size the wicks.
    """

    bend: Floats
    up: Floats
    down: Floats


@dataclass(frozen=True, slots=True)
class PathMemory:
    """Recently made paths, shared by the candles of all exchanges."""

    blocks: RecentlyUsed[BlockPath] = field(default_factory=lambda: RecentlyUsed(1200))
    slots: RecentlyUsed[SlotPath] = field(default_factory=lambda: RecentlyUsed(600))


@dataclass(frozen=True, slots=True)
class AssetPrice:
    """The latent price of `asset` in US dollars, or in units of the asset `quote`."""

    seed: int
    asset: str
    usual: float  # in US dollars
    daily_volatility: float
    memory: PathMemory
    quote: "AssetPrice | None" = None

    @property
    def name(self) -> str:
        return self.asset if self.quote is None else f"{self.asset}/{self.quote.asset}"

    def days(self, first_day: int) -> Floats:
        """The logarithm of the price at the start of 33 days; `first_day` must begin a chunk."""
        index = first_day // _ANCHOR_DAYS
        band = self.daily_volatility * _BAND_DAYS
        ends = [
            (draw(self.seed, self.asset, "era", era, 1000) / 1000 - 0.5) * band
            for era in (index, index + 1)
        ]
        steps = generator(self.seed, self.asset, "level", index).standard_normal(_ANCHOR_DAYS)
        walk = np.concatenate(([0.0], np.cumsum(steps * self.daily_volatility)))
        slope = np.arange(_ANCHOR_DAYS + 1) / _ANCHOR_DAYS
        path = ends[0] + walk + (ends[1] - ends[0] - walk[-1]) * slope
        start = first_day % _ANCHOR_DAYS
        part = path[start : start + CHUNK_DAYS + 1]
        levels: Floats = np.tanh(part / band) * band + np.log(self.usual)
        return levels if self.quote is None else levels - self.quote.days(first_day)

    def blocks(self, chunk: int) -> BlockPath:
        """The price at the end of each block, and its extremes."""
        return self.memory.blocks.get((self.name, chunk), lambda: self._make_blocks(chunk))

    def slots(self, day: int) -> SlotPath:
        """The path of the price inside the blocks of one day."""
        return self.memory.slots.get((self.name, day), lambda: self._make_slots(day))

    def _make_blocks(self, chunk: int) -> BlockPath:
        volatility = self.daily_volatility / BLOCKS_A_DAY**0.5
        normal = generator(self.seed, self.asset, "price", chunk).standard_normal(
            (3, BLOCKS_A_CHUNK)
        )
        levels = self.days(chunk * CHUNK_DAYS)
        way = np.arange(1, BLOCKS_A_DAY + 1) / BLOCKS_A_DAY
        bridge = self._bridge(normal[0] * volatility, way)
        if self.quote is not None:
            other = generator(self.quote.seed, self.quote.asset, "price", chunk)
            noise = other.standard_normal((3, BLOCKS_A_CHUNK))[0]
            bridge -= self._bridge(noise * self.quote.daily_volatility / BLOCKS_A_DAY**0.5, way)
        close = (levels[:-1, None] + np.diff(levels)[:, None] * way + bridge).ravel()
        extremes = np.abs(normal[1:]) * (volatility * 0.8)
        return BlockPath(float(levels[0]), close, extremes[0], extremes[1])

    def _make_slots(self, day: int) -> SlotPath:
        random = generator(self.seed, self.asset, "price slots", day)
        normal = random.standard_normal((2, BLOCKS_A_DAY, SLOTS_A_BLOCK))
        walk = np.cumsum(normal[0], axis=1)
        walk -= walk[:, -1:] * (np.arange(1, SLOTS_A_BLOCK + 1) / SLOTS_A_BLOCK)
        bend = walk * (self.daily_volatility / (BLOCKS_A_DAY * SLOTS_A_BLOCK) ** 0.5)
        down = random.random((BLOCKS_A_DAY, SLOTS_A_BLOCK))
        return SlotPath(bend, np.abs(normal[1]), down)

    @staticmethod
    def _bridge(steps: Floats, way: Floats) -> Floats:
        """A random walk through each day that returns to zero at the day's end."""
        walk = np.cumsum(steps.reshape(CHUNK_DAYS, -1), axis=1)
        bridge: Floats = walk - walk[:, -1:] * way
        return bridge
