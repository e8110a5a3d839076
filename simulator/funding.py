"""Generated funding settlements of a market: their times and rates."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from simulator.candles import HOUR_MS, Ints
from simulator.randomness import draw, draws, normals

RATE_DECIMALS: Final = 8
_JITTER_TOP_MS: Final = 47  # recorded: half of the settlements exact, the others +1 to +47 ms
_CALM_RATE: Final = 10_000  # 0.0001: the rate of calm hours


class Settlement(NamedTuple):
    time_ms: int  # as the exchange stamps it
    rate: int  # in 10^-8
    special: bool  # an extra charge beside the regular settlements


@dataclass(slots=True)
class GeneratedFunding:
    """The settlements of one market. `intervals`: (from ms, hours), ascending, the first at 0."""

    name: str
    seed: int
    first_ms: int
    intervals: list[tuple[int, int]]
    jitter: bool
    special: bool

    def hours_at(self, time_ms: int) -> int:
        """The funding interval at a time, in hours."""
        return [hours for start, hours in self.intervals if start <= time_ms][-1]

    def change_interval(self, from_ms: int, hours: int) -> None:
        """Makes the market settle every `hours` hours from `from_ms` on."""
        self.intervals = [item for item in self.intervals if item[0] < from_ms]
        self.intervals.append((from_ms, hours))

    def next_ms(self, now_ms: int) -> int:
        """The time of the next settlement after `now_ms`."""
        step_ms = self.hours_at(now_ms) * HOUR_MS
        return now_ms - now_ms % step_ms + step_ms

    def may_settle_in(self, hour_ms: int) -> bool:
        """Whether a settlement can be stamped in the hour that begins at `hour_ms`."""
        return hour_ms % (self.hours_at(hour_ms) * HOUR_MS) == 0

    def running_rate(self, now_ms: int) -> int:
        """The predicted rate of the next settlement: near the final rate, not equal to it."""
        return self.rate_at(self.next_ms(now_ms)) + now_ms // 60_000 % 9 - 4

    def settlements(self, first_ms: int, last_ms: int) -> list[Settlement]:
        """Settlements from `first_ms` to `last_ms`, ascending; a regular one before a special."""
        grid = self._instants(first_ms - _JITTER_TOP_MS, last_ms)
        times = grid + self._late_by(grid)
        inside = (times >= first_ms) & (times <= last_ms)
        grid, times = grid[inside], times[inside]
        rates = self._rates(grid)
        found = [
            Settlement(time, rate, False)
            for time, rate in zip(times.tolist(), rates.tolist(), strict=True)
        ]
        if self.special:
            words = draws(self.seed, self.name, "special", grid // HOUR_MS)
            extra = words % np.uint64(12) == 0
            charges = ((words >> np.uint64(20)) % np.uint64(200_000)).astype(np.int64) - 100_000
            found += [
                Settlement(time, rate, True)
                for time, rate in zip(times[extra].tolist(), charges[extra].tolist(), strict=True)
            ]
            found.sort(key=lambda item: (item.time_ms, item.special))
        return found

    def newest(self, count: int, last_ms: int) -> list[Settlement]:
        """The last `count` settlements up to `last_ms`, ascending, including special ones."""
        found: list[Settlement] = []
        end_ms = last_ms
        while len(found) < count and end_ms >= self.first_ms:
            start_ms = end_ms - count * self.hours_at(max(end_ms, 0)) * HOUR_MS
            found = self.settlements(start_ms, end_ms) + found
            end_ms = start_ms - 1
        return found[-count:]

    def rate_at(self, grid_ms: int) -> int:
        """The rate that settles at a full hour, in 10^-8."""
        return int(self._rates(np.array([grid_ms], dtype=np.int64))[0])

    def _rates(self, grid: Ints) -> Ints:
        words = draws(self.seed, self.name, "rate", grid // HOUR_MS)
        rates = np.clip(normals(words) * 12_000 + 4_000, -2_000_000, 2_000_000)
        calm = (words >> np.uint64(8)) % np.uint64(4) == 0
        return np.where(calm, _CALM_RATE, rates.astype(np.int64))

    def _instants(self, first_ms: int, last_ms: int) -> Ints:
        parts = []
        for index, (start_ms, hours) in enumerate(self.intervals):
            later = self.intervals[index + 1 :]
            end_ms = min(later[0][0] - 1 if later else last_ms, last_ms)
            # The first settlement comes after the listing, never at the same instant.
            begin_ms = max(start_ms, first_ms, self.first_ms + 1)
            step_ms = hours * HOUR_MS
            parts.append(
                np.arange(begin_ms + -begin_ms % step_ms, end_ms + 1, step_ms, dtype=np.int64)
            )
        return np.concatenate(parts)

    def _late_by(self, grid: Ints) -> Ints:
        if not self.jitter:
            return np.zeros_like(grid)
        # In recordings most symbols of one settlement have the same time.
        alone = draw(self.seed, self.name, "own stamp", 0, 5) == 0
        words = draws(self.seed, self.name if alone else "everyone", "late", grid // HOUR_MS)
        late = (words >> np.uint64(16)) % np.uint64(_JITTER_TOP_MS) + np.uint64(1)
        return np.where(words % np.uint64(100) < 49, 0, late.astype(np.int64))
