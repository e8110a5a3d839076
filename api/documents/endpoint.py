"""GET and HEAD /cache/<name>[.<format>]: conditional requests, formats, codings and long polls.

Plain ASGI for speed, because bots poll it: no framework is involved, equal requests are parsed
once, and their headers are made once a second. Data comes from document_cache.py alone.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from starlette.exceptions import HTTPException

from api.answers import (
    CSP,
    NO_CACHE,
    NOSNIFF,
    PIECE_DEADLINE_S,
    Answer,
    Body,
    Header,
    Receive,
    Scope,
    Send,
    answer_to,
    problem,
    send_answer,
    sent_at_once,
)
from api.bytes_in_flight import NOT_COUNTED, WAITING_BYTES, BytesInFlight, Holding
from api.cors import Cors, origin_of
from api.documents.as_of import AsOfEndpoint
from api.documents.column_bodies import ColumnBodies
from api.documents.content_coding import Coding, choose_coding
from api.documents.document_cache import CachedDocument, DocumentBody, DocumentCache
from api.documents.fixed_files import FixedFiles, address_of, read_address
from api.documents.long_poll_quota import LongPolls
from api.documents.publish_watcher import PublishWatcher
from api.documents.query import DocumentQuery, read_overview_query, read_query
from api.documents.unknown_symbols import ListedSymbols, judge_absent, judge_absent_assets
from api.documents.validators import entity_tag, etag_matches, read_date
from api.formats import CONTENT_TYPES, TABLES, Format, accepted_format
from api.request_body import LARGEST_BODY, TOO_LARGE
from cache_manager import DocumentMeta
from documents.names import DOCUMENTS, OVERVIEW, SERVED
from metrics.api import ApiMetrics
from timing.clock import now_ms

PREFIX: Final = "/cache/"
ROUTE: Final = "/cache/{name}"
_OFFERED: Final = (Format.JSON, *TABLES)
READING: Final = frozenset(("GET", "HEAD"))
# The cache of parsed requests: its entries, and the bytes of the longest one.
_MOST_PARSED: Final = 1024
_LONGEST_PARSED: Final = 1024

# What an answer depends on: the address without a format is negotiated, and text is compressed.
_NEGOTIATED: Final[Header] = (b"vary", b"Accept, Accept-Encoding")
_VARY: Final[Header] = (b"vary", b"Accept-Encoding")
_CONTENT_ENCODING: Final = {
    coding: (b"content-encoding", coding.value.encode()) for coding in Coding
}
# The header fields that select the answer, and the length of a body, which is checked.
_SELECTING: Final = frozenset(
    (
        *(b"accept", b"accept-encoding", b"if-none-match", b"if-modified-since", b"origin"),
        b"content-length",
    )
)
_EMPTY: Final = Body((), 0)
# How an address ends behind the name.
_ENDINGS: Final[dict[str, Format | None]] = {"": None} | {f".{each}": each for each in TABLES}


@dataclass(slots=True)
class ParsedRequest:
    """A parsed request for a document, and the last answer to it."""

    name: str
    query: DocumentQuery
    format: Format
    vary: Header | None
    coding: Coding
    if_none_match: bytes | None
    if_modified_since_s: int | None
    origin: bytes | None  # a browser's Origin header
    last_answer: "_CachedAnswer | None" = field(default=None, init=False)


@dataclass(frozen=True, slots=True)
class _CachedAnswer:
    """The answer for one version and one second; a 200 without its body.

    It holds no document, so that the memory of a replaced version is freed.
    """

    etag_base: bytes
    age_s: int
    length: int | None  # None for a 304
    answer: Answer


class CacheEndpoint:
    """Answers GET and HEAD of every document."""

    def __init__(
        self,
        cache: DocumentCache,
        watcher: PublishWatcher,
        *,
        now_ms: Callable[[], int] = now_ms,
        piece_deadline_s: float = PIECE_DEADLINE_S,
        metrics: ApiMetrics | None = None,
        nothing_yet: Callable[[str], Awaitable[Answer]],
        listed: ListedSymbols,
        as_of: AsOfEndpoint,
        long_polls: LongPolls,
        cors: Cors,
        in_flight: BytesInFlight,
    ) -> None:
        self._in_flight = in_flight
        self._metrics = metrics or ApiMetrics()
        self._long_polls = long_polls
        self._cache = cache
        tables = {format_: ColumnBodies(cache, format_) for format_ in TABLES}
        self._bodies: dict[Format, DocumentCache | ColumnBodies] = {Format.JSON: cache, **tables}
        self._files = FixedFiles(cache, tables[Format.PARQUET], in_flight)
        self._as_of = as_of
        self._cors = cors
        self._nothing_yet = nothing_yet
        self._listed = listed
        self._watcher = watcher
        self._now_ms = now_ms
        self._piece_deadline_s = piece_deadline_s
        self._parsed: dict[tuple[Hashable, ...], ParsedRequest] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        """`name`: the part of the path after /cache/."""
        began = time.perf_counter()
        try:
            answer = await self._prepare(name, scope, receive)
        except (Exception, asyncio.CancelledError) as error:
            answer = self._with_cors(answer_to(error, scope["path"]), scope)
        # Long polls are left out of the latency histogram.
        is_long_poll = b"wait=" in scope["query_string"]
        duration_s = None if is_long_poll else time.perf_counter() - began
        self._metrics.answered(scope["method"], ROUTE, answer.status, duration_s)
        if not sent_at_once(scope, answer):
            await send_answer(scope, send, answer, piece_deadline_s=self._piece_deadline_s)

    async def _prepare(self, name: str, scope: Scope, receive: Receive) -> Answer:
        if scope["method"] not in READING:
            refused = problem(405, "Method Not Allowed", (b"allow", b"GET, HEAD"))
            return self._with_cors(refused, scope)
        fixed = read_address(name)
        if fixed is not None and fixed[0] in DOCUMENTS:
            return self._with_cors(await self._files.answer(*fixed, scope), scope)
        request = self._parse(name, scope)
        if isinstance(request, Answer):
            return self._with_cors(request, scope)
        if request.query.as_of_ms is not None:
            return await self._as_of_answer(request, request.query.as_of_ms, scope)
        if request.query.wait_s:
            document = await self._long_poll(request, scope, receive)
        else:
            document = await self._cache.current(request.name)
        if document is None:
            return self._with_cors(await self._nothing_yet(request.name), scope)
        if self._client_has(request, document):
            missing = await self._none_known(document, request)
            return missing or self._answer(document, request, None)
        bodies = self._bodies[request.format]
        body = bodies.cached_body(document, request.query, request.coding)
        if body is not None and body.length <= NOT_COUNTED:
            return await self._with_body(document, request, body, None)
        client = self._in_flight.client(scope)
        query, coding = request.query, request.coding
        if body is not None:
            buffers = bodies.buffers(document, query, coding, body)
            holding = self._in_flight.hold(client, buffers)
        else:
            holding = self._in_flight.hold(client, {object(): WAITING_BYTES})
        try:
            if body is None:
                body = await bodies.make_held(document, query, coding, holding)
            return await self._with_body(document, request, body, holding)
        except BaseException:
            holding.release()
            raise

    async def _as_of_answer(self, request: ParsedRequest, as_of_ms: int, scope: Scope) -> Answer:
        answer = await self._as_of.answer(
            *(request.name, as_of_ms, request.query, request.format, request.vary),
            *(request.coding, request.if_none_match),
            self._in_flight.client(scope),
        )
        return self._cors.applied(answer, request.origin)

    async def _none_known(self, document: CachedDocument, request: ParsedRequest) -> Answer | None:
        """The 404 in place of a 304 that names no entity tag of ours, if all symbols of the query
        are unknown; None for others."""
        symbols, last = request.query.filter.symbols, request.last_answer
        if symbols is None or (last is not None and last.etag_base == document.etag_base):
            return None
        if request.if_none_match is not None and request.if_none_match.strip() != b"*":
            return None
        bodies = self._bodies[request.format]
        body = await bodies.body(document, request.query, request.coding)
        if body.absent != symbols or body.absent & await self._known_beside(request):
            return None
        return await self._with_absent(document, request, body, None)

    async def _known_beside(self, request: ParsedRequest) -> frozenset[str]:
        """The symbols that are known though a document lacks them."""
        return frozenset() if request.name == OVERVIEW else await self._listed.current()

    async def _with_body(
        self,
        document: CachedDocument,
        request: ParsedRequest,
        body: DocumentBody,
        holding: Holding | None,
    ) -> Answer:
        if body.absent:
            return await self._with_absent(document, request, body, holding)
        return Answer(200, self._answer(document, request, body.length).headers, body, holding)

    async def _with_absent(
        self,
        document: CachedDocument,
        request: ParsedRequest,
        body: DocumentBody,
        holding: Holding | None,
    ) -> Answer:
        """The answer to a query with symbols that the document lacks, unknown or not."""
        judge = judge_absent_assets if request.name == OVERVIEW else judge_absent
        judged = await judge(
            body.absent,
            request.query.filter.symbols,
            await self._known_beside(request),
            partial(self._cache.similar_symbols, document, request.query),
        )
        if isinstance(judged, Answer):
            if holding is not None:
                holding.release()
            return self._cors.applied(judged, request.origin)
        headers = self._answer(document, request, body.length).headers
        return Answer(200, [*headers, *judged], body, holding)

    def _with_cors(self, answer: Answer, scope: Scope) -> Answer:
        return self._cors.applied(answer, origin_of(scope))

    def _parse(self, path: str, scope: Scope) -> ParsedRequest | Answer:
        """The request, or its refusal. Raises InvalidQuery."""
        name, dot, ending = path.partition(".")
        if name not in SERVED or dot + ending not in _ENDINGS or (name == OVERVIEW and dot):
            message = "must be one of " + ", ".join(SERVED)
            message += ", and may end with " + ", ".join(f".{each}" for each in TABLES)
            message += f", but for {OVERVIEW}"
            return problem(422, [{"type": "enum", "loc": ["path", "name"], "msg": message}])
        request = self._known(name, _ENDINGS[dot + ending], scope)
        if request is None:
            detail = "Accept-Encoding must allow deflate, gzip or identity"
            return problem(406, detail, _VARY)
        return request

    def _known(self, name: str, format_: Format | None, scope: Scope) -> ParsedRequest | None:
        """None if the client accepts none of our codings. Raises InvalidQuery."""
        fields = [item for item in scope["headers"] if item[0] in _SELECTING]
        key = (name, format_, scope["query_string"], *fields)
        request = self._parsed.get(key)
        if request is None:
            request = _parse_request(name, format_, scope["query_string"], fields)
            size = len(scope["query_string"]) + sum(len(value) for _, value in fields)
            if request is not None and size <= _LONGEST_PARSED:
                if len(self._parsed) >= _MOST_PARSED:
                    del self._parsed[next(iter(self._parsed))]
                self._parsed[key] = request
        return request

    async def _long_poll(
        self, request: ParsedRequest, scope: Scope, receive: Receive
    ) -> CachedDocument | None:
        """Waits for a version that the client lacks, until `wait`. Raises TooManyLongPolls."""
        loop = asyncio.get_running_loop()
        name = request.name
        deadline = loop.time() + request.query.wait_s
        first: bytes | None = None
        disconnected = asyncio.create_task(_disconnected(receive))
        counted = contextlib.ExitStack()
        is_counted = False
        try:
            while True:
                document = await self._cache.current(name)
                if document is not None:
                    # `*` matches any version, so a new one is one that differs from the first.
                    first = document.etag_base if first is None else first
                    if not self._client_has(request, document) or document.etag_base != first:
                        return document
                    if await self._none_known(document, request):
                        return document
                if not is_counted:
                    counted.enter_context(self._long_polls.counted(scope))
                    counted.enter_context(self._metrics.waiting())
                    is_counted = True
                left_s = deadline - loop.time()
                held = None if document is None else document.meta
                if left_s <= 0 or not await self._newer(name, held, left_s, disconnected):
                    return await self._cache.current(name)
        finally:
            counted.close()
            disconnected.cancel()

    async def _newer(
        self,
        name: str,
        held: DocumentMeta | None,
        timeout_s: float,
        disconnected: "asyncio.Task[None]",
    ) -> bool:
        """Whether a newer version was published before the timeout and the client's disconnect."""
        newer = asyncio.create_task(self._watcher.wait_newer(name, held, timeout_s))
        try:
            await asyncio.wait({newer, disconnected}, return_when=asyncio.FIRST_COMPLETED)
            return newer.done() and newer.result() is not None
        finally:
            newer.cancel()

    def _client_has(self, request: ParsedRequest, document: CachedDocument) -> bool:
        """Whether the client has this version: by its entity tag, or without one by its date."""
        last = request.last_answer
        if last is not None and last.etag_base == document.etag_base:
            return last.length is None
        if request.if_none_match is not None:
            representation = document.representation(request.query, request.format)
            return etag_matches(request.if_none_match, representation)
        since_s, made_s = request.if_modified_since_s, document.meta.updated_at_ms // 1000
        if since_s is None or since_s < made_s:
            return False
        # A later date that has not come yet is of a clock that was ahead, and says nothing.
        return since_s == made_s or since_s <= self._now_ms() // 1000

    def _answer(
        self, document: CachedDocument, request: ParsedRequest, length: int | None
    ) -> Answer:
        """A 200 without its body of `length` bytes, or a 304 (None); cached for one second."""
        age_s = max(0, self._now_ms() - document.meta.updated_at_ms) // 1000
        last = request.last_answer
        if (
            last is None
            or last.age_s != age_s
            or last.length != length
            or last.etag_base != document.etag_base
        ):
            representation = document.representation(request.query, request.format)
            headers = [
                (b"etag", entity_tag(representation, request.coding)),
                (b"last-modified", document.last_modified),
                (b"age", b"%d" % age_s),
                NO_CACHE,
            ]
            if request.vary is not None:
                headers.append(request.vary)
            if request.format is Format.PARQUET and not request.query.tag:
                # Where its ranges can be read. Of this address, whose file changes, none can.
                address = address_of(request.name, document.meta.version)
                headers.append((b"content-location", address.encode()))
            if length is not None:
                headers += (CONTENT_TYPES[request.format], NOSNIFF, CSP)
                headers.append((b"content-length", b"%d" % length))
                if request.coding is not Coding.IDENTITY:
                    headers.append(_CONTENT_ENCODING[request.coding])
            headers = self._cors.add_headers(headers, request.origin)
            answer = Answer(304 if length is None else 200, headers, _EMPTY)
            last = request.last_answer = _CachedAnswer(document.etag_base, age_s, length, answer)
        return last.answer


