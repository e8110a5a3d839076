"""Bearer tokens: missing, wrong, empty and correct ones."""

from typing import Any

import pytest

from tests.fixtures.api import StartApi, ask

SECRET = {"Authorization": "Bearer s3cret"}


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
