"""GET /api/history/holes: what it tells, its pages, and what it says of what it does not take."""

import aiohttp
import numpy as np
import pytest

from api.documents.query import InvalidQuery
from api.history.hole_query import HoleQuery, read_hole_query
from database import Database, HoleFilter, HolePlace, NotedHole, SeriesKey, SeriesRows
from market.timeframes import DAY_MS, HOUR_MS, Timeframe
from tests.fixtures.api import StartApi, ask

NOW_MS = 1_764_547_200_000
ROUTE = "/api/history/holes"
PLACE = HolePlace("bybit", "BTCUSDT", "candles", HOUR_MS, NOW_MS)


async def test_holes_page_by_page(start_api: StartApi, redis_url: str, database_url: str) -> None:
    database = Database(database_url)
    h1, h4 = (
        SeriesKey.candles("binance", "BTCUSDT", each) for each in (Timeframe.H1, Timeframe.H4)
    )
    funding = SeriesKey.funding("bybit", "ETHUSDT")
    days = NOW_MS - DAY_MS * np.arange(9, 0, -1)
    await database.history.store(
        [SeriesRows(key, days, np.ones((9, key.width))) for key in (h1, h4, funding)], NOW_MS
    )
    asked = NotedHole(NOW_MS, NOW_MS + 3 * HOUR_MS, HOUR_MS, "asked", NOW_MS + 1, NOW_MS + 2)
    fresh = NotedHole(NOW_MS + 5 * HOUR_MS, NOW_MS + 6 * HOUR_MS, HOUR_MS, "not_asked")
    four = NotedHole(NOW_MS, NOW_MS + 4 * HOUR_MS, 4 * HOUR_MS, "not_asked")
    far = NotedHole(NOW_MS + 8 * HOUR_MS, NOW_MS + DAY_MS + 7, 1, "document")
    await database.holes.note(("binance", "BTCUSDT"), {h1: [asked, fresh], h4: [four]}, NOW_MS + 9)
    await database.holes.note(("bybit", "ETHUSDT"), {funding: [far]}, NOW_MS + 8)
    await database.aclose()
    api = await start_api(redis_url=redis_url, dsn=database_url)
    status, headers, answer = await ask(api, "GET", f"{ROUTE}?limit=1")
    assert (status, headers["cache-control"]) == (200, "no-cache")
    assert answer["counts"] == {
        "binance": {"asked": 1, "not_asked": 2},
        "bybit": {"document": 1},
    }
    assert answer["holes"] == [
        {
            "exchange": "binance",
            "symbol": "BTCUSDT",
            "kind": "candles",
            "timeframe": "1h",
            "from": NOW_MS,
            "to": NOW_MS + 3 * HOUR_MS,
            "instants": 3,
            "state": "asked",
            "first_asked_at": NOW_MS + 1,
            "asked_at": NOW_MS + 2,
            "looked_at": NOW_MS + 9,
        }
    ]
    _, _, rest = await ask(api, "GET", f"{ROUTE}?cursor={answer['next']}")
    assert [(each["timeframe"], each["state"], each["instants"]) for each in rest["holes"]] == [
        ("1h", "not_asked", 1),
        ("4h", "not_asked", 1),
        (None, "document", None),
    ]
    assert rest["next"] is None
    _, _, some = await ask(api, "GET", f"{ROUTE}?symbol=btcusdt,ETHUSDT&timeframe=4h&limit=1")
    assert [each["timeframe"] for each in some["holes"]] == ["4h"] and some["next"] is None
    status, _, refused = await ask(api, "GET", f"{ROUTE}?state=lost&cursor={answer['next']}")
    assert status == 422
    assert refused["detail"][0]["msg"] == (
        "must be one or more of not_asked, asked, exchange, out_of_reach, document"
    )


async def test_without_the_database(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url, dsn="postgresql://nobody@127.0.0.1:1/none")
    status, _, answer = await ask(api, "GET", ROUTE, timeout=aiohttp.ClientTimeout(total=20))
    assert (status, answer["detail"].partition(":")[0]) == (503, "the database failed")


def query(text: str = "") -> HoleQuery:
    return read_hole_query(text.encode())


def test_what_is_asked_for() -> None:
    assert query() == HoleQuery(HoleFilter(), 1000, None)
    asked = query("exchange=bybit,binance&symbol=a&timeframe=8h&timeframe=5m&kind=candles&limit=3")
    where = HoleFilter(["binance", "bybit"], ["A"], ["candles"], [300_000, 8 * HOUR_MS])
    assert asked == HoleQuery(where, 3, None)
    cursor = asked.cursor(PLACE)
    again = f"timeframe=5m,8h&exchange=bybit&exchange=binance&symbol=A&kind=candles&cursor={cursor}"
    assert query(again) == HoleQuery(where, 1000, PLACE)


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("exchange=kraken", "exchange", "must be one or more of binance, bybit"),
        ("timeframe=3m", "timeframe", "must be one or more of 5m, 15m"),
        ("kind=candle", "kind", "must be one or more of candles, open_interest, funding"),
        ("state=", "state", "must be one or more of not_asked, asked"),
        ("symbol=", "symbol", "must be one or more symbols"),
        ("timeframe=4h&kind=funding", "timeframe", "candles alone have one"),
        ("limit=0", "limit", "must be an integer of at least 1"),
        ("limit=10001", "limit", "must be at most 10000"),
        ("limit=1&limit=2", "limit", "must be given once"),
        ("cursor=%00", "cursor", "must be `next` of an answer"),
        ("cursor=" + "A" * 2000, "cursor", "must be `next` of an answer"),
        (f"state=asked&cursor={query().cursor(PLACE)}", "cursor", "is of another request"),
        (f"cursor={query().cursor(PLACE._replace(from_ms=-1))}", "cursor", "must be `next`"),
        (f"cursor={query().cursor(PLACE._replace(symbol='A' + chr(0)))}", "cursor", "must be"),
        (f"cursor={query().cursor(PLACE._replace(kind='x'))}", "cursor", "must be `next`"),  # type: ignore[arg-type]
        ("symbols=A", "", "did you mean symbol? The parameters are exchange, symbol, timeframe"),
    ],
)
def test_what_is_refused(text: str, name: str, says: str) -> None:
    with pytest.raises(InvalidQuery) as refused:
        query(text)
    (error,) = refused.value.errors
    assert error["loc"] == ["query", name][: 1 + bool(name)]
    assert says in error["msg"]
