"""The funding job: refreshes the `global_fr` document; and how a collection reads it."""

import asyncio

import structlog

from cache_manager import StoredDocument
from data_collector.fr_fetcher import run_fr_update_process
from documents.building import funding_document
from documents.journal import EncodedEntry
from documents.journal_draft import funding_entry
from documents.meta import DocumentCounts
from documents.names import GLOBAL_FR
from documents.reading import decode_funding
from job_queue.kinds import producer_of
from job_queue.records import JobRecord
from jobs.absences import absences
from jobs.context import JobContext, KnownFunding, Outcome, Progress, by_exchange
from jobs.markets import markets_to_collect
from jobs.stored import stored_as_of_ms
from jobs.stored_documents import read_stored
from jobs.waiting import wait_for_job
from market.markets import FundingByMarket
from stores.hot.leases import Lease, retry_under_lease

log = structlog.get_logger(__name__)


async def refresh_funding(
    context: JobContext, _: JobRecord, lease: Lease, progress: Progress
) -> Outcome:
    """Fetches the settlements that are not stored yet and publishes all of them."""
    settings = context.settings
    progress.enter("markets")
    markets = await markets_to_collect(context, lease, progress)
    stored = await _stored(context, lease)
    known = stored.book if stored is not None else {}
    progress.enter("fetch", total=len(markets))
    update = await run_fr_update_process(
        context.client,
        markets,
        known,
        funding_history=settings.funding_history,
        on_progress=progress.count,
        stored_as_of_ms=await stored_as_of_ms(context, [GLOBAL_FR], lease),
        last_as_of=context.last_as_of,
    )
    absent, unlisted = await absences(context, update.brought, update.absent)
    missing = sorted([*update.missing, *unlisted])
    progress.enter("publish", total=1)
    version = await retry_under_lease(
        lease, lambda: context.cache.next_version(GLOBAL_FR, update.as_of_ms)
    )
    updated_at_ms = context.now_ms()
    body, markets_told, lacking = await asyncio.to_thread(
        funding_document,
        update.funding,
        version=version,
        as_of_ms=update.as_of_ms,
        updated_at_ms=updated_at_ms,
        missing=missing,
    )
    entry: EncodedEntry | None = None
    if context.keeps_history:
        entry = await asyncio.to_thread(
            funding_entry,
            known,
            update.funding,
            base=stored.version if stored is not None else 0,
            version=version,
            as_of_ms=update.as_of_ms,
            updated_at_ms=updated_at_ms,
            missing=missing,
        )
    meta = await context.cache.save_to_cache(
        GLOBAL_FR,
        body,
        version=version,
        as_of_ms=update.as_of_ms,
        updated_at_ms=updated_at_ms,
        lease=lease,
        counts=DocumentCounts(markets_told, update.carried_over, lacking),
        entry=entry,
    )
    context.recorded(entry)
    return Outcome(
        update.as_of_ms,
        {
            "markets": len(update.funding),
            "rows": sum(len(series.rows) for series in update.funding.values()),
            "missing": len(missing),
            "carried_over": update.carried_over,
            "requests": update.requests,
            "retries": update.retries,
            "bytes": meta.stored_bytes,
            **by_exchange(absent=absent, clocks=update.clocks),
        },
        missing,
    )


async def known_funding(context: JobContext, lease: Lease, progress: Progress) -> FundingByMarket:
    """The stored funding, which nobody changes; if there is none, waits for a pending funding job,
    else returns {}."""
    known = await _decoded(context, lease)
    if known is None:
        job = await wait_for_job(context, producer_of(GLOBAL_FR), lease, progress)
        if job is not None and job.state == "complete":
            known = await _decoded(context, lease)
    if known is None:
        log.warning("no_funding_yet", hint="python main.py funding")
    return known.book if known is not None else {}


async def _decoded(context: JobContext, lease: Lease) -> KnownFunding | None:
    """The stored funding, decoded again only if the document is another."""
    meta = await retry_under_lease(lease, lambda: context.cache.read_meta(GLOBAL_FR))
    if meta is None:
        return None
    place = meta.version, meta.content_hash
    if place not in context.funding:
        context.funding.clear()
        known = await _stored(context, lease)
        if known is None:
            return None
        context.funding[place] = known
    return context.funding[place]


async def _stored(context: JobContext, lease: Lease) -> KnownFunding | None:
    def decode(document: StoredDocument) -> KnownFunding:
        meta = document.meta
        return KnownFunding(decode_funding(document.inflate()), meta.version, meta.updated_at_ms)

    return await read_stored(context.cache, GLOBAL_FR, decode, lease)
