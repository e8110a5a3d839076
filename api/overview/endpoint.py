"""GET /status: the route; it costs one command of the hot store, two where there are collectors."""

import asyncio

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.openapi import responses
from api.overview.collectors import collectors_json, wanted_collectors
from api.overview.models import Status
from api.overview.shown import status_json
from api.scrape import ProcessGroup
from api.state import RequestParts
from config import Settings
from status.looking import Looking
from status.parts_state import DatabaseFound, Recent


def build_overview(
    settings: Settings, version: str, processes: ProcessGroup, probe: Recent[DatabaseFound]
) -> APIRouter:
    router = APIRouter(tags=["status"])
    collectors = Recent(wanted_collectors)
    looking = Looking(settings, processes.read_of_alive(), probe)

    @router.get(
        "/status",
        response_model=Status,
        responses=responses(),
        summary="Everything that is known of the service",
    )
    async def status(parts: RequestParts) -> JSONResponse:
        """Documents, exchanges and their streams, collectors, jobs, stores and processes. While a
        store is away, `stores` says why, and what only that store knows is empty or null."""
        look, wanted = await asyncio.gather(looking.look(parts), collectors(parts))
        snapshot = look.snapshot
        told = status_json(settings, parts.store, look)
        told["processes"]["api"] = sorted({*snapshot.api, processes.metrics.process})
        told["collectors"] = await collectors_json(
            parts, wanted, store_is_there=snapshot.store.health is not None
        )
        return JSONResponse({"version": version, **told})

    return router
