"""What the service knows: the markets, and its own state."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from api.docs import responses
from api.models import Coins, Health, Ready
from api.parts import Parts
from api.state import RequestParts
from cache_manager import DocumentMeta
from config import Settings
from database import DatabaseUnavailable
from documents.names import DOCUMENTS
from market.markets import Exchange
from market.timeframes import Timeframe
from stores.hot.beats import StoreHealth, store_health
from stores.hot.store import StoreUnavailable
from timing.clock import now_ms

_READY_DEADLINE_S: Final = 2.0
_COINS_DEADLINE_S: Final = 5.0
_BEATS_UNKNOWN: Final = "not known while the store takes no writes"


def build_status(settings: Settings) -> APIRouter:
    router = APIRouter(tags=["service"])

    @router.get(
        "/coins", response_model=Coins, responses=responses(422, 503), summary="The markets"
    )
    async def coins(
        parts: RequestParts,
        exchange: Annotated[Exchange | None, Query(description="only this exchange")] = None,
        timeframe: Annotated[
            Timeframe, Query(description="whose metadata: computed after each collection")
        ] = Timeframe.H4,
    ) -> JSONResponse:
        """The markets that are collected, with their metadata for one timeframe."""
        try:
            async with asyncio.timeout(_COINS_DEADLINE_S):
                found = await parts.database.get_coins_from_db(
                    timeframe,
                    exchanges=settings.exchanges if exchange is None else [exchange],
                    quote=settings.quote,
                    markets_limit=settings.markets_limit,
                )
        except TimeoutError:
            raise DatabaseUnavailable(
                f"the database did not answer within {_COINS_DEADLINE_S:g} s"
            ) from None
        entries = [
            {
                "exchange": coin.market.exchange,
                "symbol": coin.market.symbol,
                "base": coin.market.base,
                "quote": coin.market.quote,
                "meta": dict(coin.meta),
            }
            for coin in found
        ]
        return JSONResponse({"timeframe": timeframe, "coins": entries})

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
        database is away, or while the store is full or takes no writes: documents are served."""
        (store, metas, signs), database = await asyncio.gather(
            _store_state(parts), _database_state(parts, settings)
        )
        worker = _worker_state(signs)
        states = {"store": store, "worker": worker, "database": database}
        down = {"store": signs is None, "worker": worker not in ("ok", _BEATS_UNKNOWN)}
        lacking = [f"{part}: {states[part]}" for part, is_down in down.items() if is_down]
        well = all(state == "ok" for state in states.values())
        status = "unavailable" if lacking else "ready" if well else "degraded"
        asked_ms = now_ms()
        caches = {name: meta and _cache_state(meta, asked_ms) for name, meta in metas.items()}
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


def _cache_state(meta: DocumentMeta, asked_ms: int) -> dict[str, int | float]:
    return {
        "version": meta.version,
        "as_of": meta.as_of_ms,
        "updated_at": meta.updated_at_ms,
        "age_s": max(0, asked_ms - meta.updated_at_ms) / 1000,
        "bytes": meta.stored_bytes,
    }
