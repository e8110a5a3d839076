"""The HTTP surface: parses, asks the parts, answers. Decides nothing about data.

create_app          the application; its parts are connected in the lifespan
Api                 routes: /cache/ straight to its endpoint, all else through FastAPI
_handle_errors      the one table from error to status
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, cast

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp

from api.connections.polls import Polls
from api.docs import build_docs, openapi
from api.documents.endpoint import (
    INERT,
    NOSNIFF,
    PIECE_DEADLINE_S,
    PREFIX,
    RETRY,
    CacheEndpoint,
    Header,
    Receive,
    Scope,
    Send,
    problem,
    send_answer,
    stopping,
)
from api.documents.publish_watcher import PublishWatcher
from api.documents.shelf import Shelf
from api.documents.waits import Waits
from api.guard import LARGEST_BODY, TOO_LARGE
from api.jobs import build_jobs
from api.parts import Parts
from api.scrape import Siblings, build_scrape
from api.state import ApiState
from api.status import build_status
from config import Settings
from database import DatabaseUnavailable
from metrics.api import OTHER, ApiMetrics
from metrics.event_loop import loop_watched
from stores.hot.store import StoreUnavailable

__all__ = ["Api", "create_app"]

VERSION: Final = "0.1.0"
# For old browsers, and so that a page's address is not told to others.
_BROWSER_HEADERS: Final[tuple[Header, ...]] = (
    NOSNIFF,
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)

log = structlog.get_logger(__name__)


Connect = Callable[[], AbstractAsyncContextManager[Parts]]


def create_app(
    settings: Settings,
    connect: Connect,
    *,
    piece_deadline_s: float = PIECE_DEADLINE_S,
    metrics: ApiMetrics | None = None,
) -> "Api":
    """The application. `connect` is entered when the server starts and left when it ends.

    `piece_deadline_s`: how long a client may take over 64 KB before it is cut off.
    """
    siblings = Siblings(metrics or ApiMetrics(), settings.api_names)
    app = Api(settings, connect, piece_deadline_s, siblings)
    routers = (
        build_jobs(settings),
        build_status(settings),
        build_scrape(siblings),
        build_docs(),
    )
    for router in routers:
        app.include_router(router)
    _handle_errors(app, [route for router in routers for route in router.routes])
    return app


class Api(FastAPI):
    """FastAPI, with a straight way for documents, HEAD wherever there is GET, and body limits."""

    def __init__(
        self, settings: Settings, connect: Connect, piece_deadline_s: float, siblings: Siblings
    ) -> None:
        self._siblings = siblings
        self._metrics = siblings.metrics
        self._piece_deadline_s = piece_deadline_s
        self._settings = settings
        self._connect = connect
        self._watcher: PublishWatcher | None = None
        self._cors = _let_in(self._answer, settings.cors_origins) if settings.cors_origins else None
        super().__init__(
            title="Perpcache",
            version=VERSION,
            summary="Every Binance and Bybit perpetual: candles, open interest and funding",
            description="`POST /get-market-data` queues a refresh, `GET /jobs/{id}` follows it, "
            "`GET /cache/{name}` reads the result. Times are UTC milliseconds.",
            docs_url=None,
            redoc_url=None,
            openapi_url="/openapi.json",
            redirect_slashes=False,
            lifespan=self._live,
            # Telemetry is the operator's own: nothing is set up from the environment.
            telemetry={"auto_configure": False},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
        elif self._cors is not None:
            await self._cors(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > LARGEST_BODY:
                self._metrics.answered(scope["method"], OTHER, 413, time.perf_counter() - began)
                await send_answer(scope, send, problem(413, TOO_LARGE, (b"connection", b"close")))
                return
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith(PREFIX):
            state = cast(ApiState, scope["state"])
            await state["documents"](scope, receive, send, path[len(PREFIX) :])
            return

        started = False

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = [*message.get("headers", ()), *_BROWSER_HEADERS]
                if not any(name == INERT[0] for name, _ in headers):
                    headers.append(INERT)
                message["headers"] = headers
                # The router has put there which route it found.
                route = getattr(scope.get("route"), "path", OTHER)
                duration_s = time.perf_counter() - began
                self._metrics.answered(method, route, message["status"], duration_s)
            await send(message)

        method: str = scope["method"]
        if method == "HEAD":
            # The server, which has its own view of the request, leaves the body out.
            scope = {**scope, "method": "GET"}
        try:
            await super().__call__(scope, receive, send_with_headers)
        except asyncio.CancelledError:  # by the server, which ends once this is sent
            if started:
                raise
            self._metrics.answered(method, OTHER, 503, time.perf_counter() - began)
            await send_answer(scope, send, stopping())

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = openapi(self)
        return self.openapi_schema

    async def release_waiters(self) -> None:
        """Answers every request that waits for a new version. Call it before the server stops:
        a server waits for its requests before it ends the lifespan."""
        if self._watcher is not None:
            await self._watcher.aclose()

    @asynccontextmanager
    async def _live(self, _: FastAPI) -> AsyncIterator[ApiState]:
        async with self._connect() as parts:
            shelf = Shelf(parts.cache)
            self._watcher = PublishWatcher(parts.cache, poll_s=self._settings.upstash_poll_s)
            documents = CacheEndpoint(
                shelf,
                self._watcher,
                piece_deadline_s=self._piece_deadline_s,
                metrics=self._metrics,
                waits=Waits(self._settings.max_waits_per_client, self._settings.trusted_proxies),
            )
            # What other origins may read takes headers that are not the documents' own.
            at_hand = Polls(documents) if self._cors is None else None
            try:
                async with loop_watched(self._metrics.loop_lag), self._siblings.told(parts.store):
                    yield {"parts": parts, "documents": documents, "at_hand": at_hand}
            finally:
                await self._watcher.aclose()
                await shelf.aclose()
                if at_hand is not None:
                    at_hand.close()


def _let_in(app: ASGIApp, origins: Sequence[str]) -> CORSMiddleware:
    """What pages of these origins may do: read and ask, with a token but never with cookies."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST", "DELETE"),
        allow_headers=("Authorization", "Content-Type", "If-None-Match"),
        expose_headers=("Age", "ETag", "Last-Modified", "Location", "Retry-After"),
        max_age=600,
    )


