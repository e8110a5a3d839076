"""HTTP answers: their type, the table from exceptions to status codes, and how they are sent."""

import asyncio
import http
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson
import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.bytes_in_flight import Holding, TooManyBytes
from api.documents.long_poll_quota import TooManyLongPolls
from api.documents.query import InvalidQuery
from database import DatabaseUnavailable
from documents.text import DocumentError
from logging_setup import ThrottledLog
from stores.hot.store import StoreUnavailable
from texts.hidden_addresses import without_addresses

# A client that takes less than this in this time (3.3 KB/s) is disconnected.
PIECE_BYTES: Final = 64 * 1024
PIECE_DEADLINE_S: Final = 20.0
# Passed to the server at once: a view, so it costs no memory, but copying it into the kernel blocks
# the event loop for a tenth of a millisecond.
CHUNK_BYTES: Final = 512 * 1024
# The ASGI extension of a server that disconnects slow clients itself; its value is a Connection.
PACE_EXTENSION: Final = "perpcache.pace"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]
Buffer = bytes | memoryview

JSON: Final[Header] = (b"content-type", b"application/json")
NO_CACHE: Final[Header] = (b"cache-control", b"no-cache")
RETRY: Final[Header] = (b"retry-after", b"5")
CLOSE: Final[Header] = (b"connection", b"close")
# Browsers must not sniff, run, load or frame anything of an answer.
NOSNIFF: Final[Header] = (b"x-content-type-options", b"nosniff")
CSP: Final[Header] = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")

log = structlog.get_logger(__name__)
throttled = ThrottledLog(log)


@dataclass(frozen=True, slots=True)
class Body:
    """The body of an answer, in parts; `length` is their sum in bytes."""

    parts: Sequence[Buffer]
    length: int


class Connection(Protocol):
    """A connection of a server with PACE_EXTENSION.

    An answer without an end can be a stream: the task that answers waits, and others write whole
    chunks (`as_chunk`), which connections share.
    """

    def unsent_bytes(self) -> int:
        """The bytes that the client has not taken yet."""

    def write_answer(self, status: int, headers: Sequence[Header], parts: Sequence[Buffer]) -> bool:
        """Writes the whole answer to the request in progress; False, and nothing is written, where
        that has to wait, or the server is to end the connection. `headers`: with the length."""

    def write_chunk(self, chunk: bytes) -> None:
        """Writes a chunk of the answer in progress; nothing if the client has disconnected."""

    def end_stream(self) -> None:
        """Ends the answer and the connection, at once if the client has not taken all of it."""

    def when_sent(self, callback: Callable[[], None]) -> None:
        """Calls back when the client has taken all bytes written so far, or is disconnected."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; header names are lower case. `holding` is released when the client has taken
    the body."""

    status: int
    headers: list[Header]
    body: Body
    holding: Holding | None = None


def problem(status: int, detail: str | Sequence[dict[str, Any]], *headers: Header) -> Answer:
    """An error answer in FastAPI's form, `{"detail": ...}`."""
    body = orjson.dumps({"detail": detail})
    length = (b"content-length", b"%d" % len(body))
    return Answer(status, [JSON, length, NOSNIFF, CSP, *headers], Body((body,), len(body)))


def answer_to(error: BaseException, path: str) -> Answer:
    """The answer to an exception. Logs damaged documents and bugs, with `path`."""
    match error:
        case HTTPException():
            named = (error.headers or {}).items()
            headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in named]
            return problem(error.status_code, error.detail, *headers)
        case InvalidQuery():
            return problem(422, error.errors)
        case RequestValidationError():
            return problem(422, [_invalid(detail) for detail in error.errors()])
        case TooManyBytes():
            return problem(error.status, str(error), RETRY)
        case TooManyLongPolls():
            return problem(429, str(error), RETRY)
        case StoreUnavailable() | DatabaseUnavailable() | TimeoutError():
            throttled.warning("store_did_not_answer", path=path, error=str(error) or "timeout")
            return problem(503, without_addresses(error) or "no answer in time", RETRY)
        case DocumentError():
            log.error("document_unreadable", path=path, error=str(error))
            return problem(503, f"the stored document cannot be read: {error}", RETRY)
        case asyncio.CancelledError():  # the server is shutting down
            return problem(503, "the service is stopping", RETRY, CLOSE)
        case _:
            log.error("request_failed", path=path, error=repr(error), exc_info=error)
            return problem(500, "internal error")


