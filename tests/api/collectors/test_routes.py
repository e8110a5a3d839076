"""/api/collectors over HTTP: what is told, what may be asked for, and by whom."""

import asyncio
from typing import Any, Final
from urllib.parse import quote

import msgspec
import pytest

from database import Database
from live.configured.actual import CollectorState, StateTeller, lease_name
from live.configured.definition import CollectorDefinition, to_ascii_json
from stores.hot.leases import try_acquire
from tests.fixtures.api import ServedApi, StartApi, ask, get

MODIFIED_MS: Final = 1_763_700_000_000
MAJORS: Final = CollectorDefinition(
    name="majors",
    exchange="binance",
    symbols={"BTC-USDT": "BTCUSDT", "ETH-USDT": "ETHUSDT"},
    data_types=("ticker", "candle"),
    outputs=("redis",),
    timeframes=("1m",),
)
BOOKS: Final = CollectorDefinition(
    name="okx-books",
    exchange="okx",
    symbols={f"A{number}-USDT-SWAP": f"A{number}-USDT-SWAP" for number in range(199)},
    data_types=("orderbook",),
    outputs=("redis",),
    enabled=False,
)
TOKEN: Final = {"Authorization": "Bearer t0ken"}


@pytest.fixture
async def api(start_api: StartApi, redis_url: str, database_url: str) -> ServedApi:
    """An API of a host that has no file: another host has read it."""
    database = Database(database_url)
    await database.collectors.take_file("/f", MODIFIED_MS, to_ascii_json([MAJORS, BOOKS]))
    await database.aclose()
    return await start_api(redis_url=redis_url, dsn=database_url)


async def desired(api: ServedApi, name: str = "majors") -> Any:
    status, _, answer = await ask(api, "GET", f"/api/collectors/{name}")
    assert status == 200
    return answer["desired"]


async def post(api: ServedApi, path: str, method: str = "POST", **options: Any) -> tuple[int, Any]:
    status, headers, answer = await ask(api, method, f"/api/collectors/{path}", **options)
    if status == 202:
        assert headers["location"] == f"/api/collectors/{path.partition('/')[0]}"
    return status, answer


async def test_what_the_file_says(api: ServedApi) -> None:
    status, _, answer = await ask(api, "GET", "/api/collectors")
    assert status == 200
    assert [each["name"] for each in answer["collectors"]] == ["majors", "okx-books"]
    assert answer["collectors"][0] == {
        "name": "majors",
        "desired": {
            "name": "majors",
            "exchange": "binance",
            "data_types": ["ticker", "candle"],
            "timeframes": ["1m"],
            "book_depth": None,
            "outputs": ["redis"],
            "symbols": ["BTC-USDT", "ETH-USDT"],
            "enabled": True,
            "running": True,
            "restarts": 0,
            "changed_at": None,
            "file": {
                "modified_at": MODIFIED_MS,
                "enabled": True,
                "symbols": ["BTC-USDT", "ETH-USDT"],
            },
        },
        "actual": None,
    }
    books = answer["collectors"][1]["desired"]
    assert (books["enabled"], books["running"], books["book_depth"]) == (False, False, 50)
    assert await desired(api) == answer["collectors"][0]["desired"]


async def test_each_change_answers_with_what_is_wanted_then(api: ServedApi) -> None:
    # name, action: enabled and running after it
    for path, enabled, running in (
        ("majors/stop", True, False),
        ("majors/stop", True, False),
        ("majors/disable", False, False),
        ("majors/enable", True, False),  # it was stopped
        ("majors/start", True, True),
        ("majors/start", True, True),
        ("majors/disable", False, False),
        ("majors/enable", True, True),
        ("okx-books/enable", True, True),
        ("okx-books/disable", False, False),
    ):
        status, answer = await post(api, path)
        assert (status, answer["enabled"], answer["running"]) == (202, enabled, running), path
        assert answer == await desired(api, path.partition("/")[0])
        assert answer["file"]["enabled"] is (answer["name"] == "majors")


