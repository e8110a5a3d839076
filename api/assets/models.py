"""Pydantic models of the overview and of its assets, for the OpenAPI page."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.documents.models import EXAMPLE_MS, TimeMs

Coins = Annotated[float, Field(description="single coins")]
QuoteUnits = Annotated[float, Field(description="quote units")]
Exchanges = Annotated[list[str], Field(description="whose markets are in it")]
Spans = Annotated[str, Field(description="1h, 4h or 24h")]

_MARKET: Final[dict[str, Any]] = {
    "exchange": "binance",
    "symbol": "1000PEPEUSDT",
    "base": "1000PEPE",
    "units": 1000,
    "summed": True,
    "stale_since": None,
    "price": 4.5e-06,
    "open_interest": {"coins": 2e13, "quote": 9e7},
    "change": {
        "1h": {"coins": 2e11, "coins_fraction": 0.01, "quote": 1e6, "quote_fraction": 0.0112},
        "4h": None,
        "24h": None,
    },
    "funding": {
        "rate": 5e-05,
        "interval_hours": 4,
        "rate_8h": 0.0001,
        "rate_year": 0.1095,
        "settled_at": EXAMPLE_MS,
        "checked_at": EXAMPLE_MS,
    },
    "turnover_24h": {"quote": 4.4e8, "candles": 288},
}
_ASSET: Final[dict[str, Any]] = {
    "asset": "PEPE",
    "open_interest": {"coins": 2e13, "quote": 9e7, "exchanges": ["binance"]},
    "change": {
        "1h": {**_MARKET["change"]["1h"], "exchanges": ["binance"]},
        "4h": None,
        "24h": None,
    },
    "funding": {"rate_8h": 0.0001, "rate_year": 0.1095, "exchanges": ["binance"]},
    "turnover_24h": {"quote": 4.4e8, "exchanges": ["binance"], "partial": []},
    "price": {
        "median": 4.5e-06,
        "lowest": 4.5e-06,
        "lowest_exchange": "binance",
        "highest": 4.5e-06,
        "highest_exchange": "binance",
        "spread_bps": None,
        "exchanges": ["binance"],
    },
    "markets": [_MARKET],
    "left_out": [],
}
_HEAD: Final[dict[str, Any]] = {
    "version": EXAMPLE_MS,
    "as_of": EXAMPLE_MS,
    "updated_at": EXAMPLE_MS + 60_000,
    "at": EXAMPLE_MS - 300_000,
    "quote": "USDT",
}


class OpenInterestOfMarket(BaseModel):
    """One-sided open interest at `at`; null: not known."""

    coins: Coins | None
    quote: QuoteUnits | None


class OpenInterestOfAsset(OpenInterestOfMarket):
    """The sum over markets; null: none tells it."""

    exchanges: Exchanges


class ChangeOfMarket(BaseModel):
    """The open interest at `at` less that before."""

    coins: Coins
    coins_fraction: float | None = Field(description="of that before; null: it was 0")
    quote: QuoteUnits
    quote_fraction: float | None = Field(description="of that before; null: it was 0")


class ChangeOfAsset(ChangeOfMarket):
    """The same of the sums over those markets that tell both instants."""

    exchanges: Exchanges


class FundingOfMarket(BaseModel):
    """The last settled rate, as a fraction."""

    rate: float = Field(description="paid once each interval_hours")
    interval_hours: int
    rate_8h: float = Field(description="rate * 8 / interval_hours")
    rate_year: float = Field(description="rate * 8760 / interval_hours, not compounded")
    settled_at: TimeMs
    checked_at: TimeMs


class FundingOfAsset(BaseModel):
    """The mean of rate_8h, weighted by open interest in quote units; null: nothing to weigh."""

    rate_8h: float | None
    rate_year: float | None
    exchanges: Exchanges


class TurnoverOfMarket(BaseModel):
    """Of the closed 5m candles of the 24 h before `at`."""

    quote: QuoteUnits
    candles: int = Field(description="how many of the 288 there are")


class TurnoverOfAsset(BaseModel):
    """The sum over markets."""

    quote: QuoteUnits | None
    exchanges: Exchanges
    partial: list[str] = Field(description="the exchanges of which candles lack")


class PriceOfAsset(BaseModel):
    """Prices of one coin at `at`; null: not known, or nobody can tell whose is right."""

    median: float | None = Field(description="weighted by open interest, or else by turnover")
    lowest: float | None
    lowest_exchange: str | None
    highest: float | None
    highest_exchange: str | None
    spread_bps: float | None = Field(
        description="(highest - lowest) / lowest, in basis points; null with one market"
    )
    exchanges: Exchanges


class AssetMarket(BaseModel):
    """One market of an asset."""

    exchange: str
    symbol: str
    base: str
    units: int = Field(description="coins in one base unit: 1000 of 1000PEPE")
    summed: bool = Field(description="false: `left_out` of the asset says why")
    stale_since: TimeMs | None
    price: float | None = Field(description="of one coin, at `at`")
    open_interest: OpenInterestOfMarket
    change: dict[Spans, ChangeOfMarket | None]
    funding: FundingOfMarket | None = Field(description="null: not known, or perhaps outdated")
    turnover_24h: TurnoverOfMarket | None


class LeftOutMarket(BaseModel):
    """A market that is in no sum of its asset."""

    exchange: str
    symbol: str
    reason: str


class Asset(BaseModel):
    """One asset over all its markets."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ASSET]})

    asset: str
    open_interest: OpenInterestOfAsset
    change: dict[Spans, ChangeOfAsset | None] = Field(description="null: no market tells both")
    funding: FundingOfAsset
    turnover_24h: TurnoverOfAsset
    price: PriceOfAsset
    markets: list[AssetMarket]
    left_out: list[LeftOutMarket]


