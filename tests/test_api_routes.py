"""Everything of the HTTP surface but documents, served for real, over both kinds of store."""

import asyncio
import re
import time
from typing import Any

import orjson
import pytest

from database import Database
from market.markets import Exchange, ListedMarket, Market
from market.timeframes import COLLECTED, Timeframe
from stores.hot.beats import beat
from tests.api.documents.test_endpoint import AS_OF_MS, document
from tests.fixtures.api import ServedApi, StartApi

SECRET = {"Authorization": "Bearer s3cret"}


async def ask(
    api: ServedApi, method: str, path: str, body: Any = None, **options: Any
) -> tuple[int, dict[str, str], Any]:
    if body is not None:
        options["json"] = body
    async with api.http.request(method, path, **options) as answer:
        text = await answer.read()
        headers = {name.lower(): value for name, value in answer.headers.items()}
        assert headers["x-content-type-options"] == "nosniff"
        is_json = headers["content-type"] == "application/json"
        return answer.status, headers, orjson.loads(text) if is_json else text


async def test_post_queues_the_job(api: ServedApi) -> None:
    before_ms = time.time_ns() // 1_000_000
    status, headers, job = await ask(api, "POST", "/get-market-data", {"timeframe": "4h"})
    assert (status, headers["location"]) == (202, "/jobs/collect:4h")
    enqueued_at = job.pop("enqueued_at")
    assert before_ms <= enqueued_at <= time.time_ns() // 1_000_000
    assert job == {
        "id": "collect:4h",
        "kind": "collect",
        "timeframe": "4h",
        "produces": ["4h", "8h"],
        "run": 1,
        "state": "queued",
        "coalesced": False,
        "rerun": False,
        "started_at": None,
        "finished_at": None,
        "attempts": 0,
        "progress": {"phase": "queued", "done": 0, "total": 0},
        "error": None,
        "result": None,
        "last": None,
    }
    status, _, again = await ask(api, "POST", "/get-market-data", {"timeframe": "4h"})
    assert (status, again["run"], again["coalesced"]) == (202, 1, True)
    status, _, shown = await ask(api, "GET", "/jobs/collect:4h")
    assert (status, shown["enqueued_at"], shown["state"]) == (200, enqueued_at, "queued")


async def test_every_timeframe_has_its_job_and_8h_has_that_of_4h(api: ServedApi) -> None:
    asked = [*map(str, COLLECTED), "8h"]
    for timeframe in asked:
        status, headers, job = await ask(api, "POST", "/get-market-data", {"timeframe": timeframe})
        expected = "collect:4h" if timeframe == "8h" else f"collect:{timeframe}"
        assert (status, job["id"], headers["location"]) == (202, expected, f"/jobs/{expected}")
    status, _, listed = await ask(api, "GET", "/jobs")
    assert status == 200
    # The newest first; asking for 8h joined the wish for 4h.
    assert [job["id"] for job in listed["jobs"]] == [f"collect:{t}" for t in reversed(COLLECTED)]


WRONG_BODIES = {
    b'{"timeframe":"7h"}': "'5m', '15m'",
    b'{"timeframe":null}': "'5m', '15m'",
    b'{"timeframe":"4h","exchange":"binance"}': "the only one is timeframe",
    b"{}": "Field required",
    b"[]": "object",
    b"": "JSON",
    b"{": "JSON",
    b'{"timeframe":"\xff"}': "JSON",
    b'{"timeframe":' + b"[" * 60_000: "JSON",
}


async def test_wrong_bodies(native_api: ServedApi) -> None:
    json = {"Content-Type": "application/json"}
    for body, words in WRONG_BODIES.items():
        status, _, answer = await ask(
            native_api, "POST", "/get-market-data", data=body, headers=json
        )
        assert status == 422
        assert all(set(detail) == {"type", "loc", "msg"} for detail in answer["detail"])
        assert words in str(answer)


async def test_a_body_that_is_not_called_json(native_api: ServedApi) -> None:
    body = b'{"timeframe":"4h"}'
    for content_type in ("text/plain", "application/x-www-form-urlencoded"):
        headers = {"Content-Type": content_type}
        status, _, answer = await ask(
            native_api, "POST", "/get-market-data", data=body, headers=headers
        )
        assert (status, answer["detail"][0]["msg"]) == (422, "must be application/json")
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    status, _, _ = await ask(native_api, "POST", "/get-market-data", data=body, headers=headers)
    assert status == 202


