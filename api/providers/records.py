"""GET /api/historical/sentiment and /news, and prices of providers: what was told and kept."""

from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.moments import AS_OF_SCHEMA
from api.openapi import responses
from api.parts import Parts
from api.providers.described import NAMES, Described, parameters
from api.providers.encoded import answered
from api.providers.reading import QuestionReader, cursor_of
from api.providers.record_models import NewsRecords, SentimentRecords
from api.state import RequestParts
from api.workers.asking import asked
from providers import assets
from providers.assets import MARKET, UnknownAsset
from stores.cold.providers.news import NewsFilter, NewsRow
from stores.cold.providers.prices import PriceFilter, PriceRow
from stores.cold.providers.sentiment import SentimentFilter, SentimentRow

_MOST: Final = 5000
_USUAL: Final = 1000
_MOST_NEWS: Final = 500
_USUAL_NEWS: Final = 50
PROVIDERS: Final = "providers"  # the source of prices that are not of candles
_MOMENT: Final = {"type": "string", **AS_OF_SCHEMA}
_SPAN: Final[Described] = {
    "from": ("inclusive; UTC milliseconds or ISO 8601", _MOMENT),
    "to": ("exclusive; UTC milliseconds or ISO 8601", _MOMENT),
    "as_of": ("what was known then; UTC milliseconds or ISO 8601", _MOMENT),
    "limit": (
        f"at most n rows on a page, and at most {_MOST}",
        {"type": "integer", "minimum": 1, "maximum": _MOST, "default": _USUAL},
    ),
    "cursor": ("`next` of the page before", {"type": "string"}),
}


def build_provider_records() -> APIRouter:
    router = APIRouter(tags=["providers"])

    @router.get(
        "/api/historical/sentiment",
        response_model=SentimentRecords,
        responses=responses(422),
        summary="Sentiment that was told",
        name="sentiment_records",
        openapi_extra=parameters(
            {},
            {
                "metric": ("whose index, such as fear_greed_altme", NAMES),
                "asset": ("of this asset, or MARKET", NAMES),
                **_SPAN,
            },
        ),
    )
    async def list_sentiment_records(request: Request, parts: RequestParts) -> Response:
        """Each reading of an index once, the oldest first."""
        names = ("metric", "asset", "from", "to", "as_of", "limit", "cursor")
        reader = QuestionReader(request.scope["query_string"], names)
        from_ms, to_ms = reader.span()
        asset = reader.named("asset")
        which = SentimentFilter(
            metric=reader.named("metric"),
            asset=asset and _symbol(asset),
            from_ms=from_ms,
            to_ms=to_ms,
            as_of_ms=reader.moment("as_of"),
        )
        limit, after = reader.limit(_USUAL, _MOST), reader.place((int, str, str), which)
        reader.check()
        place = None if after is None else (int(after[0]), str(after[1]), str(after[2]))
        table = parts.database.providers.sentiment
        rows = await asked(table.listed(which, after=place, limit=limit + 1))
        next_ = None
        if len(rows) > limit:
            last = rows[limit - 1]
            next_ = cursor_of((last.timestamp_ms, last.metric, last.asset), which)
        return answered({"sentiment": [_reading(row) for row in rows[:limit]], "next": next_})

    @router.get(
        "/api/historical/news",
        response_model=NewsRecords,
        responses=responses(422),
        summary="News that was told",
        name="news_records",
        openapi_extra=parameters(
            {"assets": ("stories about any of these", NAMES)},
            {
                "source": ("of this publisher", {"type": "string", "minLength": 1}),
                "since": ("published then or later", _MOMENT),
                "limit": (
                    f"at most n stories on a page, and at most {_MOST_NEWS}",
                    {
                        **{"type": "integer", "minimum": 1, "maximum": _MOST_NEWS},
                        "default": _USUAL_NEWS,
                    },
                ),
                "offset": (
                    "how many stories to leave out; while new ones come, `cursor` leaves out none",
                    {"type": "integer", "minimum": 0, "maximum": 10**6},
                ),
                "cursor": ("`next` of the page before", {"type": "string"}),
            },
        ),
    )
    async def list_news_records(request: Request, parts: RequestParts) -> Response:
        """Each story once, the newest first; one without a time stands where it became known."""
        names = ("assets", "source", "since", "limit", "offset", "cursor")
        reader = QuestionReader(request.scope["query_string"], names)
        which = NewsFilter(
            assets=reader.assets("assets", assets.load()),
            source=reader.named("source"),
            since_ms=reader.moment("since"),
        )
        limit, after = reader.limit(_USUAL_NEWS, _MOST_NEWS), reader.place((int, str), which)
        offset = reader.integer("offset", least=0) or 0
        if offset > 10**6:
            reader.refuse("offset", "integer", "must be at most 1000000; `next` leads further")
        if offset and after is not None:
            reader.refuse("offset", "combination", "must not be given with cursor")
        reader.check()
        place = None if after is None else (int(after[0]), str(after[1]))
        table = parts.database.providers.news
        rows = await asked(table.listed(which, before=place, offset=offset, limit=limit + 1))
        next_ = None
        if len(rows) > limit:
            last = rows[limit - 1]
            told_ms = last.known_at_ms if last.published_at_ms is None else last.published_at_ms
            next_ = cursor_of((told_ms, last.id), which)
        return answered({"news": [_story(row) for row in rows[:limit]], "next": next_})

    return router


