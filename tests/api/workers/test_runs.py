"""/api/runs, /api/queues, /api/execution-log and /api/worker, with a host that runs workers."""

from collections.abc import Callable
from typing import Any, Final, Literal

from database import Database, DataCollection
from stores.cold.workers.log import NewLine
from tests.api.workers.test_workers import change, messages, read
from tests.fixtures.api import ServedApi, ask
from tests.fixtures.controlled_workers import StartHost
from tests.fixtures.signals import until

BEGIN_MS: Final = 1_763_726_400_000


async def run_until(api: ServedApi, run: Any, wanted: Callable[[Any], bool]) -> Any:
    """The run, as soon as it is as wanted."""
    found: Any = None

    async def is_so() -> bool:
        nonlocal found
        found = await read(api, f"runs/{run['id']}")
        return wanted(found)

    await until(is_so, 60, lambda: str(found))
    return found


def is_over(run: Any) -> bool:
    return run["state"] not in ("queued", "running")


async def store_collections(database_url: str) -> None:
    """One by `closes`, one by a POST, and one that failed half way."""
    ended: list[tuple[Literal["complete", "failed"], int]] = [
        ("complete", 75_748),
        ("complete", 15),
        ("failed", 999),
    ]
    database = Database(database_url)
    await database.data_collections.add(
        [
            (
                DataCollection(
                    kind="collect",
                    subject="collect:all",
                    run=number,
                    started_at_ms=BEGIN_MS,
                    finished_at_ms=BEGIN_MS + number,
                    state=state,
                    records=records,
                    requests=1,
                    host="host-1:7",
                ),
                [],
            )
            for number, (state, records) in enumerate(ended, 1)
        ]
    )
    await database.aclose()


async def test_a_forced_run_from_asking_to_its_result(
    controlled_api: ServedApi, start_host: StartHost, database_url: str
) -> None:
    api = controlled_api
    await store_collections(database_url)
    status, headers, asked = await ask(
        api, "POST", "/api/workers/historical_data/run", headers={"Authorization": "Bearer t0ken"}
    )
    assert (status, headers["location"]) == (202, f"/api/runs/{asked['id']}")
    assert (asked["why"], asked["state"], asked["coalesced"]) == ("force", "queued", False)
    # Nobody runs it as yet: who asks once more gets the same.
    status, again = await change(api, "POST", "workers/historical_data/run")
    assert (status, again["coalesced"], again["result"]) == (202, True, {"joined": asked["id"]})
    await start_host(api)
    ended = await run_until(api, asked, is_over)
    assert (ended["state"], ended["result"], ended["attempts"]) == ("complete", {"rows": 1840}, 1)
    assert ended["queued_at"] <= ended["started_at"] <= ended["finished_at"]
    # A failed one has its cause, without addresses, and may be tried again.
    _, asked = await change(api, "POST", "workers/fails/run")
    failed = await run_until(api, asked, is_over)
    assert failed["state"] == "failed"
    assert "Cannot connect to host (address)" in failed["error"]
    status, again = await change(api, "POST", f"runs/{failed['id']}/retry")
    assert (status, again["why"], again["worker"]) == (202, "retry", "fails")
    await run_until(api, again, is_over)
    # A running one is aborted, and not again.
    _, asked = await change(api, "POST", "workers/waits/run")
    await run_until(api, asked, lambda run: run["state"] == "running")
    status, answer = await change(api, "POST", f"runs/{asked['id']}/retry")
    assert (status, "abort it first" in answer["detail"]) == (409, True)
    status, answer = await change(api, "POST", f"runs/{asked['id']}/abort")
    assert (status, answer["state"], answer["error"]) == (202, "aborted", "aborted by api")
    status, answer = await change(api, "POST", f"runs/{asked['id']}/abort")
    assert (status, "is over" in answer["detail"]) == (409, True)
    status, answer = await change(api, "POST", "workers/trades/run")
    assert (status, "WebSocket" in answer["detail"]) == (409, True)

    # The agent as a whole.
    forced = []
    for query, names in (
        ("", ["ui_data", "historical_data"]),
        ("?type=ui", ["ui_data"]),
        ("?type=historical", ["historical_data"]),
        ("?type=both", ["ui_data", "historical_data"]),
    ):
        status, answer = await change(api, "POST", f"worker/force-collection{query}")
        assert status == 202
        assert [run["worker"] for run in answer["runs"]] == names
        forced += answer["runs"]
    for run in forced:
        await run_until(api, run, is_over)
    stats = await read(api, "worker/stats")
    runs = [
        run
        for name in ("ui_data", "historical_data")
        for run in (await read(api, f"workers/{name}/runs?state=complete"))["runs"]
    ]
    ui = sum(run["worker"] == "ui_data" for run in runs)
    assert ui >= 1
    assert stats["ui_collections"] >= ui
    assert stats["historical_collections"] >= len(runs) - ui
    collections = stats["ui_collections"] + stats["historical_collections"]
    assert collections >= len(runs)
    # What `closes` and POSTs have brought counts, too: rounds that find all fresh save nothing.
    assert stats["total_records_saved"] == 75_748 + 15
    assert stats["errors"] == 0
    status_now = await read(api, "worker/status")
    assert status_now["status"] == "running"
    assert status_now["running"] == ["closes", "historical_data", "ui_data"]
    assert len(status_now["hosts"]) == 1
    for path in ("type=all", "type=", "type=ui&type=ui", "typ=ui"):
        status, answer = await change(api, "POST", f"worker/force-collection?{path}")
        assert status == 422, path


