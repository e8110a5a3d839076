"""Documents as tables, made once per version, query, format and coding, and kept like slices.

Whole Parquet files are kept one version longer than all else, because readers come back for their
ranges: as long as there is memory, and in the processes that have made them.
"""

from collections.abc import Hashable
from functools import partial
from typing import Final, NamedTuple

from api.bytes_in_flight import Buffers, Holding
from api.documents.column_formats import write_table
from api.documents.content_coding import Coding
from api.documents.document_cache import CachedDocument, DocumentBody, DocumentCache
from api.documents.query import DocumentQuery
from api.formats import Format
from documents.text import DocumentFilter

WHOLE: Final = DocumentQuery(DocumentFilter(), 0.0, b"")


class KeptFile(NamedTuple):
    """A whole Parquet file of a version that was the newest, with its parts of the headers."""

    version: int
    representation: bytes
    last_modified: bytes
    key: tuple[Hashable, ...]


class ColumnBodies:
    """The bytes of a document in one format. It has the methods of DocumentCache for bodies."""

    def __init__(self, cache: DocumentCache, format_: Format) -> None:
        self._cache = cache
        self._format = format_
        self._files: dict[str, list[KeptFile]] = {}

    def cached_body(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding
    ) -> DocumentBody | None:
        """The bytes of a representation if they are in memory."""
        body: DocumentBody | None = self._cache.derived.cached(self._key(document, query, coding))
        return body

    def buffers(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding, body: DocumentBody
    ) -> Buffers:
        """The buffers that an answer with this body holds, with their sizes."""
        return body.buffers

    async def body(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding
    ) -> DocumentBody:
        """The bytes of one representation. Raises DocumentError or DamagedDocument."""
        key = self._key(document, query, coding)
        return await self._cache.derived.get(key, partial(self._make, key, document, query, coding))

    async def make_held(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding, holding: Holding
    ) -> DocumentBody:
        """As `body`; `holding` has the size of its text before it is made. Raises TooManyBytes,
        too."""
        size = document.meta.json_bytes
        if query.tag:
            sliced = await self._cache.slice_size(document, query)
            size = sliced.copied + (document.meta.json_bytes if sliced.has_views else 0)
        holding.exchange({self._key(document, query, coding): size})
        body = await self.body(document, query, coding)
        holding.exchange(body.buffers, checked=False)
        return body

    def kept_files(self, name: str) -> dict[int, tuple[KeptFile, DocumentBody]]:
        """The whole files of a document's last versions that are in memory, by version."""
        found = {}
        for file in self._files.get(name, ()):
            body: DocumentBody | None = self._cache.derived.cached(file.key)
            if body is not None:
                found[file.version] = file, body
        return found

    async def _make(
        self,
        key: tuple[Hashable, ...],
        document: CachedDocument,
        query: DocumentQuery,
        coding: Coding,
    ) -> tuple[DocumentBody, int]:
        text, absent = await self._cache.sliced_text(document, query)
        derived = self._cache.derived
        async with derived.turns:
            parts = await derived.run(write_table, self._format, text, coding)
        length = sum(map(len, parts))
        if self._format is Format.PARQUET and not query.tag:
            self._keep(document, key)
        return DocumentBody(parts, length, absent, {key: length}), length

    def _keep(self, document: CachedDocument, key: tuple[Hashable, ...]) -> None:
        """Keeps this file and the one before it."""
        meta = document.meta
        representation = document.representation(WHOLE, self._format)
        others = [file for file in self._files.get(meta.name, ()) if file.key != key]
        own = KeptFile(meta.version, representation, document.last_modified, key)
        *dropped, before = others or [own]
        for file in dropped:
            self._cache.derived.forget(file.key)
        self._files[meta.name] = [before, own] if others else [own]

    def _key(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding
    ) -> tuple[Hashable, ...]:
        name = document.meta.name
        if self._format is Format.PARQUET and not query.tag:
            name = f"{name}.{self._format}"  # another than the document's, with which it is dropped
        return (name, document.etag_base, query.tag, f"{self._format}-{coding}")
