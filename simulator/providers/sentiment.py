"""Indices of sentiment: alternative.me, CFGI, LunarCrush, Santiment, and Reddit's refusal."""

from typing import Any, Final

from simulator.answers import Answer
from simulator.providers import dialects
from simulator.providers.aggregates import iso
from simulator.providers.asked import Asked, View, json_answer, listed
from simulator.providers.moods import alternative_label, mood
from simulator.providers.sites import Site, Window, get, post

_DAY_MS: Final = 86_400_000
_CFGI_MS: Final = 900_000
_MONTH_MS: Final = 30 * _DAY_MS


def sentiment_sites() -> list[Site]:
    return [
        Site("alternative.me", ("api.alternative.me",), [get("/fng/?", _fng)],
             limits=(Window(60, 60),), errors=dialects.FNG),
        Site(
            "cfgi", ("cfgi.io",),
            [get("/api/v3/scores/", _cfgi), get("/api/v3/scores", _moved),
             get("/api/api_request(_v2)?.php", _cfgi_old)],
            keys=("query:api_key", "bearer", "query:token"), keyless=False,
            limits=(Window(1, 1),), errors=dialects.CFGI,
        ),
        Site("lunarcrush", ("lunarcrush.com",),
             [get("/api4/public/coins/(?P<coin>[^/]+)/v1", _lunarcrush)],
             keys=("bearer",), keyless=False, limits=(Window(10, 60),), errors=dialects.PLAIN),
        Site("santiment", ("api.santiment.net",), [post("/graphql", _santiment)],
             errors=dialects.PLAIN),
        Site("reddit", ("www.reddit.com",), [get("/r/[^/]+/.*", _reddit)], errors=dialects.PLAIN),
    ]  # fmt: skip


def _fng(asked: Asked) -> Answer:
    view = asked.view
    count = min(int(asked.query.get("limit", "1") or 1), 1000)
    today_ms = view.now_ms - view.now_ms % _DAY_MS
    rows: list[dict[str, str]] = []
    for day in range(0 if view.lies.blank else count):
        at_ms = today_ms - day * _DAY_MS
        value = int(view.value(mood(view, "alternative.me", at_ms)))
        row = {"value": str(value), "value_classification": alternative_label(value),
               "timestamp": str(at_ms // 1000)}  # fmt: skip
        left_s = (today_ms + _DAY_MS - view.now_ms) // 1000
        rows.append(row | ({"time_until_update": str(left_s)} if day == 0 else {}))
    metadata: dict[str, Any] = {"error": None}
    return json_answer({"name": "Fear and Greed Index", "data": rows, "metadata": metadata})


def _scores(view: View, symbol: str, count: int) -> list[dict[str, Any]]:
    asset = "BTC" if symbol == "MARKET" else symbol
    rows = []
    for back in range(count):
        at_ms = view.now_ms - view.now_ms % _CFGI_MS - back * _CFGI_MS
        value = view.value(round(mood(view, f"cfgi {symbol}", at_ms, asset) * 2) / 2)
        rows.append({"symbol": symbol, "timestamp": iso(at_ms + 37_000 - 60_000), "score": value,
                     "classification": alternative_label(value)})  # fmt: skip
    return rows


def _cfgi(asked: Asked) -> Answer:
    view = asked.view
    symbols = [s.upper() for s in listed(asked.query.get("symbols", "MARKET"))]
    known = [symbol for symbol in symbols if symbol == "MARKET" or view.knows(symbol)]
    count = min(int(asked.query.get("limit", "1") or 1), 100)
    rows = [row for symbol in known for row in _scores(view, symbol, count)]
    meta = {"credits_used": 1 if asked.query.get("fields") == "score" else 10}
    return json_answer({"data": rows if not view.lies.blank else [], "meta": meta})


def _moved(asked: Asked) -> Answer:
    return Answer(308, b"", headers={"Location": "/api/v3/scores/"})


def _cfgi_old(asked: Asked) -> Answer:
    row = _scores(asked.view, asked.query.get("token", "BTC").upper(), 1)[0]
    return json_answer([{"date": row["timestamp"], "data_cfgi": row["score"]}])


def _lunarcrush(asked: Asked) -> Answer:
    view, symbol = asked.view, asked.words["coin"].upper()
    if not view.knows(symbol):
        return json_answer({"error": "coin not found"}, 404)
    value = int(view.value(mood(view, "lunarcrush", view.now_ms, symbol)))
    data = {
        "id": 1, "symbol": symbol, "galaxy_score": value, "alt_rank": 41, "sentiment": value,
        "social_volume_24h": 120_000, "price": view.usd(symbol), "time": view.now_s - 120,
    }  # fmt: skip
    return json_answer({"data": data})


def _santiment(asked: Asked) -> Answer:
    """The free plan's last 30 days are cut off."""
    at_ms = asked.view.now_ms - _MONTH_MS
    rows = [{"datetime": iso(at_ms), "value": asked.view.value(1.25)}]
    return json_answer({"data": {"getMetric": {"timeseriesData": rows}}})


def _reddit(asked: Asked) -> Answer:
    return Answer(403, b"<html><body>whoa there, pardner!</body></html>", dialects.HTML)
