"""The words every room uses: timeframes, markets, rows and funding. Plain data, no I/O.

Times are integer UTC milliseconds and end in `_ms`; intervals are milliseconds too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

# One candle of one market, in the order of COLUMNS:
# open_time ms | open high low close in quote units | volume in base units |
# turnover in quote units | open_interest in base units, one-sided | funding_rate as a fraction.
Row = tuple[int, float, float, float, float, float, float, float | None, float | None]
COLUMNS: Final = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "turnover",
    "open_interest",
    "funding_rate",
)
# One settlement: funding_time ms as the exchange stamped it | funding_rate as a fraction.
FundingRow = tuple[int, float]
FUNDING_COLUMNS: Final = ("funding_time", "funding_rate")


class Exchange(StrEnum):
    BINANCE = "binance"
    BYBIT = "bybit"


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


@dataclass(frozen=True, slots=True, order=True)
class Market:
    """One perpetual contract on one exchange; a coin on both exchanges is two markets."""

    exchange: Exchange
    symbol: str
    base: str
    quote: str
    launched_ms: int = field(default=0, compare=False)  # 0: not known

    @property
    def key(self) -> str:
        return f"{self.exchange}:{self.symbol}"


Meta = Mapping[str, float | None]  # hurst, entropy, ...: numbers about a market and timeframe
Part = Literal["klines", "open_interest", "funding_rate"]


@dataclass(frozen=True, slots=True)
class Coin:
    """A market as the cold store knows it, with its metadata for one timeframe."""

    market: Market
    meta: Meta


@dataclass(frozen=True, slots=True, order=True)
class Missing:
    """What a document lacks, of which market, and why."""

    exchange: Exchange
    symbol: str
    part: Part
    reason: str


@dataclass(frozen=True, slots=True)
class FundingSeries:
    """The regular settlements of one market, ascending by funding_time.

    `checked_at_ms` is the exchange time up to which the settlements are known to be complete.
    `interval_hours` is the interval in force at that time; settlements fall on its multiples
    counted from 00:00 UTC.
    """

    market: Market
    rows: Sequence[FundingRow]
    interval_hours: int
    checked_at_ms: int

    def next_settlement_ms(self) -> int:
        """The first instant after `checked_at_ms` at which a settlement may lie."""
        step_ms = self.interval_hours * HOUR_MS
        return self.checked_at_ms - self.checked_at_ms % step_ms + step_ms


# Funding of all markets, by Market.key: what `cache:global_fr` holds.
FundingBook = Mapping[str, FundingSeries]


@dataclass(frozen=True, slots=True)
class MarketSeries:
    """The merged rows of one market, ascending by open_time, unique, on the grid.

    `checked_at_ms`: exchange time of the last successful fetch of its candles.
    `stale_since_ms`: None, or since when these rows are carried over from an older document.
    `lacks_open_interest`: the exchange could not be asked for all of the open interest.
    """

    market: Market
    rows: Sequence[Row]
    checked_at_ms: int
    stale_since_ms: int | None = None
    lacks_open_interest: bool = False
