"""Candle lengths and their grids. Times are integer UTC milliseconds."""

from enum import StrEnum
from typing import Final, Self

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


class Timeframe(StrEnum):
    """A candle length. Every one divides a day, so its grid starts at 00:00 UTC.

    A further one is one row: its word, its length, and what it is made of, where no exchange is
    asked for it. Everything else follows.
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
    _made_of: str

    def __new__(cls, word: str, interval_ms: int = 0, made_of: str = "") -> Self:
        timeframe = str.__new__(cls, word)
        timeframe._value_ = word
        timeframe.interval_ms = interval_ms
        timeframe._made_of = made_of
        return timeframe

    @property
    def collected_as(self) -> "Timeframe":
        """The timeframe whose collection makes this one: 8h is made from 4h."""
        return Timeframe(self._made_of or self)

    @property
    def produces(self) -> tuple["Timeframe", ...]:
        """The documents that a collection of this timeframe publishes, its own first."""
        return (self, *(timeframe for timeframe in Timeframe if timeframe._made_of == self))

    def floor(self, time_ms: int) -> int:
        """The open time of the candle that holds `time_ms`."""
        return time_ms - time_ms % self.interval_ms

    def last_closed_open_time(self, as_of_ms: int) -> int:
        """The newest open time whose candle is closed at `as_of_ms`."""
        return self.floor(as_of_ms) - self.interval_ms

    def window_start(self, as_of_ms: int, candles: int) -> int:
        """The first of the `candles` grid instants up to `as_of_ms`."""
        return self.floor(as_of_ms) - (candles - 1) * self.interval_ms


COLLECTED: Final = tuple(
    timeframe for timeframe in Timeframe if timeframe.collected_as is timeframe
)
