"""The job routes: POST queues a job, GET shows it, DELETE aborts it; with their tokens."""

import asyncio
from collections.abc import Collection
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Security
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer

from api.documents.query import only_parameters
from api.json_body import read_json
from api.models import GetMarketData, Job, Jobs
from api.openapi import content, responses
from api.request_body import read_body
from api.state import RequestParts
from api.tokens import Tokens, api_token_of
from config import Settings
from job_queue.kinds import KINDS, collect_id, job_definition, lane_of
from job_queue.records import JobRecord
from market.timeframes import Timeframe
from status.runs import told_error
from stores.hot.leases import current_holder

# A POST answers within 3 s, even if the store does not.
_POST_DEADLINE_S: Final = 2.7


def job_json(job: JobRecord, timeframes: Collection[Timeframe]) -> dict[str, Any]:
    """The job in the form of `api.models.Job`; `timeframes` is the setting TIMEFRAMES."""
    last, definition = job.last, job_definition(job.id)
    return {
        "id": job.id,
        "kind": job.kind,
        "timeframe": definition.asked,
        "produces": definition.published(timeframes),
        "run": job.run,
        "state": job.state,
        "coalesced": job.coalesced,
        "rerun": job.rerun,
        "enqueued_at": job.enqueued_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "attempts": job.attempts,
        "progress": {"phase": job.phase, "done": job.done, "total": job.total},
        "error": told_error(job.error),
        "result": job.result,
        "last": last
        and {
            "run": last.run,
            "state": last.state,
            "as_of": last.as_of_ms,
            "finished_at": last.finished_at_ms,
            "result": last.result,
            "error": told_error(last.error),
        },
    }


def _accepted(job: dict[str, Any]) -> JSONResponse:
    return JSONResponse(job, status_code=202, headers={"Location": f"/jobs/{job['id']}"})


def build_jobs(settings: Settings, tokens: Tokens) -> APIRouter:
    router = APIRouter(tags=["jobs"])
    shown = partial(job_json, timeframes=settings.timeframes)
    api_token = api_token_of(tokens)
    cron_scheme = HTTPBearer(scheme_name="CRON_SECRET", auto_error=False)

    async def cron_secret(request: Request, _: Annotated[object, Security(cron_scheme)]) -> None:
        tokens.require_cron(request)

    @router.post(
        "/get-market-data",
        status_code=202,
        response_model=Job,
        dependencies=[Depends(api_token), Depends(only_parameters("if_busy"))],
        responses=responses(401, 408, 409, 422, 503),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": content("GetMarketData"),
            }
        },
        summary="Queue a refresh of one timeframe, or of all",
    )
    async def get_market_data(
        request: Request,
        parts: RequestParts,
        if_busy: Annotated[
            Literal["reject"] | None,
            Query(description="reject: 409 instead of queueing while a worker is busy"),
        ] = None,
    ) -> JSONResponse:
        """Joins a refresh that is queued; one that is under way is followed by another. The
        answer's `run` is the run whose data is no older than this request."""
        body = await read_json(request, GetMarketData)
        async with asyncio.timeout(_POST_DEADLINE_S):
            job_id = collect_id(body.timeframe)
            if if_busy and (holder := await current_holder(parts.store, lane_of(job_id))):
                wait_s = max(1, -(-holder.ttl_ms // 1000))
                raise HTTPException(
                    409, f"the worker is busy: {holder.holder}", {"Retry-After": str(wait_s)}
                )
            return _accepted(shown(await parts.queue.request(job_id)))

    def add_internal(path: str, job_id: str, title: str) -> None:
        @router.post(
            f"/api/v1/internal/{path}",
            status_code=202,
            response_model=Job,
            dependencies=[Depends(cron_secret)],
            responses=responses(401, 403, 408, 503),
            name=path.replace("-", "_"),
            summary=f"Queue a {title}",
        )
        async def request_internal(request: Request, parts: RequestParts) -> JSONResponse:
            await read_body(request)
            async with asyncio.timeout(_POST_DEADLINE_S):
                return _accepted(shown(await parts.queue.request(job_id)))

    for kind in KINDS:
        if kind.internal is not None:
            add_internal(kind.internal, kind.name, kind.title)

    @router.get("/jobs", response_model=Jobs, responses=responses(503), summary="All jobs")
    async def list_jobs(parts: RequestParts) -> JSONResponse:
        return JSONResponse({"jobs": [shown(job) for job in await parts.queue.list()]})

    @router.get(
        "/jobs/{job_id}", response_model=Job, responses=responses(404, 503), summary="One job"
    )
    async def get_job(job_id: str, parts: RequestParts) -> JSONResponse:
        return JSONResponse(shown(_known(await parts.queue.get(job_id))))

    @router.delete(
        "/jobs/{job_id}",
        status_code=202,
        response_model=Job,
        dependencies=[Depends(api_token)],
        responses=responses(401, 404, 408, 503),
        summary="Abort a job",
    )
    async def delete_job(job_id: str, request: Request, parts: RequestParts) -> JSONResponse:
        """A queued or active job ends as `aborted`; a finished one is unchanged."""
        await read_body(request)
        async with asyncio.timeout(_POST_DEADLINE_S):
            return _accepted(shown(_known(await parts.queue.abort(job_id))))

    return router


def _known(job: JobRecord | None) -> JobRecord:
    if job is None:
        raise HTTPException(404, "unknown job; GET /jobs lists the known ones")
    return job
