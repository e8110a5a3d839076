"""/api/workers over HTTP: what is told of workers, what may be changed of them, and by whom."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest

from stores.hot.leases import try_acquire
from tests.fixtures.api import ServedApi, StartApi, ask, get
from tests.fixtures.controlled_workers import API_TOKEN, WITH_TOKEN
from tests.fixtures.postgres import User
from workers.state import WorkerStates

NAMES: Final = [
    *("closes", "fails", "fund_values", "historical_data", "trades", "ui_data", "waits"),
]


async def read(api: ServedApi, path: str) -> Any:
    status, _, answer = await ask(api, "GET", f"/api/{path}")
    assert status == 200, answer
    return answer


async def change(
    api: ServedApi, method: str, path: str, body: Any = None, **options: Any
) -> tuple[int, Any]:
    status, _, answer = await ask(
        api, method, f"/api/{path}", body, headers=WITH_TOKEN | options.pop("headers", {})
    )
    return status, answer


def messages(answer: Any) -> dict[str, str]:
    """What a 422 says, by field."""
    return {str(each["loc"][-1]): each["msg"] for each in answer["detail"]}


async def test_all_workers_by_name(controlled_api: ServedApi) -> None:
    answer = await read(controlled_api, "workers")
    assert answer["hot_store"] == "ok"
    assert [each["name"] for each in answer["workers"]] == NAMES
    funds = answer["workers"][2]
    next_run = datetime.fromtimestamp(funds["next_run_at"] / 1000, UTC)
    assert (next_run.hour, next_run.minute) == (8, 0)  # 15:00 at UTC+7
    assert funds | {"next_run_at": 0, "changed_at": 0} == {
        "name": "fund_values",
        "kind": "schedule",
        "origin": "user",
        "description": "",
        "cron": "0 15 * * 1-5",
        "every_s": None,
        "offset_s": 0,
        "tz": "Asia/Ho_Chi_Minh",
        "queue": "default",
        "egress": "any",
        "timeout_s": 300.0,
        "max_attempts": 3,
        "on_missed": "one",
        "enabled": True,
        "next_run_at": 0,
        "refreshes": [],
        "overridden": [],
        "changed_at": 0,
        "changed_by": "code",
        "live": None,
    }
    assert answer["workers"][5]["refreshes"] == ["collect:5m"]


async def test_one_worker_has_its_declaration_and_no_secret(controlled_api: ServedApi) -> None:
    one = await read(controlled_api, "workers/fund_values")
    assert (one["place"], one["databases"]) == ("plugins/funds.py:12", ["main"])
    assert one["declared"]["cron"] == "0 15 * * 1-5"
    assert len(one["next_runs"]) == 5
    assert one["next_runs"][0] == one["next_run_at"]
    days = [datetime.fromtimestamp(each / 1000, UTC).isoweekday() for each in one["next_runs"]]
    assert sorted(days) == [1, 2, 3, 4, 5]
    by_key = {each["key"]: each for each in one["configuration"]}
    assert (by_key["url"]["level"], by_key["url"]["problem"]) == ("missing", "has no value")
    assert (by_key["pages"]["level"], by_key["pages"]["value"]) == ("default", 3)
    assert (by_key["token"]["secret"], by_key["token"]["value"]) == (True, "***")
    trades = await read(controlled_api, "workers/trades")
    assert trades["url"] == "ws://127.0.0.1:1/stream"
    assert (trades["next_runs"], trades["enabled"]) == ([], False)


async def test_a_change_tells_the_next_five_firings_and_can_be_undone(
    controlled_api: ServedApi,
) -> None:
    status, changed = await change(
        controlled_api, "PATCH", "workers/ui_data", {"every_s": 600, "offset_s": 30}
    )
    assert status == 200
    assert (changed["every_s"], changed["offset_s"], changed["changed_by"]) == (600, 30, "api")
    assert [each % 600_000 for each in changed["next_runs"]] == [30_000] * 5
    steps = {b - a for a, b in zip(changed["next_runs"], changed["next_runs"][1:], strict=False)}
    assert steps == {600_000}
    assert {"every_s", "offset_s"} <= set(changed["overridden"])
    cron = {"cron": "30 8 * * MON-FRI", "tz": "Europe/Prague"}
    status, changed = await change(controlled_api, "PATCH", "workers/ui_data", cron)
    assert (status, changed["cron"], changed["every_s"]) == (200, cron["cron"], None)
    one = await read(controlled_api, "workers/ui_data")
    assert one["next_runs"] == changed["next_runs"]
    status, changed = await change(controlled_api, "DELETE", "workers/ui_data/override")
    assert (status, changed["cron"], changed["every_s"], changed["offset_s"]) == (
        200,
        None,
        300,
        60,
    )
    assert changed["overridden"] == []


async def test_start_and_stop(controlled_api: ServedApi) -> None:
    for action, enabled in (("stop", False), ("stop", False), ("start", True), ("start", True)):
        status, changed = await change(controlled_api, "POST", f"workers/closes/{action}")
        assert (status, changed["enabled"]) == (200, enabled)
        assert (changed["next_run_at"] is None) is not enabled
        assert len(changed["next_runs"]) == (5 if enabled else 0)


WRONG: Final[tuple[tuple[dict[str, Any], str, str], ...]] = (
    ({"cron": "every day"}, "cron", "five fields"),
    ({"cron": "61 * * * *"}, "cron", "five fields"),
    ({"cron": "* " * 300}, "cron", "at most 200"),
    ({"tz": "Mars/Olympus", "cron": "0 0 * * *"}, "tz", "IANA"),
    ({"tz": "../../etc/passwd", "cron": "0 0 * * *"}, "tz", "IANA"),
    ({"every_s": 0}, "every_s", "greater than or equal to 1"),
    ({"every_s": "5"}, "every_s", "integer"),
    ({"every_s": 1e300}, "every_s", "integer"),
    ({"offset_s": None}, "offset_s", "integer"),
    ({"queue": "No Such; DROP"}, "queue", "lower-case"),
    ({"egress": "\x00"}, "egress", "EGRESS_ID"),
    ({"timeout_s": -1}, "timeout_s", "greater than 0"),
    ({"max_attempts": True}, "max_attempts", "integer"),
    ({"on_missed": "all"}, "on_missed", "'one' or 'skip'"),
    ({"enabled": "yes"}, "enabled", "boolean"),
    ({"nme": 1}, "body", "there are cron"),
    ({}, "body", "some of cron"),
)


async def test_what_cannot_be_is_refused_with_what_is_allowed(controlled_api: ServedApi) -> None:
    before = await read(controlled_api, "workers/ui_data")
    for body, field, told in WRONG:
        status, answer = await change(controlled_api, "PATCH", "workers/ui_data", body)
        assert status == 422, body
        found = messages(answer)
        assert list(found) == [field], body
        assert told in found[field], found
        assert found[field].isprintable() and len(found[field]) < 500
    status, answer = await change(controlled_api, "PATCH", "workers/trades", {"cron": "0 0 * * *"})
    assert (status, "WebSocket" in messages(answer)["cron"]) == (422, True)
    assert await read(controlled_api, "workers/ui_data") == before
    for data, kind in ((b"{", "application/json"), (b'{"every_s": 5}', "text/plain")):
        async with controlled_api.http.patch(
            "/api/workers/ui_data", data=data, headers={**WITH_TOKEN, "Content-Type": kind}
        ) as refused:
            assert refused.status == 422


UNKNOWN: Final = (
    "ui_dat",
    "%00",
    "a%0ab",
    "n" * 3000,
    "%F0%9F%92%A3",
    "%FF",
    "'--",
    "*",
    "UI_DATA",
)


async def test_an_unknown_worker_gets_near_names(controlled_api: ServedApi) -> None:
    for name in UNKNOWN:
        for method, path in (
            ("GET", name),
            ("GET", f"{name}/runs"),
            ("POST", f"{name}/start"),
            ("POST", f"{name}/run"),
            ("DELETE", f"{name}/override"),
        ):
            status, answer = await change(controlled_api, method, f"workers/{path}")
            assert status == 404, (name, path)
            assert answer["detail"].startswith("there is no worker")
            assert answer["detail"].isprintable() and len(answer["detail"]) < 200
            if name == "ui_dat":
                assert answer["detail"].endswith("did you mean ui_data?")
        status, _ = await change(controlled_api, "PATCH", f"workers/{name}", {"every_s": 60})
        assert status == 404


CHANGES: Final = (
    *(("POST", f"workers/ui_data/{action}") for action in ("start", "stop", "run")),
    ("DELETE", "workers/ui_data/override"),
    *(("POST", f"runs/1/{action}") for action in ("abort", "retry")),
    *(("POST", f"queues/default/{action}") for action in ("pause", "resume")),
    *(("DELETE", path) for path in ("config/url", "config/fund_values/url")),
    *(("POST", f"worker/{action}") for action in ("start", "stop", "force-collection")),
)
WITH_BODY: Final = (
    ("PATCH", "workers/ui_data", {"every_s": 60}),
    ("PATCH", "queues/default", {"concurrency": 1}),
    ("PUT", "config/url", {"value": "https://a"}),
    ("PUT", "config/fund_values/url", {"value": "https://a"}),
    ("PATCH", "worker/schedules/ui_data", {"every_s": 60}),
)


async def test_every_change_needs_the_token(controlled_api: ServedApi) -> None:
    before = await read(controlled_api, "workers")
    for method, path, body in [*((m, p, None) for m, p in CHANGES), *WITH_BODY]:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic OnQwa2Vu"}):
            status, answered, answer = await ask(
                controlled_api, method, f"/api/{path}", body, headers=headers
            )
            assert (status, answered["www-authenticate"]) == (401, "Bearer"), path
            assert "API_TOKEN" in answer["detail"]
    assert await read(controlled_api, "workers") == before
    assert (await read(controlled_api, "config"))["configuration"] == []


async def test_no_page_of_another_site_can_change_anything(controlled_api: ServedApi) -> None:
    before = await read(controlled_api, "workers")
    for method, path in CHANGES:
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null", "Content-Type": "text/plain"},
        ):
            status, _ = await change(controlled_api, method, path, headers=headers)
            assert status == 403, (path, headers)
    assert await read(controlled_api, "workers") == before


@pytest.mark.parametrize("path", ["workers", "workers/ui_data", "queues", "config", "runs/1"])
async def test_reads_need_the_read_token(
    start_api: StartApi, redis_url: str, database_url: str, path: str
) -> None:
    api = await start_api(redis_url=redis_url, dsn=database_url, read_token="r3ad")
    assert (await ask(api, "GET", f"/api/{path}"))[0] == 401
    status, _, _ = await ask(api, "GET", f"/api/{path}", headers={"Authorization": "Bearer r3ad"})
    assert status in (200, 404)


async def test_the_live_state_stands_beside_the_row(controlled_api: ServedApi) -> None:
    states = WorkerStates(controlled_api.store, "host-1:7")
    await states.started("ui_data", 11, 1_763_726_400_000)
    await states.ended("ui_data", 11, "complete", result={"rows": 3})
    await states.started("fails", 12, 1_763_726_400_001)
    await states.ended("fails", 12, "failed", error="Cannot connect to host 10.1.2.3:443 ssl")
    lease = await try_acquire(controlled_api.store, "ws:trades", holder="host-2:8", ttl_s=15)
    assert lease is not None
    found = {
        each["name"]: each["live"] for each in (await read(controlled_api, "workers"))["workers"]
    }
    assert found["ui_data"] == {
        "state": "complete",
        "run": 11,
        "started_at": 1_763_726_400_000,
        "last_result": {"rows": 3},
        "last_error": None,
        "host": "host-1:7",
        "connection": None,
    }
    assert found["fails"]["last_error"] == "Cannot connect to host (address) ssl"
    assert found["trades"]["connection"]["holder"] == "host-2:8"
    assert found["closes"] is None
    await lease.release()


async def test_rows_are_told_while_the_hot_store_is_away(
    controlled_api: ServedApi, start_api: StartApi, database_url: str
) -> None:
    gone = "redis://127.0.0.1:1"
    api = await start_api(worker={"redis_url": gone}, redis_url=gone, dsn=database_url)
    for path in ("workers", "workers/ui_data", "worker/schedules", "worker/status"):
        answer = await read(api, path)
        assert answer["hot_store"].startswith("away: ")
        assert "127.0.0.1" not in answer["hot_store"]
    status, changed = await change(api, "POST", "workers/closes/stop")
    assert (status, changed["enabled"], changed["live"]) == (200, False, None)


async def test_a_database_that_is_away(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url, schedules="on")
    for method, path in (
        *(("GET", path) for path in ("workers", "workers/a", "workers/a/runs", "runs/1")),
        *(("GET", path) for path in ("queues", "config", "config/a", "worker/stats")),
        ("GET", "worker/schedules"),
        *CHANGES,
    ):
        status, headers, answer = await ask(api, method, f"/api/{path}")
        assert (status, headers["retry-after"]) == (503, "5"), path
        assert answer["detail"].startswith("the database")
        assert "127.0.0.1" not in answer["detail"]
    status = await read(api, "worker/status")
    assert (status["status"], status["stats"], status["hot_store"]) == ("unknown", None, "ok")
    assert status["database"].startswith("away: the database")


async def test_a_database_that_fails_between_two_reads(
    controlled_api: ServedApi, start_api: StartApi, redis_url: str, user: User
) -> None:
    """Its user may read the workers, and not what they have done."""
    await user.may("SELECT, UPDATE ON worker")
    api = await start_api(redis_url=redis_url, dsn=user.url, schedules="on", api_token=API_TOKEN)
    await change(controlled_api, "POST", "workers/ui_data/stop")
    health = await read(api, "worker/health")
    assert health["database"].startswith("away: the database denies its user")
    assert f"the database is {health['database']}" in health["issues"]
    assert "ui_data is stopped" in health["issues"]
    status = await read(api, "worker/status")
    assert (status["status"], status["stats"], status["stopped"]) == ("partly", None, ["ui_data"])
    assert status["database"] == health["database"]


async def test_other_methods(controlled_api: ServedApi) -> None:
    status, headers, _ = await ask(controlled_api, "PUT", "/api/workers/ui_data")
    assert (status, headers["allow"]) == (405, "GET, HEAD, PATCH")
    assert (await get(controlled_api, "/api/workers", "HEAD"))[0] == 200
    assert (await change(controlled_api, "POST", "workers/ui_data/explode"))[0] == 404
