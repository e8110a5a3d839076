"""GET and HEAD /cache/<name>: validators, codings, waiting, and bytes out in pieces.

Plain ASGI, because this is what bots poll: a request passes no framework on its way. It decides
nothing about data and never touches the store itself.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog

from api.clients import TooManyWaits, Waits
from api.negotiation import (
    Coding,
    InvalidQuery,
    Wanted,
    choose_coding,
    entity_tag,
    is_known,
    read_query,
)
from api.shelf import Body, Copy, Shelf
from cache_manager import DOCUMENTS, GLOBAL_FR
from document_slices import DocumentError
from hot_store.publish_watcher import PublishWatcher
from hot_store.redis_client import StoreUnavailable
from logging_setup import Seldom
from metrics import ApiMetrics

PREFIX: Final = "/cache/"
ROUTE: Final = "/cache/{name}"
PIECE_BYTES: Final = 64 * 1024
# A client that does not take a piece within this time is given up: under 3.3 KB/s.
PIECE_DEADLINE_S: Final = 20.0
# An ASGI server may put a callable here that cuts the connection at once, without flushing.
ABORT_EXTENSION: Final = "perpcache.abort"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

log = structlog.get_logger(__name__)
seldom = Seldom(log)

_NO_CACHE: Final[Header] = (b"cache-control", b"no-cache")
_VARY: Final[Header] = (b"vary", b"Accept-Encoding")
# Where a browser may look: nothing is sniffed, run, loaded or framed.
NOSNIFF: Final[Header] = (b"x-content-type-options", b"nosniff")
INERT: Final[Header] = (
    b"content-security-policy",
    b"default-src 'none'; frame-ancestors 'none'",
)
_JSON: Final[Header] = (b"content-type", b"application/json")
_EMPTY: Final = Body((), 0)
RETRY: Final[Header] = (b"retry-after", b"5")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: list[Header]
    body: Body


class CacheEndpoint:
    """Answers for all documents."""

    def __init__(
        self,
        shelf: Shelf,
        watcher: PublishWatcher,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
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
        except InvalidQuery as error:
            answer = problem(422, error.errors)
        except TooManyWaits as error:
            answer = problem(429, str(error), RETRY)
        except StoreUnavailable as error:
            answer = problem(503, str(error), RETRY)
        except DocumentError as error:
            log.error("document_unreadable", name=name, error=str(error))
            answer = problem(503, f"the stored document cannot be read: {error}", RETRY)
        except Exception:
            log.exception("request_failed", name=name)
            answer = problem(500, "internal error")
        # How long a client chose to wait says nothing about us.
        held = b"wait=" in scope["query_string"]
        duration_s = None if held else time.perf_counter() - began
        self._metrics.answered(scope["method"], ROUTE, answer.status, duration_s)
        await send_answer(scope, send, answer, piece_deadline_s=self._piece_deadline_s)

    async def _prepare(self, name: str, scope: Scope, receive: Receive) -> Answer:
        if scope["method"] not in ("GET", "HEAD"):
            return problem(405, "Method Not Allowed", (b"allow", b"GET, HEAD"))
        if name not in DOCUMENTS:
            message = "must be one of " + ", ".join(DOCUMENTS)
            return problem(422, [{"type": "enum", "loc": ["path", "name"], "msg": message}])
        accept_encoding: bytes | None = None
        if_none_match: bytes | None = None
        for key, value in scope["headers"]:
            if key == b"accept-encoding":
                accept_encoding = _joined(accept_encoding, value)
            elif key == b"if-none-match":
                if_none_match = _joined(if_none_match, value)
        wanted = read_query(scope["query_string"])
        coding = choose_coding(accept_encoding)
        if coding is None:
            detail = "none of deflate, gzip and identity is acceptable to the client"
            return problem(406, detail, _VARY)
        if wanted.wait_s:
            copy = await self._wait(name, wanted, if_none_match, scope, receive)
        else:
            copy = await self._shelf.current(name)
        if copy is None:
            return problem(404, _nothing_yet(name), _NO_CACHE)
        representation = copy.representation(wanted)
        headers = self._headers(copy, representation, coding)
        if if_none_match is not None and is_known(if_none_match, representation):
            return Answer(304, headers, _EMPTY)
        body = await self._shelf.body(copy, wanted, coding)
        headers += (_JSON, NOSNIFF, INERT, (b"content-length", b"%d" % body.length))
        if coding is not Coding.IDENTITY:
            headers.append((b"content-encoding", coding.value.encode()))
        return Answer(200, headers, body)

    async def _wait(
        self,
        name: str,
        wanted: Wanted,
        if_none_match: bytes | None,
        scope: Scope,
        receive: Receive,
    ) -> Copy | None:
        """Holds while there is nothing, or only what the client has; looks again before it ends.

        Raises TooManyWaits.
        """
        loop = asyncio.get_running_loop()
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


def problem(status: int, detail: str | Sequence[dict[str, Any]], *headers: Header) -> Answer:
    """An error in FastAPI's form."""
    body = orjson.dumps({"detail": detail})
    length = (b"content-length", b"%d" % len(body))
    return Answer(status, [_JSON, length, NOSNIFF, INERT, *headers], Body((body,), len(body)))


async def send_answer(
    scope: Scope, send: Send, answer: Answer, *, piece_deadline_s: float = PIECE_DEADLINE_S
) -> None:
    """Sends the body in pieces, so that a slow client holds no more than a few of them.

    One that does not take a piece in time is cut off; where the server offers no way to do that
    at once, TimeoutError is raised.
    """
    start = {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
    await send(start)
    left = 0 if scope["method"] == "HEAD" else answer.body.length
    if not left:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    for part in answer.body.parts:
        view = memoryview(part)
        for at in range(0, len(view), PIECE_BYTES):
            piece = view[at : at + PIECE_BYTES]
            left -= len(piece)
            message = {"type": "http.response.body", "body": piece, "more_body": left > 0}
            try:
                async with asyncio.timeout(piece_deadline_s):
                    await send(message)
            except TimeoutError:
                seldom.info("slow_readers_cut", left_bytes=left)
                abort = scope.get("extensions", {}).get(ABORT_EXTENSION)
                if abort is None:
                    raise
                abort()
                return


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
