"""GET and HEAD /cache/<name>: validators, codings, waiting, and bytes out in pieces.

Plain ASGI, because this is what bots poll: a request passes no framework on its way, and one
whose answer is at hand not even a task (at_hand.py). It decides nothing about data and never
touches the store itself.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog

from api.documents.negotiation import (
    Coding,
    InvalidQuery,
    Wanted,
    choose_coding,
    entity_tag,
    is_known,
    read_query,
)
from api.documents.publish_watcher import PublishWatcher
from api.documents.shelf import Body, Check, Copy, Shelf
from api.documents.waits import TooManyWaits, Waits
from cache_manager import DOCUMENTS, GLOBAL_FR
from documents.text import DocumentError
from metrics.api import ApiMetrics
from stores.hot.store import StoreUnavailable
from timing.clock import now_ms

PREFIX: Final = "/cache/"
ROUTE: Final = "/cache/{name}"
# A client that does not take this much within this time is given up: under 3.3 KB/s.
PIECE_BYTES: Final = 64 * 1024
PIECE_DEADLINE_S: Final = 20.0
# Handed to the server in one go: a view of what all readers share, so it costs no memory, but
# copying it into the kernel keeps the others waiting: a tenth of a millisecond for each reader.
HANDED_BYTES: Final = 256 * 1024
# The longest answer that goes out at once, head and body.
_SHORT_BYTES: Final = 512 * 1024
# A server that cuts readers itself puts a callable here, which takes their deadline in seconds.
PACE_EXTENSION: Final = "perpcache.pace"
# Where a request that was looked at before carries its check of the version.
CHECK: Final = "perpcache.check"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

log = structlog.get_logger(__name__)

_NO_CACHE: Final[Header] = (b"cache-control", b"no-cache")
_VARY: Final[Header] = (b"vary", b"Accept-Encoding")
# Where a browser may look: nothing is sniffed, run, loaded or framed.
NOSNIFF: Final[Header] = (b"x-content-type-options", b"nosniff")
INERT: Final[Header] = (
    b"content-security-policy",
    b"default-src 'none'; frame-ancestors 'none'",
)
_JSON: Final[Header] = (b"content-type", b"application/json")
_CONTENT_ENCODING: Final = {
    coding: (b"content-encoding", coding.value.encode()) for coding in Coding
}
_PATHS: Final = {PREFIX + name: name for name in DOCUMENTS}
_OF_A_BODY: Final = frozenset((b"content-length", b"transfer-encoding"))
_EMPTY: Final = Body((), 0)
RETRY: Final[Header] = (b"retry-after", b"5")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: list[Header]
    body: Body


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request for a document asks for."""

    method: str
    name: str
    wanted: Wanted
    coding: Coding
    if_none_match: bytes | None


class CacheEndpoint:
    """Answers for all documents."""

    def __init__(
        self,
        shelf: Shelf,
        watcher: PublishWatcher,
        *,
        now_ms: Callable[[], int] = now_ms,
        piece_deadline_s: float = PIECE_DEADLINE_S,
        metrics: ApiMetrics | None = None,
        waits: Waits,
    ) -> None:
        self._metrics = metrics or ApiMetrics()
        self._waits = waits
        self._shelf = shelf
        self._watcher = watcher
        self._now_ms = now_ms
        self._piece_deadline_s = piece_deadline_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        """`name`: what follows /cache/ in the path."""
        began = time.perf_counter()
        try:
            answer = await self._prepare(name, scope, receive)
        except asyncio.CancelledError:
            answer = stopping()  # by the server, which ends once this is sent
        except Exception as error:
            answer = _failure(name, error)
        # How long a client chose to wait says nothing about us.
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
            return self._short_answer(asked, check)
        except Exception as error:
            return _failure(asked.name, error)

    def count(self, asked: Asked, answer: Answer, duration_s: float) -> None:
        self._metrics.answered(asked.method, ROUTE, answer.status, duration_s)

    def check(self, asked: Asked) -> Check:
        """A look at the version of what is asked for, begun no earlier than now."""
        return self._shelf.check(asked.name)

    def _short_answer(self, asked: Asked, check: Check) -> Answer | None:
        copy = self._shelf.at_hand(asked.name, check)
        if copy is None:
            return None
        answer = self._not_modified(copy, asked)
        if answer is None:
            body = self._shelf.body_at_hand(copy, asked.wanted, asked.coding)
            if body is not None and body.length <= _SHORT_BYTES:
                answer = self._found(copy, asked, body)
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
            copy = await self._wait(asked, scope, receive)
        else:
            copy = await self._shelf.current(name, scope.get(CHECK))
        if copy is None:
            return problem(404, _nothing_yet(name), _NO_CACHE)
        return self._not_modified(copy, asked) or self._found(
            copy, asked, await self._shelf.body(copy, asked.wanted, asked.coding)
        )

    def _not_modified(self, copy: Copy, asked: Asked) -> Answer | None:
        """304 where the client has this version."""
        representation = copy.representation(asked.wanted)
        if asked.if_none_match is None or not is_known(asked.if_none_match, representation):
            return None
        return Answer(304, self._headers(copy, representation, asked.coding), _EMPTY)

    def _found(self, copy: Copy, asked: Asked, body: Body) -> Answer:
        headers = self._headers(copy, copy.representation(asked.wanted), asked.coding)
        headers += (_JSON, NOSNIFF, INERT, (b"content-length", b"%d" % body.length))
        if asked.coding is not Coding.IDENTITY:
            headers.append(_CONTENT_ENCODING[asked.coding])
        return Answer(200, headers, body)

    async def _wait(self, asked: Asked, scope: Scope, receive: Receive) -> Copy | None:
        """Holds while there is nothing, or only what the client has; looks again before it ends.

        Raises TooManyWaits.
        """
        loop = asyncio.get_running_loop()
        name, wanted, if_none_match = asked.name, asked.wanted, asked.if_none_match
        deadline = loop.time() + wanted.wait_s
        first: int | None = None
        gone = asyncio.create_task(_gone(receive))
        held = contextlib.ExitStack()
        is_held = False
        try:
            while True:
                copy = await self._shelf.current(name)
                version = None if copy is None else copy.meta.version
                if copy is not None:
                    # `*` matches whatever there is, so what counts is what there was at first.
                    first = version if first is None else first
                    known = if_none_match is not None and is_known(
                        if_none_match, copy.representation(wanted)
                    )
                    if not known or version != first:
                        return copy
                if not is_held:
                    held.enter_context(self._waits.held(scope))
                    held.enter_context(self._metrics.waiting())
                    is_held = True
                left_s = deadline - loop.time()
                if left_s <= 0 or not await self._newer(name, version, left_s, gone):
                    return await self._shelf.current(name)
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

    def _headers(self, copy: Copy, representation: bytes, coding: Coding) -> list[Header]:
        """What 200 and 304 have in common. Age counts from when the document was made."""
        age_s = max(0, self._now_ms() - copy.meta.updated_at_ms) // 1000
        return [
            (b"etag", entity_tag(representation, coding)),
            (b"last-modified", copy.last_modified),
            (b"age", b"%d" % age_s),
            _NO_CACHE,
            _VARY,
        ]