async def test_large_bodies_are_refused(native_api: ServedApi) -> None:
    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 1024

    for path in ("/get-market-data", "/jobs/collect:4h", "/jobs", "/cache/4h", "/nope"):
        declared = b"x" * (64 * 1024 + 1)
        method = {"/get-market-data": "POST", "/jobs/collect:4h": "DELETE"}.get(path, "GET")
        request = (
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(declared)}\r\n"
            f"Content-Type: application/json\r\n\r\n"
        )
        status, headers, answer = await native_api.raw(request.encode())
        assert (status, headers["connection"]) == (413, "close")
        assert "65536" in orjson.loads(answer)["detail"]
    headers = {"Content-Type": "application/json"}
    status, _, _ = await ask(native_api, "POST", "/get-market-data", data=chunks(), headers=headers)
    assert status == 413
    fits = b'{"timeframe":"4h"' + b" " * (64 * 1024 - 18) + b"}"
    status, _, _ = await ask(native_api, "POST", "/get-market-data", data=fits, headers=headers)
    assert status == 202


async def test_if_busy(api: ServedApi) -> None:
    path = "/get-market-data?if_busy=reject"
    async with api.lease():
        status, headers, answer = await ask(api, "POST", path, {"timeframe": "4h"})
        assert status == 409
        assert 1 <= int(headers["retry-after"]) <= 15
        assert "test worker" in answer["detail"]
        assert (await ask(api, "GET", "/jobs"))[2] == {"jobs": []}
        status, _, _ = await ask(api, "POST", "/get-market-data", {"timeframe": "1h"})
        assert status == 202
    status, _, _ = await ask(api, "POST", path, {"timeframe": "4h"})
    assert status == 202
    status, _, answer = await ask(
        api, "POST", "/get-market-data?if_busy=maybe", {"timeframe": "4h"}
    )
    assert (status, "'reject'" in str(answer)) == (422, True)


async def test_abort_and_unknown_jobs(api: ServedApi) -> None:
    for path in ("/jobs/collect:4h", "/jobs/collect:8h", "/jobs/x", "/jobs/..%2Fcache", "/jobs/"):
        for method in ("GET", "DELETE"):
            status, _, _ = await ask(api, method, path)
            assert status == 404
    await ask(api, "POST", "/get-market-data", {"timeframe": "4h"})
    status, headers, job = await ask(api, "DELETE", "/jobs/collect:4h")
    assert (status, job["state"]) == (202, "aborted")
    assert headers["location"] == "/jobs/collect:4h"
    assert (await ask(api, "GET", "/jobs/collect:4h"))[2]["state"] == "aborted"


INTERNAL = {
    "/api/v1/internal/update-fr": "funding",
    "/api/v1/internal/update-coins": "discovery",
}


@pytest.mark.parametrize("path", INTERNAL)
async def test_internal_endpoints(
    start_api: StartApi, store_settings: dict[str, Any], path: str
) -> None:
    closed = await start_api(**store_settings, cron_secret="", api_token="t0ken")
    for headers in ({}, SECRET, {"Authorization": "Bearer t0ken"}, {"Authorization": "Bearer "}):
        status, _, answer = await ask(closed, "POST", path, headers=headers)
        assert (status, "CRON_SECRET set" in answer["detail"]) == (403, True)
    api = await start_api(**store_settings, cron_secret="s3cret", api_token="t0ken")
    wrong = ("", "Bearer", "Bearer ", "Bearer wrong", "Basic s3cret", "s3cret", "Bearer t0ken")
    for value in wrong:
        headers = {"Authorization": value}
        status, got, answer = await ask(api, "POST", path, headers=headers)
        assert (status, got["www-authenticate"]) == (401, "Bearer")
        assert "s3cret" not in str(answer)
    status, _, _ = await ask(api, "POST", path)
    assert status == 401
    assert (await api.queue.list()) == []
    status, headers, job = await ask(api, "POST", path, headers={"Authorization": "bearer s3cret"})
    assert (status, job["id"], job["kind"]) == (202, INTERNAL[path], INTERNAL[path])
    assert headers["location"] == f"/jobs/{INTERNAL[path]}"


