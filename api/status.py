"""GET /health and /ready: whether the process lives, and whether the service can do its work."""

import asyncio
from operator import itemgetter
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.documents.listing import document_state
from api.documents.nothing_yet import how_it_ended
from api.models import Health, Ready
from api.openapi import responses
from api.parts import Parts
from api.state import RequestParts
from cache_manager import DocumentMeta
from config import Settings
from database import DatabaseUnavailable
from documents.names import DOCUMENTS
from job_queue.records import LastRun
from stores.hot.beats import StoreHealth, store_health
from stores.hot.store import StoreUnavailable
from timing.clock import now_ms

_READY_DEADLINE_S: Final = 2.0
_BEATS_UNKNOWN: Final = "not known while the store takes no writes"


def build_status(settings: Settings) -> APIRouter:
    router = APIRouter(tags=["status"])

    @router.get("/health", responses=responses(), summary="Whether the process lives")
    async def health() -> Health:
        return Health()

    @router.get(
        "/ready",
        response_model=Ready,
        responses={**responses(), 503: {"model": Ready, "description": "it cannot do its work"}},
        summary="Whether the service can do its work",
    )
    async def ready(parts: RequestParts) -> JSONResponse:
        """503 only when the hot store is away or no worker has lived for 30 s. Degraded while the
        database is away, while the store is full or takes no writes, and while no exchange can be
        reached: documents are served."""
        (store, metas, signs), database, exchanges = await asyncio.gather(
            _store_state(parts),
            _database_state(parts, settings),
            _exchanges_state(parts, settings),
        )
        worker = _worker_state(signs)
        states = {"store": store, "worker": worker, "database": database, "exchanges": exchanges}
        down = {"store": signs is None, "worker": worker not in ("ok", _BEATS_UNKNOWN)}
        lacking = [f"{part}: {states[part]}" for part, is_down in down.items() if is_down]
        well = all(state == "ok" for state in states.values())
        status = "unavailable" if lacking else "ready" if well else "degraded"
        asked_ms = now_ms()
        caches = {name: meta and document_state(meta, asked_ms) for name, meta in metas.items()}
        answer: dict[str, Any] = {"status": status, "parts": states, "caches": caches}
        if lacking:
            answer["detail"] = "; ".join(lacking)
        return JSONResponse(answer, status_code=503 if lacking else 200)

    return router


async def _store_state(
    parts: Parts,
) -> tuple[str, dict[str, DocumentMeta | None], StoreHealth | None]:
    try:
        async with asyncio.timeout(_READY_DEADLINE_S):
            metas, signs = await asyncio.gather(
                parts.cache.read_metas(DOCUMENTS), store_health(parts.store)
            )
    except (StoreUnavailable, TimeoutError) as error:
        return f"away: {str(error) or 'no answer in time'}", {}, None
    state = "ok" if signs.refusal is None else f"takes no writes: {signs.refusal}"
    return state, metas, signs


def _worker_state(signs: StoreHealth | None) -> str:
    if signs is None:
        return "not known while the store is away"
    if signs.worker_alive:
        return "ok"
    return "none has given a sign of life for 30 s" if signs.can_beat else _BEATS_UNKNOWN


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
    """Whether the exchanges could be reached when a job last needed them.

    The run that ended last says so, of those that are complete or that failed because of the
    exchanges: each cause of such a failure begins with the name of its exchange.
    """
    try:
        async with asyncio.timeout(_READY_DEADLINE_S):
            jobs = await parts.queue.list()
    except (StoreUnavailable, TimeoutError) as error:
        return f"not known: {str(error) or 'no answer in time'}"
    runs = [(job.last.finished_at_ms, job.id, job.last) for job in jobs if job.last]
    told = [run for run in runs if _tells_of_exchanges(run[2], settings)]
    if not told:
        return "ok"
    _, job_id, newest = max(told, key=itemgetter(0))
    return "ok" if newest.state == "complete" else how_it_ended(job_id, newest)


def _tells_of_exchanges(last: LastRun, settings: Settings) -> bool:
    first_word = (last.error or "").partition(" ")[0].rstrip(":")
    return last.state == "complete" or (last.state == "failed" and first_word in settings.exchanges)
