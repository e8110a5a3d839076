"""DELETE /exchanges/{name}/pause: lifts our own pause of an exchange."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from api.cors import require_asked_page
from api.openapi import responses
from api.overview.exchange_models import Seconds
from api.request_body import read_body
from api.state import RequestParts
from api.tokens import Tokens, api_token_of
from budgets.lifting import LiftedPause, lift_pause
from config import Settings
from market.markets import Exchange
from texts.foreign import foreign_text

_EXAMPLE: Final[dict[str, Any]] = {
    "exchange": "binance",
    "egress_id": "default",
    "lifted": True,
    "left_s": 214.6,
    "cause": "banned: Way too many requests; IP banned until 1795187105000",
    "note": "The next request asks binance again. If it has banned the address, only it can end"
    " that: asking during a ban makes it longer.",
}
Name = Annotated[str, Path(description="of EXCHANGES", examples=["binance"])]


class Lifted(BaseModel):
    """What was lifted. The ban of an exchange is its own: only our pause is gone."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    exchange: str
    egress_id: str = Field(description="the address for which it was paused")
    lifted: bool = Field(description="false: it was not paused")
    left_s: Seconds | None = Field(description="how long it had still lasted; null: not paused")
    cause: str | None = Field(description="why it was paused; null: it was not")
    note: str = Field(description="what comes now")


def build_exchange_pauses(settings: Settings, tokens: Tokens) -> APIRouter:
    router = APIRouter(tags=["status"])

    @router.delete(
        "/exchanges/{name}/pause",
        response_model=Lifted,
        dependencies=[Depends(api_token_of(tokens)), Depends(require_asked_page)],
        responses=responses(401, 403, 404, 408),
        summary="Lift the pause of an exchange",
        name="lift_pause",
    )
    async def lift(name: Name, request: Request, parts: RequestParts) -> JSONResponse:
        """All processes at this address (EGRESS_ID) ask the exchange again, with their next
        request. Where nothing was paused, nothing changes."""
        await read_body(request)
        return JSONResponse(lifted_json(await lift_pause(parts.store, settings, _exchange(name))))

    def _exchange(name: str) -> Exchange:
        known = [str(each) for each in settings.exchanges]
        if name.lower() not in known:
            told = foreign_text(name, 100)
            raise HTTPException(404, f"unknown exchange {told!r}: EXCHANGES are {', '.join(known)}")
        return Exchange(name.lower())

    return router


def lifted_json(lifted: LiftedPause) -> dict[str, Any]:
    """The form of `Lifted`."""
    return {
        "exchange": str(lifted.exchange),
        "egress_id": lifted.egress_id,
        "lifted": lifted.left_s is not None,
        "left_s": lifted.left_s,
        "cause": lifted.cause,
        "note": lifted.note,
    }
