"""GET /coins: the collected markets, with their metadata for one timeframe; or those of a time."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.documents.query import InvalidQuery, invalid, only_parameters
from api.models import Coins
from api.moments import AS_OF_SCHEMA, read_moment
from api.openapi import responses
from api.state import RequestParts
from config import Settings
from database import Database, DatabaseUnavailable
from market.markets import Exchange
from market.timeframes import Timeframe

_DEADLINE_S: Final = 5.0
_NO_TIMEFRAME: Final = invalid(
    "combination",
    "timeframe",
    "must not be given with as_of, of which there is no metadata: exchange may",
)


def build_coins(settings: Settings) -> APIRouter:
    router = APIRouter(tags=["documents"])

    @router.get(
        "/coins",
        response_model=Coins,
        dependencies=[Depends(only_parameters("exchange", "timeframe", "as_of"))],
        responses=responses(404, 422, 503),
        summary="The markets",
    )
    async def coins(
        parts: RequestParts,
        exchange: Annotated[Exchange | None, Query(description="only this exchange")] = None,
        timeframe: Annotated[
            Timeframe | None,
            Query(description="the timeframe of the metadata, 4h by default; not with as_of"),
        ] = None,
        as_of: Annotated[
            str | None,
            Query(
                description="a time, in UTC ms or ISO 8601: what the exchanges listed then",
                json_schema_extra=AS_OF_SCHEMA,
            ),
        ] = None,
    ) -> JSONResponse:
        """The collected markets, with the metadata that the last collection computed. With `as_of`
        all that were listed then, enabled here or not, and from when to when; without metadata."""
        exchanges = settings.exchanges if exchange is None else [exchange]
        try:
            async with asyncio.timeout(_DEADLINE_S):
                if as_of is not None:
                    as_of_ms = _moment(as_of)
                    if timeframe is not None:
                        raise InvalidQuery([_NO_TIMEFRAME])
                    return await _listed_at(parts.database, as_of_ms, exchanges, settings.quote)
                timeframe = timeframe or Timeframe.H4
                found = await parts.database.get_coins_from_db(
                    timeframe,
                    exchanges=exchanges,
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


def _moment(text: str) -> int:
    """Raises InvalidQuery."""
    try:
        return read_moment(text)
    except ValueError as error:
        wrong = {"type": "time", "loc": ["query", "as_of"], "msg": str(error)}
        raise InvalidQuery([wrong]) from None


async def _listed_at(
    database: Database, as_of_ms: int, exchanges: Sequence[Exchange], quote: str
) -> JSONResponse:
    """What was listed at that time. Raises HTTPException before anything is known."""
    found = await database.listing_log.listed_at(as_of_ms, exchanges=exchanges, quote=quote)
    if not found:
        first_ms = await database.listing_log.first_ms(exchanges=exchanges, quote=quote)
        if first_ms is None or as_of_ms < first_ms:
            since = "not known yet" if first_ms is None else f"known since {first_ms}"
            raise HTTPException(404, f"what the exchanges list is {since}")
    entries: list[dict[str, Any]] = [
        {
            "exchange": market.exchange,
            "symbol": market.symbol,
            "base": market.base,
            "quote": market.quote,
            "meta": {},
            "launched_at": market.launched_ms or None,
            "listed_from": market.listed_from_ms,
            "listed_to": market.listed_to_ms,
        }
        for market in found
    ]
    return JSONResponse({"as_of": as_of_ms, "coins": entries})
