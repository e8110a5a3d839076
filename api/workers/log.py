"""GET /api/execution-log and /api/runs/{id}/log: what workers have logged, page by page."""

from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.openapi import responses
from api.parts import Parts
from api.state import RequestParts, RequestWorkers
from api.workers.control import WorkerControl
from api.workers.paging import Page, PageReader, described_page
from api.workers.record_models import LEVELS, LogLines
from api.workers.runs import PATH as RUNS
from api.workers.runs import RunId
from database import LogFilter, LogLine
from texts.hidden_addresses import without_addresses

PATH: Final = "/api/execution-log"
_LEVEL: Final[dict[str, Any]] = {
    "name": "level",
    "in": "query",
    "description": "lines of this level and of more serious ones",
    "required": False,
    "schema": {"type": "string", "enum": [*LEVELS]},
}
_NEWEST: Final[dict[str, Any]] = {
    "name": "newest",
    "in": "query",
    "description": "the newest lines first; else the oldest",
    "required": False,
    "schema": {"type": "boolean", "default": False},
}
_WORKER: Final[dict[str, Any]] = {
    "name": "worker",
    "in": "query",
    "description": "lines of this worker",
    "required": False,
    "schema": {"type": "string", "pattern": "^[a-z0-9_]{1,64}$"},
    "example": "ui_data",
}


def build_log() -> APIRouter:
    router = APIRouter(tags=["workers"])
    page_parameters = described_page({})["parameters"]

    @router.get(
        PATH,
        response_model=LogLines,
        responses=responses(422),
        summary="The log of all workers",
        name="list_log",
        openapi_extra={"parameters": [_WORKER, _LEVEL, _NEWEST, *page_parameters]},
    )
    async def list_log(
        request: Request, parts: RequestParts, workers: RequestWorkers
    ) -> JSONResponse:
        """What runs have logged, as far back as RUN_LOG_DAYS keeps it. Where lines were lost,
        because more came than could be written, a line tells how many."""
        reader = PageReader(request.scope["query_string"], ("worker", "level", "newest"))
        worker = reader.one_name("worker")
        return await _answer(parts, workers, reader, worker=worker)

    @router.get(
        f"{RUNS}/{{run_id}}/log",
        response_model=LogLines,
        responses=responses(404, 422),
        summary="The log of a run",
        name="list_run_log",
        openapi_extra={"parameters": [_LEVEL, _NEWEST, *page_parameters]},
    )
    async def list_run_log(
        run_id: RunId, request: Request, parts: RequestParts, workers: RequestWorkers
    ) -> JSONResponse:
        """Of all its attempts."""
        reader = PageReader(request.scope["query_string"], ("level", "newest"))
        return await _answer(parts, workers, reader, run=run_id)

    return router


async def _answer(
    parts: Parts,
    workers: WorkerControl,
    reader: PageReader,
    *,
    worker: str | None = None,
    run: int | None = None,
) -> JSONResponse:
    level = reader.single("level")
    if level is not None and level not in LEVELS:
        reader.refuse("level", "enum", f"must be one of {', '.join(LEVELS)}")
    newest = reader.boolean("newest")
    page = reader.page("log", worker, run, level, newest)
    if run is not None:
        await workers.ask(workers.control.run(run))
    which = LogFilter(worker=worker, run=run, level=level, from_ms=page.from_ms, to_ms=page.to_ms)
    found = await workers.ask(
        parts.database.execution_log.listed(
            which, limit=page.limit + 1, newest=newest, after=page.after
        )
    )
    return JSONResponse(_page_json(page, found))


def _page_json(page: Page, found: list[LogLine]) -> dict[str, Any]:
    return {
        "lines": [
            {
                "id": line.id,
                "at": line.at_ms,
                "worker": line.worker,
                "run": line.run,
                "host": line.host,
                "level": line.level,
                "event": without_addresses(line.event),
                "fields": {key: _hidden(value) for key, value in line.fields.items()},
            }
            for line in found[: page.limit]
        ],
        "next": page.next(found, lambda line: line.cursor),
    }


def _hidden(value: Any) -> Any:
    """The value with its texts as strangers may read them."""
    if isinstance(value, str):
        return without_addresses(value)
    if isinstance(value, dict):
        return {key: _hidden(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_hidden(each) for each in value]
    return value
