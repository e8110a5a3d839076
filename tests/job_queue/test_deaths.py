"""What becomes of a job whose worker dies, is told to stop, or hears no reply."""

import asyncio
from collections.abc import Callable

import pytest

from job_queue.queue import JobQueue
from stores.hot.leases import LeaseLost, try_acquire
from stores.hot.redis_client import NativeStore
from stores.hot.upstash_client import UpstashStore
from tests.fixtures.job_queue import Acquire, complete
from tests.fixtures.upstash import OwnValkey, UpstashEndpoint
from timing.backoff import Backoff


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
    assert failed.last.run == 1
    assert failed.last.error == failed.error
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
    assert (job.run, job.attempts, job.rerun, job.last.state) == (2, 1, False, "failed")


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
    assert (record.state, record.run, record.last.run) == ("queued", 2, 1)
    await lease.release()
    await store.aclose()


async def test_a_result_survives_a_restart_of_the_store(
    own_valkey: Callable[..., OwnValkey], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = own_valkey()
    store = NativeStore(server.url, client_name="test")
    queue = JobQueue(store)
    failed_once = asyncio.Event()

    class SignallingBackoff(Backoff):
        def pause_s(self) -> float:
            failed_once.set()
            return super().pause_s()

    await queue.request("collect:4h")
    lease = await try_acquire(store, "worker", holder="test", ttl_s=30)
    assert lease is not None
    job = await queue.take(lease)
    assert job is not None
    server.kill()
    monkeypatch.setattr("stores.hot.leases.Backoff", SignallingBackoff)
    finishing = asyncio.create_task(complete(queue, job, lease))
    async with asyncio.timeout(20):
        await failed_once.wait()
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
