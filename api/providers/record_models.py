"""What the OpenAPI page says of answers from the tables of what providers told."""

from typing import Annotated

from pydantic import BaseModel, Field

from api.documents.models import EXAMPLE_MS, TimeMs

Exact = Annotated[float, Field(description="with all its digits: read it as a decimal")]


class PriceRecord(BaseModel):
    symbol: str
    price_usd: Exact | None = Field(description="null: in another quote")
    source: str = Field(examples=["price.aggregate/coingecko"])
    timestamp: TimeMs = Field(examples=[EXAMPLE_MS])
    quote: str
    kind: str
    price: Exact
    volume_24h: Exact | None
    change_24h: Exact | None
    market_cap: Exact | None
    stated: bool = Field(description="whether `timestamp` is the provider's own")
    known_at: TimeMs


class PriceRecords(BaseModel):
    symbol: str
    prices: list[PriceRecord]
    next: str | None = Field(description="the `cursor` of the next page; null: there is none")


class SentimentRecord(BaseModel):
    metric: str
    asset: str
    timestamp: TimeMs
    value: Exact
    scale: list[Exact]
    label: str | None
    source: str
    known_at: TimeMs


class SentimentRecords(BaseModel):
    sentiment: list[SentimentRecord]
    next: str | None


class NewsRecord(BaseModel):
    id: str
    title: str
    summary: str
    url: str
    source: str
    published_at_ms: TimeMs | None
    updated_at_ms: TimeMs | None
    authors: list[str]
    assets: list[str]
    language: str
    via: list[str]
    known_at: TimeMs


class NewsRecords(BaseModel):
    news: list[NewsRecord]
    next: str | None