async def test_api_token(start_api: StartApi, store_settings: dict[str, Any]) -> None:
    api = await start_api(**store_settings, api_token="pässword")
    asks = (("POST", "/get-market-data"), ("DELETE", "/jobs/collect:4h"))
    for method, path in asks:
        # Who may not ask does not learn whether the question was right, either.
        for body in ({"timeframe": "4h"}, {"wrong": 1}):
            for headers in ({}, SECRET):
                status, _, answer = await ask(api, method, path, body, headers=headers)
                assert status == 401
                assert "API_TOKEN" in answer["detail"]
    request = (
        "POST /get-market-data HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        "Authorization: Bearer pässword\r\nContent-Length: 18\r\nConnection: close\r\n\r\n"
        '{"timeframe":"4h"}'
    )
    assert (await api.raw(request.encode()))[0] == 202
    twice = request.replace("Connection", "Authorization: Bearer pässword\r\nConnection")
    assert (await api.raw(twice.encode()))[0] == 401
    for path in ("/jobs", "/health", "/cache/4h", "/openapi.json"):
        status, _, _ = await ask(api, "GET", path)
        assert status != 401


async def test_an_empty_token_is_none(start_api: StartApi, store_settings: dict[str, Any]) -> None:
    api = await start_api(**store_settings, api_token="")
    status, _, _ = await ask(api, "POST", "/get-market-data", {"timeframe": "4h"})
    assert status == 202


async def test_other_methods_and_paths(native_api: ServedApi) -> None:
    for method, path in (
        ("GET", "/get-market-data"),
        ("PUT", "/jobs"),
        ("POST", "/health"),
        ("OPTIONS", "/get-market-data"),
        ("GET", "/api/v1/internal/update-fr"),
    ):
        status, headers, answer = await ask(native_api, method, path)
        assert (status, answer) == (405, {"detail": "Method Not Allowed"})
        assert headers["allow"]
    for path in ("/", "/nope", "/jobs/", "/cache", "/docs/../jobs/x/y"):
        status, _, answer = await ask(native_api, "GET", path)
        assert (status, answer) == (404, {"detail": "Not Found"})


async def test_no_other_origin_is_let_in(native_api: ServedApi) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for method, path in (("OPTIONS", "/get-market-data"), ("GET", "/jobs"), ("GET", "/cache/4h")):
        _, got, _ = await ask(native_api, method, path, headers=headers)
        assert not [name for name in got if name.startswith("access-control")]


ORIGIN = "https://ours.example"


async def test_the_origins_that_are_let_in(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url, cors_origins=(ORIGIN,), api_token="t0ken")
    await api.publish("4h", document(), AS_OF_MS)
    for origin in (ORIGIN, "https://evil.example"):
        for path in ("/cache/4h", "/jobs", "/cache/8h", "/nope"):
            _, got, _ = await ask(api, "GET", path, headers={"Origin": origin})
            allowed = got.get("access-control-allow-origin")
            assert allowed == (ORIGIN if origin == ORIGIN else None)
            assert "Origin" in got["vary"]
            assert "access-control-allow-credentials" not in got
        asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        asks["Access-Control-Request-Headers"] = "authorization,content-type"
        async with api.http.options("/get-market-data", headers=asks) as answer:
            assert (answer.status == 200) == (origin == ORIGIN)
            assert ("Access-Control-Allow-Origin" in answer.headers) == (origin == ORIGIN)
    headers = {"Origin": ORIGIN}
    _, got, _ = await ask(api, "GET", "/cache/4h", headers=headers)
    assert "ETag" in got["access-control-expose-headers"]
    assert set(got["vary"].split(", ")) == {"Accept-Encoding", "Origin"}
    # The token is asked for as ever.
    asked = await ask(api, "POST", "/get-market-data", {"timeframe": "4h"}, headers=headers)
    assert asked[0] == 401


async def test_a_browser_may_do_nothing_with_any_answer(native_api: ServedApi) -> None:
    await native_api.publish("4h", document(), AS_OF_MS)
    paths = ("/", "/cache/4h", "/cache/8h", "/cache/x", "/jobs", "/jobs/x", "/health", "/metrics")
    for path in (*paths, "/coins", "/openapi.json", "/docs", "/docs/start.js"):
        async with native_api.http.get(path) as answer:
            got = answer.headers
        policy = got["Content-Security-Policy"]
        assert len(got.getall("Content-Security-Policy")) == 1
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert got["X-Content-Type-Options"] == "nosniff"
        if not path.startswith("/cache/"):
            assert got["Referrer-Policy"] == "no-referrer"
        assert "Server" not in got or got["Server"] == "uvicorn"  # which main.py leaves out