class _Overview(BaseModel):
    version: int
    as_of: TimeMs
    updated_at: TimeMs
    at: TimeMs = Field(description="the instant of which everything is told: the end of a candle")
    quote: str = Field(description="what quote units are")
    funding_intervals: Literal["kept", "not_recorded"] | None = Field(
        default=None,
        description="only with as_of: whether the record has the intervals of funding then; without"
        " them all funding is null",
    )


class Overview(_Overview):
    """All assets over exchanges, by name."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "overview", **_HEAD, "assets": [_ASSET]}]}
    )

    name: Literal["overview"]
    assets: list[Asset]


class MarketOfAsset(_Overview, Asset):
    """One asset of the overview."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_HEAD, **_ASSET}]})


class ListedAsset(BaseModel):
    """An asset in short; each number is null where the asset's is."""

    asset: str
    exchanges: list[str] = Field(description="whose markets are summed")
    price: float | None = Field(description="the median of one coin")
    spread_bps: float | None
    open_interest: OpenInterestOfMarket
    change: dict[Spans, float | None] = Field(description="of open interest in coins, a fraction")
    rate_8h: float | None = Field(description="funding, weighted by open interest")
    rate_year: float | None
    turnover_24h: QuoteUnits | None
    left_out: int = Field(description="how many markets are not summed")


class AssetList(_Overview):
    """The assets with most open interest in quote units first; those without come last."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_HEAD,
                    "count": 1,
                    "assets": [
                        {
                            "asset": "PEPE",
                            "exchanges": ["binance"],
                            "price": 4.5e-06,
                            "spread_bps": None,
                            "open_interest": {"coins": 2e13, "quote": 9e7},
                            "change": {"1h": 0.01, "4h": None, "24h": None},
                            "rate_8h": 0.0001,
                            "rate_year": 0.1095,
                            "turnover_24h": 4.4e8,
                            "left_out": 0,
                        }
                    ],
                }
            ]
        }
    )

    count: int = Field(description="how many there are, listed or not")
    assets: list[ListedAsset]
