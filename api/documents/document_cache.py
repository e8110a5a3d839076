"""In-memory documents of an API process, checked by version, in every filter and coding.

It reads a document from the hot store once per version. It inflates, filters and compresses in
threads, once per version, query and coding. A slice inflates only the chunks that it needs, until
slices of a version have inflated as much as its whole text, which then serves all that follow.
"""

import asyncio
import struct
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from typing import Any, Final, Literal, TypeVar, cast

import structlog
from isal import isal_zlib

from api.answers import Body
from api.bytes_in_flight import Buffers, BytesInFlight, Holding
from api.documents.content_coding import Coding
from api.documents.derived import DerivedBodies
from api.documents.publication_order import PublicationOrder
from api.documents.query import DocumentQuery
from api.documents.shared_call import SharedCall, retrieve_exception
from api.documents.unknown_symbols import similar_symbols
from api.documents.validators import FORM_TAGS
from api.formats import Format
from cache_manager import CacheManager, DocumentMeta, StoredDocument
from documents.chunked_text import ChunkedText, ChunksDamaged
from documents.names import OVERVIEW
from documents.overview_text import OverviewText
from documents.text import DocumentError, DocumentFilter, DocumentText, FilteredSize
from logging_setup import OutageLog
from stores.hot.store import StoreUnavailable

# The memory for inflated text, slices and other values computed from documents.
DERIVED_BYTES: Final = 96 * 2**20
_LOADS: Final = 3  # attempts to load the version that the store names
_LEVEL: Final = 1  # isal: 0..3; slices are small and each is compressed once
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no name, no time
_PIECE: Final = 2**20
_UNLIMITED: Final = 2**63

T = TypeVar("T")
_Checked = tuple[DocumentMeta | None, float]  # the newest version, when the store was asked
log = structlog.get_logger(__name__)

# The stubs of isal declare the class as an instance.
IsalError: type[Exception] = cast(Any, isal_zlib.error)


