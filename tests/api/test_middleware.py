"""Middleware: the body limit, and the headers for browsers."""

from typing import Any

import orjson

from tests.fixtures.api import ServedApi, ask
from tests.fixtures.documents import AS_OF_MS, document


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


async def test_a_browser_may_do_nothing_with_any_answer(native_api: ServedApi) -> None:
    await native_api.publish("4h", document(), AS_OF_MS)
    paths = (
        "/",
        "/cache",
        "/cache/4h",
        "/cache/8h",
        "/cache/x",
        "/jobs",
        "/jobs/x",
        "/health",
        "/metrics",
    )
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
