"""The routes of workers: GET tells of them, POST, PATCH and DELETE change them or run one now."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from api.cors import require_asked_page
from api.documents.query import only_parameters
from api.json_body import read_json
from api.openapi import content, responses
from api.request_body import read_body
from api.state import RequestWorkers
from api.tokens import Tokens, api_token_of
from api.workers.control import BY, WorkerControl
from api.workers.models import (
    AskedRun,
    ChangedWorker,
    ChangeWorker,
    OneWorker,
    Runs,
    Workers,
)
from api.workers.paging import PageReader, described_page
from api.workers.shown import declared_json, run_json, value_json, worker_json
from database import RunFilter, WorkerRow
from stores.cold.workers.run_rows import REASONS, RUN_STATES

PATH: Final = "/api/workers"
NEXT_FIRINGS: Final = 5

WorkerName = Annotated[str, Path(description="the worker's name", examples=["ui_data"])]


def build_workers(tokens: Tokens) -> APIRouter:
    router = APIRouter(tags=["workers"])
    token = Depends(api_token_of(tokens))
    changes = [token, Depends(require_asked_page)]

    @router.get(
        PATH,
        response_model=Workers,
        dependencies=[Depends(only_parameters())],
        responses=responses(422),
        summary="All workers",
        name="list_workers",
    )
    async def list_workers(workers: RequestWorkers) -> JSONResponse:
        """What each does and when, with what an operator has changed, and how it is now."""
        rows = await workers.ask(workers.control.workers())
        live, hot_store = await workers.live(row.name for row in rows)
        found = [worker_json(row, live.get(row.name)) for row in rows]
        return JSONResponse({"workers": found, "hot_store": hot_store})

    @router.get(
        f"{PATH}/{{name}}",
        response_model=OneWorker,
        dependencies=[Depends(only_parameters())],
        responses=responses(404, 422),
        summary="One worker",
        name="get_worker",
    )
    async def get_worker(name: WorkerName, workers: RequestWorkers) -> JSONResponse:
        """All that is known of it: also what its code declares, its configuration, and when it runs
        next."""
        row = await workers.ask(workers.control.worker(name))
        body = await changed_json(workers, row)
        values = await workers.ask(workers.configuration.explained(name))
        configuration = [value_json(each) for each in values]
        return JSONResponse({**body, **declared_json(row), "configuration": configuration})

    @router.patch(
        f"{PATH}/{{name}}",
        response_model=ChangedWorker,
        dependencies=[token],
        responses=responses(401, 404, 408, 422),
        summary="Change a worker",
        name="change_worker",
        openapi_extra={"requestBody": {"required": True, "content": content("ChangeWorker")}},
    )
    async def change_worker(
        name: WorkerName, request: Request, workers: RequestWorkers
    ) -> JSONResponse:
        """On every host within a second, also after restarts, until `DELETE .../override`. The
        answer has the next five firings."""
        return JSONResponse(await changed(workers, name, await read_json(request, ChangeWorker)))

    @router.delete(
        f"{PATH}/{{name}}/override",
        response_model=ChangedWorker,
        dependencies=changes,
        responses=responses(401, 403, 404, 408),
        summary="Undo all changes of a worker",
        name="reset_worker",
    )
    async def reset_worker(
        name: WorkerName, request: Request, workers: RequestWorkers
    ) -> JSONResponse:
        """Back to what its code says."""
        await read_body(request)
        found = await workers.ask(workers.control.without_override(name, BY))
        return JSONResponse(await changed_json(workers, found.worker))

    def add_switch(action: str, enabled: bool, summary: str, description: str) -> None:
        @router.post(
            f"{PATH}/{{name}}/{action}",
            response_model=ChangedWorker,
            dependencies=changes,
            responses=responses(401, 403, 404, 408),
            summary=summary,
            description=description,
            name=f"{action}_worker",
        )
        async def switch(
            name: WorkerName, request: Request, workers: RequestWorkers
        ) -> JSONResponse:
            await read_body(request)
            row = await workers.ask(workers.control.set_enabled(name, enabled, BY))
            return JSONResponse(await changed_json(workers, row))

    add_switch(
        *("start", True, "Start a worker"),
        "Its schedule fires from now on; a WebSocket worker connects, also one that had been given"
        " up.",
    )
    add_switch(
        *("stop", False, "Stop a worker"),
        "Its schedule fires no more, until `start`; what is running ends by itself, and `run` still"
        " runs it. A WebSocket worker disconnects.",
    )

    @router.post(
        f"{PATH}/{{name}}/run",
        status_code=202,
        response_model=AskedRun,
        dependencies=changes,
        responses=responses(401, 403, 404, 408, 409),
        summary="Run a worker now",
        name="run_worker",
    )
    async def run_worker(
        name: WorkerName, request: Request, workers: RequestWorkers
    ) -> JSONResponse:
        """On the next free host that serves its queue. Where a run of it is queued or running
        already, `coalesced` is true and that one answers for it."""
        await read_body(request)
        return asked_run(await asked_run_json(workers, name))

    @router.get(
        f"{PATH}/{{name}}/runs",
        response_model=Runs,
        responses=responses(404, 422),
        summary="The runs of a worker",
        name="list_worker_runs",
        openapi_extra=described_page(
            {
                "state": ("in these states", {"type": "string", "enum": [*RUN_STATES]}),
                "why": ("that were asked for so", {"type": "string", "enum": [*REASONS]}),
            }
        ),
    )
    async def list_worker_runs(
        name: WorkerName, request: Request, workers: RequestWorkers
    ) -> JSONResponse:
        """`from` and `to` are of `slot`. The newest first."""
        reader = PageReader(request.scope["query_string"], ("state", "why"))
        states, whys = reader.one_of("state", RUN_STATES), reader.one_of("why", REASONS)
        page = reader.page("runs", name, states, whys)
        await workers.ask(workers.control.worker(name))
        which = RunFilter(
            worker=name, states=states, why=whys, from_ms=page.from_ms, to_ms=page.to_ms
        )
        found = await workers.ask(workers.control.runs(which, page.after, page.limit + 1))
        return JSONResponse(
            {
                "runs": [run_json(each) for each in found[: page.limit]],
                "next": page.next(found, lambda each: (each.slot_ms, each.id)),
            }
        )

    return router


async def changed(workers: WorkerControl, name: str, asked: ChangeWorker) -> dict[str, Any]:
    """The form of `ChangedWorker`, after what is asked for was changed."""
    changes: Mapping[str, Any] = asked.model_dump(exclude_unset=True)
    if not changes:
        fields = ", ".join(ChangeWorker.model_fields)
        error = {"type": "empty", "loc": ("body",), "msg": f"must change some of {fields}"}
        raise RequestValidationError([error])
    found = await workers.ask(workers.control.change(name, changes, BY))
    return await changed_json(workers, found.worker)


async def changed_json(workers: WorkerControl, row: WorkerRow) -> dict[str, Any]:
    """The form of `ChangedWorker`."""
    live, hot_store = await workers.live([row.name])
    return {
        **worker_json(row, live.get(row.name)),
        "next_runs": workers.control.next_firings(row, NEXT_FIRINGS),
        "hot_store": hot_store,
    }


async def asked_run_json(workers: WorkerControl, name: str) -> dict[str, Any]:
    """A run of the worker that is asked for now, in the form of `AskedRun`."""
    await workers.ask(workers.control.worker(name))  # a 404 says more than a 409
    workers.require_engine()
    found = await workers.ask(workers.control.force(name, BY))
    return {**run_json(found.run), "coalesced": found.coalesced}


def asked_run(body: dict[str, Any]) -> JSONResponse:
    return JSONResponse(body, status_code=202, headers={"Location": f"/api/runs/{body['id']}"})
