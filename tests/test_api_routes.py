"""The whole application: methods, paths, headers and bodies, and a store that is away."""

import asyncio
from typing import Any

import pytest

from tests.fixtures.api import ServedApi, StartApi, ask
from tests.fixtures.lateness import elapsed

SECRET = {"Authorization": "Bearer s3cret"}


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
    for path in ("/nope", "/jobs/", "/docs/../jobs/x/y"):
        status, _, answer = await ask(native_api, "GET", path)
        assert (status, answer) == (404, {"detail": "Not Found"})


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
        ("GET", f"/cache/4h?symbol={quoted}", ""),
        ("GET", f"/cache/4h?{quoted}=1", ""),
        ("GET", f"/?{quoted}", ""),
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
        ("/cache", "GET, HEAD"),
        ("/", "GET, HEAD"),
    ):
        status, headers, _ = await ask(native_api, "PATCH", path)
        assert (status, headers["allow"]) == (405, methods)


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
        ask(api, "GET", "/cache"),
        ask(api, "GET", "/ready"),
    ]
    async with elapsed() as took:
        answers = await asyncio.gather(*asks)
    assert took.own_s < 3
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
