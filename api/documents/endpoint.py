"""GET and HEAD /cache/<name>: validators, codings, waiting, and bytes out in pieces.

Plain ASGI, because this is what bots poll: a request passes no framework on its way, and one
whose answer is at hand not even a task (api/connections/polls.py). The endpoint decides nothing
about data and never touches the store itself.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

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
from api.documents.document_cache import CachedDocument, Check, DocumentCache
from api.documents.long_polls import LongPolls
from api.documents.nothing_yet import nothing_yet
from api.documents.publish_watcher import PublishWatcher
from api.documents.query import InvalidQuery, Wanted, read_query
from api.documents.symbols import ListedSymbols, none_known, unknown_header
from api.documents.validators import Coding, choose_coding, entity_tag, is_known, read_date
from documents.names import DOCUMENTS
from job_queue.queue import JobQueue
from metrics.api import ApiMetrics
from timing.clock import now_ms

PREFIX: Final = "/cache/"
ROUTE: Final = "/cache/{name}"
# The longest answer that goes out at once, head and body.
_SHORT_BYTES: Final = 512 * 1024
# Where a request that was looked at before carries its check of the version.
CHECK: Final = "perpcache.check"

_VARY: Final[Header] = (b"vary", b"Accept-Encoding")
_CONTENT_ENCODING: Final = {
    coding: (b"content-encoding", coding.value.encode()) for coding in Coding
}
_PATHS: Final = {PREFIX + name: name for name in DOCUMENTS}
_OF_A_BODY: Final = frozenset((b"content-length", b"transfer-encoding"))
_EMPTY: Final = Body((), 0)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request for a document asks for."""

    method: str
    name: str
    wanted: Wanted
    coding: Coding
    if_none_match: bytes | None
    if_modified_since_s: int | None
    origin: bytes | None  # of the page that asks, where it is a page


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        """`name`: what follows /cache/ in the path."""
        began = time.perf_counter()
        try:
            answer = await self._prepare(name, scope, receive)
        except (Exception, asyncio.CancelledError) as error:
            answer = answer_to(error, scope["path"])
        answer = self._cors.marked(answer, origin_of(scope))
        # Long polls are left out of the latency histogram.
        held = b"wait=" in scope["query_string"]
        duration_s = None if held else time.perf_counter() - began
        self._metrics.answered(scope["method"], ROUTE, answer.status, duration_s)
        await send_answer(scope, send, answer, piece_deadline_s=self._piece_deadline_s)

    def quick(self, scope: Scope) -> Asked | None:
        """What a request asks for, if it is of a kind whose answer may be at hand."""
        name = _PATHS.get(scope["path"])
        if name is None or scope["method"] not in ("GET", "HEAD"):
            return None
        for key, _ in scope["headers"]:
            if key in _OF_A_BODY:
                return None
        try:
            asked = _asked(name, scope)
        except InvalidQuery:
            return None
        return None if asked is None or asked.wanted.wait_s else asked

    def short_answer(self, asked: Asked, check: Check) -> Answer | None:
        """The answer after this check, which has ended, if it is short and ready; None if there
        is more to do. Is to be counted for each request that it answers."""
        try:
            answer = self._short_answer(asked, check)
        except Exception as error:
            answer = answer_to(error, PREFIX + asked.name)
        return answer and self._cors.marked(answer, asked.origin)

    def count(self, asked: Asked, answer: Answer, duration_s: float) -> None:
        self._metrics.answered(asked.method, ROUTE, answer.status, duration_s)

    def check(self, asked: Asked) -> Check:
        """A look at the version of what is asked for, begun no earlier than now."""
        return self._cache.check(asked.name)

    def _short_answer(self, asked: Asked, check: Check) -> Answer | None:
        document = self._cache.at_hand(asked.name, check)
        if document is None:
            return None
        answer = self._not_modified(document, asked)
        if answer is None:
            body = self._cache.body_at_hand(document, asked.wanted, asked.coding)
            if body is not None and not body.absent and body.length <= _SHORT_BYTES:
                answer = self._found(document, asked, body)
        return answer

    async def _prepare(self, name: str, scope: Scope, receive: Receive) -> Answer:
        if scope["method"] not in ("GET", "HEAD"):
            return problem(405, "Method Not Allowed", (b"allow", b"GET, HEAD"))
        if name not in DOCUMENTS:
            message = "must be one of " + ", ".join(DOCUMENTS)
            return problem(422, [{"type": "enum", "loc": ["path", "name"], "msg": message}])
        asked = _asked(name, scope)
        if asked is None:
            detail = "none of deflate, gzip and identity is acceptable to the client"
            return problem(406, detail, _VARY)
        if asked.wanted.wait_s:
            document = await self._wait(asked, scope, receive)
        else:
            document = await self._cache.current(name, scope.get(CHECK))
        if document is None:
            return await nothing_yet(self._queue, name)
        return self._not_modified(document, asked) or await self._content(document, asked)

    async def _content(self, document: CachedDocument, asked: Asked) -> Answer:
        """200, with the symbols named that no market has; 404 if that is all that was asked for."""
        body = await self._cache.body(document, asked.wanted, asked.coding)
        if not body.absent:
            return self._found(document, asked, body)
        listed = await self._listed.current()
        unknown = body.absent - listed
        if unknown == asked.wanted.query.symbols:
            return none_known(
                unknown, await self._cache.near_symbols(document, asked.wanted, listed)
            )
        answer = self._found(document, asked, body)
        if unknown:
            answer.headers.append(unknown_header(unknown))
        return answer

    def _not_modified(self, document: CachedDocument, asked: Asked) -> Answer | None:
        """304 where the client has this version."""
        if not _has(asked, document):
            return None
        representation = document.representation(asked.wanted)
        return Answer(304, self._headers(document, representation, asked.coding), _EMPTY)

    def _found(self, document: CachedDocument, asked: Asked, body: Body) -> Answer:
        headers = self._headers(document, document.representation(asked.wanted), asked.coding)
        headers += (JSON, NOSNIFF, INERT, (b"content-length", b"%d" % body.length))
        if asked.coding is not Coding.IDENTITY:
            headers.append(_CONTENT_ENCODING[asked.coding])
        return Answer(200, headers, body)

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
                    if not _has(asked, document) or version != first:
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

    def _headers(
        self, document: CachedDocument, representation: bytes, coding: Coding
    ) -> list[Header]:
        """What 200 and 304 have in common. Age counts from when the document was made."""
        age_s = max(0, self._now_ms() - document.meta.updated_at_ms) // 1000
        return [
            (b"etag", entity_tag(representation, coding)),
            (b"last-modified", document.last_modified),
            (b"age", b"%d" % age_s),
            NO_CACHE,
            _VARY,
        ]


