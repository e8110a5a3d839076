"""The routes of /api/history/backfill: POST asks for older data, GET tells of it, others cancel."""

import asyncio
from collections.abc import Awaitable
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from api.cors import require_asked_page
from api.history.backfill_models import (
    AcceptedBackfill,
    AskBackfill,
    Backfill,
    BackfillCost,
    Backfills,
)
from api.json_body import read_json
from api.openapi import content, responses
from api.parts import Parts
from api.request_body import read_body
from api.state import RequestParts
from api.tokens import Tokens, api_token_of
from config import Settings
from database import BackfillWish, DatabaseUnavailable
from status.runs import told_error
from timing.clock import now_ms

PATH: Final = "/api/history/backfill"
_JOB_ID: Final = "backfill"
_READ_DEADLINE_S: Final = 5.0
_POST_DEADLINE_S: Final = 2.7  # a POST answers within 3 s, even if a store does not

WishId = Annotated[int, Path(ge=1, le=2**63 - 1, description="the backfill's id", examples=[3])]
T = TypeVar("T")


def backfill_json(found: BackfillWish) -> dict[str, Any]:
    """The backfill in the form of `backfill_models.Backfill`."""
    return {
        "id": found.id,
        "state": found.state,
        "wanted": dict(found.wanted),
        "requested_at": found.requested_at_ms,
        "started_at": found.started_at_ms,
        "finished_at": found.finished_at_ms,
        "done": found.done,
        "total": found.total,
        "requests": found.requests,
        "rows": found.rows,
        "seconds_left": found.seconds_left,
        "failures": dict(found.failures),
        "error": told_error(found.error),
    }


def build_backfills(settings: Settings, tokens: Tokens) -> APIRouter:
    router = APIRouter(prefix=PATH, tags=["history"])
    token = Depends(api_token_of(tokens))
    changes = [token, Depends(require_asked_page)]

    @router.post(
        "",
        status_code=202,
        response_model=AcceptedBackfill,
        dependencies=[token],
        responses={
            200: {"model": BackfillCost, "description": "with `dry_run`: what it costs"},
            **responses(401, 408, 409, 422, 503),
        },
        openapi_extra={
            "requestBody": {"required": True, "content": content("AskBackfill")},
        },
        name="ask_backfill",
        summary="Ask the exchanges for older data",
    )
    async def ask_backfill(request: Request, parts: RequestParts) -> JSONResponse:
        """Stores the wish, on which a worker begins to work; one that equals an open one is that
        one. With `dry_run` nothing is stored, and 200 tells the cost alone."""
        asked = await read_json(request, AskBackfill)
        async with asyncio.timeout(_POST_DEADLINE_S):
            return await _asked(settings, parts, asked)

    @router.get(
        "",
        response_model=Backfills,
        responses=responses(),
        name="list_backfills",
        summary="All backfills",
    )
    async def list_backfills(parts: RequestParts) -> JSONResponse:
        """The newest 100."""
        found = await _read(parts.database.backfills.newest())
        return JSONResponse({"backfills": [backfill_json(each) for each in found]})

    @router.get(
        "/{wish_id}",
        response_model=Backfill,
        responses=responses(404, 422),
        name="get_backfill",
        summary="One backfill",
    )
    async def get_backfill(wish_id: WishId, parts: RequestParts) -> JSONResponse:
        """What was asked for, and how far it is; at most 2 s old."""
        return JSONResponse(
            backfill_json(_known(await _read(parts.database.backfills.find(wish_id))))
        )

    async def cancel(wish_id: WishId, request: Request, parts: RequestParts) -> JSONResponse:
        """What is stored stays. One that is over is unchanged."""
        await read_body(request)
        async with asyncio.timeout(_POST_DEADLINE_S):
            await parts.database.backfills.cancel(wish_id, now_ms())
            found = _known(await parts.database.backfills.find(wish_id))
        return _accepted(backfill_json(found), 202)

    for method, path, name in (
        ("DELETE", "/{wish_id}", "delete_backfill"),
        ("POST", "/{wish_id}/cancel", "cancel_backfill"),
    ):
        router.add_api_route(
            path,
            cancel,
            methods=[method],
            status_code=202,
            response_model=Backfill,
            dependencies=changes,
            responses=responses(401, 403, 404, 408, 422, 503),
            name=name,
            summary="Cancel a backfill",
        )
    return router


async def _asked(settings: Settings, parts: Parts, asked: AskBackfill) -> JSONResponse:
    # Imported here: what plans a backfill takes memory that an API process seldom needs.
    from history.backfill.requesting import Pricing, TooManyOpen, request_backfill, targets_of
    from history.backfill.wanted import wish
    from workers.hosts import addresses_alive

    now = now_ms()
    try:
        wanted = wish(
            exchanges=asked.exchanges,
            symbols=asked.symbols,
            timeframes=asked.timeframes,
            what=asked.what,
            from_ms=asked.from_,
            to_ms=asked.to,
            collected=settings.exchanges,
            usual=settings.timeframes,
            now_ms=now,
        )
        targets = await targets_of(
            parts.database, wanted, quote=settings.quote, markets_limit=settings.markets_limit
        )
    except ValueError as error:
        raise _invalid(str(error)) from None
    addresses = 1 if settings.schedules == "off" else await addresses_alive(parts.store)
    pricing = Pricing(settings, now, addresses)
    costs = await pricing.at_most(parts.database, wanted, targets)
    lines = [
        {
            "exchange": line.exchange,
            "what": line.name,
            "requests": line.requests,
            "minutes": round(line.seconds / 60, 2),
            "rows": line.rows,
            "bytes": line.bytes,
        }
        for line in costs.lines()
    ]
    cost = {
        "requests": costs.requests,
        "minutes": round(costs.seconds / 60, 2),
        "rows": sum(line.rows for line in costs.lines()),
        "bytes": sum(line.bytes for line in costs.lines()),
        "costs": lines,
    }
    if asked.dry_run:
        return JSONResponse(cost)
    try:
        found = await request_backfill(parts.database, wanted, now)
    except TooManyOpen as error:
        raise HTTPException(409, str(error)) from None
    await parts.queue.request(_JOB_ID)
    return _accepted({**backfill_json(found), "cost": cost}, 202)


def _accepted(body: dict[str, Any], status: int) -> JSONResponse:
    return JSONResponse(body, status_code=status, headers={"Location": f"{PATH}/{body['id']}"})


def _invalid(why: str) -> RequestValidationError:
    field, _, message = why.partition(": ")
    return RequestValidationError(
        [{"type": "value_error", "loc": ("body", field), "msg": message or why}]
    )


def _known(found: BackfillWish | None) -> BackfillWish:
    if found is None:
        raise HTTPException(404, f"unknown backfill; GET {PATH} lists the newest ones")
    return found


async def _read(reading: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(_READ_DEADLINE_S):
            return await reading
    except TimeoutError:
        raise DatabaseUnavailable(
            f"the database did not answer within {_READ_DEADLINE_S:g} s"
        ) from None
