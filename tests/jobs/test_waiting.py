"""A job that waits for another one: woken by its end, and never for longer than it may."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from job_queue.queue import JobQueue
from jobs.context import JobContext, Progress
from jobs.waiting import wait_for_job
from stores.hot.leases import Lease
from tests.fixtures.job_queue import Acquire, complete


@pytest.fixture
def context(queue: JobQueue) -> JobContext:
    return cast(JobContext, SimpleNamespace(queue=queue))


@pytest.fixture
def _no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing but a wakeup can end a wait within the test's time."""
    monkeypatch.setattr("jobs.waiting._LOOK_EVERY_S", 600.0)
    monkeypatch.setattr("jobs.waiting._LONGEST_S", 600.0)


class Phases(Progress):
    """A progress that tells when its job begins to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = asyncio.Event()

    def enter(self, phase: str, total: int = 0, done: int = 0) -> None:
        super().enter(phase, total, done)
        if phase == "waiting":
            self.waits.set()


async def begin(queue: JobQueue, lease: Lease) -> Any:
    await queue.request("funding")
    job = await queue.take(lease)
    assert job is not None
    return job


@pytest.mark.usefixtures("_no_looks")
@pytest.mark.timeout(60)
async def test_the_end_of_a_run_in_this_process_wakes(
    context: JobContext, queue: JobQueue, acquire: Acquire
) -> None:
    funding, worker = await acquire("funding"), await acquire("worker")
    job = await begin(queue, funding)
    phases = Phases()
    waiting = asyncio.create_task(wait_for_job(context, "funding", worker, phases))
    await phases.waits.wait()
    await complete(queue, job, funding)
    record = await waiting
    assert record is not None and (record.state, record.run) == ("complete", 1)


@pytest.mark.usefixtures("_no_looks")
@pytest.mark.timeout(60)
async def test_an_end_between_the_look_and_the_wait_is_not_missed(
    context: JobContext, queue: JobQueue, acquire: Acquire
) -> None:
    funding, worker = await acquire("funding"), await acquire("worker")
    job = await begin(queue, funding)

    looked = queue.get

    async def look(job_id: str) -> Any:
        record = await looked(job_id)
        if record is not None and record.is_pending:
            await complete(queue, job, funding)  # after the look, before the wait
        return record

    cast(Any, queue).get = look
    record = await wait_for_job(context, "funding", worker, Progress())
    assert record is not None and record.state == "complete"


async def test_what_is_not_queued_is_not_waited_for(
    context: JobContext, queue: JobQueue, acquire: Acquire
) -> None:
    worker = await acquire("worker")
    assert await wait_for_job(context, "funding", worker, Progress()) is None
    funding = await acquire("funding")
    await complete(queue, await begin(queue, funding), funding)
    progress = Progress()
    record = await wait_for_job(context, "funding", worker, progress)
    assert record is not None and record.state == "complete"
    assert progress.phase != "waiting"


async def test_it_waits_no_longer_than_it_may(
    context: JobContext, queue: JobQueue, acquire: Acquire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.waiting._LONGEST_S", 0.1)
    worker = await acquire("worker")
    await queue.request("funding")
    record = await wait_for_job(context, "funding", worker, Progress())
    assert record is not None and record.state == "queued"


async def test_what_the_job_would_bring_may_come_by_another_way(
    context: JobContext, queue: JobQueue, acquire: Acquire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.waiting._LOOK_EVERY_S", 0.01)
    worker = await acquire("worker")
    await queue.request("discovery")
    looks = 0

    async def is_done() -> bool:
        nonlocal looks
        looks += 1
        return looks == 3

    assert await wait_for_job(context, "discovery", worker, Progress(), is_done=is_done) is None
    assert looks == 3
