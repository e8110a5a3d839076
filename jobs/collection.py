"""The collection job: fetches one timeframe's markets, builds its documents and publishes them."""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from data_collector import fetch_market_data
from database import DatabaseUnavailable
from documents.names import GLOBAL_FR
from job_queue.kinds import producer_of
from job_queue.records import JobRecord
from jobs.absences import absences
from jobs.closes import collect_all
from jobs.context import JobContext, Outcome, Progress, by_exchange
from jobs.document_draft import DocumentDraft
from jobs.funding import known_funding
from jobs.markets import markets_to_collect
from jobs.stored import previous_series, stored_as_of_ms
from market.markets import Market, Meta, Missing
from market.previous_series import PreviousSeries
from market.rows import first_time
from market.timeframes import Timeframe
from stores.hot.leases import Lease, retry_under_lease

log = structlog.get_logger(__name__)


async def collect(context: JobContext, job: JobRecord, lease: Lease, progress: Progress) -> Outcome:
    """Collects the job's timeframe, or all, and publishes every document made from it."""
    settings, timeframe = context.settings, job.timeframe
    if timeframe is None:
        return await collect_all(context, job, lease, progress)
    progress.enter("markets")
    markets = await markets_to_collect(context, lease, progress)
    previous = {
        produced: await previous_series(context, produced, lease) for produced in timeframe.produces
    }
    drafts = {
        produced: DocumentDraft(
            produced,
            "collected" if produced is timeframe else "aggregated",
            await _known_metadata(context, produced, stored, markets),
            context.kept,
        )
        for produced, stored in previous.items()
    }
    DocumentDraft.join(drafts.values())
    funding = await known_funding(context, lease, progress)
    progress.enter("fetch")
    collected = await fetch_market_data(
        timeframe,
        markets,
        context.client,
        lambda produced, series: drafts[produced].add(series),
        history_candles=settings.history_candles,
        prefetched_fr_data=funding,
        funding_history=settings.funding_history,
        previous={produced: stored or {} for produced, stored in previous.items()},
        stored_as_of_ms=await stored_as_of_ms(context, timeframe.produces, lease),
        last_as_of=context.last_as_of,
        on_progress=progress.count,
    )
    absent, unlisted = await absences(context, collected.brought, collected.absent)
    missing = sorted([*collected.missing, *unlisted])
    for draft in drafts.values():
        await asyncio.to_thread(draft.encode_rest)
    stored_bytes, not_stored = 0, {}
    for draft in drafts.values():
        size, error = await _publish(context, draft, collected.as_of_ms, missing, lease, progress)
        stored_bytes += size
        if error is not None:
            not_stored = {"metadata_not_stored": error}
    if collected.funding_outdated:
        await retry_under_lease(lease, lambda: context.queue.request(producer_of(GLOBAL_FR)))
    return Outcome(
        collected.as_of_ms,
        {
            "markets": drafts[timeframe].markets,
            "rows": drafts[timeframe].rows,
            "missing": len(missing),
            "carried_over": collected.carried_over,
            "requests": collected.requests,
            "retries": collected.retries,
            "bytes": stored_bytes,
            **not_stored,
            **by_exchange(absent=absent, clocks=collected.clocks),
        },
    )


async def _known_metadata(
    context: JobContext,
    timeframe: Timeframe,
    stored: PreviousSeries | None,
    markets: Sequence[Market],
) -> Mapping[str, Meta]:
    """Each market's stored metadata by Market.key; if the database is away, the document's, but for
    markets that have begun a new life since."""
    try:
        coins = await context.database.get_coins_from_db(timeframe, **context.selection)
    except DatabaseUnavailable as error:
        log.warning("metadata_taken_from_document", document=str(timeframe), error=str(error))
        metas = stored.metas() if stored is not None else {}
        return {
            market.key: metas[market.key]
            for market in markets
            if market.key in metas and not _has_earlier_rows(stored, market, timeframe)
        }
    return {coin.market.key: coin.meta for coin in coins}


def _has_earlier_rows(stored: PreviousSeries | None, market: Market, timeframe: Timeframe) -> bool:
    """Whether the document has rows of another contract under the market's symbol."""
    if not market.since_ms or stored is None:
        return False
    rows = stored[market.key].rows
    return bool(rows) and first_time(rows) + timeframe.interval_ms <= market.since_ms


async def _publish(
    context: JobContext,
    draft: DocumentDraft,
    as_of_ms: int,
    missing: list[Missing],
    lease: Lease,
    progress: Progress,
) -> tuple[int, str | None]:
    """Publishes the document and stores its metadata. Returns its size in the hot store, bytes,
    and why the database did not take the metadata, if so."""
    progress.enter("merge")
    version = await retry_under_lease(
        lease, lambda: context.cache.next_version(draft.timeframe, as_of_ms)
    )
    updated_at_ms = context.now_ms()
    document = await asyncio.to_thread(
        draft.finish,
        version=version,
        as_of_ms=as_of_ms,
        updated_at_ms=updated_at_ms,
        missing=missing,
    )
    progress.enter("publish")
    meta = await context.cache.save_to_cache(
        draft.timeframe,
        document,
        version=version,
        as_of_ms=as_of_ms,
        updated_at_ms=updated_at_ms,
        lease=lease,
    )
    draft.published(meta.version, meta.content_hash)
    log.info("published", document=str(draft.timeframe), version=version, bytes=meta.stored_bytes)
    try:
        await context.database.markets.save_metadata(
            draft.timeframe, draft.computed, computed_at_ms=as_of_ms
        )
    except DatabaseUnavailable as error:
        # The document is published; the next collection computes its metadata again.
        log.warning("metadata_not_stored", error=str(error))
        return meta.stored_bytes, str(error)
    return meta.stored_bytes, None
