"""The routes of /api/historical: candles, open interest, funding and prices of the record."""

from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Path, Request, Response

from api.history.answering import HistoryAnswers
from api.history.description import DESCRIPTIONS, answers_of, described_parameters
from api.history.query import read_history_query
from api.openapi import responses
from api.providers.records import read_price_records
from api.state import ApiState, RequestParts
from history.selection import Kind
from market.markets import Exchange

PREFIX: Final = "/api/historical"
_SOURCE: Final = "candles"  # of prices


def _history(request: Request) -> HistoryAnswers:
    return cast(ApiState, request.scope["state"])["history"]


Answers = Annotated[HistoryAnswers, Depends(_history)]
ExchangePath = Annotated[Exchange, Path(description="the exchange")]
SymbolPath = Annotated[str, Path(description="the symbol, in upper or lower case", min_length=1)]


def build_history(quote: str) -> APIRouter:
    """`quote`: prices of a base without it, such as BTC, are of the market with this quote."""
    router = APIRouter(prefix=PREFIX, tags=["history"])
    _add_route(router, "candles", "candles", "read_candles", "Candles")
    _add_route(router, "open_interest", "open-interest", "read_interest", "Open interest")
    _add_route(router, "funding", "funding", "read_funding", "Funding settlements")

    @router.get(
        "/prices/{symbol}", name="read_prices", **_described("prices", "Prices of a symbol")
    )
    async def prices(
        request: Request, answers: Answers, parts: RequestParts, symbol: SymbolPath
    ) -> Response:
        if request.query_params.get("source", _SOURCE) != _SOURCE:
            return await read_price_records(request, parts, symbol)
        query = read_history_query(request.scope["query_string"], "prices")
        names = (symbol, f"{symbol}{quote}")
        asked = [(exchange, name) for exchange, _ in query.symbols for name in names]
        return await answers.answer(request, query, asked, _SOURCE)

    return router


def _add_route(router: APIRouter, kind: Kind, path: str, name: str, what: str) -> None:
    """The route of one market, and the one of several."""

    @router.get(
        f"/{path}/{{exchange}}/{{symbol}}",
        name=name,
        **_described(kind, f"{what} of one market"),
    )
    async def one(
        request: Request, answers: Answers, exchange: ExchangePath, symbol: SymbolPath
    ) -> Response:
        query = read_history_query(request.scope["query_string"], kind)
        return await answers.answer(request, query, [(exchange, symbol)])

    @router.get(
        f"/{path}",
        name=f"{name}_of",
        **_described(kind, f"{what} of several markets", several=True),
    )
    async def several(request: Request, answers: Answers) -> Response:
        query = read_history_query(request.scope["query_string"], kind, several=True)
        return await answers.answer(request, query, query.symbols)


def _described(kind: Kind, summary: str, *, several: bool = False) -> dict[str, Any]:
    return {
        "summary": summary,
        "description": DESCRIPTIONS[kind],
        "response_class": Response,
        "responses": {**responses(404, 406, 422), **answers_of(kind)},
        "openapi_extra": {"parameters": described_parameters(kind, several=several)},
    }
