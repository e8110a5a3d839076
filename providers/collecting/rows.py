"""Records of providers as rows of the database."""

from dataclasses import fields, replace

from providers.records import (
    ChainStats,
    GasPrice,
    NewsItem,
    Price,
    Record,
    SentimentReading,
    WhaleTransfer,
)
from stores.cold.providers.chains import GasRow, StatsRow
from stores.cold.providers.news import NewsRow
from stores.cold.providers.prices import PriceRow
from stores.cold.providers.sentiment import SentimentRow
from stores.cold.providers.whales import WhaleRow

_FEES = tuple(each.name for each in fields(GasPrice) if each.name.endswith(("_wei", "_per_kvb")))


def stamp_of(record: Record) -> int:
    """The provider's own time (UTC ms) or, where it gives none, when it was fetched."""
    return record.fetched_at_ms if record.as_of_ms is None else record.as_of_ms


def price_row(price: Price, known_at_ms: int) -> PriceRow:
    return PriceRow(
        symbol=price.asset,
        source=price.resource,
        timestamp_ms=stamp_of(price),
        quote=price.quote,
        kind=price.kind,
        price=price.value,
        volume_24h=price.volume_24h_quote,
        change_24h=price.change_24h,
        market_cap=price.market_cap,
        stated=price.as_of_ms is not None,
        known_at_ms=known_at_ms,
    )


def sentiment_rows(reading: SentimentReading, known_at_ms: int) -> list[SentimentRow]:
    """The reading, and those before it that came with it."""
    least, greatest = reading.scale
    newest = SentimentRow(
        metric=reading.metric,
        asset=reading.asset,
        timestamp_ms=stamp_of(reading),
        value=reading.value,
        scale_min=least,
        scale_max=greatest,
        label=reading.label,
        source=reading.resource,
        known_at_ms=known_at_ms,
    )
    earlier = [
        replace(newest, timestamp_ms=each.as_of_ms, value=each.value, label=each.label)
        for each in reading.earlier
    ]
    return [*earlier, newest]


def news_row(item: NewsItem, known_at_ms: int) -> NewsRow:
    return NewsRow(
        id=item.id,
        source=item.source,
        url=item.url,
        title=item.title,
        summary=item.summary,
        published_at_ms=item.published_at_ms,
        updated_at_ms=item.updated_at_ms,
        authors=item.authors,
        assets=item.assets,
        language=item.language,
        via=item.via or (item.resource,),
        known_at_ms=known_at_ms,
        changed_at_ms=known_at_ms,
    )


def gas_row(gas: GasPrice, known_at_ms: int) -> GasRow:
    fees = {name: getattr(gas, name) for name in _FEES}
    return GasRow(
        chain=gas.chain,
        timestamp_ms=stamp_of(gas),
        source=gas.resource,
        block=gas.block,
        fees={name: fee for name, fee in fees.items() if fee is not None},
        known_at_ms=known_at_ms,
    )


def stats_row(stats: ChainStats, known_at_ms: int) -> StatsRow:
    return StatsRow(
        chain=stats.chain,
        timestamp_ms=stamp_of(stats),
        source=stats.resource,
        height=stats.height,
        head_time_ms=stats.head_time_ms,
        metrics={name: (f"{each.value:f}", each.unit) for name, each in stats.metrics.items()},
        known_at_ms=known_at_ms,
    )


def whale_row(transfer: WhaleTransfer, known_at_ms: int) -> WhaleRow:
    return WhaleRow(
        chain=transfer.chain,
        tx_hash=transfer.tx_hash,
        index=transfer.index,
        type=transfer.type,
        asset=transfer.asset,
        contract=transfer.contract,
        amount_raw=transfer.amount_raw,
        decimals=transfer.decimals,
        value_usd=transfer.value_usd,
        price_source=transfer.price_source,
        senders=transfer.senders,
        receivers=transfer.receivers,
        sender_owner=transfer.sender_owner,
        receiver_owner=transfer.receiver_owner,
        block=transfer.block,
        timestamp_ms=stamp_of(transfer) if transfer.time_ms is None else transfer.time_ms,
        confirmed=transfer.confirmed,
        source=transfer.resource,
        known_at_ms=known_at_ms,
    )
