"""The job routes: requests, tokens, and the form of a job."""

import time
from typing import Any

import orjson

from api.jobs import job_json
from job_queue.queue import JobQueue
from job_queue.records import JobRecord
from market.timeframes import COLLECTED, Timeframe
from tests.fixtures.api import ServedApi, StartApi, ask
from tests.fixtures.job_queue import Acquire, complete


def shown(job: JobRecord | None) -> Any:
    assert job is not None
    return orjson.loads(orjson.dumps(job_json(job, tuple(Timeframe))))


async def test_a_requested_job_is_the_documented_json(queue: JobQueue) -> None:
    job = await queue.request("collect:4h")
    assert shown(job) == {
        "id": "collect:4h",
        "kind": "collect",
        "timeframe": "4h",
        "produces": ["4h", "8h"],
        "run": 1,
        "state": "queued",
        "coalesced": False,
        "rerun": False,
        "enqueued_at": 1_001,
        "started_at": None,
        "finished_at": None,
        "attempts": 0,
        "progress": {"phase": "queued", "done": 0, "total": 0},
        "error": None,
        "result": None,
        "last": None,
    }
    assert await queue.get("collect:4h") == job
    funding = shown(await queue.request("funding"))
    assert (funding["kind"], funding["timeframe"], funding["produces"]) == (
        "funding",
        None,
        ["global_fr"],
    )
    discovery = shown(await queue.request("discovery"))
    assert (discovery["kind"], discovery["timeframe"], discovery["produces"]) == (
        "discovery",
        None,
        [],
    )


async def test_a_complete_run_is_the_documented_json(queue: JobQueue, acquire: Acquire) -> None:
    await queue.request("collect:1h")
    lease = await acquire()
    job = await queue.take(lease)
    assert job is not None
    await queue.progress(job, lease, phase="fetch", done=3, total=9)
    seen = shown(await queue.get("collect:1h"))
    assert seen["progress"] == {"phase": "fetch", "done": 3, "total": 9}
    await complete(queue, job, lease)
    done = shown(await queue.get("collect:1h"))
    assert done["state"] == "complete"
    assert done["progress"]["phase"] == "done"
    assert done["finished_at"] == 1_003
    assert done["result"] == {"rows": 3}
    assert done["last"] == {
        "run": 1,
        "state": "complete",
        "as_of": 5,
        "finished_at": 1_003,
        "result": {"rows": 3},
        "error": None,
    }


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


EVERY = ["5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"]


async def test_all_timeframes_are_one_job(api: ServedApi) -> None:
    asked = {"timeframe": "all"}
    status, headers, job = await ask(api, "POST", "/get-market-data", asked)
    assert (status, headers["location"]) == (202, "/jobs/collect:all")
    assert (job["id"], job["kind"], job["timeframe"]) == ("collect:all", "collect", "all")
    assert (job["produces"], job["run"], job["coalesced"]) == (EVERY, 1, False)
    _, _, again = await ask(api, "POST", "/get-market-data", asked)
    assert (again["run"], again["coalesced"]) == (1, True)
    # A single timeframe is a job of its own beside it.
    _, _, single = await ask(api, "POST", "/get-market-data", {"timeframe": "4h"})
    assert (single["id"], single["run"], single["coalesced"]) == ("collect:4h", 1, False)
    _, _, listed = await ask(api, "GET", "/jobs")
    assert [job["timeframe"] for job in listed["jobs"]] == ["4h", "all"]
    async with api.lease() as lease:
        taken = await api.queue.take(lease)
        assert taken is not None
        assert (taken.id, taken.kind, taken.timeframe) == ("collect:all", "collect", None)
        status, _, busy = await ask(api, "POST", "/get-market-data?if_busy=reject", asked)
        assert (status, "the worker is busy" in busy["detail"]) == (409, True)
        _, _, rerun = await ask(api, "POST", "/get-market-data", asked)
        assert (rerun["state"], rerun["run"], rerun["rerun"]) == ("active", 2, True)
        status, headers, ended = await ask(api, "DELETE", "/jobs/collect:all")
        assert (status, headers["location"]) == (202, "/jobs/collect:all")
        assert (ended["state"], ended["timeframe"]) == ("aborted", "all")
    assert (await ask(api, "GET", "/jobs/collect:all"))[2] == ended


async def test_the_job_of_all_tells_the_timeframes_of_this_installation(
    start_api: StartApi, store_settings: dict[str, Any]
) -> None:
    api = await start_api(**store_settings, timeframes="1D,1h,8h")
    _, _, job = await ask(api, "POST", "/get-market-data", {"timeframe": "all"})
    assert job["produces"] == ["1h", "4h", "8h", "1d"]
    assert (await ask(api, "GET", "/jobs/collect:all"))[2]["produces"] == job["produces"]
    # Every other timeframe can still be asked for.
    status, _, job = await ask(api, "POST", "/get-market-data", {"timeframe": "5m"})
    assert (status, job["id"], job["produces"]) == (202, "collect:5m", ["5m"])


WRONG_BODIES = {
    b'{"timeframe":"7h"}': "Input should be '5m', '15m', '30m', '1h', '2h', '4h', '6h', '8h',"
    " '12h', '1d' or 'all'",
    b'{"timeframe":"ALL"}': "'1d' or 'all'",
    b'{"timeframe":["all"]}': "'1d' or 'all'",
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
        assert words in "; ".join(detail["msg"] for detail in answer["detail"])


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


async def test_unknown_parameters_of_a_post(native_api: ServedApi) -> None:
    body = {"timeframe": "4h"}
    for query, told in (
        ("if_bussy=reject", "did you mean if_busy? The only parameter is if_busy"),
        ("timeframe=1h", "unknown parameter: The only parameter is if_busy"),
        ("if_busy=reject&if_busy=reject", "must be given once"),
        ("if_busy=", "reject"),
    ):
        status, _, answer = await ask(native_api, "POST", f"/get-market-data?{query}", body)
        assert status == 422
        assert told in answer["detail"][0]["msg"]
    assert await native_api.queue.list() == []
    assert (await ask(native_api, "POST", "/get-market-data?_=1", body))[0] == 202


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
