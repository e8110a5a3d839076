"""GET /api/prices, /api/news and /api/sentiment: what providers tell of assets and the market."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.responses import Response

from api.moments import AS_OF_SCHEMA
from api.providers.answered import Shown, told_tried
from api.providers.asking import Asking
from api.providers.described import NAMES, Described, asked_responses, parameters
from api.providers.encoded import answered
from api.providers.models import News, PriceFact, Prices, Sentiment, Tried
from api.providers.reading import QuestionReader
from api.providers.request_asking import RequestAsking
from api.workers.asking import asked
from providers.assets import MARKET, UnknownAsset
from providers.questions import Question
from providers.records import NewsItem
from texts.foreign import foreign_text

_KINDS: Final = ("aggregate", "spot", "perp")
_QUOTE: Final = "^[A-Za-z]{2,10}$"
_MOST_NEWS: Final = 500
_USUAL_NEWS: Final = 50
_PRICE_OPTIONS: Final[Described] = {
    "quote": (
        "the currency of the prices",
        {"type": "string", "pattern": _QUOTE, "default": "usd"},
    ),
    "kind": (
        "of which market: a price of one is never given for another",
        {"type": "string", "enum": [*_KINDS], "default": "aggregate"},
    ),
}


class OnePrice(PriceFact, Tried):
    """The price of one asset."""


def build_market() -> APIRouter:
    router = APIRouter(tags=["providers"])

    @router.get(
        "/api/prices",
        response_model=Prices,
        responses=asked_responses(422),
        summary="Prices",
        name="list_prices",
        openapi_extra=parameters(
            {"assets": ("ids or names of assets; without it those of AGENT_ASSETS", NAMES)},
            _PRICE_OPTIONS,
        ),
    )
    async def list_prices(request: Request, asking: RequestAsking) -> Response:
        """The prices of assets, each from the first provider that tells it."""
        reader = QuestionReader(request.scope["query_string"], ("assets", "quote", "kind"))
        assets = reader.assets("assets", asking.parts.assets)
        chain, quote = _price_options(reader)
        reader.check()
        if assets is None:
            assets = await asked(asking.parts.agent_assets.ids())
        if not assets:  # AGENT_ASSETS names none, or no market is known yet
            return answered({"prices": [], "missing": [], "tried": []})
        question = Question(chain, assets, (("quote", quote),))
        answer = await asking.ask(request.scope, question)
        shown = Shown(asking.parts)
        return answered(
            {
                "prices": [shown.record(each) for each in answer.records],
                "missing": answer.missing,
                "tried": told_tried(answer.tried),
            },
            shown.cache_control(request, answer.records if not answer.missing else ()),
        )

    @router.get(
        "/api/prices/{asset}",
        response_model=OnePrice,
        responses=asked_responses(422),
        summary="One price",
        name="get_price",
        openapi_extra=parameters({}, _PRICE_OPTIONS),
    )
    async def get_price(
        asset: Annotated[str, Path(description="its id or name", examples=["btc"])],
        request: Request,
        asking: RequestAsking,
    ) -> Response:
        """The price of one asset."""
        reader = QuestionReader(request.scope["query_string"], ("quote", "kind"))
        chain, quote = _price_options(reader)
        reader.check()
        question = Question(chain, (asset_or_404(asking, asset),), (("quote", quote),))
        answer = await asking.ask(request.scope, question)
        shown = Shown(asking.parts)
        fact = {**shown.record(answer.records[0]), "tried": told_tried(answer.tried)}
        return answered(fact, shown.cache_control(request, answer.records))

    @router.get(
        "/api/news",
        response_model=News,
        responses=asked_responses(422),
        summary="News",
        name="list_news",
        openapi_extra=parameters(
            {
                "assets": ("stories about any of these", NAMES),
                "source": ("of these publishers", {"type": "string", "minLength": 1}),
            },
            {
                "since": (
                    "published then or later; UTC milliseconds or ISO 8601",
                    {"type": "string", **AS_OF_SCHEMA},
                ),
                "limit": (
                    f"at most n stories, and at most {_MOST_NEWS}",
                    {
                        **{"type": "integer", "minimum": 1, "maximum": _MOST_NEWS},
                        "default": _USUAL_NEWS,
                    },
                ),
            },
        ),
    )
    async def list_news(request: Request, asking: RequestAsking) -> Response:
        """The stories that all feeds tell now, each once, the newest first, and those without a
        time last. Older ones are at /api/historical/news."""
        reader = QuestionReader(
            request.scope["query_string"], ("limit", "assets", "source", "since")
        )
        limit = reader.limit(_USUAL_NEWS, _MOST_NEWS)
        assets, since_ms = reader.assets("assets", asking.parts.assets), reader.moment("since")
        sources = reader.listed("source")
        reader.check()
        answer = await asking.ask(request.scope, Question("news", ("*",)))
        found = [
            each
            for each in answer.records
            if isinstance(each, NewsItem)
            and (assets is None or not set(assets).isdisjoint(each.assets))
            and (sources is None or each.source in sources)
            and (since_ms is None or _told_at_ms(each) >= since_ms)
        ][:limit]
        shown = Shown(asking.parts)
        return answered(
            {
                "news": [shown.record(each) for each in found],
                "tried": told_tried(answer.tried),
            },
            "no-cache" if not found else shown.cache_control(request, found),
        )

    @router.get(
        "/api/sentiment",
        response_model=Sentiment,
        responses=asked_responses(422),
        summary="Sentiment",
        name="list_sentiment",
        openapi_extra=parameters(
            {"assets": ("of these assets; without it of the whole market", NAMES)},
            {"metric": ("whose index, such as fear_greed_altme; without it any", NAMES)},
        ),
    )
    async def list_sentiment(request: Request, asking: RequestAsking) -> Response:
        """How afraid or greedy the market is, or what is felt about assets. `metric` says whose
        index it is: one is never given for another that was asked for."""
        reader = QuestionReader(request.scope["query_string"], ("metric", "assets"))
        assets, metric = reader.assets("assets", asking.parts.assets), reader.single("metric")
        chain = "sentiment.market" if assets is None else "sentiment.asset"
        metrics = _metrics(asking, chain)
        if metric is not None and metric not in metrics:
            reader.refuse("metric", "enum", "must be one of " + ", ".join(metrics))
        reader.check()
        options = () if metric is None else (("metric", metric),)
        question = Question(chain, assets or (MARKET,), options)
        answer = await asking.ask(request.scope, question)
        shown = Shown(asking.parts)
        return answered(
            {
                "sentiment": [shown.record(each) for each in answer.records],
                "missing": answer.missing,
                "tried": told_tried(answer.tried),
            },
            shown.cache_control(request, answer.records if not answer.missing else ()),
        )

    return router


def asset_or_404(asking: Asking, name: str) -> str:
    try:
        return asking.parts.assets.find(name).id
    except UnknownAsset as error:
        raise HTTPException(404, foreign_text(str(error))) from None


def _price_options(reader: QuestionReader) -> tuple[str, str]:
    """The chain, and the quote."""
    kind = reader.one_among("kind", _KINDS, "aggregate")
    quote = reader.single("quote")
    quote = "usd" if quote is None else quote
    if not re.fullmatch(_QUOTE, quote, re.ASCII):
        reader.refuse("quote", "name", "must be 2 to 10 letters, such as usd")
    return f"price.{kind}", quote.lower()


def _metrics(asking: Asking, chain: str) -> list[str]:
    rows = asking.parts.registry.chain(chain)
    found = [str(each.read["metric"]) for each in rows if "metric" in each.read]
    return list(dict.fromkeys(found))


def _told_at_ms(story: NewsItem) -> int:
    return story.fetched_at_ms if story.published_at_ms is None else story.published_at_ms