async def test_restarts_are_counted_and_a_disabled_one_is_not_started(api: ServedApi) -> None:
    await post(api, "majors/stop")
    for number in (1, 2):
        status, answer = await post(api, "majors/restart")
        assert (status, answer["restarts"], answer["running"]) == (202, number, True)
    told = "it is disabled: POST /api/collectors/okx-books/enable first"
    for action in ("start", "restart"):
        assert await post(api, f"okx-books/{action}") == (409, {"detail": told})
    assert (await desired(api, "okx-books"))["restarts"] == 0
    assert (await post(api, "okx-books/stop"))[0] == 202


async def test_what_changes_nothing_is_no_change(api: ServedApi) -> None:
    for path in ("majors/start", "majors/enable", "majors/symbols/BTCUSDT", "okx-books/disable"):
        status, answer = await post(api, path)
        assert (status, answer["changed_at"]) == (202, None)
    _, first = await post(api, "majors/stop")
    assert first["changed_at"] > MODIFIED_MS
    assert (await post(api, "majors/stop"))[1] == first


async def test_symbols_in_any_writing(api: ServedApi) -> None:
    for written in ("SOL-USDT", "SOLUSDT", "SOL/USDT", "sol/usdt:usdt"):
        for text in (written, quote(written, safe="")):
            status, answer = await post(api, f"majors/symbols/{text}")
            assert (status, answer["symbols"]) == (202, ["BTC-USDT", "ETH-USDT", written])
        status, answer = await post(api, "majors/symbols/SOL_USDT", "DELETE")
        assert (status, answer["symbols"]) == (202, ["BTC-USDT", "ETH-USDT"])
    status, answer = await post(api, "majors/symbols/btc%2Fusdt", "DELETE")
    assert (status, answer["symbols"]) == (202, ["ETH-USDT"])
    assert answer["file"]["symbols"] == ["BTC-USDT", "ETH-USDT"]
    status, again = await post(api, "majors/symbols/BTCUSDT", "DELETE")
    assert (status, again) == (202, answer)
    # It comes back as the file writes it.
    status, answer = await post(api, "majors/symbols/BTCUSDT")
    assert (status, answer["symbols"]) == (202, ["BTC-USDT", "ETH-USDT"])
    asked = [post(api, f"majors/symbols/A{number}-USDT") for number in range(10)]
    assert {status for status, _ in await asyncio.gather(*asked)} == {202}
    assert len((await desired(api))["symbols"]) == 12


async def test_symbols_that_this_collector_cannot_have(api: ServedApi, database_url: str) -> None:
    assert (await post(api, "okx-books/symbols/BTC-USDT-SWAP"))[0] == 202
    status, answer = await post(api, "okx-books/symbols/ETH-USDT-SWAP")
    assert (status, answer["detail"].partition(":")[0]) == (400, "symbols")
    assert "at most 200 order books" in answer["detail"]
    assert len((await desired(api, "okx-books"))["symbols"]) == 200
    # What one exchange has another need not have.
    status, answer = await post(api, "okx-books/symbols/BTC-USDT-261225", "DELETE")
    assert (status, "okx: dated contracts are not streamed" in answer["detail"]) == (400, True)
    assert (await post(api, "majors/symbols/BTCUSDT_261225"))[0] == 202
    # The file has the collector on another exchange now.
    database = Database(database_url)
    moved = msgspec.structs.replace(MAJORS, exchange="okx")
    await database.collectors.take_file("/f", MODIFIED_MS, to_ascii_json([moved, BOOKS]))
    await database.aclose()
    status, answer = await post(api, "majors/symbols/BTCUSDT_261225", "DELETE")
    assert (status, answer["symbols"]) == (202, ["BTC-USDT", "ETH-USDT"])


