"""The figures of an overview, as its JSON has them: of each market, and of each asset over them.

Null where a figure is not known, never 0. Times are UTC ms. Numbers are float64: each product and
quotient is rounded once, each sum once (math.fsum); nothing is rounded beyond that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from market.timeframes import HOUR_MS

CHANGES_MS: Final[Mapping[str, int]] = {"1h": HOUR_MS, "4h": 4 * HOUR_MS, "24h": 24 * HOUR_MS}


@dataclass(frozen=True, slots=True)
class OpenInterest:
    """One-sided open interest at `at`, in single coins and in quote units."""

    coins: float | None
    quote: float | None


@dataclass(frozen=True, slots=True)
class OpenInterestSum:
    """The same, summed over the markets of these exchanges."""

    coins: float | None
    quote: float | None
    exchanges: Sequence[str]


@dataclass(frozen=True, slots=True)
class Change:
    """Of open interest: now less then, and that as a fraction of then (null if that was 0)."""

    coins: float
    coins_fraction: float | None
    quote: float
    quote_fraction: float | None


@dataclass(frozen=True, slots=True)
class ChangeSum:
    """The same of the sums of those markets that tell both instants, of these exchanges."""

    coins: float
    coins_fraction: float | None
    quote: float
    quote_fraction: float | None
    exchanges: Sequence[str]


@dataclass(frozen=True, slots=True)
class Funding:
    """The last settled rate, a fraction per `interval_hours`, and the same for 8 h and a year."""

    rate: float
    interval_hours: int
    rate_8h: float
    rate_year: float
    settled_at: int
    checked_at: int


@dataclass(frozen=True, slots=True)
class FundingMean:
    """The mean rate, weighted by open interest in quote units, over these exchanges."""

    rate_8h: float | None
    rate_year: float | None
    exchanges: Sequence[str]


@dataclass(frozen=True, slots=True)
class Turnover:
    """Of the closed 5m candles of the 24 h before `at`, and how many of the 288 there are."""

    quote: float
    candles: int


@dataclass(frozen=True, slots=True)
class TurnoverSum:
    """The same, summed; `partial`: the exchanges of which candles lack."""

    quote: float | None
    exchanges: Sequence[str]
    partial: Sequence[str]


@dataclass(frozen=True, slots=True)
class Spread:
    """Prices of one coin at `at`: the weighted median, the lowest and highest, and how far these
    lie apart, in basis points of the lowest; null with one price."""

    median: float | None
    lowest: float | None
    lowest_exchange: str | None
    highest: float | None
    highest_exchange: str | None
    spread_bps: float | None
    exchanges: Sequence[str]


@dataclass(frozen=True, slots=True)
class MarketFigures:
    """One market; `price` is that of one coin. `summed`: whether it is in the asset's figures."""

    exchange: str
    symbol: str
    base: str
    units: int
    summed: bool
    stale_since: int | None
    price: float | None
    open_interest: OpenInterest
    change: Mapping[str, Change | None]
    funding: Funding | None
    turnover_24h: Turnover | None


@dataclass(frozen=True, slots=True)
class LeftOutMarket:
    """A market that is not in the asset's figures, and why."""

    exchange: str
    symbol: str
    reason: str


@dataclass(frozen=True, slots=True)
class AssetFigures:
    """One asset over all its markets."""

    asset: str
    open_interest: OpenInterestSum
    change: Mapping[str, ChangeSum | None]
    funding: FundingMean
    turnover_24h: TurnoverSum
    price: Spread
    markets: Sequence[MarketFigures]
    left_out: Sequence[LeftOutMarket]


@dataclass(frozen=True, slots=True)
class Overview:
    """All assets by name at one instant; None where no market has a closed candle."""

    at: int | None
    assets: Sequence[AssetFigures]
