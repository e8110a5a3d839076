"""The queue over both clients: every sentence of its contract, and what races and deaths do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from job_queue.queue import (
    JOB_IDS,
    KEPT_S,
    JobAborted,
    JobQueue,
    JobRecord,
    collect_id,
    lane_of,
)
from market.timeframes import Timeframe
from stores.hot.leases import Lease, LeaseLost, LeaseName, try_acquire
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore
from stores.hot.upstash_client import UpstashStore
from tests.fixtures.upstash import OwnValkey, UpstashEndpoint


class Clock:
    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        self.now += 1
        return self.now


@pytest.fixture
def queue(store: HotStore) -> JobQueue:
    return JobQueue(store, Clock())


Acquire = Callable[..., Any]


@pytest.fixture
async def acquire(store: HotStore) -> AsyncIterator[Acquire]:
    """Takes a lane's lease, from a dead holder too: as if the holder's time were over."""
    held: list[Lease] = []

    async def acquire(name: LeaseName = "worker") -> Lease:
        await store.execute("DEL", f"lock:{name}")
        lease = await try_acquire(store, name, holder="test", ttl_s=30)
        assert lease is not None
        held.append(lease)
        return lease

    yield acquire
    for lease in held:
        await lease.release()


async def complete(queue: JobQueue, job: JobRecord, lease: Lease, as_of_ms: int = 5) -> None:
    await queue.finish(
        job, lease, state="complete", as_of_ms=as_of_ms, result={"rows": 3}, error=None
    )


async def test_a_requested_job_is_the_documented_json(queue: JobQueue) -> None:
    job = await queue.request("collect:4h")
    assert job.as_json() == {
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
    funding = (await queue.request("funding")).as_json()
    assert (funding["kind"], funding["timeframe"], funding["produces"]) == (
        "funding",
        None,
        ["global_fr"],
    )
    discovery = (await queue.request("discovery")).as_json()
    assert (discovery["kind"], discovery["timeframe"], discovery["produces"]) == (
        "discovery",
        None,
        [],
    )


async def test_a_run_from_request_to_result(queue: JobQueue, acquire: Acquire) -> None:
    await queue.request("collect:1h")
    lease = await acquire()
    job = await queue.take(lease)
    assert job is not None
    assert (job.state, job.attempts, job.started_at, job.phase) == ("active", 1, 1_002, "markets")
    assert await queue.take(await acquire("funding")) is None
    await queue.progress(job, lease, phase="fetch", done=3, total=9)
    seen = await queue.get("collect:1h")
    assert seen is not None
    assert seen.as_json()["progress"] == {"phase": "fetch", "done": 3, "total": 9}
    await complete(queue, job, lease)
    done = (await queue.get("collect:1h") or job).as_json()
    last = {
        "run": 1,
        "state": "complete",
        "as_of": 5,
        "finished_at": 1_004,
        "result": {"rows": 3},
        "error": None,
    }
    assert done["state"] == "complete"
    assert done["progress"]["phase"] == "done"
    assert done["finished_at"] == 1_004
    assert done["result"] == {"rows": 3}
    assert done["last"] == last
    again = await queue.request("collect:1h")
    assert (again.run, again.state, again.coalesced, again.attempts) == (2, "queued", False, 0)
    assert (again.result, again.finished_at, again.started_at) == (None, None, None)
    assert again.last == last


async def test_a_failed_run_stays_failed_until_it_is_asked_for(
    queue: JobQueue, acquire: Acquire
) -> None:
    await queue.request("funding")
    lease = await acquire("funding")
    job = await queue.take(lease)
    assert job is not None
    await queue.finish(
        job, lease, state="failed", as_of_ms=None, result=None, error="nothing answered"
    )
    failed = await queue.get("funding")
    assert failed is not None and failed.last is not None
    assert (failed.state, failed.error) == ("failed", "nothing answered")
    assert (failed.last["state"], failed.last["error"]) == ("failed", "nothing answered")
    assert await queue.take(lease) is None
    assert (await queue.request("funding")).run == 2
    assert await queue.take(lease) is not None


async def test_asking_for_a_queued_job_joins_it(queue: JobQueue, acquire: Acquire) -> None:
    first = await queue.request("collect:4h")
    second = await queue.request("collect:4h")
    assert (second.run, second.coalesced, second.rerun) == (first.run, True, False)
    assert second.enqueued_at == first.enqueued_at
    lease = await acquire()
    assert await queue.take(lease) is not None
    await complete(queue, second, lease)
    assert await queue.take(lease) is None


async def test_asking_for_an_active_job_runs_it_again(queue: JobQueue, acquire: Acquire) -> None:
    await queue.request("collect:4h")
    lease = await acquire()
    job = await queue.take(lease)
    assert job is not None
    wanted = [await queue.request("collect:4h") for _ in range(3)]
    assert [(w.run, w.coalesced, w.rerun, w.state) for w in wanted] == [
        (2, True, True, "active")
    ] * 3
    current = await queue.get("collect:4h")
    assert current is not None and (current.run, current.rerun) == (1, True)
    await complete(queue, job, lease)
    queued = await queue.get("collect:4h")
    assert queued is not None and queued.last is not None
    # Never through a final state: queued at once, as of when it was asked for.
    assert (queued.state, queued.run, queued.rerun, queued.coalesced) == ("queued", 2, False, False)
    assert queued.enqueued_at == 1_003
    assert (queued.last["run"], queued.last["state"]) == (1, "complete")
    second = await queue.take(lease)
    assert second is not None and second.run == 2
    await complete(queue, second, lease)
    assert await queue.take(lease) is None


async def test_a_failed_run_that_is_wanted_again_is_queued(
    queue: JobQueue, acquire: Acquire
) -> None:
    await queue.request("collect:4h")
    lease = await acquire()
    job = await queue.take(lease)
    assert job is not None
    await queue.request("collect:4h")
    await queue.finish(job, lease, state="failed", as_of_ms=None, result=None, error="why")
    queued = await queue.get("collect:4h")
    assert queued is not None and queued.last is not None
    assert (queued.state, queued.error, queued.last["state"]) == ("queued", None, "failed")


async def test_jobs_are_taken_in_the_order_they_were_asked_for(
    queue: JobQueue, acquire: Acquire
) -> None:
    order = ["collect:1d", "discovery", "collect:5m", "collect:4h"]
    for job_id in order:
        await queue.request(job_id)
    lease = await acquire()
    active = await queue.take(lease)
    assert active is not None and active.id == "collect:1d"
    await queue.request("collect:1d")  # its rerun stands behind those that came before
    await queue.request("collect:2h")
    taken = []
    while active is not None:
        taken.append(active.id)
        await complete(queue, active, lease)
        active = await queue.take(lease)
    assert taken == [*order, "collect:1d", "collect:2h"]


async def test_a_named_job_can_be_taken_first(queue: JobQueue, acquire: Acquire) -> None:
    await queue.request("collect:1d")
    await queue.request("collect:4h")
    lease = await acquire()
    job = await queue.take(lease, "collect:4h")
    assert job is not None and job.id == "collect:4h"
    await complete(queue, job, lease)
    assert await queue.take(lease, "collect:4h") is None
    with pytest.raises(ValueError, match="does not run under"):
        await queue.take(lease, "funding")


async def test_a_dead_workers_job_is_taken_over_before_others(
    queue: JobQueue, acquire: Acquire
) -> None:
    await queue.request("collect:4h")
    dead = await acquire()
    job = await queue.take(dead)
    assert job is not None
    await queue.request("collect:1h")
    alive = await acquire()
    again = await queue.take(alive)
    assert again is not None
    assert (again.id, again.run, again.attempts, again.state) == ("collect:4h", 1, 2, "active")
    # Whatever the dead one still says is refused inside the store.
    for late in (
        queue.progress(job, dead, phase="fetch", done=1, total=2),
        complete(queue, job, dead),
        queue.hand_back(job, dead),
        queue.take(dead),
    ):
        with pytest.raises(LeaseLost):
            await late
    await complete(queue, again, alive)


async def test_the_third_death_fails_the_job(queue: JobQueue, acquire: Acquire) -> None:
    await queue.request("collect:4h")
    for attempt in (1, 2, 3):
        job = await queue.take(await acquire())
        assert job is not None and job.attempts == attempt
    assert await queue.take(await acquire()) is None
    failed = await queue.get("collect:4h")
    assert failed is not None and failed.last is not None
    assert failed.state == "failed"
    assert failed.error == "the worker died in each of 3 attempts"
    assert failed.last["run"] == 1
    assert failed.last["error"] == failed.error
    assert (await queue.request("collect:4h")).run == 2


async def test_after_the_third_death_a_wanted_rerun_is_tried(
    queue: JobQueue, acquire: Acquire
) -> None:
    await queue.request("collect:4h")
    for _ in range(3):
        assert await queue.take(await acquire()) is not None
    assert (await queue.request("collect:4h")).run == 2
    job = await queue.take(await acquire())
    assert job is not None and job.last is not None
    assert (job.run, job.attempts, job.rerun, job.last["state"]) == (2, 1, False, "failed")


async def test_a_rerun_that_was_wanted_is_answered_by_the_next_attempt(
    queue: JobQueue, acquire: Acquire
) -> None:
    await queue.request("collect:4h")
    assert await queue.take(await acquire()) is not None
    wanted = await queue.request("collect:4h")
    job = await queue.take(await acquire())
    assert job is not None
    # It starts after the asking, so it answers it: no third run is needed.
    assert (job.run, job.rerun, job.attempts) == (wanted.run, False, 2)


async def test_taking_again_after_a_lost_reply_counts_no_attempt(
    upstash: UpstashEndpoint,
) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    queue = JobQueue(store)
    await queue.request("collect:4h")
    lease = await try_acquire(store, "worker", holder="test", ttl_s=30)
    assert lease is not None
    assert await queue.take(lease, "collect:1h") is None  # the script is known now
    upstash.fail("lost reply", times=1, match="evalsha")
    with pytest.raises(Exception, match="upstash"):
        await queue.take(lease)
    job = await queue.take(lease)
    assert job is not None and (job.id, job.attempts) == ("collect:4h", 1)
    await lease.release()
    await store.aclose()


async def test_finishing_is_repeated_and_counts_once(upstash: UpstashEndpoint) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    queue = JobQueue(store)
    await queue.request("collect:4h")
    lease = await try_acquire(store, "worker", holder="test", ttl_s=30)
    assert lease is not None
    job = await queue.take(lease)
    assert job is not None
    await queue.request("collect:4h")
    upstash.fail("lost reply", times=2)
    await complete(queue, job, lease)
    record = await queue.get("collect:4h")
    assert record is not None and record.last is not None
    assert (record.state, record.run, record.last["run"]) == ("queued", 2, 1)
    await lease.release()
    await store.aclose()


async def test_a_result_survives_a_restart_of_the_store(
    own_valkey: Callable[..., OwnValkey],
) -> None:
    server = own_valkey()
    store = NativeStore(server.url, client_name="test")
    queue = JobQueue(store)
    await queue.request("collect:4h")
    lease = await try_acquire(store, "worker", holder="test", ttl_s=30)
    assert lease is not None
    job = await queue.take(lease)
    assert job is not None
    server.kill()
    finishing = asyncio.create_task(complete(queue, job, lease))
    await asyncio.sleep(0.3)
    server.start()
    await finishing
    record = await queue.get("collect:4h")
    assert record is not None and record.state == "complete"
    await lease.release()
    await store.aclose()


async def test_a_job_handed_back_keeps_its_place_and_its_attempts(
    queue: JobQueue, acquire: Acquire
) -> None:
    await queue.request("collect:4h")
    await queue.request("collect:1h")
    lease = await acquire()
    for _ in range(5):
        job = await queue.take(lease)
        assert job is not None and (job.id, job.attempts, job.run) == ("collect:4h", 1, 1)
        await queue.hand_back(job, lease)
        waiting = await queue.get("collect:4h")
        assert waiting is not None
        assert (waiting.state, waiting.attempts, waiting.started_at) == ("queued", 0, None)
    job = await queue.take(lease)
    assert job is not None
    wanted = await queue.request("collect:4h")
    await queue.hand_back(job, lease)
    job = await queue.take(lease)
    assert job is not None and (job.run, job.rerun) == (wanted.run, False)


async def test_aborting(queue: JobQueue, acquire: Acquire) -> None:
    assert await queue.abort("collect:4h") is None
    assert await queue.abort("no such job") is None
    await queue.request("collect:4h")
    queued = await queue.abort("collect:4h")
    assert queued is not None and queued.last is not None
    assert (queued.state, queued.last["state"], queued.last["run"]) == ("aborted", "aborted", 1)
    lease = await acquire()
    assert await queue.take(lease) is None

    assert (await queue.request("collect:4h")).run == 2
    job = await queue.take(lease)
    assert job is not None
    wanted = await queue.request("collect:4h")
    aborted = await queue.abort("collect:4h")
    assert aborted is not None and aborted.last is not None
    # Both the run and the one that was wanted end here: whoever waits for either sees it.
    assert (aborted.state, aborted.rerun) == ("aborted", False)
    assert aborted.last["run"] == wanted.run == 3
    for late in (
        queue.progress(job, lease, phase="fetch", done=1, total=2),
        complete(queue, job, lease),
        queue.hand_back(job, lease),
    ):
        with pytest.raises(JobAborted):
            await late
    assert await queue.get("collect:4h") == aborted

    # The old run may not write into the next one either, though the lease is the same.
    assert (await queue.request("collect:4h")).run == 4
    again = await queue.take(lease)
    assert again is not None
    with pytest.raises(JobAborted):
        await queue.progress(job, lease, phase="fetch", done=1, total=2)
    await complete(queue, again, lease)
    finished = await queue.get("collect:4h")
    assert await queue.abort("collect:4h") == finished


async def test_records_expire_a_week_after_they_ended(
    queue: JobQueue, acquire: Acquire, store: HotStore
) -> None:
    async def ttl() -> int:
        left: int = await store.execute("TTL", "job:collect:4h")
        return left

    await queue.request("collect:4h")
    assert await ttl() == -1
    lease = await acquire()
    job = await queue.take(lease)
    assert job is not None
    assert await ttl() == -1
    await complete(queue, job, lease)
    assert KEPT_S - 5 < await ttl() <= KEPT_S == 7 * 24 * 3600
    await queue.request("collect:4h")
    assert await ttl() == -1
    await queue.abort("collect:4h")
    assert await ttl() > 0


async def test_the_list_begins_with_the_newest(queue: JobQueue) -> None:
    assert await queue.list() == []
    for job_id in ("collect:4h", "funding", "collect:5m"):
        await queue.request(job_id)
    listed = await queue.list()
    assert [job.id for job in listed] == ["collect:5m", "funding", "collect:4h"]
    assert listed[1] == await queue.get("funding")


async def test_only_the_jobs_that_exist_can_be_named(queue: JobQueue, store: HotStore) -> None:
    for name in ("collect:8h", "collect:3h", "x", "", "collect:4h\n", "*"):
        with pytest.raises(ValueError, match="there is no job"):
            await queue.request(name)
        assert await queue.get(name) is None
    assert await store.execute("DBSIZE") == 0
    assert collect_id(Timeframe.H8) == "collect:4h"
    assert collect_id(Timeframe.M5) == "collect:5m"
    assert len(JOB_IDS) == len(set(JOB_IDS)) == 11
    assert {lane_of(job_id) for job_id in JOB_IDS} == {"worker", "funding"}
    assert lane_of("discovery") == "worker"


async def test_work_is_seen_only_when_the_lane_is_free(queue: JobQueue, acquire: Acquire) -> None:
    assert not await queue.has_work("worker")
    await queue.request("collect:4h")
    assert await queue.has_work("worker")
    assert not await queue.has_work("funding")
    lease = await acquire()
    assert not await queue.has_work("worker")
    job = await queue.take(lease)
    assert job is not None
    await lease.release()
    assert await queue.has_work("worker")  # its worker died: the lease is free, the job active


async def test_each_step_costs_one_command(upstash: UpstashEndpoint) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    queue = JobQueue(store)

    async def once() -> None:
        await queue.request("collect:4h")
        await queue.has_work("worker")
        lease = await try_acquire(store, "worker", holder="test", ttl_s=30)
        assert lease is not None
        job = await queue.take(lease)
        assert job is not None
        await queue.progress(job, lease, phase="fetch", done=1, total=2)
        await complete(queue, job, lease)
        await queue.list()
        await lease.release()

    await once()
    upstash.fail("")
    await once()
    assert upstash.commands() == {"EVALSHA": 8}
    await store.aclose()


async def test_a_waiting_worker_is_woken_by_a_request(redis_url: str) -> None:
    store, other = (NativeStore(redis_url, client_name="test") for _ in range(2))
    queue = JobQueue(store)
    await queue.wait_for_work(0.01)
    waiting = asyncio.create_task(queue.wait_for_work(30))
    funding = asyncio.create_task(queue.wait_for_work(30, "funding"))
    await asyncio.sleep(0.2)
    await queue.has_work("worker")
    await queue.has_work("funding")
    await waiting
    waiting = asyncio.create_task(queue.wait_for_work(30))
    await JobQueue(other).request("collect:4h")
    async with asyncio.timeout(1):
        await waiting
    # Until somebody looks, the hint stands; a look takes it.
    async with asyncio.timeout(1):
        await queue.wait_for_work(30)
    await queue.has_work("worker")
    began = asyncio.get_running_loop().time()
    await queue.wait_for_work(0.1)
    assert asyncio.get_running_loop().time() - began > 0.09
    funding.cancel()
    await asyncio.gather(funding, return_exceptions=True)
    await queue.aclose()
    await store.aclose()
    await other.aclose()


async def test_without_a_listener_waiting_ends_by_time_or_by_wake(upstash: UpstashEndpoint) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    queue = JobQueue(store)
    await queue.wait_for_work(0.01)
    waiting = asyncio.create_task(queue.wait_for_work(30, "funding"))
    await asyncio.sleep(0)
    queue.wake()
    async with asyncio.timeout(1):
        await waiting
    assert upstash.commands() == {}
    await queue.aclose()
    await store.aclose()