HOSTILE: Final = (
    *("..%2F..%2Fetc%2Fpasswd", "%00", "BTC%00USDT", "A" * 5000, "💣💣", "BTC%FFUSDT", "%C3%28"),
    *("a:b:c", "-", "%20", "BTC-USDT'--", "%7B%7D", "", "*", "@ticker", "BTC%1B%5B2JUSDT"),
)


async def test_what_no_market_is_called_is_refused_with_what_is_allowed(api: ServedApi) -> None:
    for symbol in HOSTILE:
        for method in ("POST", "DELETE"):
            status, answer = await post(api, f"majors/symbols/{symbol}", method)
            assert status == 400, symbol
            assert answer["detail"].startswith("binance: ")
            assert "write it as BTCUSDT, BTC-USDT or BTC/USDT" in answer["detail"]
            assert answer["detail"].isprintable() and len(answer["detail"]) < 200
    assert (await post(api, "majors/symbols/%0d%0aX-Evil:%201"))[0] == 404
    assert len((await desired(api))["symbols"]) == 2


UNKNOWN: Final = (
    *("none", "%00", "a%0ab", "MAJORS", "n" * 3000, "%F0%9F%92%A3", "majors%20", "'--", "*"),
    "%FF",
)


async def test_an_unknown_name_gets_the_known_ones(api: ServedApi) -> None:
    for name in UNKNOWN:
        for method, path in (
            ("GET", name),
            ("POST", f"{name}/start"),
            ("DELETE", f"{name}/symbols/BTCUSDT"),
            ("POST", f"{name}/symbols/~"),  # whether the symbol is right is not asked first
        ):
            status, answer = await post(api, path, method)
            assert (status, answer["detail"]) == (
                404,
                "unknown collector; there are majors, okx-books",
            )
    assert (await post(api, "..%2F..%2Fmajors/start"))[0] == 404


async def test_without_any_file(start_api: StartApi, redis_url: str, database_url: str) -> None:
    api = await start_api(redis_url=redis_url, dsn=database_url)
    assert (await ask(api, "GET", "/api/collectors"))[2] == {"collectors": []}
    status, answer = await post(api, "majors/start")
    assert (status, "COLLECTORS names a file" in answer["detail"]) == (404, True)


async def test_other_methods_and_paths(api: ServedApi) -> None:
    status, headers, _ = await ask(api, "GET", "/api/collectors/majors/start")
    assert (status, headers["allow"]) == (405, "POST")
    status, headers, _ = await ask(api, "PUT", "/api/collectors/majors/symbols/BTCUSDT")
    assert (status, headers["allow"]) == (405, "DELETE, POST")
    assert (await ask(api, "POST", "/api/collectors/majors/explode"))[0] == 404
    assert (await get(api, "/api/collectors", "HEAD"))[0] == 200


async def test_changes_need_the_api_token_and_reads_the_read_token(
    start_api: StartApi, redis_url: str, database_url: str
) -> None:
    api = await start_api(
        redis_url=redis_url, dsn=database_url, api_token="t0ken", read_token="r3ad"
    )
    database = Database(database_url)
    await database.collectors.take_file("/f", 1, to_ascii_json([MAJORS]))
    await database.aclose()
    read = {"Authorization": "Bearer r3ad"}
    for path in ("/api/collectors", "/api/collectors/majors", "/api/collectors/none"):
        assert (await ask(api, "GET", path))[0] == 401
        assert (await ask(api, "GET", path, headers=read))[0] != 401
    actions = ("start", "stop", "restart", "enable", "disable", "symbols/SOLUSDT")
    asks = [("POST", f"majors/{action}") for action in actions]
    for method, path in [*asks, ("DELETE", "majors/symbols/SOLUSDT"), ("POST", "none/start")]:
        for headers in ({}, read, {"Authorization": "Bearer wrong"}):
            status, answer = await post(api, path, method, headers=headers)
            assert (status, "API_TOKEN" in answer["detail"]) == (401, True)
        status, _ = await post(api, path, method, headers=TOKEN)
        assert status == (404 if path.startswith("none") else 202)