def refusal(status: int, detail: str, headers: Sequence[Header]) -> bytes:
    """The bytes of an HTTP/1.1 answer to a malformed request, whose connection is closed then.

    `headers` precede the answer's own (the server's Date).
    """
    answer = answer_to(HTTPException(status, detail, {"connection": "close"}), "")
    status_line = b"HTTP/1.1 %d %b" % (status, http.HTTPStatus(status).phrase.encode())
    lines = [b"%b: %b" % header for header in (*headers, *answer.headers)]
    return b"\r\n".join((status_line, *lines, b"", *answer.body.parts))


def to_response(answer: Answer) -> Response:
    """The answer as a Starlette response."""
    response = Response(b"".join(answer.body.parts), answer.status)
    response.raw_headers = answer.headers
    return response


async def send_answer(
    scope: Scope, send: Send, answer: Answer, *, piece_deadline_s: float = PIECE_DEADLINE_S
) -> None:
    """Sends the body in pieces that are views of it, so slow clients cost no memory.

    A client that does not take PIECE_BYTES in time is disconnected by a server with
    PACE_EXTENSION; otherwise TimeoutError is raised.
    """
    try:
        await _send(scope, send, answer, piece_deadline_s)
    finally:
        if answer.holding is not None:
            when_sent(scope, answer.holding.release)


def sent_at_once(scope: Scope, answer: Answer) -> bool:
    """Sends an answer in one piece, if it is not large and the server can: that spares a packet and
    most of the server's work. False: nothing is sent, `send_answer` has to. No middleware sees it.
    """
    connection = connection_of(scope)
    if connection is None or answer.body.length > CHUNK_BYTES:
        return False
    parts = () if scope["method"] == "HEAD" else answer.body.parts
    if not connection.write_answer(answer.status, answer.headers, parts):
        return False
    if answer.holding is not None:
        connection.when_sent(answer.holding.release)
    return True


def connection_of(scope: Scope) -> Connection | None:
    """The connection of the request; None if the server lets nobody write to it."""
    found: Connection | None = scope.get("extensions", {}).get(PACE_EXTENSION)
    return found


def as_chunk(body: bytes) -> bytes:
    """A chunk of the chunked transfer coding (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def when_sent(scope: Scope, callback: Callable[[], None]) -> None:
    """Calls back when the client has taken what was sent; at once if the server cannot tell."""
    connection = connection_of(scope)
    if connection is None:
        callback()
    else:
        connection.when_sent(callback)


async def _send(scope: Scope, send: Send, answer: Answer, piece_deadline_s: float) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    left = 0 if scope["method"] == "HEAD" else answer.body.length
    if not left:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    server_cuts = PACE_EXTENSION in scope.get("extensions", ())
    size = CHUNK_BYTES if server_cuts else PIECE_BYTES
    for part in answer.body.parts:
        for piece in _pieces(part, size):
            left -= len(piece)
            message = {"type": "http.response.body", "body": piece, "more_body": left > 0}
            if server_cuts:
                await send(message)
            else:
                async with asyncio.timeout(piece_deadline_s):
                    await send(message)


def _pieces(part: Buffer, size: int) -> Sequence[Buffer]:
    if len(part) <= size:
        return (part,)
    view = memoryview(part)
    return [view[at : at + size] for at in range(0, len(view), size)]


def _invalid(detail: dict[str, Any]) -> dict[str, Any]:
    """A pydantic error without the input that caused it."""
    location, message = detail["loc"], str(detail["msg"])
    if detail["type"] == "extra_forbidden":
        # The name of an unknown field is input, too.
        location = location[:-1]
        message = f"unknown field: {detail.get('allowed', 'it is not one of this request')}"
    return {"type": detail["type"], "loc": location, "msg": message}
