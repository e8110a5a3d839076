"""What each kind of job does: a collection, a funding refresh, a discovery of markets.

A job runs under the lease that its worker holds; it reports where it is through `Progress` and
ends with an `Outcome` or an error. It knows nothing of leases' renewal, signals or other jobs.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import structlog

from cache_manager import DamagedDocument, StoredDocument
from data_collector import Collected, fetch_market_data
from data_collector.fr_fetcher import run_fr_update_process
from database import DatabaseUnavailable
from documents.building import DocumentBuilder, Source, encode_funding
from documents.names import GLOBAL_FR
from documents.reading import decode_funding, decode_series
from documents.text import DocumentError
from job_queue.queue import JobRecord, lane_of
from jobs.context import JobContext, JobFailed, Outcome, Progress
from jobs.discovery import run_discovery
from jobs.known_markets import keep_markets, known_markets
from market.markets import FundingByMarket, Market, MarketSeries, Meta, Missing
from market.metadata import MetadataBatch
from market.timeframes import Timeframe
from stores.hot.leases import Lease, retry_under_lease

# How long a job that lacks what another job brings waits for that one.
_OTHER_JOB_S: Final = 30.0
_LOOK_EVERY_S: Final = 0.5

T = TypeVar("T")
log = structlog.get_logger(__name__)


async def run_job(context: JobContext, job: JobRecord, lease: Lease, progress: Progress) -> Outcome:
    """Does the work of `job`.

    Raises JobFailed, ExchangeError, DatabaseUnavailable, StoreUnavailable, LeaseLost.
    """
    started = time.monotonic()
    if job.timeframe is not None:
        outcome = await _collect(context, job.timeframe, lease, progress)
    elif job.kind == "funding":
        outcome = await _refresh_funding(context, lease, progress)
    else:
        outcome = await _discover(context, progress)
    duration_ms = round((time.monotonic() - started) * 1000)
    return Outcome(outcome.as_of_ms, {**outcome.result, "duration_ms": duration_ms})


async def _collect(
    context: JobContext, timeframe: Timeframe, lease: Lease, progress: Progress
) -> Outcome:
    settings = context.settings
    progress.enter("markets")
    markets = await _markets(context, lease, progress)
    sheets = {
        made: await _open_sheet(context, made, timeframe, lease) for made in timeframe.produces
    }
    funding = await _funding_book(context, lease, progress)
    progress.enter("fetch")
    collected = await fetch_market_data(
        timeframe,
        markets,
        context.client,
        lambda made, series: sheets[made].add(series),
        history_candles=settings.history_candles,
        prefetched_fr_data=funding,
        funding_history=settings.funding_history,
        previous={made: sheet.earlier for made, sheet in sheets.items()},
        on_progress=progress.count,
    )
    delivered, rows = sheets[timeframe].builder.markets, sheets[timeframe].builder.rows
    stored_bytes = 0
    for sheet in sheets.values():
        stored_bytes += await _publish(context, sheet, collected, lease, progress)
    if collected.funding_outdated:
        await retry_under_lease(lease, lambda: context.queue.request("funding"))
    return Outcome(
        collected.as_of_ms,
        {
            "markets": delivered,
            "rows": rows,
            "missing": len(collected.missing),
            "carried_over": collected.carried_over,
            "requests": collected.requests,
            "retries": collected.retries,
            "bytes": stored_bytes,
        },
    )


@dataclass(slots=True)
class _Sheet:
    """One document in the making, with what the one before it knew."""

    timeframe: Timeframe
    builder: DocumentBuilder
    metas: Mapping[str, Meta]
    earlier: Mapping[str, MarketSeries]
    metadata: MetadataBatch
    refused: list[Missing] = field(default_factory=list)

    def add(self, series: MarketSeries) -> None:
        market, key = series.market, series.market.key
        try:
            self.builder.add(series, self.metas.get(key, {}))
        except ValueError as error:
            # A row that no document may hold is that market's trouble alone.
            log.error("market_refused", market=key, error=str(error))
            self.refused.append(Missing(market.exchange, market.symbol, "klines", str(error)))
            return
        if series.stale_since_ms is None:
            self.metadata.add(key, series.rows, series.checked_at_ms)


async def _open_sheet(
    context: JobContext, made: Timeframe, collected: Timeframe, lease: Lease
) -> _Sheet:
    stored = await _stored(context, made, decode_series, lease)
    try:
        coins = await context.database.get_coins_from_db(made, **context.selection)
        metas: Mapping[str, Meta] = {coin.market.key: coin.meta for coin in coins}
    except DatabaseUnavailable as error:
        log.warning("keeping_earlier_metadata", document=str(made), error=str(error))
        metas = stored.metas() if stored is not None else {}
    source: Source = "collected" if made is collected else "aggregated"
    return _Sheet(made, DocumentBuilder(made, source), metas, stored or {}, MetadataBatch(made))


async def _stored(
    context: JobContext, name: str, decode: Callable[[bytes], T], lease: Lease
) -> T | None:
    """The stored document, decoded; None when there is none, or none that can be read: what is
    damaged must not keep the run from replacing it.

    While the store is away it is asked again for as long as the lease is ours.
    """

    async def read() -> StoredDocument | None:
        try:
            return await context.cache.read(name)
        except DamagedDocument as error:
            log.error("document_damaged", document=name, error=str(error))
            return None

    document = await retry_under_lease(lease, read)
    if document is None:
        return None
    try:
        return await asyncio.to_thread(lambda: decode(document.inflate()))
    except (DamagedDocument, DocumentError) as error:
        log.error("document_damaged", document=name, error=str(error))
        return None


async def _publish(
    context: JobContext, sheet: _Sheet, collected: Collected, lease: Lease, progress: Progress
) -> int:
    """Writes the sheet's document and stores its numbers; gives the bytes it takes in the store."""
    progress.enter("merge")
    version = await retry_under_lease(
        lease, lambda: context.cache.next_version(sheet.timeframe, collected.as_of_ms)
    )
    updated_at_ms = context.now_ms()
    document = await asyncio.to_thread(
        sheet.builder.finish_deflated,
        version=version,
        as_of_ms=collected.as_of_ms,
        updated_at_ms=updated_at_ms,
        missing=[*collected.missing, *sheet.refused],
    )
    progress.enter("publish")
    meta = await context.cache.save_to_cache(
        sheet.timeframe,
        document,
        version=version,
        as_of_ms=collected.as_of_ms,
        updated_at_ms=updated_at_ms,
        lease=lease,
    )
    log.info("published", document=str(sheet.timeframe), version=version, bytes=meta.stored_bytes)
    try:
        await context.database.markets.save_metadata(
            sheet.timeframe, sheet.metadata.finish(), computed_at_ms=collected.as_of_ms
        )
    except DatabaseUnavailable as error:
        # The document is out; its numbers come again with the next collection.
        log.warning("metadata_not_stored", error=str(error))
    return meta.stored_bytes


