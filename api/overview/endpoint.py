"""GET /status: its body is made at most once a second and shared, its answer goes a short way."""

import asyncio
import time
import zlib
from typing import Final, cast

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from api.answers import (
    CSP,
    JSON,
    NO_CACHE,
    NOSNIFF,
    Answer,
    Body,
    Header,
    Receive,
    Scope,
    Send,
    answer_to,
    send_answer,
    to_response,
)
from api.bytes_in_flight import BytesInFlight
from api.cors import Cors, origin_of
from api.documents.content_coding import Coding, choose_coding
from api.documents.endpoint import READING
from api.openapi import responses
from api.overview.models import Status
from api.overview.shown import status_json
from api.parts import Parts
from api.scrape import ProcessGroup
from config import Settings
from status.kept import Recent
from status.looking import Looking
from status.parts_state import DatabaseFound
from status.stores import Stores

PATH: Final = "/status"
MADE_EVERY_S: Final = 1.0
_LEVEL: Final = 3  # of gzip: a fifth of the bytes in a third of a millisecond
_GZIP: Final = 16 + zlib.MAX_WBITS
# As api/middleware.py adds them to other answers.
_HEADERS: Final[tuple[Header, ...]] = (
    *(JSON, NO_CACHE, (b"vary", b"Accept-Encoding"), NOSNIFF, CSP),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)


class _Shared:
    """One body in its codings, with their headers; gzip is made when it is first asked for."""

    def __init__(self, body: bytes) -> None:
        self._plain = self._answer(body)
        self._gzip: Answer | None = None
        self._bytes = body

    def answer(self, coding: Coding | None) -> Answer:
        if coding is not Coding.GZIP:
            return self._plain
        if self._gzip is None:
            packed = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
            body = packed.compress(self._bytes) + packed.flush()
            self._gzip = self._answer(body, (b"content-encoding", b"gzip"))
        return self._gzip

    @staticmethod
    def _answer(body: bytes, *more: Header) -> Answer:
        length = (b"content-length", b"%d" % len(body))
        return Answer(200, [*_HEADERS, length, *more], Body((body,), len(body)))


class StatusEndpoint:
    """Answers GET and HEAD. However many ask, the stores are asked once in MADE_EVERY_S."""

    def __init__(
        self,
        settings: Settings,
        version: str,
        parts: Parts,
        processes: ProcessGroup,
        probe: Recent[DatabaseFound],
        *,
        cors: Cors,
        in_flight: BytesInFlight,
    ) -> None:
        self._settings = settings
        self._version = version
        self._parts = parts
        self._processes = processes
        self._cors = cors
        self._in_flight = in_flight
        self.looking = Looking(settings, processes.read_of_alive(), probe)
        self._body: Recent[_Shared] = Recent(self._make, MADE_EVERY_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        try:
            if scope["method"] not in READING:
                raise HTTPException(405, headers={"Allow": "GET, HEAD"})
            answer = await self.answer(scope)
        except (Exception, asyncio.CancelledError) as error:
            answer = self._cors.applied(answer_to(error, PATH), origin_of(scope))
        self._processes.metrics.answered(
            scope["method"], PATH, answer.status, time.perf_counter() - began
        )
        await send_answer(scope, send, answer)

    async def answer(self, scope: Scope) -> Answer:
        """The answer, whose bytes all share and whose holding is released by who sends it. Raises
        TooManyBytes."""
        shared = await self._body(self._parts)
        found = shared.answer(_coding(scope))
        headers = self._cors.add_headers(found.headers, origin_of(scope))
        client = self._in_flight.client(scope)
        # All who are sent these bytes hold the same buffer.
        holding = self._in_flight.hold(client, {id(found): found.body.length})
        return Answer(found.status, headers, found.body, holding)

    async def aclose(self) -> None:
        await self.looking.aclose()

    async def _make(self, stores: Stores) -> _Shared:
        look = await self.looking.look(stores, self._parts.providers)
        told = status_json(self._settings, stores.store, look)
        own = self._processes.metrics.process
        told["processes"]["api"] = sorted({*look.snapshot.api, own})
        return _Shared(orjson.dumps({"version": self._version, **told}))


def build_overview() -> APIRouter:
    """The route, for its description: api/middleware.py leads to the endpoint before it."""
    router = APIRouter(tags=["status"])

    @router.get(
        PATH,
        response_model=Status,
        responses=responses(),
        summary="Everything that is known of the service",
    )
    async def status(request: Request) -> Response:
        """What is wrong, in words; documents, exchanges with their limits and streams, collectors,
        schedules, jobs, providers, the record, stores and processes. While a store is away,
        `stores` says why, and what only that store knows is empty or null. It is made at most once
        a second."""
        endpoint = cast(StatusEndpoint, request.scope["state"]["status"])
        answer = await endpoint.answer(request.scope)
        if answer.holding is not None:
            answer.holding.release()
        return to_response(answer)

    return router


def _coding(scope: Scope) -> Coding | None:
    """Gzip where the client takes it, as it is else: also where it would like deflate better."""
    accepts = next((value for name, value in scope["headers"] if name == b"accept-encoding"), None)
    if accepts is not None and choose_coding(accepts) is not Coding.IDENTITY and b"gzip" in accepts:
        return Coding.GZIP
    return Coding.IDENTITY
