"""Timeframes: their lengths, UTC grids, windows, and which are aggregated from others."""

from enum import StrEnum
from functools import cached_property
from typing import Final, Self
from zlib import crc32

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


class Timeframe(StrEnum):
    """A candle length. Every one divides a day, so its grid starts at 00:00 UTC.

    To add one, add a row: name, length in ms and, if it is aggregated instead of fetched, the
    name of its source.
    """

    M5 = "5m", 5 * MINUTE_MS
    M15 = "15m", 15 * MINUTE_MS
    M30 = "30m", 30 * MINUTE_MS
    H1 = "1h", HOUR_MS
    H2 = "2h", 2 * HOUR_MS
    H4 = "4h", 4 * HOUR_MS
    H6 = "6h", 6 * HOUR_MS
    H8 = "8h", 8 * HOUR_MS, "4h"
    H12 = "12h", 12 * HOUR_MS
    D1 = "1d", DAY_MS

    interval_ms: int
    _aggregated_from: str

    def __new__(cls, name: str, interval_ms: int = 0, aggregated_from: str = "") -> Self:
        timeframe = str.__new__(cls, name)
        timeframe._value_ = name
        timeframe.interval_ms = interval_ms
        timeframe._aggregated_from = aggregated_from
        return timeframe

    @property
    def collected_as(self) -> "Timeframe":
        """The timeframe to fetch for this one: 4h for 8h, itself for the others."""
        return Timeframe(self._aggregated_from or self)

    @cached_property
    def produces(self) -> tuple["Timeframe", ...]:
        """The timeframes that one collection of this one publishes, itself first."""
        return (self, *(timeframe for timeframe in Timeframe if timeframe._aggregated_from == self))

    def floor(self, time_ms: int) -> int:
        """The open time of the candle that holds `time_ms`."""
        return time_ms - time_ms % self.interval_ms

    def last_closed_open_time(self, as_of_ms: int) -> int:
        """The newest open time whose candle is closed at `as_of_ms`."""
        return self.floor(as_of_ms) - self.interval_ms

    def window_start(self, as_of_ms: int, candles: int) -> int:
        """The open time of the oldest of the `candles` newest candles at `as_of_ms`."""
        return self.floor(as_of_ms) - (candles - 1) * self.interval_ms


COLLECTED: Final = tuple(
    timeframe for timeframe in Timeframe if timeframe.collected_as is timeframe
)


def is_daily_moment_passed(key: str, since_ms: int, until_ms: int) -> bool:
    """Whether the moment of the day that belongs to the key, as spread by a checksum, lies between
    the two times."""
    moment_ms = crc32(key.encode()) % DAY_MS
    return (since_ms - moment_ms) // DAY_MS != (until_ms - moment_ms) // DAY_MS
