"""GET /health and GET /ready: liveness of the process, and readiness of each part."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.documents.listing import document_state
from api.models import Health, Ready
from api.openapi import responses
from api.parts import Parts
from api.readiness import (
    LOCKS,
    exchanges_state,
    failures_state,
    locks_state,
    lost_state,
    writes_state,
)
from api.state import RequestParts
from api.tokens import Tokens
from budgets.proxies import egress_id_of, pause_key
from cache_manager import DocumentMeta
from config import Settings
from database import DATABASE_TEXT, LASTING_TEXTS, DatabaseUnavailable, ListingState
from documents.names import DOCUMENTS
from job_queue.records import JobRecord
from market.markets import Exchange
from stores.hot.beats import StoreHealth, beat_times, store_health
from stores.hot.store import StoreUnavailable
from texts.hidden_addresses import without_addresses
from timing.clock import now_ms

_READY_DEADLINE_S: Final = 2.0
_PROBE_EVERY_S: Final = 1.0
_BEATS_UNKNOWN: Final = "unknown while the store takes no writes"


def build_status(settings: Settings, tokens: Tokens) -> APIRouter:
    router = APIRouter(tags=["status"])
    probe = _DatabaseProbe(settings)

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
    async def ready(request: Request, parts: RequestParts) -> JSONResponse:
        """503 if the hot store does not answer or no worker has sent a heartbeat for 30 s (over
        Upstash: 60 s).
        `degraded` while the database is away or read-only, the store takes no writes or has lost
        a document, a lease never ends, a job's last run failed, or an exchange brings nothing, is
        paused, or its list of markets cannot be read: documents are still served. With READ_TOKEN
        set, only readers that send it get more than the status."""
        (store, metas, health), (database, lists, refusal), (jobs, unknown) = await asyncio.gather(
            _store_state(parts, settings), probe(parts), _jobs(parts)
        )
        worker, no_worker = _worker_state(parts, settings, health)
        if not no_worker:
            worker = _together(
                worker, failures_state(settings.exchanges, jobs, settings.timeframes)
            )
        if database == "ok":
            database = writes_state(refusal, jobs)
        lasting = health.pauses if health is not None else {}
        pauses = {each: lasting[key] for each, key in _pause_keys(settings) if key in lasting}
        exchanges = unknown or exchanges_state(settings.exchanges, jobs, lists, pauses)
        states = {"store": store, "worker": worker, "database": database, "exchanges": exchanges}
        down = {"store": health is None, "worker": no_worker}
        failed = [f"{part}: {states[part]}" for part, is_down in down.items() if is_down]
        all_ok = all(state == "ok" for state in states.values())
        status = "unavailable" if failed else "ready" if all_ok else "degraded"
        asked_ms = now_ms()
        caches = {name: meta and document_state(meta, asked_ms) for name, meta in metas.items()}
        answer: dict[str, Any] = {"status": status}
        if tokens.may_read(request.scope):
            answer |= {"parts": states, "caches": caches}
            answer |= {"detail": "; ".join(failed)} if failed else {}
        return JSONResponse(answer, status_code=503 if failed else 200)

    return router


async def _store_state(
    parts: Parts, settings: Settings
) -> tuple[str, dict[str, DocumentMeta | None], StoreHealth | None]:
    pauses = [key for _, key in _pause_keys(settings)]
    try:
        async with asyncio.timeout(_READY_DEADLINE_S):
            (metas, lost), health = await asyncio.gather(
                parts.cache.read_states(DOCUMENTS),
                store_health(parts.store, locks=LOCKS, pauses=pauses),
            )
    except (StoreUnavailable, TimeoutError) as error:
        return f"away: {without_addresses(error) or 'no answer in time'}", {}, None
    refused = "ok" if health.refusal is None else f"takes no writes: {health.refusal}"
    return _together(refused, lost_state(lost)), metas, health


def _pause_keys(settings: Settings) -> list[tuple[Exchange, str]]:
    return [(each, pause_key(egress_id_of(settings, each), each)) for each in settings.exchanges]


def _worker_state(parts: Parts, settings: Settings, health: StoreHealth | None) -> tuple[str, bool]:
    """The state of workers and leases, and whether no worker can run jobs."""
    if health is None:
        return "unknown while the store is away", True
    if health.worker_alive:
        return locks_state(health, parts.store.prefix, settings.worker_lock_ttl_s), False
    if not health.can_beat:
        return _BEATS_UNKNOWN, False
    return f"no heartbeat from any worker for {beat_times(parts.store).ttl_s} s", True


def _together(*states: str) -> str:
    return "; ".join(state for state in states if state != "ok") or "ok"


class _DatabaseProbe:
    """What the database tells, asked at most once a second however many ask."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asking = asyncio.Lock()
        self._fresh_until_s = float("-inf")
        self._found: tuple[str, Mapping[Exchange, ListingState], str | None] = ("ok", {}, None)

    async def __call__(
        self, parts: Parts
    ) -> tuple[str, Mapping[Exchange, ListingState], str | None]:
        """`ok` or why it is away; the state of each exchange's list; why it takes no writes."""
        async with self._asking:
            if time.monotonic() >= self._fresh_until_s:
                self._found = await self._ask(parts)
                self._fresh_until_s = time.monotonic() + _PROBE_EVERY_S
        return self._found

    async def _ask(self, parts: Parts) -> tuple[str, Mapping[Exchange, ListingState], str | None]:
        settings = self._settings
        try:
            async with asyncio.timeout(_READY_DEADLINE_S):
                lists, refusal = await parts.database.listings.probe(
                    settings.exchanges, settings.quote
                )
        except DatabaseUnavailable as error:
            told = without_addresses(error)
            if told.startswith(LASTING_TEXTS):  # it is there
                return told.removeprefix(DATABASE_TEXT), {}, None
            return f"away: {told}", {}, None
        except TimeoutError:
            return f"away: no answer within {_READY_DEADLINE_S:g} s", {}, None
        return "ok", lists, refusal


async def _jobs(parts: Parts) -> tuple[Sequence[JobRecord], str | None]:
    """All jobs' records, or why they are unknown."""
    try:
        async with asyncio.timeout(_READY_DEADLINE_S):
            return await parts.queue.list(), None
    except (StoreUnavailable, TimeoutError) as error:
        return [], f"unknown: {without_addresses(error) or 'no answer in time'}"
