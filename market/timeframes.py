"""Candle lengths and their grids. Times are integer UTC milliseconds."""

from enum import StrEnum
from typing import Final

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


class Timeframe(StrEnum):
    """A candle length. Every one divides a day, so its grid starts at 00:00 UTC."""

    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H2 = "2h"
    H4 = "4h"
    H6 = "6h"
    H8 = "8h"
    H12 = "12h"
    D1 = "1d"

    @property
    def interval_ms(self) -> int:
        return _INTERVALS_MS[self]

    @property
    def collected_as(self) -> "Timeframe":
        """The timeframe whose collection makes this one: 8h is made from 4h."""
        return Timeframe.H4 if self is Timeframe.H8 else self

    @property
    def produces(self) -> tuple["Timeframe", ...]:
        """The documents that a collection of this timeframe publishes."""
        return (self, Timeframe.H8) if self is Timeframe.H4 else (self,)

    def floor(self, time_ms: int) -> int:
        """The open time of the candle that holds `time_ms`."""
        return time_ms - time_ms % self.interval_ms

    def last_closed_open_time(self, as_of_ms: int) -> int:
        """The newest open time whose candle is closed at `as_of_ms`."""
        return self.floor(as_of_ms) - self.interval_ms

    def window_start(self, as_of_ms: int, candles: int) -> int:
        """The first of the `candles` grid instants up to `as_of_ms`."""
        return self.floor(as_of_ms) - (candles - 1) * self.interval_ms


_INTERVALS_MS: Final = {
    Timeframe.M5: 5 * MINUTE_MS,
    Timeframe.M15: 15 * MINUTE_MS,
    Timeframe.M30: 30 * MINUTE_MS,
    Timeframe.H1: HOUR_MS,
    Timeframe.H2: 2 * HOUR_MS,
    Timeframe.H4: 4 * HOUR_MS,
    Timeframe.H6: 6 * HOUR_MS,
    Timeframe.H8: 8 * HOUR_MS,
    Timeframe.H12: 12 * HOUR_MS,
    Timeframe.D1: DAY_MS,
}

COLLECTED: Final = tuple(timeframe for timeframe in Timeframe if timeframe is not Timeframe.H8)
