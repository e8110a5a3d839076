"""Middleware of every request: body limit, CORS, HEAD, security headers and metrics."""

import asyncio
import time
from collections.abc import Coroutine, MutableMapping
from typing import TYPE_CHECKING, Any, Final, cast

from starlette.types import ASGIApp

from api.answers import (
    CLOSE,
    CSP,
    NOSNIFF,
    Answer,
    Header,
    Receive,
    Scope,
    Send,
    answer_to,
    problem,
    send_answer,
    when_sent,
)
from api.bytes_in_flight import BytesInFlight, TooManyBytes
from api.cors import Cors, origin_of
from api.documents.endpoint import PREFIX, READING, CacheEndpoint
from api.events.endpoint import PATH as EVENTS
from api.events.endpoint import EventsEndpoint
from api.history.body import HEAD_ONLY
from api.overview.endpoint import PATH as STATUS
from api.overview.endpoint import StatusEndpoint
from api.request_body import LARGEST_BODY, TOO_LARGE
from api.state import ApiState
from api.tokens import Tokens
from metrics.api import OTHER, ApiMetrics

if TYPE_CHECKING:
    from api.facade import FacadeEndpoint

# X-Frame-Options is for old browsers; no-referrer hides our URLs from other sites.
_BROWSER_HEADERS: Final[tuple[Header, ...]] = (
    NOSNIFF,
    CSP,
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
# The bytes of answers that are larger than a request's body may be.
_EXPECTED: Final = {
    "/coins": 1_000_000,
    "/market": 1_000_000,
    "/metrics": 1_000_000,
    "/docs/swagger-ui-bundle.js": 128_000,
}
# Supervisors ask these; their answers are small.
_ALWAYS_ANSWERED: Final = frozenset(("/health", "/ready"))


class Middleware:
    """Routes documents, listeners of events and the exchanges' own paths to their endpoints, which
    add metrics and headers themselves; all other requests to `app`. `facade`: what begins the paths
    of exchanges, if they are answered here."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: ApiMetrics,
        cors: Cors,
        in_flight: BytesInFlight,
        tokens: Tokens,
        facade: tuple[str, ...] = (),
    ) -> None:
        self._facade = facade
        self._app = app
        self._tokens = tokens
        self._in_flight = in_flight
        self._metrics = metrics
        self._cors = cors

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith(self._facade):
            facade: FacadeEndpoint = scope["state"]["facade"]
            return facade(scope, receive, send, path)
        is_reading = scope["method"] in READING
        if is_reading and (refused := self._tokens.refuse_read(scope, path)) is not None:
            return self._send_refusal(scope, send, refused)
        if is_reading and path.startswith(PREFIX):
            documents: CacheEndpoint = scope["state"]["documents"]
            return documents(scope, receive, send, path[len(PREFIX) :])
        if is_reading and path == EVENTS:
            events: EventsEndpoint = scope["state"]["events"]
            return events(scope, receive, send)
        if is_reading and path == STATUS:
            status: StatusEndpoint = scope["state"]["status"]
            return status(scope, receive, send)
        return self._answer(scope, receive, send, path)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        refused = self._refused(scope)
        if refused is not None:
            self._metrics.answered(scope["method"], OTHER, refused.status, 0.0)
            await send_answer(scope, send, refused)
        elif path.startswith(PREFIX):
            state = cast(ApiState, scope["state"])
            await state["documents"](scope, receive, send, path[len(PREFIX) :])
        elif path == EVENTS:
            await scope["state"]["events"](scope, receive, send)
        else:
            await self._serve(scope, receive, send, path)

    async def _send_refusal(self, scope: Scope, send: Send, answer: Answer) -> None:
        self._metrics.answered(scope["method"], OTHER, answer.status, 0.0)
        await send_answer(scope, send, self._cors.applied(answer, origin_of(scope)))

    def _refused(self, scope: Scope) -> Answer | None:
        """A 413 for a large body, or the answer to a CORS preflight; None for other requests."""
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > LARGEST_BODY:
                return self._cors.applied(problem(413, TOO_LARGE, CLOSE), origin_of(scope))
        return self._cors.preflight(scope) if self._cors.is_preflight(scope) else None

    async def _serve(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        """Serves by the framework; what the answer holds counts before it is made."""
        if path in _ALWAYS_ANSWERED:
            await self._serve_counted(scope, receive, send)
            return
        client, own = self._in_flight.client(scope), object()
        # A body is in memory twice while it is read.
        expected = 2 * LARGEST_BODY if scope["method"] not in READING else LARGEST_BODY
        try:
            holding = self._in_flight.hold(client, {own: _EXPECTED.get(path, expected)})
        except TooManyBytes as error:
            await self._send_refusal(scope, send, answer_to(error, path))
            return

        async def send_held(message: MutableMapping[str, Any]) -> None:
            size = len(message.get("body", b""))
            if size:
                holding.exchange({own: size}, checked=False)
            await send(message)

        try:
            await self._serve_counted(scope, receive, send_held)
        finally:
            when_sent(scope, holding.release)

    async def _serve_counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        method: str = scope["method"]
        status: int | None = None

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                names = {name for name, _ in headers}
                headers += (header for header in _BROWSER_HEADERS if header[0] not in names)
                message["headers"] = self._cors.add_headers(headers, origin_of(scope))
                # The router has put the matching route into the scope.
                route = getattr(scope.get("route"), "path", OTHER)
                self._metrics.answered(method, route, status, time.perf_counter() - began)
            await send(message)

        if method == "HEAD":
            # The server still omits the body of the original HEAD.
            scope = {**scope, "method": "GET", HEAD_ONLY: True}
        try:
            await self._app(scope, receive, send_with_headers)
        except asyncio.CancelledError as error:
            if status is not None:
                raise
            await send_answer(scope, send_with_headers, answer_to(error, scope["path"]))
        except Exception:
            if status != 500:  # Starlette re-raises what answer_to has answered and logged
                raise
