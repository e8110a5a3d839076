"""READ_TOKEN: what it guards, who gets in, and what wrong tokens leave behind."""

import asyncio
import urllib.request
from typing import Any

import pytest
import structlog

import commands.listening
from stores.hot.beats import beat
from tests.fixtures.api import ServedApi, StartApi, ask, get
from tests.fixtures.documents import AS_OF_MS, document

GUARDED = (
    *("/", "/cache", "/cache/4h", "/cache/8h?wait=5", "/coins", "/jobs", "/jobs/collect:4h"),
    *("/metrics", "/status", "/openapi.json", "/nope", "/get-market-data"),
    *("/health/", "/ready/x", "/uix", "/docsx", "/cache/4h?token=r3ad&access_token=r3ad"),
)
READ = {"Authorization": "Bearer r3ad"}


@pytest.fixture
async def guarded(start_api: StartApi, redis_url: str) -> ServedApi:
    api = await start_api(
        redis_url=redis_url,
        read_token="r3ad",
        api_token="t0ken",
        cron_secret="s3cret",
        cors_origins="https://charts.example.org",
    )
    await api.publish("4h", document(), AS_OF_MS)
    return api


@pytest.mark.parametrize("path", GUARDED)
async def test_every_get_needs_it(guarded: ServedApi, path: str) -> None:
    for method in ("GET", "HEAD"):
        status, headers, body = await get(guarded, path, method)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert b"r3ad" not in body
        assert (b"<READ_TOKEN>" in body) == (method == "GET")
    async with guarded.http.get(path, headers=READ) as answer:
        assert answer.status != 401


async def test_browsers_reach_the_pages_that_ask_for_it(guarded: ServedApi) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    async with guarded.http.get("/", headers=browser, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["location"]) == (307, "ui/")
    for path in ("/docs", "/docs/start.js", "/docs/swagger-ui.css"):
        assert (await get(guarded, path))[0] == 200
    for path in ("/openapi.json", "/cache", "/status"):
        assert (await get(guarded, path, **browser))[0] == 401


async def test_who_gets_in(guarded: ServedApi) -> None:
    for value in ("Bearer r3ad", "bearer r3ad", "Bearer t0ken"):
        assert (await get(guarded, "/cache/4h", Authorization=value))[0] == 200
    for value in (
        "",
        "Bearer",
        "Bearer s3cret",
        "Basic r3ad",
        "r3ad",
        "Bearer r3ad2",
        "Bearer r3a",
    ):
        assert (await get(guarded, "/cache/4h", Authorization=value))[0] == 401
    # It reads only.
    post = await ask(guarded, "POST", "/get-market-data", {"timeframe": "4h"}, headers=READ)
    assert post[0] == 401
    assert "API_TOKEN" in post[2]["detail"]
    assert (await ask(guarded, "POST", "/api/v1/internal/update-fr", headers=READ))[0] == 401


async def test_health_and_readiness_say_their_status_to_all(guarded: ServedApi) -> None:
    assert (await ask(guarded, "GET", "/health"))[2] == {"status": "ok"}
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        status, _, answer = await ask(guarded, "GET", "/ready", headers=headers)
        assert (status, answer) == (503, {"status": "unavailable"})
    status, _, answer = await ask(guarded, "GET", "/ready", headers=READ)
    assert (status, set(answer)) == (503, {"status", "parts", "caches", "detail"})
    await beat(guarded.store, "w1")
    assert (await ask(guarded, "GET", "/ready"))[2] == {"status": "degraded"}
    assert (await get(guarded, "/ui/app.js"))[0] == 200


async def test_the_start_and_health_checks_need_no_token_and_no_name(
    start_api: StartApi, redis_url: str
) -> None:
    api = await start_api(
        redis_url=redis_url, read_token="r3ad", allowed_hosts="perpcache.example.org"
    )
    # As `serve` asks before it announces its address, and as the image's health check does.
    assert await commands.listening._answers("127.0.0.1", api.port)
    health = f"http://127.0.0.1:{api.port}/health"
    reply = await asyncio.to_thread(urllib.request.urlopen, health, timeout=10)
    with reply:
        assert reply.status == 200


async def test_pages_may_send_it(guarded: ServedApi) -> None:
    origin = {"Origin": "https://charts.example.org"}
    preflight = origin | {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    for path in ("/cache/4h", "/coins"):
        async with guarded.http.options(path, headers=preflight) as answer:
            assert answer.status == 200
            assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        for token, status in (({}, 401), (READ, 200)):
            async with guarded.http.get(path, headers=origin | token) as answer:
                assert answer.status == status or path == "/coins"
                assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"]


async def test_without_it_all_is_open(start_api: StartApi, redis_url: str) -> None:
    for token in ({}, {"read_token": ""}):
        api = await start_api(redis_url=redis_url, api_token="t0ken", **token)
        await beat(api.store, "w1")
        for path in ("/jobs", "/metrics", "/cache"):
            assert (await get(api, path))[0] == 200
            assert (await get(api, path, Authorization="Bearer wrong"))[0] == 200
        assert "parts" in (await ask(api, "GET", "/ready"))[2]


async def test_wrong_tokens_are_counted_and_logged(guarded: ServedApi) -> None:
    async def counted() -> dict[str, float]:
        text = (await get(guarded, "/metrics", Authorization="Bearer r3ad"))[2].decode()
        lines = [line for line in text.splitlines() if line.startswith("perpcache_http_wrong")]
        found = {line.partition('setting="')[2].partition('"')[0]: line for line in lines}
        return {name: float(line.split()[-1]) for name, line in found.items() if name}

    log: Any = guarded.app.tokens._log
    log._clock = lambda: 0.0
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await get(guarded, "/cache/4h", Authorization="Bearer w1", X_Forwarded_For="192.0.2.1")
        await ask(guarded, "POST", "/get-market-data", {}, headers={"Authorization": "Bearer w2"})
        await get(guarded, "/%0aevil", Authorization="Bearer w3")
        await get(guarded, "/cache/4h")  # no token is no wrong one
        internal = "/api/v1/internal/update-fr"
        await ask(guarded, "POST", internal, headers={"Authorization": "Bearer w4"})
    assert await counted() == {"READ_TOKEN": 4, "API_TOKEN": 1, "CRON_SECRET": 1}
    wrong = [log for log in logs if log["event"] == "wrong_token"]
    assert wrong[0] == {
        "event": "wrong_token",
        "log_level": "warning",
        "times": 1,
        "setting": "READ_TOKEN",
        "client": "192.0.2.1",
        "method": "GET",
        "route": "/cache",
    }
    assert len(wrong) == 1  # at most one a second
    assert not any(secret in str(wrong) for secret in ("w1", "w2", "w3", "w4", "r3ad", "evil"))


async def test_a_flood_of_wrong_tokens_is_one_line_a_second(guarded: ServedApi) -> None:
    clock = 0.0
    log: Any = guarded.app.tokens._log
    log._clock = lambda: clock
    with structlog.testing.capture_logs() as logs:
        for moment in (0.0, 0.4, 0.999, 1.0, 1.5, 2.1):
            clock = moment
            asked = [get(guarded, "/jobs", Authorization="Bearer wrong") for _ in range(10)]
            assert {answer[0] for answer in await asyncio.gather(*asked)} == {401}
    assert [entry["times"] for entry in logs if entry["event"] == "wrong_token"] == [1, 30, 20]
