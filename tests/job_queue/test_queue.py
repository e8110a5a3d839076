"""The queue over both clients: every sentence of its contract about requests and runs."""

import pytest

from job_queue.kinds import producer_of
from job_queue.queue import RECORD_TTL_S, JobAborted, JobQueue
from job_queue.records import LastRun
from stores.hot.store import HotStore
from tests.fixtures.job_queue import Acquire, complete


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
    assert (seen.phase, seen.done, seen.total) == ("fetch", 3, 9)
    await complete(queue, job, lease)
    done = await queue.get("collect:1h")
    assert done is not None
    last = LastRun(
        run=1,
        state="complete",
        as_of_ms=5,
        finished_at_ms=1_004,
        result={"rows": 3},
        error=None,
    )
    assert (done.state, done.phase) == ("complete", "done")
    # All of its tasks are done, whatever was reported last.
    assert (done.done, done.total) == (9, 9)
    assert done.finished_at == 1_004
    assert done.result == {"rows": 3}
    assert done.last == last
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
    assert (failed.last.state, failed.last.error) == ("failed", "nothing answered")
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
    assert (queued.last.run, queued.last.state) == (1, "complete")
    second = await queue.take(lease)
    assert second is not None and second.run == 2
    await complete(queue, second, lease)
    assert await queue.take(lease) is None


async def test_the_first_worker_that_asked_for_a_run_is_told(
    queue: JobQueue, acquire: Acquire
) -> None:
    assert (await queue.request("funding")).asked_by is None
    assert (await queue.request("funding", asked_by=7)).asked_by == 7
    assert (await queue.request("funding", asked_by=8)).asked_by == 7
    lease = await acquire("funding")
    job = await queue.take(lease)
    assert job is not None and job.asked_by == 7
    assert (await queue.request("funding", asked_by=2**62)).asked_by == 2**62  # of the next run
    await complete(queue, job, lease)
    again = await queue.take(lease)
    assert again is not None and (again.run, again.asked_by) == (2, 2**62)
    await complete(queue, again, lease)
    assert (await queue.request("funding")).asked_by is None  # neither asked for the third


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
    assert (queued.state, queued.error, queued.last.state) == ("queued", None, "failed")


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


async def test_aborting(queue: JobQueue, acquire: Acquire) -> None:
    assert await queue.abort("collect:4h") is None
    assert await queue.abort("no such job") is None
    await queue.request("collect:4h")
    queued = await queue.abort("collect:4h")
    assert queued is not None and queued.last is not None
    assert (queued.state, queued.last.state, queued.last.run) == ("aborted", "aborted", 1)
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
    assert aborted.last.run == wanted.run == 3
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
    assert RECORD_TTL_S - 5 < await ttl() <= RECORD_TTL_S == 7 * 24 * 3600
    await queue.request("collect:4h")
    assert await ttl() == -1
    await queue.abort("collect:4h")
    assert await ttl() > 0


async def test_how_the_job_that_makes_a_document_ended(queue: JobQueue, acquire: Acquire) -> None:
    assert await queue.get(producer_of("8h")) is None
    await queue.request("collect:4h")
    record = await queue.get(producer_of("8h"))
    assert record is not None and record.last is None
    lease = await acquire()
    job = await queue.take(lease)
    assert job is not None
    await queue.finish(job, lease, state="failed", as_of_ms=None, result=None, error="unreachable")
    last = LastRun(
        run=1,
        state="failed",
        as_of_ms=None,
        finished_at_ms=1_003,
        result=None,
        error="unreachable",
    )
    await queue.request("collect:4h")  # it stays known while the next one waits
    for document in ("4h", "8h"):
        record = await queue.get(producer_of(document))
        assert record is not None and record.last == last
    assert await queue.get(producer_of("global_fr")) is None
    with pytest.raises(ValueError, match="no job makes"):
        producer_of("7m")


async def test_the_list_begins_with_the_newest(queue: JobQueue) -> None:
    assert await queue.list() == []
    for job_id in ("collect:4h", "funding", "collect:5m"):
        await queue.request(job_id)
    listed = await queue.list()
    assert [job.id for job in listed] == ["collect:5m", "funding", "collect:4h"]
    assert listed[1] == await queue.get("funding")


async def test_only_the_jobs_that_exist_can_be_named(queue: JobQueue, store: HotStore) -> None:
    for name in ("collect:8h", "collect:3h", "x", "", "collect:4h\n", "*"):
        with pytest.raises(ValueError, match="unknown job"):
            await queue.request(name)
        assert await queue.get(name) is None
    assert await store.execute("DBSIZE") == 0
