"""GET /coins: the collected markets, with their metadata for one timeframe."""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse

from api.documents.query import only_parameters
from api.models import Coins
from api.openapi import responses
from api.state import RequestParts
from config import Settings
from database import DatabaseUnavailable
from market.markets import Exchange
from market.timeframes import Timeframe

_DEADLINE_S: Final = 5.0


def build_coins(settings: Settings) -> APIRouter:
    router = APIRouter(tags=["documents"])

    @router.get(
        "/coins",
        response_model=Coins,
        dependencies=[Depends(only_parameters("exchange", "timeframe"))],
        responses=responses(422, 503),
        summary="The markets",
    )
    async def coins(
        parts: RequestParts,
        exchange: Annotated[Exchange | None, Query(description="only this exchange")] = None,
        timeframe: Annotated[
            Timeframe, Query(description="the timeframe of the metadata")
        ] = Timeframe.H4,
    ) -> JSONResponse:
        """The collected markets, with the metadata that the last collection computed."""
        try:
            async with asyncio.timeout(_DEADLINE_S):
                found = await parts.database.get_coins_from_db(
                    timeframe,
                    exchanges=settings.exchanges if exchange is None else [exchange],
                    quote=settings.quote,
                    markets_limit=settings.markets_limit,
                )
        except TimeoutError:
            raise DatabaseUnavailable(
                f"the database did not answer within {_DEADLINE_S:g} s"
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

    return router