async def test_what_came_in_does_not_go_out_again(native_api: ServedApi) -> None:
    mark = "<script>alert(1)</script>"
    json = {"Content-Type": "application/json"}
    quoted = mark.replace("<", "%3C").replace(">", "%3E").replace("/", "%2F")
    for method, path, body in (
        ("POST", "/get-market-data", f'{{"timeframe":"{mark}"}}'),
        ("POST", "/get-market-data", f'{{"timeframe":"4h","{mark}":1}}'),
        ("POST", "/get-market-data", mark),
        ("POST", f"/get-market-data?if_busy={quoted}", '{"timeframe":"4h"}'),
        ("GET", f"/jobs/{quoted}", ""),
        ("DELETE", f"/jobs/{quoted}", ""),
        ("GET", f"/{quoted}", ""),
        ("GET", f"/cache/{quoted}", ""),
        ("GET", f"/cache/4h?symbol={quoted}&limit={quoted}&exchange={quoted}&{quoted}=1", ""),
        ("GET", f"/coins?exchange={quoted}&timeframe={quoted}", ""),
        ("GET", "/docs", ""),
    ):
        headers = json | {"Origin": mark, "X-Forwarded-For": mark, "User-Agent": mark}
        async with native_api.http.request(method, path, data=body, headers=headers) as answer:
            told = await answer.text() + str(answer.headers)
        assert "alert(1)" not in told, (path, body)


async def test_a_405_names_every_method_of_the_path(native_api: ServedApi) -> None:
    for path, methods in (
        ("/jobs/collect:4h", "DELETE, GET, HEAD"),
        ("/jobs", "GET, HEAD"),
        ("/get-market-data", "POST"),
        ("/cache/4h", "GET, HEAD"),
    ):
        status, headers, _ = await ask(native_api, "PATCH", path)
        assert (status, headers["allow"]) == (405, methods)


async def test_health_and_readiness(start_api: StartApi, store_settings: dict[str, Any]) -> None:
    api = await start_api(**store_settings)
    assert (await ask(api, "GET", "/health"))[2] == {"status": "ok"}
    status, _, answer = await ask(api, "GET", "/ready")
    assert (status, answer["status"]) == (503, "unavailable")
    assert answer["detail"].startswith("worker: none")
    await beat(api.store, "w1")
    meta = await api.publish("4h", b'{"x":1}', 7)
    status, _, answer = await ask(api, "GET", "/ready")
    assert (status, answer["status"]) == (200, "degraded")
    assert answer["parts"]["store"] == answer["parts"]["worker"] == "ok"
    assert answer["parts"]["database"].startswith("away: ")
    assert answer["caches"]["8h"] is None
    age_s = answer["caches"]["4h"].pop("age_s")
    assert 0 <= age_s < 20
    assert answer["caches"]["4h"] == {
        "version": 7,
        "as_of": 7,
        "updated_at": meta.updated_at_ms,
        "bytes": meta.stored_bytes,
    }


async def test_coins_and_a_database_that_is_there(
    start_api: StartApi, redis_url: str, database_url: str
) -> None:
    markets = [
        Market(exchange, f"{base}USDT", base, "USDT")
        for exchange in Exchange
        for base in ("BTC", "ETH")
    ]
    database = Database(database_url)
    for exchange in Exchange:
        listed = [ListedMarket(m, 1.0) for m in markets if m.exchange is exchange]
        await database.markets.save_markets(exchange, listed, seen_at_ms=1)
    await database.markets.save_metadata(
        Timeframe.H1, {"binance:BTCUSDT": {"hurst": 0.5}}, computed_at_ms=1
    )
    await database.aclose()
    api = await start_api(redis_url=redis_url, dsn=database_url)
    await beat(api.store, "w1")
    status, _, answer = await ask(api, "GET", "/ready")
    assert (status, answer["status"], answer["parts"]["database"]) == (200, "ready", "ok")
    status, _, answer = await ask(api, "GET", "/coins?exchange=binance&timeframe=1h")
    assert (status, answer["timeframe"]) == (200, "1h")
    assert [(c["exchange"], c["symbol"], c["base"], c["quote"]) for c in answer["coins"]] == [
        ("binance", "BTCUSDT", "BTC", "USDT"),
        ("binance", "ETHUSDT", "ETH", "USDT"),
    ]
    assert answer["coins"][0]["meta"]["hurst"] == 0.5
    assert len((await ask(api, "GET", "/coins"))[2]["coins"]) == 4
    for query in ("exchange=kraken", "timeframe=7h"):
        status, _, answer = await ask(api, "GET", f"/coins?{query}")
        assert status == 422
        assert "'binance'" in str(answer) or "'5m'" in str(answer)


