"""The routes of /api/runs: one run, its log, and how it is aborted or tried again."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import JSONResponse

from api.cors import require_asked_page
from api.documents.query import only_parameters
from api.openapi import responses
from api.request_body import read_body
from api.state import RequestWorkers
from api.tokens import Tokens, api_token_of
from api.workers.control import BY
from api.workers.models import AskedRun, Run
from api.workers.routes import asked_run
from api.workers.shown import run_json

PATH: Final = "/api/runs"

RunId = Annotated[int, Path(ge=1, le=2**63 - 1, description="the run's id", examples=[4711])]


def build_runs(tokens: Tokens) -> APIRouter:
    router = APIRouter(tags=["workers"])
    changes = [Depends(api_token_of(tokens)), Depends(require_asked_page)]

    @router.get(
        f"{PATH}/{{run_id}}",
        response_model=Run,
        dependencies=[Depends(only_parameters())],
        responses=responses(404, 422),
        summary="One run",
        name="get_run",
    )
    async def get_run(run_id: RunId, workers: RequestWorkers) -> JSONResponse:
        """Its state, its attempts, and what it has returned or why it failed."""
        return JSONResponse(run_json(await workers.ask(workers.control.run(run_id))))

    @router.post(
        f"{PATH}/{{run_id}}/abort",
        status_code=202,
        response_model=Run,
        dependencies=changes,
        responses=responses(401, 403, 404, 408, 409, 422),
        summary="Abort a run",
        name="abort_run",
    )
    async def abort_run(run_id: RunId, request: Request, workers: RequestWorkers) -> JSONResponse:
        """A queued one never begins, a running one is stopped within a second and writes nothing
        more. One that is over is not aborted: 409."""
        await read_body(request)
        found = await workers.ask(workers.control.abort(run_id, BY))
        return JSONResponse(run_json(found), status_code=202)

    @router.post(
        f"{PATH}/{{run_id}}/retry",
        status_code=202,
        response_model=AskedRun,
        dependencies=changes,
        responses=responses(401, 403, 404, 408, 409, 422),
        summary="Try a run again",
        name="retry_run",
    )
    async def retry_run(run_id: RunId, request: Request, workers: RequestWorkers) -> JSONResponse:
        """A new run of the same worker with the same input. One that is not over yet is not tried
        again: 409."""
        await read_body(request)
        await workers.ask(workers.control.run(run_id))
        workers.require_engine()
        found = await workers.ask(workers.control.retry(run_id, BY))
        return asked_run({**run_json(found.run), "coalesced": found.coalesced})

    return router
