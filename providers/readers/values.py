"""Makes records of the places that a row names: one function for each kind of question."""

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from providers.assets import MARKET
from providers.exact import (
    BadValue,
    decimal_of,
    divided,
    not_negative,
    positive,
    scaled_whole,
    times,
    whole_of,
)
from providers.naming import decimals_of
from providers.networks import networks
from providers.paths import path_of
from providers.readers.fields import BITCOIN_FIELDS, EVM_FIELDS, field_of
from providers.readers.rows import Row
from providers.records import (
    Balance,
    ChainStats,
    EarlierReading,
    GasPrice,
    Metric,
    Price,
    PriceKind,
    SentimentReading,
)

KIND_OF_CHAIN: Final = {
    "price.spot": PriceKind.SPOT,
    "price.perp": PriceKind.PERP_LAST,
    "price.aggregate": PriceKind.AGGREGATE,
}
# By a fee's unit, what it is multiplied by: to wei, and to sat per 1000 vbytes.
FEE_UNITS: Final = {"wei": 1, "gwei": 10**9, "sat_per_kvb": 1, "sat_per_vb": 1000}


MOST_EARLIER: Final = 366  # readings of one answer


def price_of(row: Row) -> Price | None:
    value, _ = row.raw("value")
    price = positive(value)
    if price is None:
        return None
    confidence = row.number("confidence")
    least = row.read.get("min_confidence")
    if least is not None and confidence is not None and confidence < Decimal(str(least)):
        return None
    asked = row.asked
    return Price(
        **asked.common(row.time("as_of")),
        asset=row.name.subject,
        quote=row.name.values["quote"],
        kind=PriceKind(row.read.get("kind", KIND_OF_CHAIN[asked.resource.chain])),
        value=price if row.name.multiplier == 1 else divided(price, row.name.multiplier),
        volume_24h_quote=not_negative(row.raw("volume_24h_quote")[0]),
        change_24h=row.fraction("change_24h"),
        market_cap=not_negative(row.raw("market_cap")[0]),
        confidence=confidence,
    )


def sentiment_of(row: Row) -> SentimentReading | None:
    value = row.number("value")
    if value is None:
        return None
    least, greatest = (Decimal(str(end)) for end in row.read["scale"])
    if not least <= value <= greatest:
        raise BadValue(f"{value} is not between {least} and {greatest}")
    period_s = row.read.get("period_s")
    as_of_ms = row.time("as_of")
    return SentimentReading(
        **row.asked.common(as_of_ms),
        metric=row.read["metric"],
        asset=MARKET if row.asked.resource.chain == "sentiment.market" else row.name.subject,
        value=value,
        scale=(least, greatest),
        label=row.text("label"),
        period_ms=None if period_s is None else int(period_s) * 1000,
        earlier=_earlier(row, as_of_ms, least, greatest) if as_of_ms is not None else (),
    )


def _earlier(
    row: Row, before_ms: int, least: Decimal, greatest: Decimal
) -> tuple[EarlierReading, ...]:
    """The readings before this one that came with it; a wrong one is left out."""
    read = row.read.get("earlier")
    if read is None:
        return ()
    found: list[EarlierReading] = []
    for item in path_of(read["items"]).each(row.document, row.name.values):
        one = replace(row, item=item, read=read)
        try:
            value, as_of_ms, label = one.number("value"), one.time("as_of"), one.text("label")
        except BadValue:
            continue
        if value is None or as_of_ms is None or not least <= value <= greatest:
            continue
        if 0 < as_of_ms < before_ms:
            found.append(EarlierReading(as_of_ms=as_of_ms, value=value, label=label))
    return tuple(found[:MOST_EARLIER])


def gas_of(row: Row) -> GasPrice | None:
    chain = row.name.values["chain"]
    fees: dict[str, Any] = {}
    for names, ending in ((EVM_FIELDS, "_wei"), (BITCOIN_FIELDS, "_sat_per_kvb")):
        for name in names:
            value, unit = row.raw(name)
            fee = scaled_whole(value, FEE_UNITS[unit or "wei"])
            if fee is not None:
                fees[name + ending] = fee
    if not fees:
        return None
    if any(not fee for name, fee in fees.items() if name.startswith(("max_fee", "fee"))):
        raise BadValue("a fee of 0 is none")
    return GasPrice(
        **row.asked.common(row.time("as_of")),
        chain=chain,
        chain_id=networks()[chain].chain_id,
        block=row.block("block"),
        **fees,
    )


def stats_of(row: Row) -> ChainStats | None:
    metrics: dict[str, Metric] = {}
    for name, text in row.read.get("metrics", {}).items():
        field = field_of(text)
        value = decimal_of(row.at(field))
        if value is not None and value < 0 and field.unit != "percent":
            raise BadValue(f"{name} is {value}")
        if value is not None:
            metrics[name] = Metric(value=value, unit=field.unit or "1")
    height, head_time_ms = row.block("height"), row.time("head_time")
    if height == 0:
        raise BadValue("a height of 0 is none")
    if height is None and head_time_ms is None and not metrics:
        return None
    return ChainStats(
        **row.asked.common(row.time("as_of")),
        chain=row.name.values["chain"],
        height=height,
        head_time_ms=head_time_ms,
        metrics=metrics,
    )


def balance_of(row: Row) -> Balance | None:
    value, unit = row.raw("raw")
    if unit == "coin":
        raw = smallest_units(value, decimals_of(row.name.values["chain"])[1])
    else:
        raw = whole_of(value)
    if raw is None:
        return None
    spent = row.whole("minus") if "minus" in row.read else 0
    if spent is None:
        raise BadValue("what was spent is missing")
    if spent > raw:
        raise BadValue(f"more was spent ({spent}) than received ({raw})")
    return balance(row, raw - spent, row.block("block"))


def smallest_units(value: Any, decimals: int) -> int | None:
    """An amount of whole coins. Raises BadValue where it is finer than the coin: it is not that."""
    amount = not_negative(value)
    if amount is None:
        return None
    raw = times(amount, 10**decimals)
    if raw != raw.to_integral_value():
        raise BadValue(f"{amount} is finer than {decimals} decimals")
    return int(raw)


def balance(row: Row, raw: int, block: int | None = None) -> Balance:
    chain = row.name.values["chain"]
    coin, decimals = decimals_of(chain)
    return Balance(
        **row.asked.common(None),
        chain=chain,
        address=row.name.subject,
        asset=coin,
        raw=raw,
        decimals=decimals,
        block=block,
        confirmed_only=bool(row.read.get("confirmed_only", True)),
    )


def joined(records: list[Any]) -> list[Any]:
    """The records of all requests of one call: statistics of one chain become one record."""
    whole: list[Any] = []
    by_chain: dict[str, ChainStats] = {}
    for record in records:
        if not isinstance(record, ChainStats):
            whole.append(record)
            continue
        first = by_chain.get(record.chain)
        by_chain[record.chain] = record if first is None else _both(first, record)
    return whole + list(by_chain.values())


def _both(first: ChainStats, second: ChainStats) -> ChainStats:
    return ChainStats(
        provider=first.provider,
        resource=first.resource,
        fetched_at_ms=first.fetched_at_ms,
        as_of_ms=first.as_of_ms if first.as_of_ms is not None else second.as_of_ms,
        chain=first.chain,
        height=first.height if first.height is not None else second.height,
        head_time_ms=first.head_time_ms if first.head_time_ms is not None else second.head_time_ms,
        metrics={**first.metrics, **second.metrics},
    )
