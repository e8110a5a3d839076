"""GET /status: the route; two commands of the hot store at most, and none for what it lacks."""

import asyncio

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.openapi import responses
from api.overview.models import Status
from api.overview.shown import status_json
from api.overview.snapshot import read_snapshot
from api.parts_state import DatabaseProbe, judged
from api.scrape import ProcessGroup
from api.state import RequestParts
from config import Settings
from timing.clock import now_ms


def build_overview(
    settings: Settings, version: str, processes: ProcessGroup, probe: DatabaseProbe
) -> APIRouter:
    router = APIRouter(tags=["status"])

    @router.get(
        "/status",
        response_model=Status,
        responses=responses(),
        summary="Everything that is known of the service",
    )
    async def status(parts: RequestParts) -> JSONResponse:
        """Documents, exchanges and their streams, jobs, stores and processes. While a store is
        away, `stores` says why, and what only that store knows is empty or null."""
        snapshot, database = await asyncio.gather(
            read_snapshot(parts, settings, processes.read_of_alive()), probe(parts)
        )
        state = judged(settings, parts.store, snapshot.store, database)
        told = status_json(settings, parts.store, snapshot, database, state, now_ms())
        told["processes"]["api"] = sorted({*snapshot.api, processes.metrics.process})
        return JSONResponse({"version": version, **told})

    return router
