"""Binance and Bybit as sources of prices; perpetuals count against the exchanges' own limits."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from simulator.answers import Answer, dump
from simulator.exchange import Exchange
from simulator.providers import dialects
from simulator.providers.asked import Asked, View, json_answer, plain_text
from simulator.providers.assets import ASSETS
from simulator.providers.sites import Answering, Site, Window, get

SPOT: Final = [asset.symbol for asset in ASSETS.values() if asset.on_exchanges]
MAJORS: Final = ("BTC", "ETH", "SOL", "BNB", "XRP")


def exchange_sites(exchanges: Mapping[str, Exchange]) -> list[Site]:
    """`exchanges`: the simulated ones by name; one without markets answers nothing."""
    return [
        Site(
            "binance spot", ("data-api.binance.vision", "api.binance.com"),
            [
                get("/api/v3/ticker/price", _binance_prices),
                get("/api/v3/ticker/24hr", _binance_24h),
                get("/api/v3/time", lambda asked: json_answer({"serverTime": asked.view.now_ms})),
                get("/api/v3/ping", lambda asked: json_answer({})),
            ],
            limits=(Window(6000, 60),), errors=dialects.BINANCE, weigh=_binance_weight,
        ),
        Site(
            "binance usdm", ("fapi.binance.com",),
            [get("/fapi/.*", _delegated(exchanges, "binance"))], errors=dialects.BINANCE,
        ),
        Site(
            "bybit", ("api.bybit.com", "api.bytick.com"),
            [get("/v5/market/tickers", _bybit_tickers(exchanges)),
             get("/v5/.*", _delegated(exchanges, "bybit"))],
            errors=dialects.BYBIT,
        ),
    ]  # fmt: skip


def _delegated(exchanges: Mapping[str, Exchange], name: str) -> Answering:
    def answer(asked: Asked) -> Answer:
        exchange = exchanges[name]
        endpoint = exchange.paths.get(asked.path, "unknown")
        if endpoint == "unknown":
            return exchange.unknown_path()
        client = asked.headers.get("x-sim-client", "provider")
        admission = exchange.admit(client, endpoint, asked.query)
        if admission.refused is not None:
            admission.refused.headers.update(admission.headers)
            return admission.refused
        found = exchange.answer(endpoint, dict(asked.query))
        found.headers.update(admission.headers)
        return _multiplied(found, asked.view)

    return answer


_PRICES: Final = ("markPrice", "indexPrice", "lastPrice", "price")


def _multiplied(answer: Answer, view: View) -> Answer:
    """An exchange's own answer with wrong prices, where they are to be wrong."""
    factor = view.lies.factor
    if (factor == 1 and not view.lies.blank) or answer.status != 200:
        return answer

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [] if view.lies.blank else [walk(item) for item in value]
        if isinstance(value, dict):
            return {
                name: plain_text(float(item) * factor) if name in _PRICES and item else walk(item)
                for name, item in value.items()
            }
        return value

    answer.body = dump(walk(orjson.loads(answer.body)))
    return answer


def _pairs(view: View, quotes: tuple[str, ...], joint: str = "") -> dict[str, tuple[str, str]]:
    """Names of spot pairs -> base and quote; only the greatest have more quotes than the first."""
    if view.lies.blank:
        return {}
    return {
        f"{base}{joint}{quote}": (base, quote)
        for base in SPOT
        for quote in quotes
        if quote == quotes[0] or base in MAJORS
        if base != quote
    }


def _binance_weight(asked: Asked) -> int:
    one, one_24h = "symbol" in asked.query, asked.path.endswith("24hr")
    if "symbols" in asked.query:
        return 40 if one_24h and asked.query["symbols"].count(",") > 20 else 4
    return (2 if one else 80) if one_24h else (2 if one else 4)


def _binance_pairs(asked: Asked) -> list[tuple[str, str, str]] | Answer:
    pairs = _pairs(asked.view, ("USDT", "USDC"))
    if "symbol" in asked.query:
        wanted: Any = [asked.query["symbol"]]
    elif "symbols" in asked.query:
        try:
            wanted = orjson.loads(asked.query["symbols"])
        except orjson.JSONDecodeError:
            wanted = None
    else:
        wanted = list(pairs)
    if not isinstance(wanted, list) or not all(name in pairs for name in wanted):
        return dialects.BINANCE["caller_fault"].answer()
    return [(name, *pairs[name]) for name in wanted]


def _binance(asked: Asked, entry: Any) -> Answer:
    found = _binance_pairs(asked)
    if isinstance(found, Answer):
        return found
    entries = [entry(asked.view, name, base) for name, base, _ in found]
    return json_answer(entries[0] if "symbol" in asked.query else entries)


def fixed(value: float) -> str:
    """A price with eight decimals, more of small ones."""
    return f"{value:.8f}" if value >= 1e-4 else plain_text(value)


def _binance_prices(asked: Asked) -> Answer:
    return _binance(
        asked, lambda view, name, base: {"symbol": name, "price": fixed(view.usd(base))}
    )


def _binance_24h(asked: Asked) -> Answer:
    return _binance(asked, _binance_entry)


def _binance_entry(view: View, name: str, base: str) -> dict[str, Any]:
    price, change = view.usd(base), view.change_24h(base)
    opened, volume = price / (1 + change / 100), view.volume_usd(base) / 8
    return {
        "symbol": name,
        "priceChange": fixed(price - opened),
        "priceChangePercent": f"{change:.3f}",
        "weightedAvgPrice": fixed((price + opened) / 2),
        "lastPrice": fixed(price),
        "bidPrice": fixed(price),
        "askPrice": fixed(price * 1.00001),
        "openPrice": fixed(opened),
        "volume": f"{volume / price:.8f}",
        "quoteVolume": f"{volume:.8f}",
        "openTime": view.now_ms - 86_400_000,
        "closeTime": view.now_ms,
        "count": 76_000,
    }


def _bybit_tickers(exchanges: Mapping[str, Exchange]) -> Answering:
    linear = _delegated(exchanges, "bybit")

    def answer(asked: Asked) -> Answer:
        if asked.query.get("category") != "spot":
            return linear(asked)
        client = asked.headers.get("x-sim-client", "provider")
        admission = exchanges["bybit"].admit(client, "tickers", asked.query)
        return admission.refused or _bybit_spot(asked)

    return answer


def _bybit_spot(asked: Asked) -> Answer:
    view = asked.view
    pairs = _pairs(view, ("USDT", "USDC"))
    wanted = [asked.query["symbol"]] if asked.query.get("symbol") else list(pairs)
    if any(name not in pairs for name in wanted):
        body = {"retCode": 10001, "retMsg": "Not supported symbols", "result": {}}
        return json_answer({**body, "retExtInfo": {}, "time": view.now_ms})
    entries = []
    for name in wanted:
        base, _ = pairs[name]
        price, change = view.usd(base), view.change_24h(base)
        volume = view.volume_usd(base) / 15
        entry = {
            "symbol": name, "bid1Price": plain_text(price), "bid1Size": "2",
            "ask1Price": plain_text(price * 1.0001), "ask1Size": "1.862172",
            "lastPrice": plain_text(price), "prevPrice24h": plain_text(price / (1 + change / 100)),
            "price24hPcnt": f"{change / 100:.4f}", "turnover24h": f"{volume:.8f}",
            "volume24h": f"{volume / price:.8f}",
        }  # fmt: skip
        entries.append(entry | ({"usdIndexPrice": f"{price:.8f}"} if base in MAJORS else {}))
    result = {"category": "spot", "list": entries}
    body = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": view.now_ms}
    return json_answer(body)
