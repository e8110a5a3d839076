"""Aggregators of prices without a key: CoinGecko, CoinPaprika, DefiLlama, CoinLore and DIA."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from simulator.answers import Answer
from simulator.providers import dialects
from simulator.providers.asked import Asked, View, json_answer, listed, plain_text
from simulator.providers.assets import (
    ASSETS,
    BY_COINGECKO,
    BY_COINLORE,
    BY_COINPAPRIKA,
    Asset,
)
from simulator.providers.chains import CHAINS, TOKENS
from simulator.providers.sites import Site, Window, get

_EUROS: Final = 0.86
_ZERO: Final = "0x" + "0" * 40
# DIA's names of chains -> the symbol of their own coin.
_DIA_NATIVE: Final = {"Ethereum": "ETH", "Bitcoin": "BTC", "BinanceSmartChain": "BNB",
                      "Solana": "SOL", "Ripple": "XRP", "Cardano": "ADA", "Dogechain": "DOGE",
                      "Dogecoin": "DOGE", "Tron": "TRX", "Avalanche": "AVAX", "Polkadot": "DOT",
                      "Litecoin": "LTC", "Polygon": "POL", "Near": "NEAR"}  # fmt: skip
_LLAMA_CHAINS: Final = {"bsc": 56, "polygon": 137, "arbitrum": 42161, "optimism": 10, "base": 8453,
                        "avax": 43114, "ethereum": 1, "xdai": 100, "linea": 59144}  # fmt: skip


def aggregate_sites() -> list[Site]:
    return [
        Site(
            "coingecko", ("api.coingecko.com", "pro-api.coingecko.com"),
            [
                get("/api/v3/simple/price/?", _gecko_simple),
                get("/api/v3/coins/markets", _gecko_markets),
                get("/api/v3/coins/list", _gecko_list),
                get("/api/v3/coins/(?P<id>[a-z0-9-]+)", _gecko_coin),
                get("/api/v3/ping", lambda a: json_answer({"gecko_says": "(V3) To the Moon!"})),
                get("/api/v3/global", _gecko_global),
            ],
            limits=(Window(30, 60),), errors=dialects.COINGECKO,
        ),
        Site(
            "coinpaprika", ("api.coinpaprika.com", "api-pro.coinpaprika.com"),
            [get("/v1/tickers/(?P<id>[a-z0-9-]+)", _paprika_one),
             get("/v1/tickers", _paprika_all)],
            limits=(Window(10, 1),), errors=dialects.COINPAPRIKA,
        ),
        Site(
            "defillama prices", ("coins.llama.fi",),
            [get("/prices/current/(?P<coins>.+)", _llama)],
            limits=(Window(500, 60),), errors=dialects.PLAIN,
        ),
        Site("coinlore", ("api.coinlore.net",),
             [get("/api/ticker/", _coinlore), get("/api/tickers/", _coinlore_all)],
             errors=dialects.PLAIN),
        Site("dia", ("api.diadata.org",),
             [get("/v1/assetQuotation/(?P<chain>[A-Za-z]+)/(?P<address>[^/]+)", _dia)],
             errors=dialects.DIA),
    ]  # fmt: skip


def iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _stamp(view: View, seconds: int) -> int:
    """When the provider last looked: up to so many seconds ago, in seconds."""
    return view.now_s - view.now_s % seconds


def _gecko_price(view: View, symbol: str) -> float | int:
    price = view.usd(symbol)
    return round(price) if symbol == "BTC" and int(view.now_s) % 7 == 0 else price


def _gecko_simple(asked: Asked) -> Answer:
    view, query = asked.view, asked.query
    quotes = listed(query.get("vs_currencies", ""))
    if not quotes or not ("ids" in query or "symbols" in query):
        body = {"error": "Missing parameter ids or vs_currencies"}
        return json_answer(body, 422)
    found: dict[str, dict[str, Any]] = {}
    for name in listed(query.get("ids", "")) or listed(query.get("symbols", "")):
        asset = BY_COINGECKO.get(name) or ASSETS.get(name.upper() if "ids" not in query else "")
        if asset is None or not view.knows(asset.symbol):
            continue  # 200, and the id is missing
        found[name] = _gecko_entry(view, asset, quotes, query)
    return json_answer(found)


def _gecko_entry(
    view: View, asset: Asset, quotes: list[str], query: Mapping[str, str]
) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for quote in quotes:
        rate = {"usd": 1.0, "eur": _EUROS}.get(quote)
        if rate is None and quote.upper() in ASSETS:
            rate = 1 / view.prices.usd(quote.upper(), view.now_ms)
        if rate is None:
            continue
        price = _gecko_price(view, asset.symbol)
        entry[quote] = price if rate == 1 else price * rate
        if query.get("include_market_cap") == "true":
            entry[f"{quote}_market_cap"] = view.market_cap(asset.symbol) * rate
        if query.get("include_24hr_vol") == "true":
            entry[f"{quote}_24h_vol"] = view.volume_usd(asset.symbol) * rate
        if query.get("include_24hr_change") == "true":
            entry[f"{quote}_24h_change"] = view.change_24h(asset.symbol)
    if query.get("include_last_updated_at") == "true":
        entry["last_updated_at"] = _stamp(view, 30)
    return entry


def _known(view: View) -> list[Asset]:
    return [asset for asset in ASSETS.values() if view.knows(asset.symbol)]


def _gecko_markets(asked: Asked) -> Answer:
    view = asked.view
    size = min(int(asked.query.get("per_page", "100") or 100), 250)
    page = int(asked.query.get("page", "1") or 1)
    ids = listed(asked.query.get("ids", ""))
    chosen = [asset for asset in _known(view) if not ids or asset.coingecko in ids]
    rows = [
        {
            "id": a.coingecko, "symbol": a.symbol.lower(), "name": a.name,
            "image": f"https://assets.example/{a.coingecko}.png",
            "current_price": _gecko_price(view, a.symbol), "market_cap": view.market_cap(a.symbol),
            "market_cap_rank": a.rank if a.rank < 60 else None,
            "total_volume": view.volume_usd(a.symbol),
            "price_change_percentage_24h": view.change_24h(a.symbol) if a.rank < 60 else None,
            "last_updated": iso(_stamp(view, 30) * 1000).replace("Z", ".123Z"),
        }
        for a in chosen[size * (page - 1) : size * page]
    ]  # fmt: skip
    return json_answer(rows)


def _gecko_list(asked: Asked) -> Answer:
    rows = [
        {"id": asset.coingecko, "symbol": asset.symbol.lower(), "name": asset.name}
        for asset in _known(asked.view)
    ]
    return json_answer(rows)


def _gecko_coin(asked: Asked) -> Answer:
    asset = BY_COINGECKO.get(asked.words["id"])
    if asset is None or not asked.view.knows(asset.symbol):
        return json_answer({"error": "coin not found"}, 404)
    votes = asked.view.value(votes_up(asked.view, asset.symbol))
    return json_answer(
        {
            "id": asset.coingecko, "symbol": asset.symbol.lower(), "name": asset.name,
            "sentiment_votes_up_percentage": votes,
            "sentiment_votes_down_percentage": round(100 - votes, 2),
            "market_cap_rank": asset.rank,
            "last_updated": iso(_stamp(asked.view, 30) * 1000).replace("Z", ".456Z"),
        }
    )  # fmt: skip


def votes_up(view: View, symbol: str) -> float:
    """The share of visitors of today who expect a rise, in percent."""
    share = round(50 + 4 * view.change_24h(symbol), 2)
    return min(max(share, 1.0), 99.0)


def _gecko_global(asked: Asked) -> Answer:
    view = asked.view
    caps = {a.symbol: view.market_cap(a.symbol) for a in _known(view)}
    total = sum(caps.values())
    share = caps.get("BTC", 0) / total * 100 if total else 0
    data = {
        "active_cryptocurrencies": 17111, "total_market_cap": {"usd": total},
        "market_cap_percentage": {"btc": share}, "updated_at": view.now_s,
    }  # fmt: skip
    return json_answer({"data": data})


def _paprika(view: View, asset: Asset) -> dict[str, Any]:
    return {
        "id": asset.coinpaprika, "name": asset.name, "symbol": asset.symbol, "rank": asset.rank,
        "total_supply": asset.supply, "max_supply": 0, "beta_value": 1.05,
        "first_data_at": "2010-07-17T00:00:00Z", "last_updated": iso(_stamp(view, 60) * 1000),
        "quotes": {
            "USD": {
                "price": view.usd(asset.symbol), "volume_24h": view.volume_usd(asset.symbol),
                "volume_24h_change_24h": 1.5, "market_cap": view.market_cap(asset.symbol),
                "percent_change_24h": round(view.change_24h(asset.symbol), 2),
            }
        },
    }  # fmt: skip


def _paprika_one(asked: Asked) -> Answer:
    asset = BY_COINPAPRIKA.get(asked.words["id"])
    if asset is None or not asked.view.knows(asset.symbol):
        return json_answer({"error": "id not found"}, 404)
    return json_answer(_paprika(asked.view, asset))


def _paprika_all(asked: Asked) -> Answer:
    return json_answer([_paprika(asked.view, asset) for asset in _known(asked.view)])


def _llama(asked: Asked) -> Answer:
    view = asked.view
    found = {}
    for name in listed(asked.words["coins"]):
        kind, _, rest = name.partition(":")
        symbol, decimals = _llama_coin(kind, rest)
        if symbol is None or not view.knows(symbol):
            continue  # 200 {"coins":{}}
        entry: dict[str, Any] = {"price": view.usd(symbol), "symbol": symbol}
        entry |= {} if decimals is None else {"decimals": decimals}
        entry |= {"timestamp": _stamp(view, 20), "confidence": 0.99}
        found[name] = entry
    return json_answer({"coins": found})


def _llama_coin(kind: str, rest: str) -> tuple[str | None, int | None]:
    if kind == "coingecko":
        asset = BY_COINGECKO.get(rest)
        return (asset.symbol if asset else None), None
    chain = CHAINS.get(_LLAMA_CHAINS.get(kind, 0))
    if chain is None:
        return None, None
    if rest.lower() == _ZERO:
        return chain.coin, 18
    token = TOKENS.get(chain.id, {}).get(rest.lower())
    return (token.symbol, token.decimals) if token else (None, None)


def _lore(view: View, asset: Asset) -> dict[str, Any]:
    price = view.usd(asset.symbol)
    return {
        "id": asset.coinlore, "symbol": asset.symbol, "name": asset.name,
        "nameid": asset.coingecko, "rank": asset.rank, "price_usd": plain_text(price),
        "percent_change_24h": f"{view.change_24h(asset.symbol):.2f}", "percent_change_1h": "0.10",
        "percent_change_7d": "-1.30", "price_btc": plain_text(price / view.usd("BTC")),
        "market_cap_usd": f"{view.market_cap(asset.symbol):.2f}",
        "volume24": view.volume_usd(asset.symbol), "volume24a": view.volume_usd(asset.symbol),
        "csupply": f"{asset.supply:.2f}", "tsupply": str(asset.supply), "msupply": "",
    }  # fmt: skip


def _coinlore(asked: Asked) -> Answer:
    chosen = [BY_COINLORE.get(name) for name in listed(asked.query.get("id", ""))]
    rows = [_lore(asked.view, a) for a in chosen if a and asked.view.knows(a.symbol)]
    return json_answer(rows)


def _coinlore_all(asked: Asked) -> Answer:
    start = int(asked.query.get("start", "0") or 0)
    limit = min(int(asked.query.get("limit", "100") or 100), 100)
    every = [a for a in BY_COINLORE.values() if asked.view.knows(a.symbol)]
    rows = [_lore(asked.view, asset) for asset in every[start : start + limit]]
    return json_answer({"data": rows, "info": {"coins_num": 12230, "time": asked.view.now_s}})


def _dia(asked: Asked) -> Answer:
    chain, address = asked.words["chain"], asked.words["address"]
    symbol = _DIA_NATIVE.get(chain) if address == _ZERO else None
    if symbol is None:
        chain_id = {"Ethereum": 1, "BinanceSmartChain": 56, "Polygon": 137}.get(chain, 0)
        token = TOKENS.get(chain_id, {}).get(address.lower())
        symbol = token.symbol if token else None
    view = asked.view
    if symbol is None or not view.knows(symbol):
        return dialects.DIA["caller_fault"].answer()
    price = view.usd(symbol)
    return json_answer(
        {
            "Symbol": symbol, "Name": ASSETS[symbol].name, "Address": address, "Blockchain": chain,
            "Price": price, "PriceYesterday": price / (1 + view.change_24h(symbol) / 100),
            "VolumeYesterdayUSD": view.volume_usd(symbol) / 5, "Time": iso(_stamp(view, 60) * 1000),
            "Source": "diadata.org", "Signature": "0x00",
        }
    )  # fmt: skip
