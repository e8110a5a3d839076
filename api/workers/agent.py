"""The routes of /api/worker: the agent that feeds the service, seen and switched as one."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import JSONResponse

from api.cors import require_asked_page
from api.documents.query import InvalidQuery, QueryReader, only_parameters
from api.json_body import read_json
from api.openapi import content, responses
from api.parts import Parts
from api.request_body import read_body
from api.state import RequestParts, RequestWorkers
from api.tokens import Tokens, api_token_of
from api.workers.agent_models import (
    AgentHealth,
    AgentSchedules,
    AgentStats,
    AgentStatus,
    ForcedRounds,
    Switched,
)
from api.workers.control import BY, WorkerControl, refuse
from api.workers.models import ChangedWorker, ChangeWorker
from api.workers.routes import asked_run_json, changed
from api.workers.shown import error_json
from database import DatabaseUnavailable, RunRow, WorkerRow
from stores.hot.beats import workers_alive
from texts.hidden_addresses import without_addresses
from timing.clock import now_ms
from workers.control_errors import UnknownWorker
from workers.state import WorkerState

PATH: Final = "/api/worker"
UI: Final = "ui_data"
HISTORICAL: Final = "historical_data"
SWITCHED: Final = ("closes", HISTORICAL, UI)
ROUNDS: Final[Mapping[str, Sequence[str]]] = {
    "ui": (UI,),
    "historical": (HISTORICAL,),
    "both": (UI, HISTORICAL),
}
_LATE_MS: Final = 60_000  # a schedule that is due for so long fires nowhere
_TYPE: Final[dict[str, Any]] = {
    "name": "type",
    "in": "query",
    "description": "which round to run now",
    "required": False,
    "schema": {"type": "string", "enum": [*ROUNDS], "default": "both"},
}

T = TypeVar("T")
ScheduleName = Annotated[str, Path(description="the worker's name", examples=[UI])]


def build_agent(tokens: Tokens) -> APIRouter:
    router = APIRouter(prefix=PATH, tags=["workers"])
    token = Depends(api_token_of(tokens))
    changes = [token, Depends(require_asked_page)]

    @router.get(
        "/status",
        response_model=AgentStatus,
        dependencies=[Depends(only_parameters())],
        responses=responses(422),
        summary="Whether the agent runs",
        name="agent_status",
    )
    async def agent_status(parts: RequestParts, workers: RequestWorkers) -> JSONResponse:
        """Its switches, schedules and numbers; what is known of them while a store is away."""
        return JSONResponse(await _agent_status(parts, workers))

    @router.get(
        "/stats",
        response_model=AgentStats,
        dependencies=[Depends(only_parameters())],
        responses=responses(422),
        summary="What the agent has done",
        name="agent_stats",
    )
    async def agent_stats(parts: RequestParts, workers: RequestWorkers) -> JSONResponse:
        """Rounds and errors of ui_data and historical_data, and the rows that all collections have
        saved, as far back as RUN_HISTORY_DAYS keeps them."""
        return JSONResponse(await _stats(parts, workers))

    @router.get(
        "/schedules",
        response_model=AgentSchedules,
        dependencies=[Depends(only_parameters())],
        responses=responses(422),
        summary="The schedules",
        name="agent_schedules",
    )
    async def agent_schedules(workers: RequestWorkers) -> JSONResponse:
        """When each worker runs, and how it did last."""
        rows = await workers.ask(workers.control.workers())
        live, hot_store = await workers.live(row.name for row in rows)
        return JSONResponse({"schedules": _schedules(rows, live), "hot_store": hot_store})

    @router.patch(
        "/schedules/{name}",
        response_model=ChangedWorker,
        dependencies=[token],
        responses=responses(401, 404, 408, 422),
        summary="Change a schedule",
        name="change_schedule",
        openapi_extra={"requestBody": {"required": True, "content": content("ChangeWorker")}},
    )
    async def change_schedule(
        name: ScheduleName, request: Request, workers: RequestWorkers
    ) -> JSONResponse:
        """The same as `PATCH /api/workers/{name}`, of what a schedule fires: a WebSocket worker has
        none, 404."""
        change = await read_json(request, ChangeWorker)
        row = await workers.ask(workers.control.worker(name))
        if row.kind != "schedule":
            rows = await workers.ask(workers.control.workers())
            known = [each.name for each in rows if each.kind == "schedule"]
            refuse(UnknownWorker(name, known))
        return JSONResponse(await changed(workers, name, change))

    @router.get(
        "/health",
        response_model=AgentHealth,
        dependencies=[Depends(only_parameters())],
        responses=responses(422),
        summary="Whether the agent can do its work",
        name="agent_health",
    )
    async def agent_health(parts: RequestParts, workers: RequestWorkers) -> JSONResponse:
        """Answered with 200 whatever it says: `issues` tells what is wrong."""
        return JSONResponse(await _health(parts, workers))

    def add_switch(action: str, enabled: bool, summary: str, description: str) -> None:
        @router.post(
            f"/{action}",
            response_model=Switched,
            dependencies=changes,
            responses=responses(401, 403, 404, 408),
            summary=summary,
            description=description,
            name=f"{action}_agent",
        )
        async def switch(request: Request, workers: RequestWorkers) -> JSONResponse:
            await read_body(request)
            for name in SWITCHED:
                await workers.ask(workers.control.set_enabled(name, enabled, BY))
            running = list(SWITCHED) if enabled else []
            return JSONResponse({"status": "running" if enabled else "stopped", "running": running})

    add_switch(
        *("start", True, "Start the agent"),
        "Switches closes, ui_data and historical_data on.",
    )
    add_switch(
        *("stop", False, "Stop the agent"),
        "Switches closes, ui_data and historical_data off, until `start`. What is running ends by"
        " itself, and a round can still be forced.",
    )

    @router.post(
        "/force-collection",
        status_code=202,
        response_model=ForcedRounds,
        dependencies=changes,
        responses=responses(401, 403, 404, 408, 409, 422),
        summary="Collect now",
        name="force_collection",
        openapi_extra={"parameters": [_TYPE]},
    )
    async def force_collection(request: Request, workers: RequestWorkers) -> JSONResponse:
        """Runs ui_data, historical_data or both now; `GET /api/runs/{id}` tells what they saved."""
        kind = _round_type(request.scope["query_string"])
        await read_body(request)
        runs = [await asked_run_json(workers, name) for name in ROUNDS[kind]]
        return JSONResponse({"type": kind, "runs": runs}, status_code=202)

    return router


async def _known(asking: Awaitable[T], otherwise: T) -> tuple[T, str]:
    """What it returns, and `ok`; or `otherwise`, and why the database tells nothing."""
    try:
        return await asking, "ok"
    except DatabaseUnavailable as error:
        return otherwise, f"away: {without_addresses(error)}"


async def _stats(parts: Parts, workers: WorkerControl) -> dict[str, Any]:
    """The form of `AgentStats`."""
    found = await workers.ask(parts.database.worker_rounds.stats(ROUNDS["both"]))
    records = await workers.ask(parts.database.data_collections.records())
    complete = {name: stats.complete for name, stats in found.items()}
    return {
        "ui_collections": complete.get(UI, 0),
        "historical_collections": complete.get(HISTORICAL, 0),
        "total_records_saved": records,
        "errors": sum(stats.failed for stats in found.values()),
        "since": min((stats.since_ms for stats in found.values()), default=None),
    }


def _schedules(rows: Sequence[WorkerRow], live: Mapping[str, WorkerState]) -> list[dict[str, Any]]:
    """The forms of `AgentSchedule`."""
    unknown = WorkerState()
    return [
        {
            "name": row.name,
            "enabled": row.enabled,
            "cron": row.cron,
            "every_s": row.every_s,
            "offset_s": row.offset_s,
            "tz": row.tz,
            "next_run_at": row.next_run_ms,
            "state": live.get(row.name, unknown).state,
            "last_error": error_json(live.get(row.name, unknown).last_error),
        }
        for row in rows
        if row.kind == "schedule"
    ]


async def _agent_status(parts: Parts, workers: WorkerControl) -> dict[str, Any]:
    """The form of `AgentStatus`."""
    (rows, database), (live, hot_store) = await asyncio.gather(
        _known(workers.ask(workers.control.workers()), []), workers.live(SWITCHED)
    )
    if rows:
        live, hot_store = await workers.live(row.name for row in rows)
    found = {row.name: row for row in rows if row.name in SWITCHED}
    running = [name for name, row in found.items() if row.enabled]
    status = _status(workers, database, running, len(found))
    stats = None
    if database == "ok":
        stats, database = await _known(_stats(parts, workers), None)
    hosts = {live[name].host for name in SWITCHED if name in live} - {None}
    return {
        "status": status,
        "running": sorted(running),
        "stopped": sorted(found.keys() - set(running)),
        "hosts": sorted(map(str, hosts)),
        "schedules": _schedules(rows, live),
        "stats": stats,
        "database": database,
        "hot_store": hot_store,
    }


def _status(workers: WorkerControl, database: str, running: Sequence[str], known: int) -> str:
    if not workers.runs_here:
        return "off"
    if database != "ok":
        return "unknown"
    if len(running) == known:
        return "running" if known else "stopped"
    return "partly" if running else "stopped"


async def _health(parts: Parts, workers: WorkerControl) -> dict[str, Any]:
    """The form of `AgentHealth`."""
    (rows, database), (alive, hot_store) = await asyncio.gather(
        _known(workers.ask(workers.control.workers()), []),
        workers.ask_store(_any_alive(parts), None),
    )
    failed = []
    if not workers.runs_here:
        failed.append("SCHEDULES is off: nothing runs by itself")
    if alive is False:
        failed.append("no worker process is alive: nothing runs")
    if database == "ok" and not any(row.name in SWITCHED for row in rows):
        failed.append("there are no workers as yet: a process with SCHEDULES=on stores them")
    latest: Mapping[str, RunRow] = {}
    if names := [row.name for row in rows if row.kind == "schedule" and row.enabled]:
        latest, database = await _known(workers.ask(parts.database.run_rows.latest(names)), latest)
    issues = [f"the database is {database}"] if database != "ok" else []
    issues += [f"the hot store is {hot_store}"] if hot_store != "ok" else []
    issues += [f"{row.name} is stopped" for row in rows if row.name in SWITCHED and not row.enabled]
    issues += _run_issues(rows, latest)
    status = "unhealthy" if failed else "degraded" if issues else "healthy"
    return {
        "status": status,
        "issues": failed + issues,
        "workers_alive": alive,
        "database": database,
        "hot_store": hot_store,
    }


def _run_issues(rows: Sequence[WorkerRow], latest: Mapping[str, RunRow]) -> list[str]:
    """What is wrong with the runs of schedules that are on, `latest` of each."""
    late_ms = now_ms() - _LATE_MS
    return [
        *(
            f"{row.name} is due and not fired"
            for row in rows
            if row.enabled and row.next_run_ms is not None and row.next_run_ms < late_ms
        ),
        *(
            f"{name}: its last run failed: {error_json(run.error)}"
            for name, run in sorted(latest.items())
            if run.state == "failed"
        ),
    ]


async def _any_alive(parts: Parts) -> bool | None:
    return bool(await workers_alive(parts.store))


def _round_type(query_string: bytes) -> str:
    """Raises InvalidQuery."""
    reader = QueryReader(query_string, ("type",))
    kind = reader.single("type")
    if kind is None:
        kind = "both"
    if kind not in ROUNDS and not reader.errors:
        reader.refuse("type", "enum", f"must be one of {', '.join(ROUNDS)}")
    if reader.errors:
        raise InvalidQuery(reader.errors)
    return kind
