"""Reading the stored document of an earlier run, where a damaged one counts as missing."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

import structlog

from cache_manager import DamagedDocument, StoredDocument
from documents.text import DocumentError
from jobs.context import JobContext
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


async def stored_as_of_ms(context: JobContext, names: Iterable[str], lease: Lease) -> int | None:
    """The newest as_of of the stored documents of these names; None if there is none.

    Retries while the store is away, until the lease is lost. Raises LeaseLost, StoreRefused.
    """
    wanted = list(names)
    metas = await retry_under_lease(lease, lambda: context.cache.read_metas(wanted))
    return max((meta.as_of_ms for meta in metas.values() if meta is not None), default=None)