async def _funding_book(context: JobContext, lease: Lease, progress: Progress) -> FundingByMarket:
    """What `cache:global_fr` holds; empty when no funding job brings it within the wait."""
    book: FundingByMarket | None = await _stored(context, GLOBAL_FR, decode_funding, lease)
    if book is None and await _comes(context, "funding", lease, progress):
        book = await _stored(context, GLOBAL_FR, decode_funding, lease)
    if book is None:
        log.warning("no_funding_yet", hint="python main.py funding")
    return book or {}


async def _comes(context: JobContext, job_id: str, lease: Lease, progress: Progress) -> bool:
    """Waits for a job that is queued or running to end; False when there is none, or too long."""
    deadline = time.monotonic() + _OTHER_JOB_S
    while time.monotonic() < deadline:
        job = await retry_under_lease(lease, lambda: context.queue.get(job_id))
        if job is None or job.state not in ("queued", "active"):
            return job is not None and job.state == "complete"
        progress.enter("waiting")
        await asyncio.sleep(_LOOK_EVERY_S)
    return False


async def _refresh_funding(context: JobContext, lease: Lease, progress: Progress) -> Outcome:
    settings = context.settings
    progress.enter("markets")
    markets = await _markets(context, lease, progress)
    known: FundingByMarket = await _stored(context, GLOBAL_FR, decode_funding, lease) or {}
    progress.enter("fetch", total=len(markets))
    update = await run_fr_update_process(
        context.client,
        markets,
        known,
        funding_history=settings.funding_history,
        on_progress=progress.count,
    )
    progress.enter("publish", total=1)
    version = await retry_under_lease(
        lease, lambda: context.cache.next_version(GLOBAL_FR, update.as_of_ms)
    )
    updated_at_ms = context.now_ms()
    body = await asyncio.to_thread(
        encode_funding,
        update.book,
        version=version,
        as_of_ms=update.as_of_ms,
        updated_at_ms=updated_at_ms,
        missing=update.missing,
    )
    meta = await context.cache.save_to_cache(
        GLOBAL_FR,
        body,
        version=version,
        as_of_ms=update.as_of_ms,
        updated_at_ms=updated_at_ms,
        lease=lease,
    )
    return Outcome(
        update.as_of_ms,
        {
            "markets": len(update.book),
            "rows": sum(len(series.rows) for series in update.book.values()),
            "missing": len(update.missing),
            "carried_over": update.carried_over,
            "requests": update.requests,
            "retries": update.retries,
            "bytes": meta.stored_bytes,
        },
    )


