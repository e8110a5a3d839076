"""GET and HEAD /cache/<name>: validators, codings, waiting, and bytes out in pieces.

Plain ASGI, because this is what bots poll: a request passes no framework on its way, is read once
for all who send the same, and gets headers that are made once a second. The endpoint decides
nothing about data and never touches the store itself.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final

from starlette.exceptions import HTTPException

from api.answers import (
    INERT,
    JSON,
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
)
from api.cors import Cors, origin_of
from api.documents.content_coding import Coding, choose_coding
from api.documents.document_cache import CachedDocument, DocumentBody, DocumentCache
from api.documents.long_polls import LongPolls
from api.documents.nothing_yet import nothing_yet
from api.documents.publish_watcher import PublishWatcher
from api.documents.query import Wanted, read_query
from api.documents.symbols import ListedSymbols, none_known, unknown_header
from api.documents.validators import entity_tag, is_known, read_date
from api.request_body import LARGEST_BODY, TOO_LARGE
from documents.names import DOCUMENTS
from job_queue.queue import JobQueue
from metrics.api import ApiMetrics
from timing.clock import now_ms

PREFIX: Final = "/cache/"
ROUTE: Final = "/cache/{name}"
READING: Final = frozenset(("GET", "HEAD"))
# Requests that are read once for all who send the same: how many, and how long they may be.
_MOST_KNOWN: Final = 1024
_LONGEST_KNOWN: Final = 1024

_VARY: Final[Header] = (b"vary", b"Accept-Encoding")
_CONTENT_ENCODING: Final = {
    coding: (b"content-encoding", coding.value.encode()) for coding in Coding
}
# The header fields that say what is asked for, and the length of a body, which nobody needs.
_ASKING: Final = frozenset(
    (b"accept-encoding", b"if-none-match", b"if-modified-since", b"origin", b"content-length")
)
_EMPTY: Final = Body((), 0)


@dataclass(slots=True)
class Asked:
    """What a request for a document asks for, and the answer that was made for it last."""

    name: str
    wanted: Wanted
    coding: Coding
    if_none_match: bytes | None
    if_modified_since_s: int | None
    origin: bytes | None  # of the page that asks, where it is a page
    made: "_Made | None" = field(default=None, init=False)


@dataclass(frozen=True, slots=True)
class _Made:
    """The answer of one version within one second, a 200 without its body.

    Holds no document: a version that is replaced has to go.
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
        queue: JobQueue,
        listed: ListedSymbols,
        long_polls: LongPolls,
        cors: Cors,
    ) -> None:
        self._metrics = metrics or ApiMetrics()
        self._long_polls = long_polls
        self._cache = cache
        self._cors = cors
        self._queue = queue
        self._listed = listed
        self._watcher = watcher
        self._now_ms = now_ms
        self._piece_deadline_s = piece_deadline_s
        self._known: dict[tuple[Hashable, ...], Asked] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        """`name`: what follows /cache/ in the path."""
        began = time.perf_counter()
        try:
            answer = await self._prepare(name, scope, receive)
        except (Exception, asyncio.CancelledError) as error:
            answer = self._to_page(answer_to(error, scope["path"]), scope)
        # Long polls are left out of the latency histogram.
        held = b"wait=" in scope["query_string"]
        duration_s = None if held else time.perf_counter() - began
        self._metrics.answered(scope["method"], ROUTE, answer.status, duration_s)
        await send_answer(scope, send, answer, piece_deadline_s=self._piece_deadline_s)

    async def _prepare(self, name: str, scope: Scope, receive: Receive) -> Answer:
        if scope["method"] not in READING:
            refused = problem(405, "Method Not Allowed", (b"allow", b"GET, HEAD"))
            return self._to_page(refused, scope)
        if name not in DOCUMENTS:
            message = "must be one of " + ", ".join(DOCUMENTS)
            found = [{"type": "enum", "loc": ["path", "name"], "msg": message}]
            return self._to_page(problem(422, found), scope)
        asked = self._read(name, scope)
        if asked is None:
            detail = "none of deflate, gzip and identity is acceptable to the client"
            return self._to_page(problem(406, detail, _VARY), scope)
        if asked.wanted.wait_s:
            document = await self._wait(asked, scope, receive)
        else:
            document = await self._cache.current(name)
        if document is None:
            return self._to_page(await nothing_yet(self._queue, name), scope)
        if self._has(asked, document):
            return self._made(document, asked, None)
        body = self._cache.body_at_hand(document, asked.wanted, asked.coding)
        if body is None:
            body = await self._cache.body(document, asked.wanted, asked.coding)
        if body.absent:
            return await self._without(document, asked, body)
        return Answer(200, self._made(document, asked, body.length).headers, body)

    async def _without(self, document: CachedDocument, asked: Asked, body: DocumentBody) -> Answer:
        """200, with the symbols named that no market has; 404 if that is all that was asked for."""
        listed = await self._listed.current()
        unknown = body.absent - listed
        if unknown == asked.wanted.query.symbols:
            near = await self._cache.near_symbols(document, asked.wanted, listed)
            return self._cors.marked(none_known(unknown, near), asked.origin)
        headers = self._made(document, asked, body.length).headers
        return Answer(200, [*headers, unknown_header(unknown)] if unknown else headers, body)

    def _to_page(self, answer: Answer, scope: Scope) -> Answer:
        return self._cors.marked(answer, origin_of(scope))

    def _read(self, name: str, scope: Scope) -> Asked | None:
        """None if no coding that we have is acceptable. Raises InvalidQuery."""
        fields = [item for item in scope["headers"] if item[0] in _ASKING]
        key = (name, scope["query_string"], *fields)
        asked = self._known.get(key)
        if asked is None:
            asked = _asked(name, scope["query_string"], fields)
            size = len(scope["query_string"]) + sum(len(value) for _, value in fields)
            if asked is not None and size <= _LONGEST_KNOWN:
                if len(self._known) >= _MOST_KNOWN:
                    del self._known[next(iter(self._known))]
                self._known[key] = asked
        return asked

    async def _wait(self, asked: Asked, scope: Scope, receive: Receive) -> CachedDocument | None:
        """Holds while there is nothing, or only what the client has; looks again before it ends.

        Raises TooManyLongPolls.
        """
        loop = asyncio.get_running_loop()
        name = asked.name
        deadline = loop.time() + asked.wanted.wait_s
        first: int | None = None
        gone = asyncio.create_task(_gone(receive))
        held = contextlib.ExitStack()
        is_held = False
        try:
            while True:
                document = await self._cache.current(name)
                version = None if document is None else document.meta.version
                if document is not None:
                    # `*` matches any version: a new one is one other than the first seen.
                    first = version if first is None else first
                    if not self._has(asked, document) or version != first:
                        return document
                if not is_held:
                    held.enter_context(self._long_polls.held(scope))
                    held.enter_context(self._metrics.waiting())
                    is_held = True
                left_s = deadline - loop.time()
                if left_s <= 0 or not await self._newer(name, version, left_s, gone):
                    return await self._cache.current(name)
        finally:
            held.close()
            gone.cancel()

    async def _newer(
        self, name: str, version: int | None, timeout_s: float, gone: "asyncio.Task[None]"
    ) -> bool:
        """Whether another version came while the client was still there."""
        news = asyncio.create_task(self._watcher.wait_newer(name, version, timeout_s))
        try:
            await asyncio.wait({news, gone}, return_when=asyncio.FIRST_COMPLETED)
            return news.done() and news.result() is not None
        finally:
            news.cancel()

    def _has(self, asked: Asked, document: CachedDocument) -> bool:
        """Whether the client has this version: by its date only where it sent no entity tag."""
        made = asked.made
        if made is not None and made.etag_base == document.etag_base:
            return made.length is None
        if asked.if_none_match is not None:
            return is_known(asked.if_none_match, document.representation(asked.wanted))
        since_s = asked.if_modified_since_s
        return since_s is not None and document.meta.updated_at_ms // 1000 <= since_s

    def _made(self, document: CachedDocument, asked: Asked, length: int | None) -> Answer:
        """A 200 with so many bytes, less the body, or a 304; the same one for all within a second.

        Age counts from when the document was made.
        """
        age_s = max(0, self._now_ms() - document.meta.updated_at_ms) // 1000
        made = asked.made
        if (
            made is None
            or made.age_s != age_s
            or made.length != length
            or made.etag_base != document.etag_base
        ):
            headers = [
                (b"etag", entity_tag(document.representation(asked.wanted), asked.coding)),
                (b"last-modified", document.last_modified),
                (b"age", b"%d" % age_s),
                NO_CACHE,
                _VARY,
            ]
            if length is not None:
                headers += (JSON, NOSNIFF, INERT, (b"content-length", b"%d" % length))
                if asked.coding is not Coding.IDENTITY:
                    headers.append(_CONTENT_ENCODING[asked.coding])
            headers = self._cors.mark(headers, asked.origin)
            answer = Answer(304 if length is None else 200, headers, _EMPTY)
            made = asked.made = _Made(document.etag_base, age_s, length, answer)
        return made.answer


def _asked(name: str, query_string: bytes, fields: list[Header]) -> Asked | None:
    """None if no coding that we have is acceptable. Raises InvalidQuery."""
    accept_encoding: bytes | None = None
    if_none_match: bytes | None = None
    if_modified_since_s: int | None = None
    origin: bytes | None = None
    for key, value in fields:
        if key == b"accept-encoding":
            accept_encoding = _joined(accept_encoding, value)
        elif key == b"if-none-match":
            if_none_match = _joined(if_none_match, value)
        elif key == b"if-modified-since":
            if_modified_since_s = read_date(value)
        elif key == b"origin":
            origin = value
        elif value.isdigit() and int(value) > LARGEST_BODY:
            raise HTTPException(413, TOO_LARGE, {"Connection": "close"})
    wanted = read_query(query_string)
    coding = choose_coding(accept_encoding)
    if coding is None:
        return None
    return Asked(name, wanted, coding, if_none_match, if_modified_since_s, origin)


def _joined(before: bytes | None, value: bytes) -> bytes:
    return value if before is None else before + b"," + value


async def _gone(receive: Receive) -> None:
    """Returns when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