def _has(asked: Asked, document: CachedDocument) -> bool:
    """Whether the client has this version: by its date only where it sent no entity tag."""
    if asked.if_none_match is not None:
        return is_known(asked.if_none_match, document.representation(asked.wanted))
    since_s = asked.if_modified_since_s
    return since_s is not None and document.meta.updated_at_ms // 1000 <= since_s


def _asked(name: str, scope: Scope) -> Asked | None:
    """None if no coding that we have is acceptable. Raises InvalidQuery."""
    accept_encoding: bytes | None = None
    if_none_match: bytes | None = None
    if_modified_since_s: int | None = None
    origin: bytes | None = None
    for key, value in scope["headers"]:
        if key == b"accept-encoding":
            accept_encoding = _joined(accept_encoding, value)
        elif key == b"if-none-match":
            if_none_match = _joined(if_none_match, value)
        elif key == b"if-modified-since":
            if_modified_since_s = read_date(value)
        elif key == b"origin":
            origin = value
    wanted = read_query(scope["query_string"])
    coding = choose_coding(accept_encoding)
    if coding is None:
        return None
    method: str = scope["method"]
    return Asked(method, name, wanted, coding, if_none_match, if_modified_since_s, origin)


def _joined(before: bytes | None, value: bytes) -> bytes:
    return value if before is None else before + b"," + value


async def _gone(receive: Receive) -> None:
    """Returns when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