async def test_no_page_of_another_site_can_ask_unasked(api: ServedApi) -> None:
    """A browser sends such a POST without a CORS preflight, and needs no token for it."""
    own = f"http://127.0.0.1:{api.port}"
    simple = {"Content-Type": "text/plain"}
    for origin, headers, expected in (
        ("https://evil.example", simple, 403),
        ("https://evil.example", {}, 403),
        ("null", {}, 403),
        ("http://[", {}, 403),
        (f"{own}.evil.example", {}, 403),
        # Of this type only after a preflight, which is refused.
        ("https://evil.example", {"Content-Type": "application/json"}, 202),
        (own, {}, 202),
    ):
        status, _ = await post(api, "majors/stop", headers={"Origin": origin, **headers})
        assert status == expected, (origin, headers)
        await post(api, "majors/start")


async def test_a_database_that_is_away(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url)
    asks = (("GET", ""), ("GET", "/majors"), ("POST", "/majors/stop"), ("POST", "/a/symbols/B"))
    for method, path in (*asks, ("DELETE", "/a/symbols/B")):
        status, headers, answer = await ask(api, method, f"/api/collectors{path}")
        assert (status, headers["retry-after"]) == (503, "5")
        assert "the database" in answer["detail"]
        assert "127.0.0.1" not in answer["detail"]


async def test_a_large_body_and_a_store_that_is_away(
    api: ServedApi, start_api: StartApi, database_url: str
) -> None:
    status, _ = await post(api, "majors/stop", data=b"x" * 70_000)
    assert (status, (await desired(api))["running"]) == (413, True)
    away = await start_api(
        worker={"redis_url": "redis://127.0.0.1:1"},
        redis_url="redis://127.0.0.1:1",
        dsn=database_url,
    )
    # What is wanted can be changed; what is done cannot be told.
    assert (await post(away, "majors/stop"))[0] == 202
    assert (await ask(away, "GET", "/api/collectors"))[0] == 503


async def test_what_the_holder_tells(api: ServedApi) -> None:
    lease = await try_acquire(api.store, lease_name("majors"), holder="host:7", ttl_s=15)
    assert lease is not None
    issue = "connection: Cannot connect to host 10.1.2.3:9000 ssl:default [refused]"
    state = CollectorState(
        holder="host:7",
        since_ms=1,
        at_ms=2,
        restarts=3,
        error=None,
        collector={
            "status": "reconnecting",
            "symbols": ["SOL/USDT:USDT"],
            "statistics": {"last_error": issue, "errors": 2},
            "connections": [{"route": "/market/stream", "age_s": 0.5}],
        },
        health={"is_healthy": False, "issues": [issue], "status": "reconnecting"},
        manager={"restarts": 3, "errors": 0, "last_error": None},
        outputs={"redis": {"sent": 4, "last_error": "redis: 10.1.2.3:6379 refused"}},
    )
    await StateTeller(api.store, lease, "majors").tell(state)
    _, _, answer = await ask(api, "GET", "/api/collectors")
    told = "connection: Cannot connect to host (address) ssl:default [refused]"
    short = {
        "holder": "host:7",
        "since": 1,
        "at": 2,
        "status": "reconnecting",
        "is_healthy": False,
        "issues": [told],
        "error": None,
        "restarts": 3,
    }
    assert [each["actual"] for each in answer["collectors"]] == [short, None]
    _, _, answer = await ask(api, "GET", "/api/collectors/majors")
    assert answer["actual"] == short | {
        "collector": {
            "status": "reconnecting",
            "symbols": ["SOL/USDT:USDT"],
            "statistics": {"last_error": told, "errors": 2},
            "connections": [{"route": "/market/stream", "age_s": 0.5}],
        },
        "health": {"is_healthy": False, "issues": [told], "status": "reconnecting"},
        "manager": {"restarts": 3, "errors": 0, "last_error": None},
        "outputs": {"redis": {"sent": 4, "last_error": "redis: (address) refused"}},
    }
    await lease.release()
