"""Sources of prices that want a key: CoinCap, CoinStats, Messari, CryptoCompare, CoinDesk Data."""

from typing import Any, Final

from simulator.answers import Answer
from simulator.providers import dialects
from simulator.providers.aggregates import iso
from simulator.providers.asked import Asked, View, json_answer, listed, plain_text
from simulator.providers.assets import ASSETS, BY_COINGECKO, Asset
from simulator.providers.sites import Site, get
from simulator.providers.stories import Story, stories

# CoinCap's own ids, where they are not CoinGecko's.
_COINCAP: Final = {"BNB": "binance-coin", "XRP": "xrp", "AVAX": "avalanche", "TON": "toncoin",
                   "NEAR": "near-protocol", "POL": "polygon-ecosystem-token"}  # fmt: skip


def keyed_price_sites() -> list[Site]:
    return [
        Site("coincap", ("rest.coincap.io",),
             [get("/v3/assets/(?P<id>[a-z0-9-]+)", _coincap), get("/v3/assets", _coincap_all)],
             keys=("bearer", "query:apiKey"), keyless=False, errors=dialects.PLAIN),
        Site("coinstats", ("openapiv1.coinstats.app",),
             [get("/coins", _coinstats), get("/news(/type/[a-z]+)?", _coinstats_news)],
             keys=("header:x-api-key",), keyless=False, errors=dialects.COINSTATS),
        Site("messari", ("api.messari.io",), [get("/metrics/v2/assets", _messari)],
             keys=("header:x-messari-api-key",), keyless=False, errors=dialects.MESSARI),
        Site("cryptocompare", ("min-api.cryptocompare.com",),
             [get("/data/pricemulti", _cryptocompare)], keys=("query:api_key",), keyless=False,
             errors=dialects.CRYPTOCOMPARE),
        Site("coindesk data", ("data-api.coindesk.com", "data-api.cryptocompare.com"),
             [get("/news/v1/article/list", _coindesk_news)], keys=("query:api_key",),
             keyless=False, errors=dialects.COINDESK_DATA),
    ]  # fmt: skip


def _coincap_entry(view: View, asset: Asset) -> dict[str, Any]:
    price = view.usd(asset.symbol)
    return {
        "id": _COINCAP.get(asset.symbol, asset.coingecko), "rank": str(asset.rank),
        "symbol": asset.symbol, "name": asset.name, "supply": str(asset.supply),
        "maxSupply": None, "marketCapUsd": plain_text(view.market_cap(asset.symbol)),
        "volumeUsd24Hr": plain_text(view.volume_usd(asset.symbol)), "priceUsd": plain_text(price),
        "changePercent24Hr": plain_text(view.change_24h(asset.symbol)), "vwap24Hr": None,
    }  # fmt: skip


def _known(view: View) -> list[Asset]:
    return [asset for asset in ASSETS.values() if view.knows(asset.symbol)]


def _coincap(asked: Asked) -> Answer:
    view = asked.view
    ids = {_COINCAP.get(asset.symbol, asset.coingecko): asset for asset in _known(view)}
    asset = ids.get(asked.words["id"]) or BY_COINGECKO.get(asked.words["id"])
    if asset is None or not view.knows(asset.symbol):
        return json_answer({"error": f"{asked.words['id']} not found"}, 404)
    return json_answer({"data": _coincap_entry(view, asset), "timestamp": view.now_ms})


def _coincap_all(asked: Asked) -> Answer:
    ids = listed(asked.query.get("ids", ""))
    entries = [_coincap_entry(asked.view, asset) for asset in _known(asked.view)]
    chosen = [entry for entry in entries if not ids or entry["id"] in ids]
    return json_answer({"data": chosen, "timestamp": asked.view.now_ms})


def _coinstats(asked: Asked) -> Answer:
    view = asked.view
    limit = min(int(asked.query.get("limit", "20") or 20), 1000)
    rows = [
        {
            "id": asset.coingecko, "symbol": asset.symbol, "name": asset.name, "rank": asset.rank,
            "price": view.usd(asset.symbol), "volume": view.volume_usd(asset.symbol),
            "marketCap": view.market_cap(asset.symbol),
            "priceChange1d": round(view.change_24h(asset.symbol), 2),
        }
        for asset in _known(view)[:limit]
    ]  # fmt: skip
    meta = {"page": 1, "limit": limit, "itemCount": len(rows), "pageCount": 1}
    return json_answer({"result": rows, "meta": meta})


def _coinstats_news(asked: Asked) -> Answer:
    limit = min(int(asked.query.get("limit", "20") or 20), 100)
    rows = [
        {"id": story.id, "feedDate": story.time_ms, "source": "CoinStats", "title": story.title,
         "description": story.summary, "link": story.url("coinstats.app")}
        for story in stories(asked.view, limit)
    ]  # fmt: skip
    return json_answer({"result": rows})


def _messari(asked: Asked) -> Answer:
    view = asked.view
    slugs = listed(asked.query.get("assetSlugs", ""))
    chosen = [BY_COINGECKO[slug] for slug in slugs if slug in BY_COINGECKO]
    rows = [
        {"id": asset.coingecko, "slug": asset.coingecko, "symbol": asset.symbol,
         "marketData": {"priceUsd": view.usd(asset.symbol),
                        "volume24Hour": view.volume_usd(asset.symbol)}}
        for asset in chosen if view.knows(asset.symbol)
    ]  # fmt: skip
    return json_answer({"error": None, "data": rows})


def _cryptocompare(asked: Asked) -> Answer:
    view = asked.view
    symbols = [s for s in listed(asked.query.get("fsyms", "")) if view.knows(s)]
    if not symbols:
        return dialects.CRYPTOCOMPARE["caller_fault"].answer()
    quotes = [q for q in listed(asked.query.get("tsyms", "USD")) if q in ("USD", "USDT")]
    return json_answer({s: {quote: view.usd(s) for quote in quotes} for s in symbols})


def _coindesk_news(asked: Asked) -> Answer:
    limit = min(int(asked.query.get("limit", "10") or 10), 100)
    rows = [_coindesk_story(story) for story in stories(asked.view, limit)]
    return json_answer({"Data": rows, "Err": {}})


def _coindesk_story(story: Story) -> dict[str, Any]:
    return {
        "TYPE": "121", "ID": story.number, "GUID": story.url("coindesk.com"),
        "PUBLISHED_ON": story.time_ms // 1000, "TITLE": story.title, "AUTHORS": story.author,
        "URL": story.url("coindesk.com"), "BODY": story.summary, "LANG": "EN",
        "KEYWORDS": "|".join(story.symbols), "SOURCE_DATA": {"NAME": "CoinDesk"},
        "CREATED_ON": story.time_ms // 1000, "UPDATED_ON": None,
        "PUBLISHED_AT": iso(story.time_ms),
    }  # fmt: skip
