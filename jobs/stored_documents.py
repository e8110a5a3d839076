"""A stored document, read and decoded; a damaged one counts as missing, so that it is replaced."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import structlog

from cache_manager import CacheManager, DamagedDocument, StoredDocument
from documents.text import DocumentError
from stores.hot.leases import Lease, retry_under_lease

T = TypeVar("T")
log = structlog.get_logger(__name__)


async def read_stored(
    cache: CacheManager, name: str, decode: Callable[[StoredDocument], T], lease: Lease
) -> T | None:
    """The decoded document; None if it is missing or damaged, so that the run can replace it.

    `decode` runs in a thread. Retries while the store is away, until the lease is lost. Raises
    LeaseLost, StoreRefused.
    """

    async def read() -> StoredDocument | None:
        try:
            return await cache.read(name)
        except DamagedDocument as error:
            log.error("document_damaged", document=name, error=str(error))
            return None

    document = await retry_under_lease(lease, read)
    if document is None:
        return None
    try:
        return await asyncio.to_thread(decode, document)
    except (DamagedDocument, DocumentError, LookupError, TypeError, ValueError) as error:
        log.error("document_damaged", document=name, error=str(error))
        return None