async def read_price_records(request: Request, parts: Parts, symbol: str) -> Response:
    """What providers have told, each reading once, the oldest first; for `source=providers`, or one
    resource."""
    reader = QuestionReader(
        request.scope["query_string"], ("source", "from", "to", "as_of", "limit", "cursor")
    )
    from_ms, to_ms = reader.span()
    source = reader.named("source")
    if source is not None and source != PROVIDERS and "/" not in source:
        wanted = f"must be candles, {PROVIDERS} or a resource, such as price.aggregate/coingecko"
        reader.refuse("source", "enum", wanted)
    which = PriceFilter(
        symbol=_symbol(symbol),
        source=None if source == PROVIDERS else source,
        from_ms=from_ms,
        to_ms=to_ms,
        as_of_ms=reader.moment("as_of"),
    )
    limit, after = reader.limit(_USUAL, _MOST), reader.place((int, str), which)
    reader.check()
    place = None if after is None else (int(after[0]), str(after[1]))
    table = parts.database.providers.prices
    rows = await asked(table.listed(which, after=place, limit=limit + 1))
    next_ = None
    if len(rows) > limit:
        last = rows[limit - 1]
        next_ = cursor_of((last.timestamp_ms, last.source), which)
    prices = [_price(row) for row in rows[:limit]]
    return answered({"symbol": which.symbol, "prices": prices, "next": next_})


def _symbol(name: str) -> str:
    """The asset's id, or MARKET; another name is nobody's, and has no rows."""
    if name.upper() == MARKET:
        return MARKET
    try:
        return assets.load().find(name).id
    except UnknownAsset:
        return name[:100].replace("\0", "")


def _price(row: PriceRow) -> dict[str, Any]:
    return {
        "symbol": row.symbol,
        "price_usd": row.price_usd,
        "source": row.source,
        "timestamp": row.timestamp_ms,
        "quote": row.quote,
        "kind": row.kind,
        "price": row.price,
        "volume_24h": row.volume_24h,
        "change_24h": row.change_24h,
        "market_cap": row.market_cap,
        "stated": row.stated,
        "known_at": row.known_at_ms,
    }


def _reading(row: SentimentRow) -> dict[str, Any]:
    return {
        "metric": row.metric,
        "asset": row.asset,
        "timestamp": row.timestamp_ms,
        "value": row.value,
        "scale": (row.scale_min, row.scale_max),
        "label": row.label,
        "source": row.source,
        "known_at": row.known_at_ms,
    }


def _story(row: NewsRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "title": row.title,
        "summary": row.summary,
        "url": row.url,
        "source": row.source,
        "published_at_ms": row.published_at_ms,
        "updated_at_ms": row.updated_at_ms,
        "authors": row.authors,
        "assets": row.assets,
        "language": row.language,
        "via": row.via,
        "known_at": row.known_at_ms,
    }