async def test_pages_of_runs(controlled_api: ServedApi) -> None:
    api = controlled_api
    ids = []
    for _ in range(5):
        _, asked = await change(api, "POST", "workers/closes/run")
        ids.append(asked["id"])
    found: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await read(api, f"workers/closes/runs?limit=2&cursor={cursor}")
        found += page["runs"]
        cursor = page["next"]
    assert [run["id"] for run in found] == ids[::-1]
    assert [run["state"] for run in found] == [*["coalesced"] * 4, "queued"]
    only = await read(api, "workers/closes/runs?state=queued&why=force")
    assert [run["id"] for run in only["runs"]] == ids[:1]
    slot = found[2]["slot"]
    part = await read(api, f"workers/closes/runs?from={slot}")
    assert [run["id"] for run in part["runs"]] == ids[:1:-1]
    for query in ("state=lost", "why=x", "limit=0", "cursor=~", "from=x", "wher=1"):
        status, _, _ = await ask(api, "GET", f"/api/workers/closes/runs?{query}")
        assert status == 422, query
    for run_id, expected in (("0", 422), ("x", 422), ("9" * 30, 422), ("999999", 404)):
        for path in (run_id, f"{run_id}/log"):
            assert (await ask(api, "GET", f"/api/runs/{path}"))[0] == expected, path
        for action in ("abort", "retry"):
            assert (await change(api, "POST", f"runs/{run_id}/{action}"))[0] == expected


async def test_the_log_by_worker_level_run_and_time(
    controlled_api: ServedApi, database_url: str
) -> None:
    api = controlled_api
    _, asked = await change(api, "POST", "workers/closes/run")
    levels = ("debug", "info", "warning", "error")
    database = Database(database_url)
    await database.execution_log.write(
        [
            NewLine(
                BEGIN_MS + number // 2,
                "closes" if number % 3 else "ui_data",
                asked["id"] if number % 3 else None,
                "host-1:7",
                levels[number % 4],
                f"event_{number}",
                '{"error": "Cannot connect to host 10.1.2.3:443 ssl"}',
            )
            for number in range(12)
        ]
    )
    await database.aclose()

    async def listed(query: str, path: str = "execution-log") -> list[int]:
        numbers: list[int] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await read(api, f"{path}?limit=3&{query}&cursor={cursor}")
            numbers += [int(line["event"].partition("_")[2]) for line in page["lines"]]
            cursor = page["next"]
        return numbers

    assert await listed("") == list(range(12))
    assert await listed("newest=true") == list(range(11, -1, -1))
    assert await listed("level=warning") == [2, 3, 6, 7, 10, 11]
    assert await listed("worker=ui_data") == [0, 3, 6, 9]
    assert await listed("worker=ui_data&level=error&newest=true") == [3]
    assert await listed(f"from={BEGIN_MS + 5}") == [10, 11]
    assert await listed("level=error", f"runs/{asked['id']}/log") == [7, 11]
    line = (await read(api, "execution-log?limit=1"))["lines"][0]
    assert line["fields"] == {"error": "Cannot connect to host (address) ssl"}
    for query in ("level=loud", "newest=1", "worker=%00", "worker=a&worker=b", "run=1"):
        assert (await ask(api, "GET", f"/api/execution-log?{query}"))[0] == 422, query


