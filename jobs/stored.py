"""Reads the documents of earlier runs."""

import asyncio
from collections.abc import Callable
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
