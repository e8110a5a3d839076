"""What an API process answers for exchanges from: its documents in memory, and the kept rows."""

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from api.documents.document_cache import CachedDocument, DocumentCache
from config import Settings
from facade.cache_answers import CacheAnswers
from facade.hearing import hearing
from facade.kept_contracts import KeptContracts
from facade.kept_rows import KeptRows
from stores.hot.store import HotStore

# For how long a version that was the newest answers without another look at the store. A candle
# that could still change may be told so much later; one that closes is not told as open: see
# CacheAnswers.at_once.
_LATELY_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class FacadeDocument:
    """One version of a document."""

    cache: DocumentCache
    document: CachedDocument

    @property
    def version(self) -> Hashable:
        return self.document.etag_base

    async def market(self, exchange: str, symbol: str) -> bytes:
        return await self.cache.one_market(self.document, exchange, symbol)


@dataclass(frozen=True, slots=True)
class FacadeDocuments:
    cache: DocumentCache

    def version_lately(self, name: str) -> Hashable | None:
        document = self.cache.newest_within(name, _LATELY_S)
        return None if document is None else document.etag_base

    async def newest(self, name: str) -> FacadeDocument | None:
        document = await self.cache.current(name)
        return None if document is None else FacadeDocument(self.cache, document)


@asynccontextmanager
async def cached_answers(
    settings: Settings, store: HotStore, cache: DocumentCache
) -> AsyncIterator[CacheAnswers]:
    """The answers from the cache, which take those that pass through as long as it is open."""
    async with hearing(store) as heard:
        answers = CacheAnswers(
            *(FacadeDocuments(cache), KeptRows(store), KeptContracts(store), heard),
            forming_s=settings.facade_forming_s,
        )
        try:
            yield answers
        finally:
            await answers.aclose()