async def test_queues_are_paused_for_a_time_and_resumed(controlled_api: ServedApi) -> None:
    api = controlled_api
    await change(api, "POST", "workers/waits/run")
    queues = {each["name"]: each for each in (await read(api, "queues"))["queues"]}
    assert set(queues) >= {"default", "slow"}
    assert queues["slow"] == {
        "name": "slow",
        "concurrency": None,
        "paused": False,
        "paused_until": None,
        "queued": 1,
        "running": 0,
    }
    status, paused = await change(api, "POST", "queues/slow/pause")
    assert (status, paused["paused"], paused["paused_until"]) == (200, True, None)
    status, resumed = await change(api, "POST", "queues/slow/resume")
    assert (status, resumed) == (200, queues["slow"])
    ends = []
    for duration in ("90", "90s", "2m", "3h", "4d"):
        status, paused = await change(api, "POST", f"queues/slow/pause?for={duration}")
        assert (status, paused["paused"]) == (200, True)
        ends.append(paused["paused_until"])
    lengths = [(end - ends[0] + 90_000) / 1000 for end in ends]
    for length, expected in zip(lengths, (90, 90, 120, 10_800, 345_600), strict=True):
        assert expected <= length < expected + 30
    status, limited = await change(api, "PATCH", "queues/slow", {"concurrency": 2})
    assert (status, limited["concurrency"]) == (200, 2)
    status, limited = await change(api, "PATCH", "queues/slow", {"concurrency": None})
    assert (status, limited["concurrency"]) == (200, None)
    for query in (
        "for=0",
        "for=-1",
        "for=1y",
        "for=",
        "for=367d",
        "for=1e9",
        "fr=1",
        "for=1&for=2",
    ):
        status, answer = await change(api, "POST", f"queues/slow/pause?{query}")
        assert status == 422, query
    for body in ({}, {"concurrency": 0}, {"concurrency": "2"}, {"concurrency": True}, {"c": 1}):
        assert (await change(api, "PATCH", "queues/slow", body))[0] == 422, body
    for name in ("slo", "%00", "n" * 500):
        status, answer = await change(api, "POST", f"queues/{name}/pause")
        assert status == 404
        assert answer["detail"].startswith("there is no queue")
    assert "did you mean slow?" in (await change(api, "POST", "queues/slo/resume"))[1]["detail"]


async def test_the_agent_is_switched_as_one(controlled_api: ServedApi) -> None:
    api = controlled_api
    for action, expected in (("stop", "stopped"), ("start", "running"), ("stop", "stopped")):
        status, answer = await change(api, "POST", f"worker/{action}")
        assert (status, answer["status"]) == (200, expected)
        told = await read(api, "worker/status")
        assert told["status"] == expected
        assert told["running" if expected == "running" else "stopped"] == [
            *("closes", "historical_data", "ui_data")
        ]
    await change(api, "POST", "workers/closes/start")
    assert (await read(api, "worker/status"))["status"] == "partly"
    schedules = {each["name"]: each for each in (await read(api, "worker/schedules"))["schedules"]}
    assert "trades" not in schedules
    assert (schedules["closes"]["enabled"], schedules["ui_data"]["enabled"]) == (True, False)
    status, changed = await change(api, "PATCH", "worker/schedules/closes", {"every_s": 900})
    assert (status, changed["every_s"], len(changed["next_runs"])) == (200, 900, 5)
    status, answer = await change(api, "PATCH", "worker/schedules/trades", {"enabled": True})
    assert (status, "trades" in answer["detail"]) == (404, True)
    status, answer = await change(api, "PATCH", "worker/schedules/closes", {"tz": "Nowhere"})
    assert (status, "IANA" in messages(answer)["tz"]) == (422, True)
    health = await read(api, "worker/health")
    assert (health["status"], health["workers_alive"]) == ("unhealthy", False)
    assert "ui_data is stopped" in health["issues"]
    assert "no worker process is alive: nothing runs" in health["issues"]


async def test_without_schedules_nothing_is_run(
    controlled_api: ServedApi, start_api: Any, redis_url: str, database_url: str
) -> None:
    off = await start_api(redis_url=redis_url, dsn=database_url, schedules="off")
    _, asked = await change(controlled_api, "POST", "workers/closes/run")
    for path in ("workers/closes/run", f"runs/{asked['id']}/retry", "worker/force-collection"):
        status, answer = await change(off, "POST", path)
        assert (status, "SCHEDULES is off" in answer["detail"]) == (409, True)
    assert (await read(off, "worker/status"))["status"] == "off"
    health = await read(off, "worker/health")
    assert (health["status"], "SCHEDULES is off" in health["issues"][0]) == ("unhealthy", True)
    assert (await read(off, "workers"))["workers"]
