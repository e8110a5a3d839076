"""The JSON of an overview and of one asset over exchanges, as types: plain dicts at run time.

None where something is not known, never 0. Times are UTC milliseconds; keys of `change` are "1h",
"4h" and "24h".
"""

from typing import TypedDict


class OpenInterest(TypedDict):
    """One-sided open interest, in single coins and in quote units."""

    coins: float | None
    quote: float | None


class SummedOpenInterest(OpenInterest):
    """Over the markets of `exchanges`."""

    exchanges: list[str]


class Change(TypedDict):
    """Of open interest, and as a fraction of what it was, None if that was 0."""

    coins: float
    coins_fraction: float | None
    quote: float
    quote_fraction: float | None


class SummedChange(Change):
    """Over the markets of `exchanges` that tell both instants."""

    exchanges: list[str]


class Funding(TypedDict):
    """The last settled rate; `rate_8h` and `rate_year` are scaled, not compounded."""

    rate: float
    interval_hours: int
    rate_8h: float
    rate_year: float
    settled_at: int
    checked_at: int


class MeanFunding(TypedDict):
    """The mean, weighted by open interest in quote units, over `exchanges`."""

    rate_8h: float | None
    rate_year: float | None
    exchanges: list[str]


class Turnover(TypedDict):
    """Of 24 h; `candles`: how many of the 288 are known."""

    quote: float
    candles: int


class SummedTurnover(TypedDict):
    """Over `exchanges`; of those in `partial` candles lack."""

    quote: float | None
    exchanges: list[str]
    partial: list[str]


class Prices(TypedDict):
    """Of one coin; `spread_bps` is (highest - lowest) / lowest in basis points."""

    median: float | None
    lowest: float | None
    lowest_exchange: str | None
    highest: float | None
    highest_exchange: str | None
    spread_bps: float | None
    exchanges: list[str]


class AssetMarket(TypedDict):
    """One market; `units` coins are one of its base, `price` is that of one coin."""

    exchange: str
    symbol: str
    base: str
    units: int
    summed: bool
    stale_since: int | None
    price: float | None
    open_interest: OpenInterest
    change: dict[str, Change | None]
    funding: Funding | None
    turnover_24h: Turnover | None


class LeftOut(TypedDict):
    """A market that is not summed, and why."""

    exchange: str
    symbol: str
    reason: str


class Asset(TypedDict):
    """One asset over all its markets."""

    asset: str
    open_interest: SummedOpenInterest
    change: dict[str, SummedChange | None]
    funding: MeanFunding
    turnover_24h: SummedTurnover
    price: Prices
    markets: list[AssetMarket]
    left_out: list[LeftOut]


class _Head(TypedDict):
    version: int
    as_of: int
    updated_at: int
    at: int
    quote: str


class MarketOfAsset(_Head, Asset):
    """One asset, and of which instant (`at`) everything is told."""


class Overview(_Head):
    """All assets, by name."""

    name: str
    assets: list[Asset]
