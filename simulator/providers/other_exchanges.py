"""OKX, Hyperliquid, Kraken and Coinbase, as sources of prices."""

from typing import Any, Final

from simulator.answers import Answer
from simulator.providers import dialects
from simulator.providers.asked import Asked, View, json_answer, plain_text, text_answer
from simulator.providers.assets import ASSETS
from simulator.providers.exchanges import MAJORS, SPOT, fixed
from simulator.providers.sites import Site, Window, get, post

_EUROS: Final = 0.86  # of a dollar
# Kraken's own names, without assetVersion=1.
_KRAKEN_OLD: Final = {"BTC": "XXBTZUSD", "ETH": "XETHZUSD", "XRP": "XXRPZUSD", "LTC": "XLTCZUSD",
                      "XLM": "XXLMZUSD", "XMR": "XXMRZUSD", "DOGE": "XDGUSD"}  # fmt: skip


def other_exchange_sites() -> list[Site]:
    return [
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


def _okx_names(asked: Asked) -> dict[str, str] | None:
    """instId -> base; None for a kind of instrument that is not simulated."""
    kind = asked.query.get("instType") or ("SWAP" if "SWAP" in asked.query.get("instId", "") else
                                           "SPOT")  # fmt: skip
    endings = {"SPOT": ("-USDT", "-USDC"), "SWAP": ("-USDT-SWAP", "-USD-SWAP")}.get(kind)
    if endings is None:
        return None
    names = {
        f"{base}{ending}": base
        for base in (() if asked.view.lies.blank else SPOT)
        for ending in endings
        if ending == endings[0] or base in MAJORS
    }
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
    mids = {base: plain_text(view.usd(base)) for base in SPOT if not ASSETS[base].is_stable}
    for base in ("PEPE", "SHIB", "BONK", "FLOKI", "LUNC"):
        mids[f"k{base}"] = plain_text(float(mids.pop(base)) * 1000)
    mids["@107"] = mids["HYPE"]
    return json_answer(mids)


def _kraken(asked: Asked) -> Answer:
    view = asked.view
    new = asked.query.get("assetVersion") == "1"
    names = {
        f"{base}/USD" if new else _KRAKEN_OLD.get(base, f"{base}USD"): base
        for base in (*SPOT, "USDT")
    }
    if new:
        names |= {f"{base}/USDT": base for base in MAJORS}
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
    last, coins = fixed(price), f"{volume / price:.8f}"
    opened = fixed(price / (1 + view.change_24h(base) / 100))
    return {
        "a": [fixed(price * 1.0001), "1", "1.000"], "b": [last, "1", "1.000"],
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
    rates |= {other: price / view.usd(other) for other in MAJORS}
    texts = {name: plain_text(rate) for name, rate in rates.items()}
    return json_answer({"data": {"currency": currency, "rates": texts}})


def _coinbase_spot(asked: Asked) -> Answer:
    base, quote = asked.words["base"].upper(), asked.words["quote"]
    if not asked.view.knows(base) or quote != "USD":
        return json_answer({"errors": [{"id": "not_found", "message": "Invalid base currency"}]},
                           404)  # fmt: skip
    amount = plain_text(asked.view.usd(base))
    return json_answer({"data": {"amount": amount, "base": base, "currency": quote}})
