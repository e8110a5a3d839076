"""The forms of the answers about assets over exchanges: figures of single coins, at one instant."""

from pydantic import BaseModel, Field

from mcp_tools.answers import Answer, Number, Text

Spans = dict[str, Number]


class AssetsAnswer(Answer):
    """What both have."""

    at: int | None = Field(
        default=None, description="UTC ms: everything is told of this instant, the end of a candle"
    )
    at_utc: str | None = None
    quote: str | None = Field(default=None, description="the currency of prices and amounts")
    funding_intervals: str | None = Field(
        default=None,
        description="of as_of alone; not_recorded: the record lacks them, so funding is null",
    )


class ShortAsset(BaseModel):
    """One asset over all its exchanges."""

    asset: str
    exchanges: list[str]
    price: float | None = Field(description="the median of one coin")
    spread_bps: float | None = Field(
        description="(highest - lowest) / lowest of the prices, in basis points; null: one price"
    )
    open_interest_coins: float | None = Field(description="one-sided, summed")
    open_interest_quote: float | None
    change: Spans = Field(description="of open interest in coins, by span: 0.05 is five percent")
    rate_8h: float | None = Field(description="funding of 8 h, weighted by open interest")
    rate_year: float | None = Field(description="the same of a year, not compounded")
    turnover_24h: float | None
    left_out: int = Field(description="markets that are not summed")


class Assets(AssetsAnswer):
    count: int = Field(description="of assets that match")
    assets: list[ShortAsset]


class MarketOfAsset(BaseModel):
    """One market of the asset."""

    exchange: str
    symbol: str
    units: int = Field(description="how many coins one base unit is: 1000 of 1000PEPE")
    summed: bool = Field(description="false: it is in no sum, and `missing` says why")
    stale_since: int | None
    price: float | None = Field(description="of one coin")
    open_interest_coins: float | None
    open_interest_quote: float | None
    change: Spans
    rate: float | None = Field(description="the last settled one, for interval_hours")
    interval_hours: int | None
    rate_8h: float | None
    rate_year: float | None
    settled_utc: str | None
    turnover_24h: float | None
    candles_24h: int | None = Field(description="closed candles in the turnover; 288 are all")


class Prices(BaseModel):
    median: float | None
    lowest: float | None
    lowest_exchange: str | None
    highest: float | None
    highest_exchange: str | None
    spread_bps: float | None


class OneAsset(AssetsAnswer):
    asset: Text
    price: Prices
    open_interest_coins: float | None
    open_interest_quote: float | None
    open_interest_exchanges: list[str] = Field(description="whose markets are in the sum")
    change: Spans
    change_exchanges: dict[str, list[str]] = Field(
        description="by span, whose markets tell both ends"
    )
    rate_8h: float | None
    rate_year: float | None
    funding_exchanges: list[str]
    turnover_24h: float | None
    turnover_exchanges: list[str]
    turnover_partial: list[str] = Field(description="exchanges of which candles lack")
    markets: list[MarketOfAsset]
