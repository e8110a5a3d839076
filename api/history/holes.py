"""GET /api/history/holes: what the record lacks, and what is known of why."""

import asyncio
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response

from api.answers import NO_CACHE, NOSNIFF
from api.history.hole_query import described_parameters, read_hole_query
from api.history.models import Holes
from api.openapi import responses
from api.state import RequestParts
from database import DatabaseUnavailable, ListedHole
from market.timeframes import Timeframe

PATH: Final = "/api/history/holes"
_DEADLINE_S: Final = 5.0
_TIMEFRAMES: Final = {each.interval_ms: str(each) for each in Timeframe}


def build_holes() -> APIRouter:
    router = APIRouter(tags=["history"])

    @router.get(
        PATH,
        response_model=Holes,
        responses=responses(422, 503),
        summary="Holes of the history",
        name="list_holes",
        openapi_extra={"parameters": described_parameters()},
    )
    async def list_holes(request: Request, parts: RequestParts) -> Response:
        """Runs of instants of which nothing is recorded, though the market was listed and the
        series had begun, as the last look at each market has found them: in the order of exchange,
        symbol, kind, timeframe and time. `counts` is of all holes, whatever is asked for."""
        query = read_hole_query(request.scope["query_string"])
        holes = parts.database.holes
        try:
            async with asyncio.timeout(_DEADLINE_S):
                found = await holes.listed(query.which, query.after, query.limit + 1)
                counts = await holes.counts()
        except TimeoutError:
            raise DatabaseUnavailable(
                f"the database did not answer within {_DEADLINE_S:g} s"
            ) from None
        page = found[: query.limit]
        by_exchange: dict[str, dict[str, int]] = {}
        for (exchange, state), count in sorted(counts.items()):
            by_exchange.setdefault(exchange, {})[state] = count
        content = {
            "holes": [_shown(each) for each in page],
            "next": query.cursor(page[-1].place) if len(found) > len(page) else None,
            "counts": by_exchange,
        }
        answer = Response(orjson.dumps(content), media_type="application/json")
        answer.raw_headers += [NO_CACHE, NOSNIFF]
        return answer

    return router


def _shown(listed: ListedHole) -> dict[str, Any]:
    key, hole = listed.key, listed.hole
    return {
        "exchange": key.exchange,
        "symbol": key.symbol,
        "kind": key.kind,
        "timeframe": _TIMEFRAMES.get(key.interval_ms) if key.kind == "candles" else None,
        "from": hole.from_ms,
        "to": hole.to_ms,
        "instants": None if key.kind == "funding" else (hole.to_ms - hole.from_ms) // hole.step_ms,
        "state": hole.state,
        "first_asked_at": hole.first_asked_ms,
        "asked_at": hole.asked_ms,
        "looked_at": listed.looked_at_ms,
    }
