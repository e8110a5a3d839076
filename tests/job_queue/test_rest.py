"""MIN_REFRESH_S: a job rests after each run, by the store's clock, while the others go on."""

import asyncio
import time

import pytest

from job_queue.queue import JobQueue
from job_queue.records import JobRecord
from stores.hot.leases import Lease
from stores.hot.store import HotStore
from tests.fixtures.job_queue import Acquire, CountingClock, complete
from timing.clock import now_ms

REST_S = 1_000
JOB, OTHER = "collect:4h", "collect:1h"


@pytest.fixture
def queue(store: HotStore) -> JobQueue:
    # The host's own clock says that it is 1970, which must not matter.
    return JobQueue(store, CountingClock(), min_refresh_s=REST_S)


async def run_once(queue: JobQueue, lease: Lease, job_id: str = JOB) -> JobRecord:
    """Requests the job and runs it to its end."""
    await queue.request(job_id)
    job = await queue.take(lease)
    assert job is not None and job.id == job_id
    await complete(queue, job, lease)
    return job


async def pass_time(store: HotStore, seconds: int, job_id: str = JOB) -> None:
    """Makes the job's last run end earlier, as if time had passed since."""
    await store.execute("HINCRBY", f"job:{job_id}", "rest_from", -seconds * 1000)


async def test_a_run_starts_no_sooner_than_that_after_the_last_one_ended(
    queue: JobQueue, acquire: Acquire, store: HotStore
) -> None:
    lease = await acquire()
    await run_once(queue, lease)
    asked = await queue.request(JOB)
    assert (asked.state, asked.run) == ("queued", 2)
    assert await queue.take(lease) is None
    joined = await queue.request(JOB)
    assert (joined.run, joined.coalesced) == (2, True)
    await pass_time(store, REST_S - 30)
    assert await queue.take(lease) is None
    await pass_time(store, 30)
    job = await queue.take(lease)
    assert job is not None and (job.id, job.run, job.attempts) == (JOB, 2, 1)


async def test_a_rerun_that_was_asked_for_meanwhile_rests_too_and_is_not_lost(
    queue: JobQueue, acquire: Acquire, store: HotStore
) -> None:
    lease = await acquire()
    await queue.request(JOB)
    job = await queue.take(lease)
    assert job is not None
    wanted = await queue.request(JOB)
    await complete(queue, job, lease)
    assert await queue.take(lease) is None
    record = await queue.get(JOB)
    assert record is not None and (record.state, record.run) == ("queued", wanted.run)
    await pass_time(store, REST_S)
    again = await queue.take(lease)
    assert again is not None and again.run == wanted.run


async def test_other_jobs_are_not_held_up(queue: JobQueue, acquire: Acquire) -> None:
    lease = await acquire()
    await run_once(queue, lease)
    await queue.request(JOB)
    await run_once(queue, lease, OTHER)  # asked for later, and taken now
    assert await queue.take(lease) is None


async def test_failed_runs_rest_too(queue: JobQueue, acquire: Acquire) -> None:
    lease = await acquire()
    await queue.request(JOB)
    job = await queue.take(lease)
    assert job is not None
    await queue.finish(job, lease, state="failed", as_of_ms=None, result=None, error="why")
    await queue.request(JOB)
    assert await queue.take(lease) is None


async def test_an_aborted_run_rests_if_it_had_begun(
    queue: JobQueue, acquire: Acquire, store: HotStore
) -> None:
    lease = await acquire()
    await queue.request(JOB)
    await queue.abort(JOB)
    await queue.request(JOB)
    assert await queue.take(lease) is not None  # nothing had run
    await queue.abort(JOB)
    await queue.request(JOB)
    assert await queue.take(lease) is None
    # Neither can requests and aborts in turn put it off for ever.
    await pass_time(store, REST_S)
    await queue.abort(JOB)
    await queue.request(JOB)
    assert await queue.take(lease) is not None


async def test_a_run_that_did_not_end_goes_on_at_once(queue: JobQueue, acquire: Acquire) -> None:
    lease = await acquire()
    await queue.request(JOB)
    job = await queue.take(lease)
    assert job is not None
    await queue.hand_back(job, lease)
    assert await queue.take(lease) is not None
    for attempt in (2, 3):
        lease = await acquire()  # the holder before died
        again = await queue.take(lease)
        assert again is not None and again.attempts == attempt
    # After the last attempt it has failed, and what is asked for meanwhile rests.
    await queue.request(JOB)
    assert await queue.take(await acquire()) is None
    record = await queue.get(JOB)
    assert record is not None and record.last is not None
    assert (record.state, record.last.state) == ("queued", "failed")


async def test_0_turns_it_off(store: HotStore, acquire: Acquire) -> None:
    queue = JobQueue(store, min_refresh_s=0)
    lease = await acquire()
    for run in (1, 2, 3):
        assert (await run_once(queue, lease)).run == run


async def test_what_an_earlier_release_ended_and_what_a_wrong_clock_stamped_starts_at_once(
    queue: JobQueue, acquire: Acquire, store: HotStore
) -> None:
    lease = await acquire()
    await run_once(queue, lease)
    await store.execute("HDEL", f"job:{JOB}", "rest_from")
    assert (await run_once(queue, lease)).run == 2
    await store.execute("HSET", f"job:{JOB}", "rest_from", now_ms() + 3_600_000)
    assert (await run_once(queue, lease)).run == 3


async def test_who_looks_is_told_later_and_woken_in_time(store: HotStore, acquire: Acquire) -> None:
    queue = JobQueue(store, min_refresh_s=0.4)
    lease = await acquire()
    await run_once(queue, lease)
    ended = time.monotonic()
    await queue.request(JOB)
    await lease.release()
    async with asyncio.timeout(20):
        while not await queue.has_work("worker"):
            await queue.wait_for_work(60)
    assert time.monotonic() - ended >= 0.35  # rounding, and the way of the reply
    assert await queue.take(await acquire()) is not None
    await queue.aclose()


async def test_a_worker_that_only_takes_is_woken_in_time(store: HotStore, acquire: Acquire) -> None:
    queue = JobQueue(store, min_refresh_s=0.4)
    lease = await acquire()
    await run_once(queue, lease)
    await queue.request(JOB)
    async with asyncio.timeout(20):
        while (job := await queue.take(lease)) is None:
            await queue.wait_for_work(60)
    assert job.run == 2
    await queue.aclose()
