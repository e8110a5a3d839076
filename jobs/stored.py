"""The stored document of an earlier run, read or in memory; a damaged one counts as missing."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

import structlog

from cache_manager import DamagedDocument, StoredDocument
from documents.reading import decode_series
from documents.text import DocumentError
from jobs.context import JobContext
from market.previous_series import PreviousSeries
from market.timeframes import Timeframe
from stores.hot.leases import Lease, retry_under_lease

T = TypeVar("T")
log = structlog.get_logger(__name__)


async def read_stored(
    context: JobContext, name: str, decode: Callable[[bytes], T], lease: Lease
) -> T | None:
    """The decoded document; None if it is missing or damaged, so that the run can replace it.

    Retries while the store is away, until the lease is lost. Raises LeaseLost, StoreRefused.
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
    except (DamagedDocument, DocumentError, LookupError, TypeError, ValueError) as error:
        log.error("document_damaged", document=name, error=str(error))
        return None


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
            series = context.kept.series(timeframe, meta.version, meta.content_hash)
            if series is not None:
                return series
    return await read_stored(context, timeframe, decode_series, lease)


async def stored_as_of_ms(context: JobContext, names: Iterable[str], lease: Lease) -> int | None:
    """The newest as_of of the stored documents of these names; None if there is none.

    Retries while the store is away, until the lease is lost. Raises LeaseLost, StoreRefused.
    """
    wanted = list(names)
    metas = await retry_under_lease(lease, lambda: context.cache.read_metas(wanted))
    return max((meta.as_of_ms for meta in metas.values() if meta is not None), default=None)
