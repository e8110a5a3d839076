"""/api/history/backfill: what is taken, what is refused and with which words, and cancelling."""

import asyncio
import json
import shlex
from typing import Any

import pytest

from database import Database
from market.markets import Exchange, ListedMarket, Market
from market.timeframes import DAY_MS
from tests.docs.test_backfill import CURL
from tests.fixtures.api import ServedApi, StartApi, ask
from timing.clock import now_ms

ROUTE = "/api/history/backfill"
TOKEN = {"Authorization": "Bearer secret"}


@pytest.fixture
async def api(start_api: StartApi, redis_url: str, database_url: str) -> ServedApi:
    """With three markets that have traded for long, one of them gone."""
    database = Database(database_url)
    launched_ms = 1_600_000_000_000
    names = [(Exchange.BINANCE, "BTC"), (Exchange.BINANCE, "OLD"), (Exchange.BYBIT, "BTC")]
    for exchange in (Exchange.BINANCE, Exchange.BYBIT):
        listed = [
            ListedMarket(Market(exchange, f"{base}USDT", base, "USDT", launched_ms), 1.0)
            for each, base in names
            if each is exchange
        ]
        await database.markets.save_markets(exchange, listed, seen_at_ms=now_ms() - DAY_MS)
        await database.markets.save_markets(exchange, listed[:1], seen_at_ms=now_ms())
    await database.aclose()
    return await start_api(redis_url=redis_url, dsn=database_url, api_token="secret")


async def post(api: ServedApi, body: Any) -> tuple[int, Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {**TOKEN, "Content-Type": "application/json"}
    async with api.http.post(ROUTE, data=content, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_a_wish_is_taken_once_told_and_cancelled(api: ServedApi) -> None:
    body = {"symbols": ["btcusdt"], "timeframes": ["8h"], "from": "2026-01-01", "to": 1769904000000}
    status, taken = await post(api, body)
    assert (status, taken["id"], taken["state"]) == (202, 1, "queued")
    assert taken["wanted"] == {
        "exchanges": ["binance", "bybit"],
        "symbols": ["BTCUSDT"],
        "timeframes": ["4h", "8h"],
        "what": ["candles", "open_interest", "funding"],
        "from": 1767225600000,
        "to": 1769904000000,
    }
    # January: 186 candles of 4h, snapshots that Bybit has every 4 h, and 93 settlements.
    costs = {(each["exchange"], each["what"]): each for each in taken["cost"]["costs"]}
    assert {place: each["requests"] for place, each in costs.items()} == {
        **{("binance", "funding"): 1, ("binance", "4h"): 1, ("binance", "8h"): 0},
        **{("bybit", "funding"): 1, ("bybit", "4h"): 1, ("bybit", "8h"): 0},
        ("bybit", "open_interest"): 1,
    }
    assert taken["cost"]["requests"] == 5
    job = await api.queue.get("backfill")
    assert job is not None and job.state == "queued"
    again = await post(api, {**body, "timeframes": ["4h", "8h"], "exchanges": ["bybit", "binance"]})
    assert again == (202, taken)
    _, _, listed = await ask(api, "GET", ROUTE)
    assert [each["id"] for each in listed["backfills"]] == [1]
    for method, path in (("DELETE", f"{ROUTE}/1"), ("POST", f"{ROUTE}/1/cancel")):
        assert (await ask(api, method, path))[0] == 401
        status, _, ended = await ask(api, method, path, headers=TOKEN)
        assert (status, ended["id"], ended["state"]) == (202, 1, "cancelled")
    _, _, found = await ask(api, "GET", f"{ROUTE}/1")
    assert (found, found["finished_at"] is None) == (ended, False)
    status, taken = await post(api, body)
    assert (status, taken["id"]) == (202, 2)
    assert (await ask(api, "GET", f"{ROUTE}/3"))[0] == 404
    assert (await ask(api, "GET", f"{ROUTE}/{2**63}"))[0] == 422


async def test_the_documented_request_tells_the_cost_alone(api: ServedApi) -> None:
    words = [word.replace(":8000", f":{api.port}") for word in shlex.split(CURL.text)]
    extra = ["-fsS", "-H", f"Authorization: {TOKEN['Authorization']}"]
    process = await asyncio.create_subprocess_exec(
        words[0], *extra, *words[1:], stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        said = json.loads((await process.communicate())[0])
    assert {each["exchange"] for each in said["costs"]} == {"binance", "bybit"}
    assert said["requests"] == sum(each["requests"] for each in said["costs"]) > 0
    assert (await ask(api, "GET", ROUTE))[2] == {"backfills": []}
    assert await api.queue.get("backfill") is None


REFUSED = [
    (b"", "JSON"),
    (b"[]", "object"),
    ({"exchange": ["binance"]}, "unknown field: there are exchanges, symbols, timeframes"),
    ({"exchanges": ["kraken"]}, "'binance', 'bybit' or 'okx'"),
    ({"exchanges": ["okx"]}, "okx is not collected; EXCHANGES has binance, bybit"),
    ({"timeframes": ["7m"]}, "'5m'"),
    ({"what": ["trades"]}, "'candles', 'open_interest' or 'funding'"),
    ({"symbols": ["NOPEUSDT"]}, "no known USDT market of binance, bybit is called NOPEUSDT"),
    ({"symbols": ["A" * 101]}, "100"),
    ({"symbols": [""]}, "1"),
    ({"symbols": ["A"] * 2001}, "2000"),
    ({"symbols": "BTCUSDT"}, "list"),
    ({"symbols": ["\ud800\x00'; DROP TABLE coins"]}, ""),
    ({"from": True}, "valid"),
    ({"from": 1.5}, "valid"),
    ({"from": -1}, "greater than or equal to 0"),
    ({"from": 10**30}, "less than or equal to"),
    ({"from": "yesterday"}, "ISO 8601"),
    ({"from": 1_700_000_000}, "milliseconds"),
    ({"from": "2999-01-01"}, "must be in the past"),
    ({"from": "2025-01-01", "to": "2025-01-01"}, "must be after from"),
    ({"dry_run": "yes"}, "boolean"),
]


async def test_what_is_wrong_is_refused_with_what_is_allowed(api: ServedApi) -> None:
    for body, words in REFUSED:
        status, answer = await post(api, body)
        assert status == 422, (body, answer)
        assert words in json.dumps(answer), body
    async with api.http.post(ROUTE, data=b"{}", headers=TOKEN) as answer:
        assert answer.status == 422  # not as JSON
    assert (await ask(api, "POST", ROUTE, {}))[0] == 401
    assert (await ask(api, "GET", ROUTE))[2] == {"backfills": []}