async def _markets(context: JobContext, lease: Lease, progress: Progress) -> list[Market]:
    """The markets to ask for; while the database is away, those that it gave last.

    Raises DatabaseUnavailable when it is away and none are known.
    """
    try:
        markets = await _markets_from_database(context, lease, progress)
    except DatabaseUnavailable as error:
        markets = await known_markets(context.store, lease, context.selection)
        if not markets:
            raise
        log.warning("going_on_with_known_markets", markets=len(markets), error=str(error))
        return markets
    await keep_markets(context.store, lease, context.selection, markets)
    return markets


async def _markets_from_database(
    context: JobContext, lease: Lease, progress: Progress
) -> list[Market]:
    """The markets that it lists; when there are none yet, discovery comes first."""
    settings = context.settings
    # In the lane of discovery itself, one that is queued waits for us: we cannot wait for it.
    if lease.name != lane_of("discovery"):
        await _listed_by_others(context, lease, progress)
    markets = await context.database.get_all_unique_coins(**context.selection)
    if not markets:
        await _discover(context, progress)
        markets = await context.database.get_all_unique_coins(**context.selection)
    if not markets:
        raise JobFailed(
            f"no active {settings.quote} markets on {', '.join(settings.exchanges)}: "
            "none were discovered, or all are disabled"
        )
    return markets


async def _listed_by_others(context: JobContext, lease: Lease, progress: Progress) -> None:
    """Waits while an exchange was never listed and a discovery is queued or running.

    What counts is the listing, not that job's end: a collection that is ahead of it in its lane
    lists the markets too, and may itself be waiting for us.
    """
    deadline = time.monotonic() + _OTHER_JOB_S
    while time.monotonic() < deadline:
        listed = [
            await context.database.markets.discovered_at_ms(name)
            for name in context.settings.exchanges
        ]
        if None not in listed:
            return
        job = await retry_under_lease(lease, lambda: context.queue.get("discovery"))
        if job is None or job.state not in ("queued", "active"):
            return
        progress.enter("waiting")
        await asyncio.sleep(_LOOK_EVERY_S)


async def _discover(context: JobContext, progress: Progress) -> Outcome:
    progress.enter("markets", total=len(context.settings.exchanges))
    found = await run_discovery(
        context.client, context.database, context.settings.exchanges, context.settings.quote
    )
    if not found.saved:
        raise JobFailed("; ".join(f"{name}: {why}" for name, why in found.failures.items()))
    return Outcome(
        None,
        {
            "markets": sum(found.found.values()),
            "missing": len(found.failures),
            "requests": found.requests,
            "retries": found.retries,
        },
    )
