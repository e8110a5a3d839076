"""CoinMarketCap, with a key and on its keyless path: quotes and its Fear and Greed index."""

from collections.abc import Mapping
from typing import Any, Final

from simulator.answers import Answer
from simulator.providers import dialects
from simulator.providers.aggregates import iso
from simulator.providers.asked import Asked, View, json_answer, listed
from simulator.providers.assets import ASSETS, BY_CMC, Asset
from simulator.providers.moods import cmc_label, mood
from simulator.providers.sites import Route, Site, Window, get

KEY_HEADER: Final = "x-cmc_pro_api_key"
_KEYLESS: Final = ("/public-api", "/trial-pro-api")
_ENDPOINTS: Final = (
    "/v3/cryptocurrency/quotes/latest", "/v2/cryptocurrency/quotes/latest",
    "/v1/cryptocurrency/quotes/latest", "/v2/simple/price", "/v3/fear-and-greed/latest",
    "/v3/fear-and-greed/historical", "/v1/cryptocurrency/listings/latest",
)  # fmt: skip
_DAY_MS: Final = 86_400_000


def cmc_site() -> Site:
    """Requests without a key share one limit, those with a key have one for each."""
    answers = {
        _ENDPOINTS[0]: _quotes_v3, _ENDPOINTS[1]: _quotes_map, _ENDPOINTS[2]: _quotes_map,
        _ENDPOINTS[3]: _quotes_v3, _ENDPOINTS[4]: _fng_latest, _ENDPOINTS[5]: _fng_history,
        _ENDPOINTS[6]: _listings,
    }  # fmt: skip
    routes: list[Route] = []
    for path, answer in answers.items():
        routes.append(get(path, _keyed(answer)))
        routes += [get(prefix + path, answer) for prefix in _KEYLESS]
    return Site("coinmarketcap", ("pro-api.coinmarketcap.com",), routes,
                keys=("header:" + KEY_HEADER,), limits=(Window(30, 60),), errors=dialects.CMC,
                errors_for=_errors_for)  # fmt: skip


def _is_keyless(asked: Asked) -> bool:
    return asked.path.startswith(_KEYLESS)


def _errors_for(asked: Asked) -> dialects.Dialect:
    return dialects.CMC_KEYLESS if _is_keyless(asked) else dialects.CMC


def _keyed(answer: Any) -> Any:
    def checked(asked: Asked) -> Answer:
        if not asked.headers.get(KEY_HEADER):
            return dialects.CMC["no_key"].answer()
        found: Answer = answer(asked)
        return found

    return checked


def _enveloped(asked: Asked, data: Any, credits_used: int = 1) -> Answer:
    code: Any = "0" if _is_keyless(asked) else 0  # a text without a key
    status = {
        "timestamp": iso(asked.view.now_ms).replace("Z", ".123Z"), "error_code": code,
        "error_message": None, "elapsed": 31, "credit_count": credits_used,
    }  # fmt: skip
    return json_answer({"data": data, "status": status})


def _chosen(asked: Asked) -> list[Asset]:
    view = asked.view
    assets = [BY_CMC.get(each) for each in listed(asked.query.get("id", ""))]
    symbols = listed(asked.query.get("symbol", "").upper())
    assets += [ASSETS.get(symbol) for symbol in symbols]
    return [asset for asset in assets if asset is not None and view.knows(asset.symbol)]


def _quote(view: View, asset: Asset) -> Mapping[str, Any]:
    return {
        "price": view.usd(asset.symbol), "volume_24h": view.volume_usd(asset.symbol),
        "percent_change_24h": view.change_24h(asset.symbol),
        "market_cap": view.market_cap(asset.symbol),
        "last_updated": iso(view.now_ms - view.now_ms % 60_000).replace("Z", ".000Z"),
    }  # fmt: skip


def _head(asset: Asset) -> dict[str, Any]:
    slug = asset.coingecko
    return {"id": asset.cmc, "name": asset.name, "symbol": asset.symbol, "slug": slug}


def _quotes_v3(asked: Asked) -> Answer:
    rows = []
    for asset in _chosen(asked):
        quote = {"id": 2781, "symbol": "USD", **_quote(asked.view, asset)}
        rows.append({**_head(asset), "cmc_rank": asset.rank, "quote": [quote]})
    return _enveloped(asked, rows)


def _quotes_map(asked: Asked) -> Answer:
    rows = {
        str(asset.cmc): {**_head(asset), "quote": {"USD": _quote(asked.view, asset)}}
        for asset in _chosen(asked)
    }
    return _enveloped(asked, rows)


def _listings(asked: Asked) -> Answer:
    view = asked.view
    known = [asset for asset in ASSETS.values() if view.knows(asset.symbol)]
    rows = [{**_head(a), "cmc_rank": a.rank, "quote": {"USD": _quote(view, a)}} for a in known]
    return _enveloped(asked, rows[: int(asked.query.get("limit", "100") or 100)])


def _fng_latest(asked: Asked) -> Answer:
    value = _fng(asked.view, asked.view.now_ms)
    data = {"value": value, "value_classification": cmc_label(value),
            "update_time": iso(asked.view.now_ms - 600_000).replace("Z", ".789Z")}  # fmt: skip
    return _enveloped(asked, None if asked.view.lies.blank else data)


def _fng_history(asked: Asked) -> Answer:
    view = asked.view
    today_ms = view.now_ms - view.now_ms % _DAY_MS
    count = min(int(asked.query.get("limit", "50") or 50), 500)
    rows = [
        {"timestamp": str((today_ms - day * _DAY_MS) // 1000), "value": value,
         "value_classification": cmc_label(value)}
        for day in range(count)
        for value in (_fng(view, today_ms - day * _DAY_MS),)
    ]  # fmt: skip
    return _enveloped(asked, rows)


def _fng(view: View, at_ms: int) -> int:
    return int(view.value(mood(view, "cmc", at_ms)))
