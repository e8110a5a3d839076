"""The series of an earlier run's document, read or in memory, and the time of the newest one."""

import asyncio
from collections.abc import Iterable

import structlog

from cache_manager import StoredDocument
from documents.chunked_series import ChunkedSeries
from documents.chunked_text import ChunkedText, ChunksDamaged
from documents.reading import decode_series
from jobs.context import JobContext
from jobs.stored_documents import read_stored
from market.previous_series import PreviousSeries
from market.timeframes import Timeframe
from stores.hot.leases import Lease, retry_under_lease

log = structlog.get_logger(__name__)


async def previous_series(
    context: JobContext, timeframe: Timeframe, lease: Lease
) -> PreviousSeries | None:
    """The series of the stored document; None if it is missing or damaged.

    They come from this process's memory if it published that document; a market's is then there
    until the new one is added to a draft. Retries and raises as `read_stored`.
    """
    if context.kept.is_published(timeframe):
        meta = await retry_under_lease(lease, lambda: context.cache.read_meta(timeframe))
        if meta is not None:
            kept, published = context.kept, (meta.version, meta.content_hash)
            series = await asyncio.to_thread(kept.series, timeframe, *published)
            if series is not None:
                return series
    return await read_stored(context.cache, timeframe, _decoded, lease)


def _decoded(document: StoredDocument) -> PreviousSeries:
    """The series, of chunks if the document has an index of them; else its whole text is held."""
    index = document.chunks()
    if index is not None:
        try:
            return ChunkedSeries(ChunkedText(document.deflated, index))
        except ChunksDamaged as error:
            log.warning("chunks_unreadable", document=document.meta.name, reason=str(error))
    return decode_series(document.inflate())


async def stored_as_of_ms(context: JobContext, names: Iterable[str], lease: Lease) -> int | None:
    """The newest as_of of the stored documents of these names; None if there is none.

    Retries while the store is away, until the lease is lost. Raises LeaseLost, StoreRefused.
    """
    wanted = list(names)
    metas = await retry_under_lease(lease, lambda: context.cache.read_metas(wanted))
    return max((meta.as_of_ms for meta in metas.values() if meta is not None), default=None)
