"""The job as HTTP shows it."""

from typing import Any

import orjson

from api.jobs import job_json
from job_queue.queue import JobQueue
from job_queue.records import JobRecord
from tests.fixtures.job_queue import Acquire, complete


def shown(job: JobRecord | None) -> Any:
    assert job is not None
    return orjson.loads(orjson.dumps(job_json(job)))


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
