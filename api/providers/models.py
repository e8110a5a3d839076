"""Pydantic models of what providers told and how they do, for the OpenAPI page."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.documents.models import TimeMs
from api.providers.record_models import Exact
from providers.errors import ErrorClass

Level = Literal["critical", "high", "medium", "low", "emergency"]
Raw = Annotated[str, Field(description="a whole number of the smallest unit, as text")]
Wei = Annotated[str | None, Field(description="wei, a whole number as text")]


class Attribution(BaseModel):
    """What a provider wants to be shown beside its data."""

    text: str | None
    url: str | None


class Whose(BaseModel):
    """Whose an answer is, and how old."""

    provider: str = Field(examples=["coingecko"])
    resource: str = Field(description="the registry's row", examples=["price.aggregate/coingecko"])
    level: Level
    as_of_ms: TimeMs | None = Field(description="the provider's own stamp; null: it gives none")
    fetched_at_ms: TimeMs
    age_s: float = Field(description="since its stamp or, without one, since it was fetched")
    stale_since: TimeMs | None = Field(
        description="null: fresh; else nobody has told anything newer since then"
    )
    attribution: Attribution | None


class TriedResource(BaseModel):
    """Who was asked or left out, and why it did not answer, at last."""

    resource: str
    level: Level
    error: ErrorClass | None = Field(description="null: it was not asked, at last")
    skipped: str | None = Field(description="out, no_budget, no_key, off or no_time")
    message: str
    times: int = Field(description="how often it was asked for this answer")


class Unanswered(BaseModel):
    """Nobody answered; or a store does not, without `tried`."""

    detail: str
    tried: list[TriedResource] = []


class Tried(BaseModel):
    tried: list[TriedResource] = Field(description="who did not answer before others did")


class PriceFact(Whose):
    asset: str = Field(examples=["btc"])
    quote: str = Field(examples=["USD"])
    kind: Literal["spot", "perp_last", "mark", "index", "aggregate"]
    price: Exact
    volume_24h: Exact | None = Field(description="in the quote")
    change_24h: Exact | None = Field(description="a fraction: 0.01 is one percent")
    market_cap: Exact | None
    confidence: Exact | None


class Prices(Tried):
    prices: list[PriceFact]
    missing: list[str] = Field(description="assets that nobody has told")


class Story(Whose):
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
    via: list[str] = Field(description="the resources that carried it")


class News(Tried):
    news: list[Story]


class SentimentFact(Whose):
    metric: str = Field(
        description="whose index: two do not compare", examples=["fear_greed_altme"]
    )
    asset: str = Field(description="or MARKET")
    value: Exact
    scale: list[Exact] = Field(description="its least and greatest value")
    label: str | None
    period_s: float | None


class Sentiment(Tried):
    sentiment: list[SentimentFact]
    missing: list[str]


class EvmFees(BaseModel):
    base_fee_wei: Wei
    priority_slow_wei: Wei
    priority_standard_wei: Wei
    priority_fast_wei: Wei
    max_fee_slow_wei: Wei
    max_fee_standard_wei: Wei
    max_fee_fast_wei: Wei


class BitcoinFees(BaseModel):
    """Of 1000 virtual bytes, in satoshi."""

    fee_slow_sat_per_kvb: int | None
    fee_standard_sat_per_kvb: int | None
    fee_fast_sat_per_kvb: int | None


class Gas(Whose, Tried):
    chain: str
    chain_id: int | None
    block: int | None
    fees: EvmFees | BitcoinFees


class Figure(BaseModel):
    value: Exact
    unit: str = Field(examples=["usd"])


class Blockchain(Whose, Tried):
    chain: str
    height: int | None
    head_time_ms: TimeMs | None
    metrics: dict[str, Figure]


class Whale(Whose):
    chain: str
    tx_hash: str
    index: int = Field(description="of the log or output in its transaction")
    type: str
    asset: str
    contract: str | None
    raw: Raw
    decimals: int
    amount: Exact
    value_usd: Exact | None
    price_source: str | None
    senders: list[str]
    receivers: list[str]
    sender_owner: str | None
    receiver_owner: str | None
    block: int | None
    time_ms: TimeMs | None
    confirmed: bool


class UnansweredChain(BaseModel):
    chain: str
    tried: list[TriedResource]


class ReadBlocks(BaseModel):
    """All blocks from the first to the last were looked through (`source` blocks); or these are
    transfers that rounds have kept, of the last hour's blocks before those (`source` table)."""

    chain: str
    source: Literal["blocks", "table"]
    first_block: int | None = Field(description="null: none of these was kept")
    last_block: int
    read_at_ms: TimeMs
    age_s: float
    complete: bool = Field(description="they were all that stood then")
    coin_blocks_left_out: int | None = Field(
        description="blocks in which the chain's own coin was not looked for; null: it is not known"
    )


class Whales(BaseModel):
    whales: list[Whale]
    read: list[ReadBlocks]
    missing: list[UnansweredChain]


class Balance(Whose, Tried):
    chain: str
    address: str
    asset: str
    raw: Raw
    decimals: int
    amount: Exact
    block: int | None
    confirmed_only: bool


class RpcError(BaseModel):
    code: int
    message: str


class RpcResponse(BaseModel):
    """One answer of JSON-RPC 2.0; a batch is answered by a list of them."""

    jsonrpc: Literal["2.0"]
    id: str | int | None
    result: object = None
    error: RpcError | None = None
