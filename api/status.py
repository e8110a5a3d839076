"""GET /health and GET /ready: liveness of the process, and readiness of each part."""

import asyncio
from operator import itemgetter
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.documents.listing import document_state
from api.documents.nothing_yet import describe_run
from api.models import Health, Ready
from api.openapi import responses
from api.parts import Parts
from api.state import RequestParts
from cache_manager import DocumentMeta
from config import Settings
from database import DatabaseUnavailable
from documents.names import DOCUMENTS
from job_queue.records import LastRun
from stores.hot.beats import StoreHealth, beat_times, store_health
from stores.hot.store import StoreUnavailable
from timing.clock import now_ms

_READY_DEADLINE_S: Final = 2.0
_BEATS_UNKNOWN: Final = "unknown while the store takes no writes"


def build_status(settings: Settings) -> APIRouter:
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
    async def ready(parts: RequestParts) -> JSONResponse:
        """503 if the hot store does not answer or no worker has sent a heartbeat for 30 s (over
        Upstash: 60 s).
        `degraded` while the database is away, the store takes no writes, or the last run failed
        for want of an exchange: documents are still served."""
        (store, metas, health), database, exchanges = await asyncio.gather(
            _store_state(parts),
            _database_state(parts, settings),
            _exchanges_state(parts, settings),
        )
        worker = _worker_state(parts, health)
        states = {"store": store, "worker": worker, "database": database, "exchanges": exchanges}
        down = {"store": health is None, "worker": worker not in ("ok", _BEATS_UNKNOWN)}
        failed = [f"{part}: {states[part]}" for part, is_down in down.items() if is_down]
        all_ok = all(state == "ok" for state in states.values())
        status = "unavailable" if failed else "ready" if all_ok else "degraded"
        asked_ms = now_ms()
        caches = {name: meta and document_state(meta, asked_ms) for name, meta in metas.items()}
        answer: dict[str, Any] = {"status": status, "parts": states, "caches": caches}
        if failed:
            answer["detail"] = "; ".join(failed)
        return JSONResponse(answer, status_code=503 if failed else 200)

    return router


async def _store_state(
    parts: Parts,
) -> tuple[str, dict[str, DocumentMeta | None], StoreHealth | None]:
    try:
        async with asyncio.timeout(_READY_DEADLINE_S):
            metas, health = await asyncio.gather(
                parts.cache.read_metas(DOCUMENTS), store_health(parts.store)
            )
    except (StoreUnavailable, TimeoutError) as error:
        return f"away: {str(error) or 'no answer in time'}", {}, None
    state = "ok" if health.refusal is None else f"takes no writes: {health.refusal}"
    return state, metas, health


def _worker_state(parts: Parts, health: StoreHealth | None) -> str:
    if health is None:
        return "unknown while the store is away"
    if health.worker_alive:
        return "ok"
    if not health.can_beat:
        return _BEATS_UNKNOWN
    return f"no heartbeat from any worker for {beat_times(parts.store).ttl_s} s"


async def _database_state(parts: Parts, settings: Settings) -> str:
    try:
        async with asyncio.timeout(_READY_DEADLINE_S):
            await parts.database.markets.discovered_at_ms(settings.exchanges[0])
    except DatabaseUnavailable as error:
        return f"away: {error}"
    except TimeoutError:
        return f"away: no answer within {_READY_DEADLINE_S:g} s"
    return "ok"


async def _exchanges_state(parts: Parts, settings: Settings) -> str:
    """`ok` unless the last run failed because of an exchange; then how it ended.

    Runs that failed for other reasons are skipped: they tell nothing about the exchanges. The
    error of a run that an exchange failed begins with the exchange's name.
    """
    try:
        async with asyncio.timeout(_READY_DEADLINE_S):
            jobs = await parts.queue.list()
    except (StoreUnavailable, TimeoutError) as error:
        return f"unknown: {str(error) or 'no answer in time'}"
    runs = [(job.last.finished_at_ms, job.id, job.last) for job in jobs if job.last]
    relevant = [run for run in runs if _is_about_exchanges(run[2], settings)]
    if not relevant:
        return "ok"
    _, job_id, newest = max(relevant, key=itemgetter(0))
    return "ok" if newest.state == "complete" else describe_run(job_id, newest)


def _is_about_exchanges(last: LastRun, settings: Settings) -> bool:
    first_word = (last.error or "").partition(" ")[0].rstrip(":")
    return last.state == "complete" or (last.state == "failed" and first_word in settings.exchanges)