def _asked(name: str, scope: Scope) -> Asked | None:
    """None if no coding that we have is acceptable. Raises InvalidQuery."""
    accept_encoding: bytes | None = None
    if_none_match: bytes | None = None
    for key, value in scope["headers"]:
        if key == b"accept-encoding":
            accept_encoding = _joined(accept_encoding, value)
        elif key == b"if-none-match":
            if_none_match = _joined(if_none_match, value)
    wanted = read_query(scope["query_string"])
    coding = choose_coding(accept_encoding)
    return None if coding is None else Asked(scope["method"], name, wanted, coding, if_none_match)


def _failure(name: str, error: Exception) -> Answer:
    """The one table from error to answer. To be called where the error is handled."""
    match error:
        case InvalidQuery():
            return problem(422, error.errors)
        case TooManyWaits():
            return problem(429, str(error), RETRY)
        case StoreUnavailable():
            return problem(503, str(error), RETRY)
        case DocumentError():
            log.error("document_unreadable", name=name, error=str(error))
            return problem(503, f"the stored document cannot be read: {error}", RETRY)
        case _:
            log.exception("request_failed", name=name)
            return problem(500, "internal error")


def problem(status: int, detail: str | Sequence[dict[str, Any]], *headers: Header) -> Answer:
    """An error in FastAPI's form."""
    body = orjson.dumps({"detail": detail})
    length = (b"content-length", b"%d" % len(body))
    return Answer(status, [_JSON, length, NOSNIFF, INERT, *headers], Body((body,), len(body)))


def stopping() -> Answer:
    """For whoever still waits for a store when the server ends."""
    return problem(503, "the service is stopping", RETRY, (b"connection", b"close"))


async def send_answer(
    scope: Scope, send: Send, answer: Answer, *, piece_deadline_s: float = PIECE_DEADLINE_S
) -> None:
    """Sends the body in pieces that are views of it, so that a slow client holds no copies.

    One that does not take PIECE_BYTES in time is cut off by the server, where it can do that
    (PACE_EXTENSION); else TimeoutError is raised.
    """
    set_pace = scope.get("extensions", {}).get(PACE_EXTENSION)
    if set_pace is not None:
        set_pace(piece_deadline_s)
    start = {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
    await send(start)
    left = 0 if scope["method"] == "HEAD" else answer.body.length
    if not left:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    size = PIECE_BYTES if set_pace is None else HANDED_BYTES
    for part in answer.body.parts:
        view = memoryview(part)
        for at in range(0, len(view), size):
            piece = view[at : at + size]
            left -= len(piece)
            message = {"type": "http.response.body", "body": piece, "more_body": left > 0}
            if set_pace is None:
                async with asyncio.timeout(piece_deadline_s):
                    await send(message)
            else:
                await send(message)


def _joined(before: bytes | None, value: bytes) -> bytes:
    return value if before is None else before + b"," + value


def _nothing_yet(name: str) -> str:
    if name == GLOBAL_FR:
        return "no funding yet: POST /api/v1/internal/update-fr refreshes it"
    return f'nothing collected yet: POST /get-market-data {{"timeframe":"{name}"}} collects it'


async def _gone(receive: Receive) -> None:
    """Returns when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