async def test_coins_without_a_database(native_api: ServedApi) -> None:
    status, headers, answer = await ask(native_api, "GET", "/coins")
    assert (status, headers["retry-after"]) == (503, "5")
    assert "database" in answer["detail"]


@pytest.mark.parametrize("how", ["gone", "stalled"])
async def test_without_the_store(start_api: StartApi, own_valkey: Any, how: str) -> None:
    valkey = own_valkey()
    api = await start_api(redis_url=valkey.url, cron_secret="s3cret")
    await ask(api, "GET", "/jobs")
    if how == "gone":
        valkey.kill()
    else:
        valkey.pause()
    asks = [
        ask(api, "POST", "/get-market-data?if_busy=reject", {"timeframe": "4h"}),
        ask(api, "POST", "/get-market-data", {"timeframe": "4h"}),
        ask(api, "POST", "/api/v1/internal/update-fr", headers=SECRET),
        ask(api, "DELETE", "/jobs/collect:4h"),
        ask(api, "GET", "/jobs"),
        ask(api, "GET", "/jobs/collect:4h"),
        ask(api, "GET", "/cache/4h"),
        ask(api, "GET", "/ready"),
    ]
    started = time.monotonic()
    answers = await asyncio.gather(*asks)
    assert time.monotonic() - started < 3
    for status, _, answer in answers:
        assert status == 503
        assert answer["detail"]
    assert answers[-1][2]["status"] == "unavailable"
    assert (await ask(api, "GET", "/health"))[0] == 200
    if how == "gone":
        valkey.start()
    else:
        valkey.resume()
    assert (await ask(api, "POST", "/get-market-data", {"timeframe": "4h"}))[0] == 202


async def test_openapi_describes_every_route(native_api: ServedApi) -> None:
    _, _, page = await ask(native_api, "GET", "/openapi.json")
    served = {(method, path) for path, item in page["paths"].items() for method in item}
    assert served == {
        ("post", "/get-market-data"),
        ("post", "/api/v1/internal/update-fr"),
        ("post", "/api/v1/internal/update-coins"),
        ("get", "/jobs"),
        ("get", "/jobs/{job_id}"),
        ("delete", "/jobs/{job_id}"),
        ("get", "/cache/{name}"),
        ("head", "/cache/{name}"),
        ("get", "/coins"),
        ("get", "/health"),
        ("get", "/metrics"),
        ("get", "/ready"),
    }
    statuses = page["paths"]["/get-market-data"]["post"]["responses"]
    assert {"202", "401", "405", "409", "413", "422", "503"} <= set(statuses)
    text = orjson.dumps(page).decode()
    for address in re.findall(r'"\$ref":"#/([^"]+)"', text):
        found = page
        for step in address.split("/"):
            found = found[step]
    assert "HTTPValidationError" not in text
    for name in ("Job", "Document", "Problem", "InvalidRequest", "Ready", "Coins"):
        assert page["components"]["schemas"][name]["examples"]


async def test_docs_come_from_this_machine(native_api: ServedApi) -> None:
    status, headers, page = await ask(native_api, "GET", "/docs")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    loads = re.findall(r'(?:src|href)="([^"]+)"', page.decode())
    assert not [address for address in loads if "//" in address]
    files = [address for address in loads if not address.startswith("data:")]
    assert len(files) == 3
    for address in files:
        status, headers, content = await ask(native_api, "GET", f"/{address}")
        assert (status, bool(content)) == (200, True)
        assert headers["content-type"].split(";")[0] in ("text/css", "text/javascript")
