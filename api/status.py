"""GET /health and GET /ready: liveness of the process, and readiness of each part."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.documents.listing import document_state
from api.models import Health, Ready
from api.openapi import responses
from api.parts import Parts
from api.state import RequestParts
from api.tokens import Tokens
from config import Settings
from documents.names import SERVED
from status.kept import Recent
from status.parts_state import (
    DEADLINE_S,
    DatabaseFound,
    StoreFound,
    judged,
    pause_keys,
    why_away,
)
from status.readiness import LOCKS
from stores.hot.beats import read_of_health
from stores.hot.journal import read_of_state
from stores.hot.read import read_together
from stores.hot.store import StoreUnavailable
from timing.clock import now_ms


def build_status(settings: Settings, tokens: Tokens, probe: Recent[DatabaseFound]) -> APIRouter:
    router = APIRouter(tags=["status"])

    @router.get("/health", responses=responses(), summary="Whether the process runs")
    async def health() -> Health:
        return Health()

    @router.get(
        "/ready",
        response_model=Ready,
        responses={
            **responses(),
            503: {"model": Ready, "description": "not ready: the store or every worker is down"},
        },
        summary="Whether the service works",
    )
    async def ready(request: Request, parts: RequestParts) -> JSONResponse:
        """503 if the hot store does not answer or no worker has sent a heartbeat for 30 s (over
        Upstash: 60 s).
        `degraded` while the database is away or read-only, the store takes no writes or has lost
        a document, a lease never ends, a job's last run failed, publishes wait to be recorded, or
        an exchange brings nothing, is paused, or its list of markets cannot be read: documents are
        still served. With READ_TOKEN
        set, only readers that send it get more than the status. `GET /status` tells all of it."""
        found, database = await asyncio.gather(_ask_store(parts, settings), probe(parts))
        state = judged(settings, parts.store, found, database)
        asked_ms = now_ms()
        answer: dict[str, Any] = {"status": state.status}
        if tokens.may_read(request.scope):
            answer["parts"] = state.states
            answer["caches"] = {
                name: meta and document_state(meta, asked_ms) for name, meta in found.metas.items()
            }
            if database.history is not None:
                answer["history_lag_s"] = database.history_lag_s
            answer |= {"detail": "; ".join(state.failed)} if state.failed else {}
        return JSONResponse(answer, status_code=503 if state.failed else 200)

    return router


async def _ask_store(parts: Parts, settings: Settings) -> StoreFound:
    (away, metas, lost, health, journal), (jobs, unknown) = await asyncio.gather(
        _documents_and_health(parts, settings), _jobs(parts)
    )
    return StoreFound(away, metas, lost, health, jobs, unknown, journal)


async def _documents_and_health(parts: Parts, settings: Settings) -> tuple[Any, ...]:
    pauses = [key for _, key in pause_keys(settings)]
    try:
        async with asyncio.timeout(DEADLINE_S):
            (metas, lost), (health, journal) = await asyncio.gather(
                parts.cache.read_states(SERVED),
                read_together(
                    *(parts.store, "ready"),
                    [read_of_health(locks=LOCKS, pauses=pauses), read_of_state()],
                ),
            )
    except (StoreUnavailable, TimeoutError) as error:
        return why_away(error), {}, (), None, None
    return None, metas, lost, health, journal


async def _jobs(parts: Parts) -> tuple[Any, str | None]:
    """All jobs' records, or why they are unknown."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await parts.queue.list(), None
    except (StoreUnavailable, TimeoutError) as error:
        return (), f"unknown: {why_away(error)}"
