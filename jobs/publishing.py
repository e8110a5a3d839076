"""The documents of a run: begun with what is known of their markets, published under the lease."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from database import DatabaseUnavailable
from documents.chunk_index import ChunkedDocument
from documents.journal_draft import JournalDraft
from jobs.context import JobContext, Progress
from jobs.document_draft import DocumentDraft
from market.markets import Market, Meta, Missing, UnreadableSeries
from market.metadata import NAMES
from market.previous_series import PreviousSeries
from market.rows import first_time
from market.timeframes import Timeframe
from stores.hot.leases import Lease, retry_under_lease

log = structlog.get_logger(__name__)


async def begin_drafts(
    context: JobContext,
    collected: Timeframe,
    previous: Mapping[Timeframe, PreviousSeries | None],
    markets: Sequence[Market],
    *,
    quiet: frozenset[Timeframe] = frozenset(),
) -> dict[Timeframe, DocumentDraft]:
    """The drafts of all documents that are made from one collected timeframe.

    `previous`: the stored documents. `quiet`: those in which no candle has closed since, where
    metadata stays as it is, but for markets whose closed candles have come or changed since.
    """
    same_close = quiet - context.not_stored
    drafts = {
        produced: DocumentDraft(
            produced,
            "collected" if produced is collected else "aggregated",
            await known_metadata(context, produced, stored, markets),
            context.kept,
            same_close=stored if produced in same_close else None,
            previous=stored,
            journal=journal_of(context, produced, funding_updated_ms=context.funding_updated_ms),
            trade_columns=context.settings.trade_columns,
        )
        for produced, stored in previous.items()
    }
    DocumentDraft.join(drafts.values())
    return drafts


def journal_of(
    context: JobContext, timeframe: Timeframe, *, funding_updated_ms: int | None = None
) -> JournalDraft | None:
    """What makes a document's entry for the history, if there is one."""
    if not context.keeps_history:
        return None
    return JournalDraft(
        timeframe,
        candles=context.settings.history_candles,
        funding_updated_ms=funding_updated_ms,
    )


async def known_metadata(
    context: JobContext,
    timeframe: Timeframe,
    stored: PreviousSeries | None,
    markets: Sequence[Market],
) -> Mapping[str, Meta]:
    """Each market's stored metadata by Market.key.

    The computed numbers are the document's, which are of its rows: the database may not have taken
    them. So is everything if the database is away; nothing is for markets that have begun a new
    life since.
    """
    metas = stored.metas() if stored is not None else {}
    ours = {
        market.key: metas[market.key]
        for market in markets
        if market.key in metas and not _has_earlier_rows(stored, market, timeframe)
    }
    try:
        coins = await context.database.get_coins_from_db(timeframe, **context.selection)
    except DatabaseUnavailable as error:
        log.warning("metadata_taken_from_document", document=str(timeframe), error=str(error))
        return ours
    return {coin.market.key: {**coin.meta, **_numbers(ours, coin.market)} for coin in coins}


def _numbers(metas: Mapping[str, Meta], market: Market) -> Meta:
    """The market's computed numbers."""
    meta = metas.get(market.key, {})
    return {name: meta[name] for name in NAMES if name in meta}


def _has_earlier_rows(stored: PreviousSeries | None, market: Market, timeframe: Timeframe) -> bool:
    """Whether the document has rows of another contract under the market's symbol."""
    if not market.since_ms or stored is None:
        return False
    try:
        rows = stored[market.key].rows
    except UnreadableSeries:
        return True
    return bool(rows) and first_time(rows) + timeframe.interval_ms <= market.since_ms


@dataclass(frozen=True, slots=True)
class Published:
    """A document's size in the hot store, bytes, and why the database did not take its metadata,
    if so."""

    stored_bytes: int
    not_stored: str | None


async def publish(
    context: JobContext,
    drafts: Sequence[tuple[DocumentDraft, list[Missing]]],
    as_of_ms: int,
    lease: Lease,
    progress: Progress,
) -> list[Published]:
    """Publishes the documents in this order, each with what it says is missing, and stores their
    metadata. While one is stored, the next one is finished in a thread. The history is told of them
    at the end: recording them would take the time of those that are not published yet."""
    finishing = [partial(_finish, context, *each, as_of_ms, lease) for each in drafts]
    published: list[Published] = []
    ahead: asyncio.Task[_Finished] | None = None
    try:
        for done, (draft, _) in enumerate(drafts):
            progress.enter("merge", total=len(drafts), done=done)
            finished = await (ahead or finishing[done]())
            ahead = None
            if done + 1 < len(drafts):
                ahead = asyncio.create_task(finishing[done + 1](), name="finish-ahead")
            progress.enter("publish", total=len(drafts), done=done)
            published.append(await _store(context, draft, finished, as_of_ms, lease))
    finally:
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)
        for draft, _ in drafts:
            context.recorded(draft.entry)
    return published


@dataclass(frozen=True, slots=True)
class _Finished:
    document: ChunkedDocument
    version: int
    updated_at_ms: int


async def _finish(
    context: JobContext,
    draft: DocumentDraft,
    missing: list[Missing],
    as_of_ms: int,
    lease: Lease,
) -> _Finished:
    version = await retry_under_lease(
        lease, lambda: context.cache.next_version(draft.timeframe, as_of_ms)
    )
    updated_at_ms = context.now_ms()
    finishing = asyncio.create_task(
        asyncio.to_thread(
            draft.finish,
            version=version,
            as_of_ms=as_of_ms,
            updated_at_ms=updated_at_ms,
            missing=missing,
        )
    )
    try:
        document = await asyncio.shield(finishing)
    except asyncio.CancelledError:
        # The thread tells `kept` of the document: it must not do so after the next run has begun.
        await asyncio.gather(finishing, return_exceptions=True)
        raise
    return _Finished(document, version, updated_at_ms)


async def _store(
    context: JobContext,
    draft: DocumentDraft,
    finished: _Finished,
    as_of_ms: int,
    lease: Lease,
) -> Published:
    version = finished.version
    meta = await context.cache.save_to_cache(
        draft.timeframe,
        finished.document,
        version=version,
        as_of_ms=as_of_ms,
        updated_at_ms=finished.updated_at_ms,
        lease=lease,
        changes=draft.changes,
        entry=draft.entry,
    )
    draft.published(meta.version, meta.content_hash, finished.document)
    log.info("published", document=str(draft.timeframe), version=version, bytes=meta.stored_bytes)
    if not draft.computed:
        return Published(meta.stored_bytes, None)
    try:
        await context.database.markets.save_metadata(
            draft.timeframe, draft.computed, computed_at_ms=as_of_ms
        )
    except DatabaseUnavailable as error:
        # The document is published; the next collection computes its metadata again.
        log.warning("metadata_not_stored", error=str(error))
        context.not_stored.add(draft.timeframe)
        return Published(meta.stored_bytes, str(error))
    context.not_stored.discard(draft.timeframe)
    return Published(meta.stored_bytes, None)
