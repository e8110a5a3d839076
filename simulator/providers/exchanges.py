"""Exchanges as sources of prices: spot tickers from the latent prices, perpetuals of the simulated
exchanges themselves, so that their limits count all requests alike."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from simulator.answers import Answer, dump
from simulator.exchange import Exchange
from simulator.providers import dialects
from simulator.providers.asked import Asked, View, json_answer, plain_text, text_answer
from simulator.providers.assets import ASSETS
from simulator.providers.sites import Answering, Site, Window, get, post

_SPOT: Final = [asset.symbol for asset in ASSETS.values() if asset.on_exchanges]
_MAJORS: Final = ("BTC", "ETH", "SOL", "BNB", "XRP")
_EUROS: Final = 0.86  # of a dollar
# Kraken's own names, without assetVersion=1.
_KRAKEN_OLD: Final = {"BTC": "XXBTZUSD", "ETH": "XETHZUSD", "XRP": "XXRPZUSD", "LTC": "XLTCZUSD",
                      "XLM": "XXLMZUSD", "XMR": "XXMRZUSD", "DOGE": "XDGUSD"}  # fmt: skip


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
        Site(
            "okx", ("www.okx.com",),
            [get("/api/v5/market/tickers?", _okx_tickers),
             get("/api/v5/public/mark-price", _okx_marks)],
            limits=(Window(20, 2),), errors=dialects.OKX,
        ),
        Site("hyperliquid", ("api.hyperliquid.xyz",), [post("/info", _hyperliquid)],
             limits=(Window(600, 60),), errors=dialects.PLAIN),
        Site("kraken", ("api.kraken.com",), [get("/0/public/Ticker", _kraken)],
             errors=dialects.KRAKEN),
        Site(
            "coinbase", ("api.coinbase.com",),
            [get("/v2/exchange-rates", _coinbase_rates),
             get(r"/v2/prices/(?P<base>[A-Za-z0-9]+)-(?P<quote>[A-Z]+)/spot", _coinbase_spot)],
            errors=dialects.COINBASE,
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
        for base in _SPOT
        for quote in quotes
        if quote == quotes[0] or base in _MAJORS
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


def _fixed(value: float) -> str:
    return f"{value:.8f}" if value >= 1e-4 else plain_text(value)


def _binance_prices(asked: Asked) -> Answer:
    return _binance(
        asked, lambda view, name, base: {"symbol": name, "price": _fixed(view.usd(base))}
    )


def _binance_24h(asked: Asked) -> Answer:
    return _binance(asked, _binance_entry)


def _binance_entry(view: View, name: str, base: str) -> dict[str, Any]:
    price, change = view.usd(base), view.change_24h(base)
    opened, volume = price / (1 + change / 100), view.volume_usd(base) / 8
    return {
        "symbol": name,
        "priceChange": _fixed(price - opened),
        "priceChangePercent": f"{change:.3f}",
        "weightedAvgPrice": _fixed((price + opened) / 2),
        "lastPrice": _fixed(price),
        "bidPrice": _fixed(price),
        "askPrice": _fixed(price * 1.00001),
        "openPrice": _fixed(opened),
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
        entries.append(entry | ({"usdIndexPrice": f"{price:.8f}"} if base in _MAJORS else {}))
    result = {"category": "spot", "list": entries}
    body = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": view.now_ms}
    return json_answer(body)


def _okx_names(asked: Asked) -> dict[str, str] | None:
    """instId -> base; None for a kind of instrument that is not simulated."""
    kind = asked.query.get("instType") or ("SWAP" if "SWAP" in asked.query.get("instId", "") else
                                           "SPOT")  # fmt: skip
    ending = {"SPOT": "-USDT", "SWAP": "-USDT-SWAP"}.get(kind)
    if ending is None:
        return None
    names = {f"{base}{ending}": base for base in _SPOT} if not asked.view.lies.blank else {}
    wanted = asked.query.get("instId")
    return names if wanted is None else {n: b for n, b in names.items() if n == wanted}


def _okx(asked: Asked, entry: Any) -> Answer:
    names = _okx_names(asked)
    if names is None:
        return dialects.OKX["caller_fault"].answer()
    if not names and "instId" in asked.query:
        return json_answer({"code": "51001", "msg": "Instrument ID does not exist", "data": []})
    rows = [entry(asked.view, name, base) for name, base in names.items()]
    return json_answer({"code": "0", "msg": "", "data": rows})


def _okx_tickers(asked: Asked) -> Answer:
    return _okx(asked, _okx_ticker)


def _okx_ticker(view: View, name: str, base: str) -> dict[str, str]:
    price, volume = view.usd(base), view.volume_usd(base) / 12
    last = plain_text(price)
    is_swap = name.endswith("-SWAP")
    # volCcy24h is in coins of a swap, in the quote's of spot.
    return {
        "instType": "SWAP" if is_swap else "SPOT", "instId": name, "last": last, "lastSz": "1",
        "askPx": plain_text(price * 1.0001), "askSz": "11", "bidPx": last, "bidSz": "5",
        "open24h": plain_text(price / (1 + view.change_24h(base) / 100)),
        "volCcy24h": f"{volume / price if is_swap else volume:.4f}",
        "vol24h": f"{volume / price:.4f}", "ts": str(view.now_ms),
    }  # fmt: skip


def _okx_marks(asked: Asked) -> Answer:
    return _okx(
        asked,
        lambda view, name, base: {
            "instType": "SWAP", "instId": name, "markPx": plain_text(view.usd(base)),
            "ts": str(view.now_ms),
        },
    )  # fmt: skip


def _hyperliquid(asked: Asked) -> Answer:
    value = asked.json()
    if not isinstance(value, dict) or value.get("type") != "allMids":
        return text_answer("Failed to deserialize the JSON body into the target type", 422)
    view = asked.view
    if view.lies.blank:
        return json_answer({})
    mids = {base: plain_text(view.usd(base)) for base in _SPOT if not ASSETS[base].is_stable}
    for base in ("PEPE", "SHIB", "BONK", "FLOKI", "LUNC"):
        mids[f"k{base}"] = plain_text(float(mids.pop(base)) * 1000)
    mids["@107"] = mids["HYPE"]
    return json_answer(mids)


def _kraken(asked: Asked) -> Answer:
    view = asked.view
    new = asked.query.get("assetVersion") == "1"
    names = {
        f"{base}/USD" if new else _KRAKEN_OLD.get(base, f"{base}USD"): base
        for base in (*_SPOT, "USDT")
    }
    wanted = asked.query.get("pair")
    chosen = names
    if wanted is not None:
        parts = wanted.split(",")
        if view.lies.blank or any(part not in names for part in parts):
            return json_answer({"error": ["EQuery:Unknown asset pair"]})
        chosen = {part: names[part] for part in parts}
    result = {} if view.lies.blank else {n: _kraken_entry(view, b) for n, b in chosen.items()}
    return json_answer({"error": [], "result": result})


def _kraken_entry(view: View, base: str) -> dict[str, Any]:
    price, volume = view.usd(base), view.volume_usd(base) / 60
    last, coins = _fixed(price), f"{volume / price:.8f}"
    opened = _fixed(price / (1 + view.change_24h(base) / 100))
    return {
        "a": [_fixed(price * 1.0001), "1", "1.000"], "b": [last, "1", "1.000"],
        "c": [last, "0.00100000"], "v": [coins, coins], "p": [last, last], "t": [4100, 9000],
        "l": [opened, opened], "h": [last, last], "o": opened,
    }  # fmt: skip


def _coinbase_rates(asked: Asked) -> Answer:
    currency = asked.query.get("currency", "USD").upper()
    view = asked.view
    if not view.knows(currency):
        return dialects.COINBASE["caller_fault"].answer()
    price = view.usd(currency)
    rates = {"USD": price, "EUR": price * _EUROS, "USDT": price, "USDC": price}
    rates |= {other: price / view.usd(other) for other in _MAJORS}
    texts = {name: plain_text(rate) for name, rate in rates.items()}
    return json_answer({"data": {"currency": currency, "rates": texts}})


def _coinbase_spot(asked: Asked) -> Answer:
    base, quote = asked.words["base"].upper(), asked.words["quote"]
    if not asked.view.knows(base) or quote != "USD":
        return json_answer({"errors": [{"id": "not_found", "message": "Invalid base currency"}]},
                           404)  # fmt: skip
    amount = plain_text(asked.view.usd(base))
    return json_answer({"data": {"amount": amount, "base": base, "currency": quote}})