def _parse_request(
    name: str, format_: Format | None, query_string: bytes, fields: list[Header]
) -> ParsedRequest | None:
    """None if the client accepts none of our codings. Raises InvalidQuery.

    `format_`: of the address; None for the one that is negotiated.
    """
    accept: bytes | None = None
    accept_encoding: bytes | None = None
    if_none_match: bytes | None = None
    if_modified_since_s: int | None = None
    origin: bytes | None = None
    for key, value in fields:
        if key == b"accept":
            accept = _combined(accept, value)
        elif key == b"accept-encoding":
            accept_encoding = _combined(accept_encoding, value)
        elif key == b"if-none-match":
            if_none_match = _combined(if_none_match, value)
        elif key == b"if-modified-since":
            if_modified_since_s = read_date(value)
        elif key == b"origin":
            origin = value
        elif value.isdigit() and int(value) > LARGEST_BODY:
            raise HTTPException(413, TOO_LARGE, {"Connection": "close"})
    is_overview = name == OVERVIEW  # it has no rows, and so no table
    query = read_overview_query(query_string) if is_overview else read_query(query_string)
    vary: Header | None = _VARY
    if is_overview:
        format_ = Format.JSON
    elif format_ is None:
        vary = _NEGOTIATED
        asked = None if accept is None else accept.decode("latin-1")
        # As for other documents of JSON alone, a client that accepts none of ours gets it, too.
        format_ = accepted_format(asked, _OFFERED) or Format.JSON
    elif not format_.is_text:
        vary = None
    coding = choose_coding(accept_encoding) if format_.is_text else Coding.IDENTITY
    if coding is None:
        return None
    return ParsedRequest(
        name, query, format_, vary, coding, if_none_match, if_modified_since_s, origin
    )


def _combined(before: bytes | None, value: bytes) -> bytes:
    return value if before is None else before + b"," + value


async def _disconnected(receive: Receive) -> None:
    """Returns when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