def _handle_errors(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    def unavailable(_: Request, error: Exception) -> JSONResponse:
        headers = {RETRY[0].decode(): RETRY[1].decode()}
        return JSONResponse({"detail": str(error) or "no answer in time"}, 503, headers)

    def invalid(_: Request, error: Exception) -> JSONResponse:
        # Without the input: what came in does not go out again.
        details = [
            {"type": detail["type"], "loc": _place(detail), "msg": _message(detail)}
            for detail in cast(RequestValidationError, error).errors()
        ]
        return JSONResponse({"detail": details}, 422)

    def wrong_method(request: Request, error: Exception) -> JSONResponse:
        # The router names the methods of the first route alone that has this path.
        known = (route for route in routes if isinstance(route, Route))
        here = (route for route in known if route.matches(request.scope)[0] is not Match.NONE)
        allowed = {method for route in here for method in route.methods or ()}
        allowed |= {"HEAD"} if "GET" in allowed else set()
        theirs = cast(HTTPException, error).headers
        headers = {"Allow": ", ".join(sorted(allowed))} if allowed else theirs
        return JSONResponse({"detail": "Method Not Allowed"}, 405, headers)

    def unexpected(_: Request, error: Exception) -> JSONResponse:
        log.error("request_failed", error=repr(error))
        return JSONResponse({"detail": "internal error"}, 500)

    for kind in (StoreUnavailable, DatabaseUnavailable, TimeoutError):
        app.add_exception_handler(kind, unavailable)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(405, wrong_method)
    app.add_exception_handler(Exception, unexpected)


def _place(detail: dict[str, Any]) -> Sequence[str | int]:
    """Where it is wrong, in our words: an unknown field's name is input."""
    location: tuple[str | int, ...] = detail["loc"]
    return location[:-1] if detail["type"] == "extra_forbidden" else location


def _message(detail: dict[str, Any]) -> str:
    if detail["type"] == "extra_forbidden":
        return "unknown field: the only one is timeframe"
    return str(detail["msg"])
