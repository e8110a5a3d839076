"""Documents as tables, made once per version, query, format and coding, and kept like slices."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Final

from api.bytes_in_flight import Buffers, Holding
from api.documents.column_formats import write_arrow
from api.documents.content_coding import Coding
from api.documents.document_cache import CachedDocument, DocumentBody, DocumentCache
from api.documents.query import DocumentQuery
from api.formats import Format
from documents.text import DocumentText

_WRITERS: Final[Mapping[Format, Callable[[DocumentText], Sequence[bytes | memoryview]]]] = {
    Format.ARROW: write_arrow,
}


class ColumnBodies:
    """The bytes of a document in one format. It has the methods of DocumentCache for bodies."""

    def __init__(self, cache: DocumentCache, form: Format) -> None:
        self._cache = cache
        self._form = form

    def cached_body(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding
    ) -> DocumentBody | None:
        """The bytes of a representation if they are in memory."""
        body: DocumentBody | None = self._cache.derived.cached(self._key(document, query, coding))
        return body

    def buffers(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding, body: DocumentBody
    ) -> Buffers:
        return body.buffers

    async def body(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding
    ) -> DocumentBody:
        """The bytes of one representation. Raises DocumentError or DamagedDocument."""
        key = self._key(document, query, coding)
        return await self._cache.derived.get(key, partial(self._make, key, document, query))

    async def make_held(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding, holding: Holding
    ) -> DocumentBody:
        """As `body`; `holding` has about its size before it is made. Raises TooManyBytes, too."""
        size = document.meta.json_bytes
        if query.tag:
            size = (await self._cache.slice_size(document, query)).copied
        holding.exchange({self._key(document, query, coding): size})
        body = await self.body(document, query, coding)
        holding.exchange(body.buffers, checked=False)
        return body

    async def _make(
        self, key: tuple[Hashable, ...], document: CachedDocument, query: DocumentQuery
    ) -> tuple[DocumentBody, int]:
        text, absent = await self._cache.sliced_text(document, query)
        derived = self._cache.derived
        async with derived.turns:
            parts = await derived.run(_WRITERS[self._form], text)
        length = sum(map(len, parts))
        return DocumentBody(parts, length, absent, {key: length}), length

    def _key(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding
    ) -> tuple[Hashable, ...]:
        return (document.meta.name, document.etag_base, query.tag, f"{self._form}-{coding}")
