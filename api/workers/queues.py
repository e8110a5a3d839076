"""The routes of /api/queues: GET tells of them, POST pauses and resumes one on all hosts."""

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import JSONResponse

from api.cors import require_asked_page
from api.documents.query import InvalidQuery, QueryReader, only_parameters
from api.json_body import read_json
from api.openapi import content, responses
from api.request_body import read_body
from api.state import RequestWorkers
from api.tokens import Tokens, api_token_of
from api.workers.control import BY
from api.workers.setting_models import LimitQueue, Queue, Queues
from api.workers.shown import queue_json

PATH: Final = "/api/queues"
LONGEST_PAUSE_S: Final = 366 * 86_400
_DURATION: Final = re.compile(r"([0-9]{1,8})(s|m|h|d)?", re.ASCII)
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_FOR: Final[dict[str, Any]] = {
    "name": "for",
    "in": "query",
    "description": "for how long, such as 90s, 15m, 2h or 1d; seconds without a unit; not given:"
    " until it is resumed",
    "required": False,
    "schema": {"type": "string", "pattern": "^[1-9][0-9]{0,3}[smhd]?$"},
    "example": "15m",
}

QueueName = Annotated[str, Path(description="the queue's name", examples=["default"])]


def build_queues(tokens: Tokens) -> APIRouter:
    router = APIRouter(tags=["workers"])
    token = Depends(api_token_of(tokens))
    changes = [token, Depends(require_asked_page)]

    @router.get(
        PATH,
        response_model=Queues,
        dependencies=[Depends(only_parameters())],
        responses=responses(422),
        summary="All queues",
        name="list_queues",
    )
    async def list_queues(workers: RequestWorkers) -> JSONResponse:
        """Those of workers and runs: how many runs wait in each, and whether it is paused."""
        found = await workers.ask(workers.control.queues())
        return JSONResponse({"queues": [queue_json(each) for each in found]})

    @router.patch(
        f"{PATH}/{{name}}",
        response_model=Queue,
        dependencies=[token],
        responses=responses(401, 404, 408, 422),
        summary="Limit a queue",
        name="limit_queue",
        openapi_extra={"requestBody": {"required": True, "content": content("LimitQueue")}},
    )
    async def limit_queue(
        name: QueueName, request: Request, workers: RequestWorkers
    ) -> JSONResponse:
        """At most so many of its runs run at once, over all hosts."""
        asked = await read_json(request, LimitQueue)
        found = await workers.ask(workers.control.limit(name, asked.concurrency, BY))
        return JSONResponse(queue_json(found))

    @router.post(
        f"{PATH}/{{name}}/pause",
        response_model=Queue,
        dependencies=changes,
        responses=responses(401, 403, 404, 408, 422),
        summary="Pause a queue",
        name="pause_queue",
        openapi_extra={"parameters": [_FOR]},
    )
    async def pause_queue(
        name: QueueName, request: Request, workers: RequestWorkers
    ) -> JSONResponse:
        """No host begins a run of it; what is running goes on, and schedules go on to fire into
        it."""
        for_s = read_duration(request.scope["query_string"])
        await read_body(request)
        found = await workers.ask(workers.control.pause(name, for_s, BY))
        return JSONResponse(queue_json(found))

    @router.post(
        f"{PATH}/{{name}}/resume",
        response_model=Queue,
        dependencies=changes,
        responses=responses(401, 403, 404, 408),
        summary="Resume a queue",
        name="resume_queue",
    )
    async def resume_queue(
        name: QueueName, request: Request, workers: RequestWorkers
    ) -> JSONResponse:
        """Its runs begin again, within a second on every host."""
        await read_body(request)
        found = await workers.ask(workers.control.resume(name, BY))
        return JSONResponse(queue_json(found))

    return router


def read_duration(query_string: bytes) -> float | None:
    """`for` in seconds; None: without an end. Raises InvalidQuery."""
    reader = QueryReader(query_string, ("for",))
    text = reader.single("for")
    seconds = None
    if text is not None:
        found = _DURATION.fullmatch(text)
        seconds = 0 if found is None else int(found[1]) * _UNITS_S[found[2] or "s"]
        if not 0 < seconds <= LONGEST_PAUSE_S:
            reader.refuse("for", "duration", "must be like 90s, 15m, 2h or 1d, at most 366d")
    if reader.errors:
        raise InvalidQuery(reader.errors)
    return seconds
