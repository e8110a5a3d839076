"""The API process's own copies of the documents, and every form of them that clients ask for.

Asks the hot store for nothing but versions, and for a document once per version; inflates, cuts
and compresses off the event loop, once per version, query and coding.
"""

import asyncio
import struct
from collections.abc import Hashable
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from typing import Any, Final, cast

import structlog
from isal import isal_zlib

from api.answers import Body
from api.documents.content_coding import Coding
from api.documents.derived import DerivedBodies
from api.documents.query import Wanted
from api.documents.shared_call import SharedCall, retrieve_exception
from api.documents.symbols import near_symbols
from cache_manager import CacheManager, DocumentMeta, StoredDocument
from documents.text import DocumentError, DocumentText
from logging_setup import OutageLog
from stores.hot.store import StoreUnavailable

# The budget for what is made from documents (inflated text, slices) and kept.
DERIVED_BYTES: Final = 96 * 2**20
_LOADS: Final = 3
_LEVEL: Final = 1  # isal: 0..3; slices are small and each is compressed once
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no name, no time
_PIECE: Final = 2**20

log = structlog.get_logger(__name__)

# The package's types take the class for an instance.
IsalError: type[Exception] = cast(Any, isal_zlib.error)


@dataclass(frozen=True, slots=True)
class DocumentBody(Body):
    """The bytes of one representation; `absent`: symbols asked for that the document lacks."""

    absent: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CachedDocument:
    """One version of one document as it is stored, and what its headers say."""

    stored: StoredDocument = field(repr=False)
    deflated: DocumentBody = field(repr=False)
    etag_base: bytes
    last_modified: bytes

    @classmethod
    def of(cls, stored: StoredDocument) -> "CachedDocument":
        meta = stored.meta
        deflated = DocumentBody((stored.deflated,), len(stored.deflated))
        etag_base = f"{meta.version}-{meta.content_hash}".encode()
        last_modified = formatdate(meta.updated_at_ms // 1000, usegmt=True).encode()
        return cls(stored, deflated, etag_base, last_modified)

    @property
    def meta(self) -> DocumentMeta:
        return self.stored.meta

    def representation(self, wanted: Wanted) -> bytes:
        """What all codings of this version and query have in common in their ETags."""
        return self.etag_base + b"-" + wanted.tag if wanted.tag else self.etag_base


class DocumentCache:
    """Copies of documents, none older than the store's version at the time of asking."""

    def __init__(self, cache: CacheManager, *, derived_bytes: int = DERIVED_BYTES) -> None:
        self._cache = cache
        self._documents: dict[str, CachedDocument] = {}
        self._checks: dict[str, SharedCall[DocumentMeta | None]] = {}
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._derived = DerivedBodies(derived_bytes)
        self._outage = OutageLog(log, "documents_not_checked", "documents_checked_again")

    async def current(self, name: str) -> CachedDocument | None:
        """The newest version as of now; None if there is none yet.

        While the store is away: the document at hand, else raises StoreUnavailable.
        """
        check = self._checks.get(name)
        if check is None:
            check = self._checks[name] = SharedCall(partial(self._read_meta, name))
        try:
            meta = await check()
            document = self._documents.get(name)
            if meta is None:
                self._forget(name)
                return None
            for _ in range(_LOADS):
                if document is not None and document.meta.version >= meta.version:
                    break
                await self._load(name)
                document = self._documents.get(name)
            return document
        except StoreUnavailable as error:
            return self._while_away(name, error)

    def _while_away(self, name: str, error: StoreUnavailable) -> CachedDocument:
        document = self._documents.get(name)
        if document is None:
            raise error
        return document

    def body_at_hand(
        self, document: CachedDocument, wanted: Wanted, coding: Coding
    ) -> DocumentBody | None:
        """The bytes of a representation that was made before."""
        if not wanted.tag and coding is Coding.DEFLATE:
            return document.deflated
        body: DocumentBody | None = self._derived.kept(_key(document, wanted, coding))
        return body

    async def body(self, document: CachedDocument, wanted: Wanted, coding: Coding) -> DocumentBody:
        """The bytes of one representation. Raises DocumentError if what is stored is damaged."""
        ready = self.body_at_hand(document, wanted, coding)
        if ready is not None:
            return ready
        if not wanted.tag and coding is Coding.IDENTITY:
            text = (await self._text(document)).text
            return DocumentBody((text,), len(text))
        make = (
            partial(self._cut, document, wanted, coding)
            if wanted.tag
            else partial(self._gzip, document)
        )
        return await self._derived.get(_key(document, wanted, coding), make)

    async def near_symbols(
        self, document: CachedDocument, wanted: Wanted, listed: frozenset[str]
    ) -> tuple[str, ...]:
        """Symbols of the document, or else `listed`, that look like those wanted."""

        async def make() -> tuple[tuple[str, ...], int]:
            known = listed.union(span.symbol for span in (await self._text(document)).markets)
            near = await self._derived.run(near_symbols, wanted.query.symbols or (), known)
            return near, 100 * (1 + len(near))

        return await self._derived.get(_key(document, wanted, "near"), make)

    async def aclose(self) -> None:
        await self._derived.aclose()
        for check in self._checks.values():
            await check.aclose()
        for load in self._loads.values():
            load.cancel()
        await asyncio.gather(*self._loads.values(), return_exceptions=True)

    async def _read_meta(self, name: str) -> DocumentMeta | None:
        try:
            meta = await self._cache.read_meta(name)
        except StoreUnavailable as error:
            self._outage.failed(error)
            raise
        self._outage.recovered()
        return meta

    async def _load(self, name: str) -> None:
        """Joins the load under way; the caller looks whether its version is new enough."""
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
        # A store that lost its last writes may have fallen back: readers never do.
        if held is None or held.meta.version < stored.meta.version:
            self._documents[name] = CachedDocument.of(stored)
            self._derived.drop(name)

    def _forget(self, name: str) -> None:
        self._documents.pop(name, None)
        self._derived.drop(name)

    async def _text(self, document: CachedDocument) -> DocumentText:
        key = (document.meta.name, document.meta.version, b"", "text")

        async def make() -> tuple[DocumentText, int]:
            text = await self._derived.run(_inflate, document)
            return text, len(text.text) + 300 * len(text.markets)

        return await self._derived.get(key, make)

    async def _cut(
        self, document: CachedDocument, wanted: Wanted, coding: Coding
    ) -> tuple[DocumentBody, int]:
        text = await self._text(document)
        body = await self._derived.run(_cut, text, wanted, coding)
        return body, body.length

    async def _gzip(self, document: CachedDocument) -> tuple[DocumentBody, int]:
        trailer = await self._derived.run(_gzip_trailer, document.stored.deflated)
        # The stored zlib stream without its header (2) and checksum (4) is what gzip holds too.
        parts = (_GZIP_HEADER, memoryview(document.stored.deflated)[2:-4], trailer)
        return DocumentBody(parts, sum(map(len, parts))), len(_GZIP_HEADER) + len(trailer)


def _key(document: CachedDocument, wanted: Wanted, form: str) -> tuple[Hashable, ...]:
    return (document.meta.name, document.meta.version, wanted.tag, form)


def _inflate(document: CachedDocument) -> DocumentText:
    return DocumentText(document.stored.inflate())


def _cut(text: DocumentText, wanted: Wanted, coding: Coding) -> DocumentBody:
    parts = text.filtered(wanted.query)
    if coding is not Coding.IDENTITY:
        bits = 31 if coding is Coding.GZIP else 15
        packer = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, bits)
        packed = [packer.compress(part) for part in parts]
        parts = [part for part in (*packed, packer.flush()) if part]
    return DocumentBody(parts, sum(map(len, parts)), _absent(text, wanted.query.symbols))


def _absent(text: DocumentText, symbols: frozenset[str] | None) -> frozenset[str]:
    """Those symbols that the document names nowhere, not even among what is missing."""
    absent = (symbols or frozenset()).difference(span.symbol.upper() for span in text.markets)
    if absent:
        absent = absent.difference(str(entry["symbol"]).upper() for entry in text.missing())
    return absent


def _gzip_trailer(deflated: bytes) -> bytes:
    """CRC-32 and length of the inflated bytes, which are never held as a whole."""
    inflater = isal_zlib.decompressobj()
    checksum = length = 0
    view = memoryview(deflated)
    try:
        for at in range(0, len(view), _PIECE // 4):
            piece = inflater.decompress(view[at : at + _PIECE // 4])
            checksum = isal_zlib.crc32(piece, checksum)
            length += len(piece)
    except IsalError as error:
        raise DocumentError(f"the stored bytes are no zlib: {error}") from None
    if not inflater.eof:
        raise DocumentError("the stored bytes are no whole zlib stream")
    return struct.pack("<II", checksum, length & 0xFFFFFFFF)
