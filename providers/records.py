"""What providers tell, in our words: exact numbers, times in UTC ms, whose it is and how old.

Money is Decimal, or an integer of the smallest unit (wei, sat, lamport, sun). Fields that a
provider does not give are None, never guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any


class PriceKind(StrEnum):
    """What a price is of. A fallback never answers with another kind than was asked for."""

    SPOT = "spot"
    PERP_LAST = "perp_last"
    MARK = "mark"
    INDEX = "index"
    AGGREGATE = "aggregate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What every record has. `as_of_ms`: the provider's own stamp, None where it gives none.
    `stale_since_ms`: since when nobody has given a newer one, None for one that was just asked for.
    `resource`: the id of the registry's row that brought it."""

    provider: str
    resource: str
    fetched_at_ms: int
    as_of_ms: int | None
    stale_since_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price(Record):
    """`asset`: our id (`btc`); `quote`: USD, USDT and so on, never merged. `change_24h` is a
    fraction (0.01 is one percent)."""

    asset: str
    quote: str
    kind: PriceKind
    value: Decimal
    volume_24h_quote: Decimal | None = None
    change_24h: Decimal | None = None
    market_cap: Decimal | None = None
    confidence: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsItem(Record):
    """`id`: SHA-256 (hex) of the canonical URL; `title` and `summary` (500 characters at most) are
    plain text; `via`: the resources that carried it. `published_at_ms` is None if unreadable."""

    id: str
    source: str
    url: str
    title: str
    summary: str
    published_at_ms: int | None
    updated_at_ms: int | None = None
    authors: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    language: str = "en"
    via: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierReading:
    """What an index was at a time (UTC ms) before."""

    as_of_ms: int
    value: Decimal
    label: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentimentReading(Record):
    """`metric`: whose index it is (fear_greed_altme, fear_greed_cmc, ...): never compared.
    `scale`: its least and greatest value; `label` as the provider gives it. `earlier`: readings
    that came with it, in any order, so that a new installation keeps more than one."""

    metric: str
    asset: str
    value: Decimal
    scale: tuple[Decimal, Decimal]
    label: str | None
    period_ms: int | None = None
    earlier: tuple[EarlierReading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GasPrice(Record):
    """Of an EVM chain in wei, of Bitcoin (`chain_id` None) in sat per 1000 vbytes."""

    chain: str
    chain_id: int | None
    block: int | None
    base_fee_wei: int | None = None
    priority_slow_wei: int | None = None
    priority_standard_wei: int | None = None
    priority_fast_wei: int | None = None
    max_fee_slow_wei: int | None = None
    max_fee_standard_wei: int | None = None
    max_fee_fast_wei: int | None = None
    fee_slow_sat_per_kvb: int | None = None
    fee_standard_sat_per_kvb: int | None = None
    fee_fast_sat_per_kvb: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number of a chain's statistics with its unit, such as usd, 1, vbyte."""

    value: Decimal
    unit: str

    @classmethod
    def of(cls, value: int, unit: str) -> "Metric":
        return cls(value=Decimal(value), unit=unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStats(Record):
    chain: str
    height: int | None
    head_time_ms: int | None
    metrics: Mapping[str, Metric] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhaleTransfer(Record):
    """`index`: of the log or output within the transaction. `amount_raw` in units of
    10^-`decimals`."""

    chain: str
    tx_hash: str
    index: int
    type: str  # transfer, mint, burn, lock, unlock, freeze, unfreeze
    asset: str
    contract: str | None
    amount_raw: int
    decimals: int
    value_usd: Decimal | None
    price_source: str | None
    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    sender_owner: str | None = None
    receiver_owner: str | None = None
    block: int | None
    time_ms: int | None
    confirmed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance(Record):
    """Of the chain's own coin. `address` as providers.accounts normalises it; `raw` in units of
    10^-`decimals`."""

    chain: str
    address: str
    asset: str
    raw: int
    decimals: int
    block: int | None = None
    confirmed_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcAnswer(Record):
    """A node's answer to one call: `result` as JSON has it, or `error`, which is an answer, too,
    where the call was reverted: asking another node would not change it."""

    chain: str
    method: str
    result: Any
    error: Mapping[str, Any] | None = None
