"""How a worker learns that something waits for it."""

import asyncio

from job_queue.kinds import Lane
from job_queue.queue import JobQueue
from stores.hot.beats import workers_alive
from stores.hot.leases import try_acquire
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore
from stores.hot.upstash_client import UpstashStore
from tests.fixtures.job_queue import Acquire, complete
from tests.fixtures.upstash import UpstashEndpoint


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


async def test_a_lane_is_woken_when_the_lease_of_a_dead_worker_ends(
    upstash: UpstashEndpoint,
) -> None:
    """Not with the next beat: a job whose worker was killed must run again within 30 s."""
    store = UpstashStore(upstash.url, upstash.token)
    queue = JobQueue(store)
    await queue.request("collect:4h")
    await store.execute("SET", "lock:worker", "1 a dead:1", "PX", 400)
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(20):
        while not await queue.has_work("worker"):
            await queue.wait_for_work(60)
    assert asyncio.get_running_loop().time() - began >= 0.3
    await queue.aclose()
    await store.aclose()


async def test_a_heartbeat_is_a_look_at_all_lanes(upstash: UpstashEndpoint) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    queue = JobQueue(store)
    await queue.beat("host:1", "note")
    waits = [asyncio.create_task(queue.wait_for_work(600, lane)) for lane in Lane]
    await JobQueue(store).request("funding")  # as another host would
    await queue.beat("host:1", "note")
    await asyncio.wait(waits, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    assert [wait.done() for wait in waits] == [lane is Lane.FUNDING for lane in Lane]
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    await queue.aclose()
    await store.aclose()


async def test_a_beat_counts_whatever_lies_at_the_keys_of_jobs(
    store: HotStore, queue: JobQueue
) -> None:
    await store.execute("SET", "job:collect:4h", "of another program")
    await queue.request("collect:1h")
    await queue.beat("host:1", "note")
    assert await workers_alive(store) == {"host:1": b"note"}
    assert await queue.has_work("worker")


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
        await queue.beat("host:1", "note")
        await lease.release()

    await once()
    upstash.fail("")
    await once()
    assert upstash.commands() == {"EVALSHA": 9}
    await store.aclose()


async def test_a_waiting_worker_is_woken_by_a_request(redis_url: str) -> None:
    store, other = (NativeStore(redis_url, client_name="test") for _ in range(2))
    queue = JobQueue(store)
    await queue.wait_for_work(0.01)
    # Once it listens all are woken: something may have been queued before.
    async with asyncio.timeout(20):
        await asyncio.gather(queue.wait_for_work(60), queue.wait_for_work(60, "funding"))
    await queue.has_work("worker")
    await queue.has_work("funding")
    waiting = asyncio.create_task(queue.wait_for_work(60))
    funding = asyncio.create_task(queue.wait_for_work(60, "funding"))
    await JobQueue(other).request("collect:4h")
    async with asyncio.timeout(20):
        await waiting
    assert not funding.done()
    # Until somebody looks, the hint stands; a look takes it.
    async with asyncio.timeout(20):
        await queue.wait_for_work(60)
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
    async with asyncio.timeout(20):
        await waiting
    assert upstash.commands() == {}
    await queue.aclose()
    await store.aclose()


async def test_a_run_learns_of_other_jobs_of_its_lane(queue: JobQueue, acquire: Acquire) -> None:
    """Of queued ones alone: it is active itself, and what another lane does is nothing to it."""
    assert await queue.waiting("worker", but="fill") == []
    await queue.request("fill")
    await queue.request("funding")
    job = await queue.take(await acquire())
    assert job is not None and job.id == "fill"
    await queue.request("fill")
    assert await queue.waiting("worker", but="fill") == []
    await queue.request("discovery")
    await queue.request("collect:4h")
    assert sorted(await queue.waiting("worker", but="fill")) == ["collect:4h", "discovery"]
    assert await queue.waiting("worker", but="discovery") == ["collect:4h"]
    await queue.abort("collect:4h")
    assert await queue.waiting("worker", but="fill") == ["discovery"]


async def test_a_look_for_other_jobs_resets_the_wakeup(upstash: UpstashEndpoint) -> None:
    """So that a run looks again when something comes, and not without end."""
    store = UpstashStore(upstash.url, upstash.token)
    queue = JobQueue(store)
    queue.wake()
    assert await queue.waiting("worker", but="fill") == []
    wait = asyncio.create_task(queue.wait_for_work(600))
    await asyncio.wait([wait], timeout=0.05)
    assert not wait.done()
    queue.wake()
    await asyncio.wait_for(wait, 20)
    await queue.aclose()
    await store.aclose()