@dataclass(frozen=True, slots=True)
class DocumentBody(Body):
    """The bytes of one representation; `absent`: requested symbols that the document lacks.

    `buffers`: what an answer with a slice holds in memory.
    """

    absent: frozenset[str] = frozenset()
    buffers: Buffers = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class CachedDocument:
    """One version of one document as stored, with its parts of the HTTP headers."""

    stored: StoredDocument = field(repr=False)
    deflated: DocumentBody = field(repr=False)
    etag_base: bytes
    last_modified: bytes

    @classmethod
    def from_stored(cls, stored: StoredDocument) -> "CachedDocument":
        meta = stored.meta
        deflated = DocumentBody((stored.deflated,), len(stored.deflated))
        etag_base = f"{meta.version}-{meta.content_hash}".encode()
        last_modified = formatdate(meta.updated_at_ms // 1000, usegmt=True).encode()
        return cls(stored, deflated, etag_base, last_modified)

    @property
    def meta(self) -> DocumentMeta:
        return self.stored.meta

    def representation(self, query: DocumentQuery, format_: Format = Format.JSON) -> bytes:
        """The part of the ETag that all codings of this version, query and format share."""
        tag = b"-" + query.tag if query.tag else b""
        return self.etag_base + tag + FORM_TAGS[format_]


class DocumentCache:
    """Documents in memory, never older than the store's version at the time of the request.

    `order` is shared with the watcher that waits for their next versions.
    """

    def __init__(
        self,
        cache: CacheManager,
        *,
        derived_bytes: int = DERIVED_BYTES,
        in_flight: BytesInFlight | None = None,
        order: PublicationOrder | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache = cache
        self._monotonic_s = monotonic_s
        self._order = order or PublicationOrder()
        self._in_flight = in_flight or BytesInFlight(_UNLIMITED)
        self._documents: dict[str, CachedDocument] = {}
        self._checks: dict[str, SharedCall[_Checked]] = {}
        # When the store was asked, and told that the version here was the newest.
        self._newest_at: dict[str, float] = {}
        self._loads: dict[str, asyncio.Task[None]] = {}
        self.derived = DerivedBodies(derived_bytes)
        self._outage = OutageLog(log, "version_check_failed", "version_check_recovered")

    async def current(self, name: str) -> CachedDocument | None:
        """The newest version; None if nothing is published.

        If the store does not answer: the version in memory. Raises StoreUnavailable without one.
        """
        check = self._checks.get(name)
        if check is None:
            check = self._checks[name] = SharedCall(partial(self._read_meta, name))
        try:
            meta, asked_at = await check()
            document = self._documents.get(name)
            if meta is None:
                self._drop(name)
                return None
            for _ in range(_LOADS):
                held = None if document is None else document.meta
                if not self._order.is_newer(meta, held):
                    self._newest_at[name] = asked_at
                    break
                await self._load(name)
                document = self._documents.get(name)
            return document
        except StoreUnavailable as error:
            return self._in_memory(name, error)

    def newest_within(self, name: str, seconds: float) -> CachedDocument | None:
        """The version in memory if it was the newest when the store was asked, no more than so many
        seconds ago; else None, and it may be, too. Asks nothing."""
        newest_at = self._newest_at.get(name)
        if newest_at is None or self._monotonic_s() - newest_at > seconds:
            return None
        return self._documents.get(name)

    def _in_memory(self, name: str, error: StoreUnavailable) -> CachedDocument:
        document = self._documents.get(name)
        if document is None:
            raise error
        return document

    def cached_body(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding
    ) -> DocumentBody | None:
        """The bytes of a representation if they are in memory."""
        if not query.tag and coding is Coding.DEFLATE:
            return document.deflated
        body: DocumentBody | None = self.derived.cached(_key(document, query, coding))
        return body

    async def body(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding
    ) -> DocumentBody:
        """The bytes of one representation. Raises DocumentError or DamagedDocument."""
        cached = self.cached_body(document, query, coding)
        if cached is not None:
            return cached
        if not query.tag and coding is Coding.IDENTITY:
            text = (await self._text(document)).text
            return DocumentBody((text,), len(text))
        make = (
            partial(self._filter, document, query, coding)
            if query.tag
            else partial(self._gzip, document)
        )
        return await self.derived.get(_key(document, query, coding), make)

    def buffers(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding, body: DocumentBody
    ) -> Buffers:
        """The buffers that an answer with this body holds, with their sizes."""
        if not query.tag and coding is not Coding.IDENTITY:
            return self._stored_buffer(document)
        return body.buffers

    async def make_held(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding, holding: Holding
    ) -> DocumentBody:
        """As `body`, for one that is not in memory; `holding` has its buffers before they are
        made. Raises TooManyBytes, and all that `body` raises."""
        size = FilteredSize(0, coding is Coding.IDENTITY)
        if query.tag:
            size = await self.slice_size(document, query)
        holding.exchange(
            {**self._stored_buffer(document), **_buffers(document, query, coding, size)}
        )
        body = await self.body(document, query, coding)
        if query.tag:
            holding.exchange(self.buffers(document, query, coding, body), checked=False)
        return body

    async def one_market(self, document: CachedDocument, exchange: str, symbol: str) -> bytes:
        """The document's JSON with this market alone, which is not kept. Raises DocumentError or
        DamagedDocument."""
        where = DocumentFilter(frozenset((exchange,)), frozenset((symbol,)))
        async with self.derived.turns:
            chunked = await self._all_chunks(document)
            parts = await self._made_of(chunked, document, ChunkedText.filtered, where)
            if parts is None:
                text = await self._text(document)
                parts = await self.derived.run(text.filtered, where)
        return b"".join(parts)

    def _stored_buffer(self, document: CachedDocument) -> Buffers:
        """The stored bytes, with size 0 for a current version: no reader keeps it in memory."""
        is_current = self._documents.get(document.meta.name) is document
        return {_stored_key(document): 0 if is_current else document.deflated.length}

    async def slice_size(self, document: CachedDocument, query: DocumentQuery) -> FilteredSize:
        """The memory of a slice's text."""

        async def make() -> tuple[FilteredSize, int]:
            async with self.derived.turns:
                size = await self._from_chunks(document, ChunkedText.filtered_size, query.filter)
                if size is None:
                    text = await self._text(document)
                    size = await self.derived.run(text.filtered_size, query.filter)
                return size, 0

        return await self.derived.get(_key(document, query, "size"), make)

    async def sliced_text(
        self, document: CachedDocument, query: DocumentQuery
    ) -> tuple[DocumentText, frozenset[str]]:
        """The text of a slice, and the requested symbols that the document lacks. Raises
        DocumentError or DamagedDocument."""
        if not query.tag:
            return await self._text(document), frozenset()
        body = await self.body(document, query, Coding.IDENTITY)
        async with self.derived.turns:
            return await self.derived.run(_joined, body), body.absent

    async def overview(self, document: CachedDocument) -> OverviewText:
        """The text of a version of the overview. Raises DocumentError or DamagedDocument."""
        text = await self._text(document)
        assert isinstance(text, OverviewText)  # noqa: S101 - as _inflate makes it
        return text

    async def similar_symbols(
        self, document: CachedDocument, query: DocumentQuery, listed: frozenset[str]
    ) -> tuple[str, ...]:
        """Symbols of the document or of `listed` that resemble the requested ones."""

        async def make() -> tuple[tuple[str, ...], int]:
            async with self.derived.turns:
                source = await self._chunks(document) or await self._text(document)
                known = listed.union(market.symbol for market in source.markets)
                near = await self.derived.run(similar_symbols, query.filter.symbols or (), known)
            return near, 100 * (1 + len(near))

        return await self.derived.get(_key(document, query, "near"), make)

    async def aclose(self) -> None:
        await self.derived.aclose()
        for check in self._checks.values():
            await check.aclose()
        for load in self._loads.values():
            load.cancel()
        await asyncio.gather(*self._loads.values(), return_exceptions=True)

    async def _read_meta(self, name: str) -> _Checked:
        asked_at = self._monotonic_s()
        try:
            meta = await self._cache.read_meta(name)
        except StoreUnavailable as error:
            self._outage.failed(error)
            raise
        self._outage.recovered()
        return meta, asked_at

    async def _load(self, name: str) -> None:
        """Joins the load in progress, if any; the caller checks the version that it brings."""
        load = self._loads.get(name)
        if load is None or load.done():
            load = self._loads[name] = asyncio.create_task(self._read(name))
            load.add_done_callback(retrieve_exception)
        await asyncio.shield(load)

    async def _read(self, name: str) -> None:
        stored = await self._cache.read(name)
        if stored is None:
            return
        held = self._documents.get(name)
        # A store that lost its last writes may hold an older version, which is not served.
        if self._order.is_newer(stored.meta, None if held is None else held.meta):
            if held is not None:
                self._order.replaced(held.meta, stored.meta)
            self._drop(name)
            self._documents[name] = CachedDocument.from_stored(stored)

    def _drop(self, name: str) -> None:
        replaced = self._documents.pop(name, None)
        self.derived.drop(name)
        if replaced is not None:
            # From now on only those who read it keep it in memory.
            self._in_flight.weigh(_stored_key(replaced), replaced.deflated.length)

    async def _chunks(self, document: CachedDocument) -> ChunkedText | None:
        """The document by its chunks; None if it has none, or if its whole text is the better way:
        it is in memory, or slices have inflated as much as it has."""
        if self.derived.cached(_text_key(document)):
            return None
        chunked = await self._all_chunks(document)
        if chunked is None or chunked.inflated_bytes > document.meta.json_bytes:
            return None
        return chunked

    async def _all_chunks(self, document: CachedDocument) -> ChunkedText | None:
        """The document by its chunks; None if it has none."""
        if document.stored.stored_chunks is None:
            return None

        async def make() -> tuple[ChunkedText | Literal[False], int]:
            chunked = await self.derived.run(_chunked, document)
            return chunked, chunked.index.memory_bytes if chunked else 0

        key = (document.meta.name, document.etag_base, b"", "chunks")
        return await self.derived.get(key, make) or None

    async def _from_chunks(
        self, document: CachedDocument, work: Callable[..., T], *arguments: object
    ) -> T | None:
        """What `work` makes of the document's chunks; None if the text is to be used instead."""
        return await self._made_of(await self._chunks(document), document, work, *arguments)

    async def _made_of(
        self,
        chunked: ChunkedText | None,
        document: CachedDocument,
        work: Callable[..., T],
        *arguments: object,
    ) -> T | None:
        if chunked is None:
            return None
        try:
            return await self.derived.run(work, chunked, *arguments)
        except ChunksDamaged as error:
            log.warning("chunks_unreadable", document=document.meta.name, reason=str(error))
            return None

    async def _text(self, document: CachedDocument) -> DocumentText:
        key = _text_key(document)

        async def make() -> tuple[DocumentText, int]:
            text = await self.derived.run(_inflate, document)
            return text, len(text.text) + 300 * len(text.markets)

        return await self.derived.get(key, make)

    async def _filter(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding
    ) -> tuple[DocumentBody, int]:
        async with self.derived.turns:
            found = await self._from_chunks(document, _filter, query, coding)
            if found is not None:
                parts, absent = found
                size = FilteredSize(_memory(parts), False)
            else:
                text = await self._text(document)
                parts, absent = await self.derived.run(_filter, text, query, coding)
                copied = sum(len(part) for part in parts if isinstance(part, bytes))
                size = FilteredSize(copied, any(isinstance(part, memoryview) for part in parts))
        buffers = _buffers(document, query, coding, size)
        body = DocumentBody(parts, sum(map(len, parts)), absent, buffers)
        return body, max(body.length, size.copied)

    async def _gzip(self, document: CachedDocument) -> tuple[DocumentBody, int]:
        async with self.derived.turns:
            trailer = await self.derived.run(_gzip_trailer, document.stored.deflated)
        # gzip and zlib hold the same deflate data: the stream without header (2) and checksum (4).
        parts = (_GZIP_HEADER, memoryview(document.stored.deflated)[2:-4], trailer)
        return DocumentBody(parts, sum(map(len, parts))), len(_GZIP_HEADER) + len(trailer)


def _key(document: CachedDocument, query: DocumentQuery, form: str) -> tuple[Hashable, ...]:
    return (document.meta.name, document.etag_base, query.tag, form)


def _stored_key(document: CachedDocument) -> tuple[Hashable, ...]:
    return (document.meta.name, document.etag_base, "stored")


def _buffers(
    document: CachedDocument, query: DocumentQuery, coding: Coding, size: FilteredSize
) -> dict[Hashable, int]:
    """The buffers of a representation: its own bytes, and the whole text if it has views of it."""
    text = (document.meta.name, document.etag_base, "text")
    own: dict[Hashable, int] = {_key(document, query, coding): size.copied}
    return own | {text: document.meta.json_bytes} if size.has_views else own


def _text_key(document: CachedDocument) -> tuple[Hashable, ...]:
    return (document.meta.name, document.etag_base, b"", "text")


def _inflate(document: CachedDocument) -> DocumentText:
    text = document.stored.inflate()
    return OverviewText(text) if document.meta.name == OVERVIEW else DocumentText(text)


def _joined(body: DocumentBody) -> DocumentText:
    return DocumentText(b"".join(body.parts))


def _chunked(document: CachedDocument) -> ChunkedText | Literal[False]:
    index = document.stored.chunks()
    return index is not None and ChunkedText(document.stored.deflated, index)


def _memory(parts: Sequence[bytes | memoryview]) -> int:
    """The memory that parts take, with all that views of them keep in memory."""
    whole = (memoryview(part.obj if isinstance(part, memoryview) else part) for part in parts)
    return sum({id(each.obj): each.nbytes for each in whole}.values())


def _filter(
    text: DocumentText | ChunkedText, query: DocumentQuery, coding: Coding
) -> tuple[list[bytes | memoryview], frozenset[str]]:
    """The parts of a slice, and the requested symbols that the document lacks."""
    parts = text.filtered(query.filter)
    if coding is not Coding.IDENTITY:
        bits = 31 if coding is Coding.GZIP else 15
        packer = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, bits)
        packed = [packer.compress(part) for part in parts]
        parts = [part for part in (*packed, packer.flush()) if part]
    return parts, _absent(text, query.filter.symbols)


def _absent(text: DocumentText | ChunkedText, symbols: frozenset[str] | None) -> frozenset[str]:
    """The symbols that are neither among the document's markets nor in its `missing`."""
    if isinstance(text, OverviewText):
        return text.absent(symbols)
    absent = (symbols or frozenset()).difference(market.symbol.upper() for market in text.markets)
    if absent:
        named = (entry["symbol"] for entry in text.missing())
        absent = absent.difference(str(symbol).upper() for symbol in named if symbol is not None)
    return absent


def _gzip_trailer(deflated: bytes) -> bytes:
    """CRC-32 and length of the inflated bytes, which are inflated piece by piece."""
    inflater = isal_zlib.decompressobj()
    checksum = length = 0
    view = memoryview(deflated)
    try:
        for at in range(0, len(view), _PIECE // 4):
            piece = inflater.decompress(view[at : at + _PIECE // 4])
            checksum = isal_zlib.crc32(piece, checksum)
            length += len(piece)
    except IsalError as error:
        raise DocumentError(f"the stored bytes are not zlib: {error}") from None
    if not inflater.eof:
        raise DocumentError("the stored zlib stream is incomplete")
    return struct.pack("<II", checksum, length & 0xFFFFFFFF)
