"""GET /api/data-collections and /api/failures: what jobs have brought, and what has failed."""

from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.openapi import responses
from api.state import RequestParts
from api.workers.asking import asked
from api.workers.paging import PageReader, described_page
from api.workers.record_models import COLLECTION_STATES, DataCollections, Failures
from database import CollectionFilter, DataCollection, FailureFilter, FailureLog
from texts.hidden_addresses import without_addresses

COLLECTIONS_PATH: Final = "/api/data-collections"
FAILURES_PATH: Final = "/api/failures"


def build_records() -> APIRouter:
    router = APIRouter(tags=["workers"])

    @router.get(
        COLLECTIONS_PATH,
        response_model=DataCollections,
        responses=responses(422),
        summary="What was collected",
        name="list_collections",
        openapi_extra=described_page(
            {
                "kind": ("runs of these kinds of jobs", None),
                "subject": ("of these jobs, such as collect:5m", None),
                "state": ("with these ends", {"type": "string", "enum": [*COLLECTION_STATES]}),
                "host": ("on these hosts", None),
            }
        ),
    )
    async def list_collections(request: Request, parts: RequestParts) -> JSONResponse:
        """Each run of a job that collects: what it saved, and how long it took. `from` and `to` are
        of its end. The newest first."""
        reader = PageReader(request.scope["query_string"], ("kind", "subject", "state", "host"))
        kinds, subjects = reader.any_of("kind"), reader.any_of("subject")
        states, hosts = reader.one_of("state", COLLECTION_STATES), reader.any_of("host")
        page = reader.page("collections", kinds, subjects, states, hosts)
        which = CollectionFilter(
            kinds=kinds,
            subjects=subjects,
            states=states,
            hosts=hosts,
            from_ms=page.from_ms,
            to_ms=page.to_ms,
        )
        table = parts.database.data_collections
        found = await asked(table.listed(which, before=page.after, limit=page.limit + 1))
        return JSONResponse(
            {
                "collections": [_collection_json(each) for each in found[: page.limit]],
                "next": page.next(found, lambda each: (each.finished_at_ms, each.id or 0)),
            }
        )

    @router.get(
        FAILURES_PATH,
        response_model=Failures,
        responses=responses(422),
        summary="What failed",
        name="list_failures",
        openapi_extra=described_page(
            {
                "source": ("of these exchanges, providers, workers or stores", None),
                "subject": ("of these jobs, workers or endpoints", None),
                "market": ("of these markets, such as binance:BTCUSDT", None),
            }
        ),
    )
    async def list_failures(request: Request, parts: RequestParts) -> JSONResponse:
        """What failed, of which market, and why. The newest first."""
        reader = PageReader(request.scope["query_string"], ("source", "subject", "market"))
        sources, subjects = reader.any_of("source"), reader.any_of("subject")
        markets = reader.any_of("market")
        page = reader.page("failures", sources, subjects, markets)
        which = FailureFilter(
            sources=sources,
            subjects=subjects,
            markets=markets,
            from_ms=page.from_ms,
            to_ms=page.to_ms,
        )
        table = parts.database.failure_logs
        found = await asked(table.listed(which, before=page.after, limit=page.limit + 1))
        return JSONResponse(
            {
                "failures": [_failure_json(each) for each in found[: page.limit]],
                "next": page.next(found, lambda each: (each.at_ms, each.id or 0)),
            }
        )

    return router


def _collection_json(found: DataCollection) -> dict[str, Any]:
    return {
        "id": found.id,
        "kind": found.kind,
        "subject": found.subject,
        "run": found.run,
        "worker_run": found.worker_run,
        "started_at": found.started_at_ms,
        "finished_at": found.finished_at_ms,
        "state": found.state,
        "records": found.records,
        "requests": found.requests,
        "host": found.host,
        "details": dict(found.details),
    }


def _failure_json(found: FailureLog) -> dict[str, Any]:
    return {
        "id": found.id,
        "at": found.at_ms,
        "source": found.source,
        "subject": found.subject,
        "market": found.market,
        "cause": without_addresses(found.cause),
        "count": found.count,
    }
