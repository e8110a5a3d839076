"""Answers of providers as JSON: exact numbers, who answered, how old it is; and why nobody did."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from fastapi import Request

from api.answers import RETRY, Answer, Body, Header, problem
from api.parts import ProviderParts
from api.providers.client_calls import TooManyCalls
from api.providers.encoded import encoded
from providers.errors import NEVER_ASKED, InvalidQuestion, NoAnswer, Tried
from providers.records import (
    Balance,
    ChainStats,
    GasPrice,
    NewsItem,
    Price,
    Record,
    SentimentReading,
    WhaleTransfer,
)
from providers.resources import Provider
from texts.hidden_addresses import without_ips
from timing.clock import now_ms

PROVIDER_ERRORS: Final = (NoAnswer, InvalidQuestion, TooManyCalls)


def error_answer(error: Exception) -> Answer:
    """The answer to one of PROVIDER_ERRORS."""
    match error:
        case NoAnswer():
            detail = f"nobody has answered {error.question}"
            return _unanswered(detail, told_tried(error.tried, all_=True))
        case TooManyCalls():
            return problem(429, str(error), (b"retry-after", b"%d" % error.after_s))
        case _:
            return problem(422, [{"type": "question", "loc": ["path"], "msg": str(error)}])


def _unanswered(detail: str, tried: list[dict[str, Any]]) -> Answer:
    body = encoded({"detail": detail, "tried": tried})
    length: Header = (b"content-length", b"%d" % len(body))
    head = problem(503, detail, RETRY)
    headers = [each for each in head.headers if each[0] != length[0]]
    return Answer(503, [*headers, length], Body((body,), len(body)))


def told_tried(tried: Iterable[Tried], *, all_: bool = False) -> list[dict[str, Any]]:
    """Who was asked or skipped; unless `all_`, without those that are never asked here."""
    return [
        {
            "resource": each.resource,
            "level": each.level.lower(),
            "error": each.error_class,
            "skipped": each.skipped,
            "message": without_ips(each.message),
            "times": each.times,
        }
        for each in tried
        if all_ or each.skipped not in NEVER_ASKED
    ]


class Shown:
    """Records as they are shown at one moment."""

    def __init__(self, parts: ProviderParts) -> None:
        self._registry = parts.registry
        self._now_ms = now_ms()

    def record(self, record: Record) -> dict[str, Any]:
        return {**_fields(record), **self._whose(record)}

    def _whose(self, record: Record) -> dict[str, Any]:
        provider = self._registry.providers.get(record.provider)
        since_ms = record.fetched_at_ms if record.as_of_ms is None else record.as_of_ms
        return {
            "provider": record.provider,
            "resource": record.resource,
            "level": self._registry.resource(record.resource).level.name.lower(),
            "as_of_ms": record.as_of_ms,
            "fetched_at_ms": record.fetched_at_ms,
            "age_s": max(0, self._now_ms - since_ms) / 1000,
            "stale_since": record.stale_since_ms,
            "attribution": attribution_of(provider),
        }

    def cache_control(self, request: Request, records: Iterable[Record]) -> str:
        """For how long they may be kept: until the first of them is due again."""
        left_s = min((self._left_s(each) for each in records), default=0)
        if left_s <= 0:
            return "no-cache"
        # Where tokens are needed, only the client that has one may keep it.
        scope = "private" if "authorization" in request.headers else "public"
        return f"{scope}, max-age={left_s}"

    def _left_s(self, record: Record) -> int:
        if record.stale_since_ms is not None:
            return 0
        ttl_ms = self._registry.resource(record.resource).ttl_s * 1000
        return int((record.fetched_at_ms + ttl_ms - self._now_ms) // 1000)


def attribution_of(provider: Provider | None) -> dict[str, Any] | None:
    if provider is None or (provider.attribution is None and provider.attribution_url is None):
        return None
    return {"text": provider.attribution, "url": provider.attribution_url}


def _fields(record: Record) -> dict[str, Any]:
    match record:
        case Price():
            return {
                "asset": record.asset,
                "quote": record.quote,
                "kind": record.kind,
                "price": record.value,
                "volume_24h": record.volume_24h_quote,
                "change_24h": record.change_24h,
                "market_cap": record.market_cap,
                "confidence": record.confidence,
            }
        case NewsItem():
            return {
                "id": record.id,
                "title": record.title,
                "summary": record.summary,
                "url": record.url,
                "source": record.source,
                "published_at_ms": record.published_at_ms,
                "updated_at_ms": record.updated_at_ms,
                "authors": record.authors,
                "assets": record.assets,
                "language": record.language,
                "via": record.via or (record.resource,),
            }
        case SentimentReading():
            return {
                "metric": record.metric,
                "asset": record.asset,
                "value": record.value,
                "scale": record.scale,
                "label": record.label,
                "period_s": None if record.period_ms is None else record.period_ms / 1000,
            }
        case GasPrice():
            return _gas(record)
        case ChainStats():
            metrics = record.metrics.items()
            return {
                "chain": record.chain,
                "height": record.height,
                "head_time_ms": record.head_time_ms,
                "metrics": {name: {"value": m.value, "unit": m.unit} for name, m in metrics},
            }
        case WhaleTransfer():
            return _whale(record)
        case Balance():
            return {
                "chain": record.chain,
                "address": record.address,
                "asset": record.asset,
                "raw": str(record.raw),
                "decimals": record.decimals,
                "amount": amount(record.raw, record.decimals),
                "block": record.block,
                "confirmed_only": record.confirmed_only,
            }
        case _:
            raise TypeError(f"{type(record).__name__} is shown nowhere")


FEES: Final = ("base_fee", "priority_slow", "priority_standard", "priority_fast")
MAX_FEES: Final = ("max_fee_slow", "max_fee_standard", "max_fee_fast")
BITCOIN_FEES: Final = ("fee_slow", "fee_standard", "fee_fast")


def _gas(gas: GasPrice) -> dict[str, Any]:
    if gas.chain_id is None:
        fees = {f"{name}_sat_per_kvb": getattr(gas, f"{name}_sat_per_kvb") for name in BITCOIN_FEES}
    else:
        wei = {f"{name}_wei": getattr(gas, f"{name}_wei") for name in (*FEES, *MAX_FEES)}
        fees = {name: None if fee is None else str(fee) for name, fee in wei.items()}
    return {"chain": gas.chain, "chain_id": gas.chain_id, "block": gas.block, "fees": fees}


def _whale(transfer: WhaleTransfer) -> dict[str, Any]:
    return {
        "chain": transfer.chain,
        "tx_hash": transfer.tx_hash,
        "index": transfer.index,
        "type": transfer.type,
        "asset": transfer.asset,
        "contract": transfer.contract,
        "raw": str(transfer.amount_raw),
        "decimals": transfer.decimals,
        "amount": amount(transfer.amount_raw, transfer.decimals),
        "value_usd": transfer.value_usd,
        "price_source": transfer.price_source,
        "senders": transfer.senders,
        "receivers": transfer.receivers,
        "sender_owner": transfer.sender_owner,
        "receiver_owner": transfer.receiver_owner,
        "block": transfer.block,
        "time_ms": transfer.time_ms,
        "confirmed": transfer.confirmed,
    }


def amount(raw: int, decimals: int) -> msgspec.Raw:
    """In whole coins, exactly, as a JSON number without an exponent."""
    digits = f"{abs(raw):0{decimals + 1}d}"
    sign = "-" if raw < 0 else ""
    whole, part = (digits[:-decimals], digits[-decimals:]) if decimals else (digits, "")
    return msgspec.Raw(f"{sign}{whole}.{part}" if part else f"{sign}{whole}")
