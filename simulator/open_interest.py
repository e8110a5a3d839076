"""Generated open interest: one snapshot every 5 minutes, consistent over all periods.

It is counted one-sided, in steps of the market's volume.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulator.candles import DAY_MS, SLOT_MS, Ints
from simulator.prices import BLOCKS_A_CHUNK, SLOTS_A_BLOCK
from simulator.randomness import draw, draws, generator
from simulator.series import BLOCK_MS, CHUNK_MS

NO_POINTS: Final[Ints] = np.empty((2, 0), dtype=np.int64)
NO_POINTS.setflags(write=False)
# A snapshot of time T is published between T + 5 s and T + 180 s (choice; measured: 6 s, minutes).
FIRST_DELAY_MS: Final = 5_000
LAST_DELAY_MS: Final = 180_000
_MISSING_ONE_IN: Final = 25  # snapshots, for markets with missing ones


def delay_ms(seed: int, name: str, time_ms: int) -> int:
    """The milliseconds between a snapshot's time and its publication."""
    spread = LAST_DELAY_MS - FIRST_DELAY_MS + 1
    return FIRST_DELAY_MS + draw(seed, name, "published", time_ms // SLOT_MS, spread)


@dataclass(frozen=True, slots=True)
class GeneratedOpenInterest:
    """Snapshots of one market as (2, n) arrays: time, open interest in text units."""

    name: str
    seed: int
    level: float  # in steps
    step: int
    first_ms: int  # when the market begins to trade
    misses_some: bool

    def points(self, period_ms: int, first_ms: int, last_ms: int) -> Ints:
        """Snapshots from `first_ms` to `last_ms`, ascending, whether published yet or not."""
        first_ms = max(first_ms, self.first_ms)
        first_ms += -first_ms % period_ms
        if last_ms < first_ms:
            return NO_POINTS
        times = np.arange(first_ms, last_ms + 1, period_ms, dtype=np.int64)
        values = self._at_blocks(times) if period_ms >= BLOCK_MS else self._at_slots(times)
        points = np.stack((times, values * self.step))
        if self.misses_some:
            words = draws(self.seed, self.name, "missing", times // SLOT_MS)
            points = points[:, words % np.uint64(_MISSING_ONE_IN) != 0]
        return points

    def published_ms(self, time_ms: int) -> int:
        """When the snapshot of `time_ms` is published."""
        return time_ms + delay_ms(self.seed, self.name, time_ms)

    def _chunk(self, chunk: int) -> Ints:
        ends = [
            draw(self.seed, self.name, "oi era", era, 1000) / 1000 - 0.5
            for era in (chunk, chunk + 1)
        ]
        random = generator(self.seed, self.name, "oi", chunk)
        walk = np.concatenate(([0.0], np.cumsum(random.standard_normal(BLOCKS_A_CHUNK) * 0.012)))
        way = np.arange(BLOCKS_A_CHUNK + 1) / BLOCKS_A_CHUNK
        path: NDArray[np.float64] = ends[0] + walk + (ends[1] - ends[0] - walk[-1]) * way
        return np.rint(np.exp(path) * self.level).astype(np.int64) + 1

    def _at_blocks(self, times: Ints) -> Ints:
        chunks = times // CHUNK_MS
        values = np.empty(len(times), dtype=np.int64)
        for chunk in np.unique(chunks).tolist():
            mine = chunks == chunk
            values[mine] = self._chunk(chunk)[(times[mine] - chunk * CHUNK_MS) // BLOCK_MS]
        return values

    def _at_slots(self, times: Ints) -> Ints:
        days = times // DAY_MS
        values = np.empty(len(times), dtype=np.int64)
        chunk, levels = -1, NO_POINTS[0]
        for day in np.unique(days).tolist():
            if day * DAY_MS // CHUNK_MS != chunk:
                chunk = day * DAY_MS // CHUNK_MS
                levels = self._chunk(chunk)
            mine = days == day
            fine = self._day(day, levels)
            values[mine] = fine[(times[mine] - day * DAY_MS) // SLOT_MS]
        return values

    def _day(self, day: int, levels: Ints) -> Ints:
        first = (day * DAY_MS % CHUNK_MS) // BLOCK_MS
        ends = levels[first : first + 13]
        way = np.arange(SLOTS_A_BLOCK) / SLOTS_A_BLOCK
        straight = ends[:-1, None] + np.diff(ends)[:, None] * way
        noise = generator(self.seed, self.name, "oi slots", day).standard_normal((12, len(way)))
        noise[:, 0] = 0  # the snapshot at a block's start is the coarse one
        return np.rint(straight * (1 + 0.0015 * noise)).astype(np.int64).ravel()
