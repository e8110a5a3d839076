"""GET /cache/<timeframe>?as_of=: the document as it was at a time, put together from the record."""

import asyncio
import struct
from email.utils import formatdate
from typing import Final

from isal import isal_zlib

from api.answers import CSP, NO_CACHE, NOSNIFF, Answer, Body, Buffer, Header, problem
from api.bytes_in_flight import WAITING_BYTES, BytesInFlight, Holding
from api.documents.column_formats import write_table
from api.documents.content_coding import Coding
from api.documents.overviews_as_of import OverviewsAsOf
from api.documents.query import DocumentQuery
from api.documents.recorded import RecordedVersions
from api.documents.unknown_symbols import judge_absent, similar_symbols
from api.documents.validators import FORM_TAGS, entity_tag, etag_matches
from api.formats import CONTENT_TYPES, Format
from database import LoggedVersion
from documents.deflated import Deflated
from documents.names import GLOBAL_FR, OVERVIEW
from documents.text import DocumentText
from history.as_of_document import AsOfDocument, AsOfDocuments

_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no name, no time
_FORMING: Final = b"x-forming-rows"
_NOT_OF_FUNDING: Final = (
    "as_of is for the documents of timeframes and the overview; settlements are in"
    " /api/historical/funding"
)
_EMPTY: Final = Body((), 0)


class AsOfEndpoint:
    """Answers GET of documents as they were.

    `answer` raises DatabaseUnavailable, StoreUnavailable and TooManyBytes.
    """

    def __init__(
        self,
        documents: AsOfDocuments,
        overviews: OverviewsAsOf,
        versions: RecordedVersions,
        in_flight: BytesInFlight,
    ) -> None:
        self._documents = documents
        self._overviews = overviews
        self._versions = versions
        self._in_flight = in_flight

    async def answer(
        self,
        name: str,
        as_of_ms: int,
        query: DocumentQuery,
        format_: Format,
        vary: Header | None,
        coding: Coding,
        if_none_match: bytes | None,
        client: str,
    ) -> Answer:
        """The newest version at `as_of_ms`, by `query`, in that format and coding."""
        if name == GLOBAL_FR:
            return problem(404, _NOT_OF_FUNDING, NO_CACHE)
        if name == OVERVIEW:
            holding = self._in_flight.hold(client, {object(): WAITING_BYTES})
            return await self._overviews.document(as_of_ms, query, coding, if_none_match, holding)
        version = await self._versions.at(name, as_of_ms)
        if isinstance(version, Answer):
            return version
        tag = _etag_base(version, query) + FORM_TAGS[format_]
        headers = _headers(version, tag, coding, vary)
        if if_none_match is not None and etag_matches(if_none_match, tag):
            return Answer(304, headers, _EMPTY)
        holding = self._in_flight.hold(client, {object(): WAITING_BYTES})
        try:
            document = await self._documents.build(version, query.filter)
            absent = await self._judged(document, query)
            if isinstance(absent, Answer):
                holding.release()
                return absent
            body = await self._body(document.text, format_, coding, holding)
        except BaseException:
            holding.release()
            raise
        headers += [CONTENT_TYPES[format_], NOSNIFF, CSP, (b"content-length", b"%d" % body.length)]
        if coding is not Coding.IDENTITY:
            headers.append((b"content-encoding", coding.value.encode()))
        return Answer(200, [*headers, *absent], body, holding)

    async def _judged(self, document: AsOfDocument, query: DocumentQuery) -> Answer | list[Header]:
        """The answer, or the headers, about symbols that the version lacked."""
        if not document.absent:
            return []
        known = frozenset(market[1].upper() for market in document.version.markets)

        async def similar(_: frozenset[str]) -> tuple[str, ...]:
            return await asyncio.to_thread(similar_symbols, document.absent, known)

        return await judge_absent(document.absent, query.filter.symbols, frozenset(), similar)

    async def _body(
        self, text: Deflated, format_: Format, coding: Coding, holding: Holding
    ) -> Body:
        if format_ is not Format.JSON:
            holding.exchange({object(): text.text_bytes})
            table = await asyncio.to_thread(_table, text, format_, coding)
            return Body(table, sum(map(len, table)))
        size = text.text_bytes if coding is Coding.IDENTITY else sum(map(len, text.pieces))
        holding.exchange({object(): size})
        if coding is Coding.DEFLATE:
            return Body(text.pieces, size)
        whole = await asyncio.to_thread(text.inflate)
        if coding is Coding.IDENTITY:
            return Body((whole,), len(whole))
        trailer = struct.pack("<II", isal_zlib.crc32(whole), len(whole) & 0xFFFFFFFF)
        # The first piece is the zlib header, the last one the final block and the checksum (4).
        parts = (_GZIP_HEADER, *text.pieces[1:-1], text.pieces[-1][:-4], trailer)
        return Body(parts, sum(map(len, parts)))


def _etag_base(version: LoggedVersion, query: DocumentQuery) -> bytes:
    """What was known then does not change, but forming rows are forgotten after some days."""
    kept = b"" if version.entry is not None else b"-closed"
    tag = b"-" + query.tag if query.tag else b""
    return b"%d-asof%b%b" % (version.version, kept, tag)


def _table(text: Deflated, format_: Format, coding: Coding) -> list[Buffer]:
    return write_table(format_, DocumentText(text.inflate()), coding)


def _headers(
    version: LoggedVersion, tag: bytes, coding: Coding, vary: Header | None
) -> list[Header]:
    """The headers of a 200 and a 304."""
    headers: list[Header] = [
        (b"etag", entity_tag(tag, coding)),
        (b"last-modified", formatdate(version.updated_at_ms // 1000, usegmt=True).encode()),
        NO_CACHE,
        (_FORMING, b"forgotten" if version.entry is None else b"kept"),
    ]
    return headers if vary is None else [*headers, vary]
