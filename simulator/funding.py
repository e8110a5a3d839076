"""Generated funding: which settlements a market had, when they are stamped and at what rate."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from simulator.candles import HOUR_MS, Ints
from simulator.randomness import Recent, draw, generator

RATE_DECIMALS: Final = 8
_RATE_CHUNK_HOURS: Final = 32 * 24
_JITTER_TOP_MS: Final = 47  # recorded: half of the settlements exact, the others +1 to +47 ms


class Settlement(NamedTuple):
    time_ms: int  # as the exchange stamps it
    rate: int  # in 10^-8
    special: bool  # an extra charge, no regular settlement


@dataclass(slots=True)
class GeneratedFunding:
    """The settlements of one market. `intervals` holds (from ms, hours), ascending, first at 0."""

    name: str
    seed: int
    first_ms: int
    intervals: list[tuple[int, int]]
    jitter: bool
    special: bool
    chunks: Recent[Ints]

    def hours_at(self, time_ms: int) -> int:
        """The interval in force at an instant."""
        return [hours for start, hours in self.intervals if start <= time_ms][-1]

    def change_interval(self, from_ms: int, hours: int) -> None:
        """From `from_ms` on, the market settles every `hours` hours."""
        self.intervals = [item for item in self.intervals if item[0] < from_ms]
        self.intervals.append((from_ms, hours))

    def next_ms(self, now_ms: int) -> int:
        """The next instant after `now_ms` at which this market settles."""
        step_ms = self.hours_at(now_ms) * HOUR_MS
        return now_ms - now_ms % step_ms + step_ms

    def settlements(self, first_ms: int, last_ms: int) -> list[Settlement]:
        """Those stamped from `first_ms` to `last_ms`, ascending; a Regular before a Special."""
        found: list[Settlement] = []
        for grid_ms in self._instants(first_ms - _JITTER_TOP_MS, last_ms):
            time_ms = grid_ms + self._jitter(grid_ms)
            if first_ms <= time_ms <= last_ms:
                found.append(Settlement(time_ms, self.rate_at(grid_ms), False))
                if self.special and self._draw("special", grid_ms, 12) == 0:
                    rate = self._draw("special rate", grid_ms, 200_000) - 100_000
                    found.append(Settlement(time_ms, rate, True))
        return found

    def newest(self, count: int, last_ms: int) -> list[Settlement]:
        """The last `count` up to `last_ms`, ascending, Specials counted."""
        found: list[Settlement] = []
        end_ms = last_ms
        while len(found) < count and end_ms >= self.first_ms:
            start_ms = end_ms - count * self.hours_at(end_ms) * HOUR_MS
            found = self.settlements(start_ms, end_ms) + found
            end_ms = start_ms - 1
        return found[-count:]

    def rate_at(self, grid_ms: int) -> int:
        """The rate that settles at a full hour, in 10^-8."""
        hour = grid_ms // HOUR_MS
        chunk = hour // _RATE_CHUNK_HOURS
        rates = self.chunks.get((self.name, chunk), lambda: self._rates(chunk))
        return int(rates[hour % _RATE_CHUNK_HOURS])

    def _rates(self, chunk: int) -> Ints:
        """The rate of every hour of 32 days; those in which nothing settles are not used."""
        random = generator(self.seed, self.name, "rates", chunk)
        value = random.standard_normal(_RATE_CHUNK_HOURS)
        rates = np.clip(value * 12_000 + 4_000, -2_000_000, 2_000_000).astype(np.int64)
        # Calm hours settle at the interest rate: 0.0001.
        return np.where(np.abs(value - 0.5) < 0.3, 10_000, rates)

    def _instants(self, first_ms: int, last_ms: int) -> list[int]:
        found: list[int] = []
        for index, (start_ms, hours) in enumerate(self.intervals):
            later = self.intervals[index + 1 :]
            end_ms = min(later[0][0] - 1 if later else last_ms, last_ms)
            # The first settlement comes after the listing, never with it.
            begin_ms = max(start_ms, first_ms, self.first_ms + 1)
            step_ms = hours * HOUR_MS
            found += range(begin_ms + -begin_ms % step_ms, end_ms + 1, step_ms)
        return found

    def _jitter(self, grid_ms: int) -> int:
        if not self.jitter:
            return 0
        # Most symbols of one settlement share a stamp, as recorded.
        alone = draw(self.seed, self.name, "own stamp", 0, 5) == 0
        name = self.name if alone else "everyone"
        hour = grid_ms // HOUR_MS
        if draw(self.seed, name, "late", hour, 100) < 49:
            return 0
        return 1 + draw(self.seed, name, "late by", hour, _JITTER_TOP_MS)

    def _draw(self, kind: str, grid_ms: int, below: int) -> int:
        return draw(self.seed, self.name, kind, grid_ms // HOUR_MS, below)
