"""The queue under deaths and races: real processes that are killed and stopped, random lives."""

import random
import signal
from collections.abc import Callable

import pytest

from job_queue.queue import JobQueue
from job_queue.records import JobRecord
from stores.hot.leases import Lease, try_acquire
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore
from tests.fixtures.signals import until
from tests.fixtures.upstash import RemoteWorker


@pytest.fixture
def queue(store: HotStore) -> JobQueue:
    return JobQueue(store)


async def test_a_killed_workers_job_goes_on_elsewhere(
    queue: JobQueue, remote_worker: Callable[[], RemoteWorker]
) -> None:
    first, second = remote_worker(), remote_worker()
    await queue.request("collect:4h")
    assert await first.do("acquire 1") == "1"
    assert await first.do("take") == "collect:4h"
    first.send(signal.SIGKILL)
    await until(lambda: acquires(second, 1), within_s=15)
    assert await second.do("take") == "collect:4h"
    taken = await queue.get("collect:4h")
    assert taken is not None and (taken.attempts, taken.run) == (2, 1)
    assert await second.do("finish") == "ok"


async def test_a_stopped_worker_cannot_touch_the_job_when_it_wakes(
    queue: JobQueue, remote_worker: Callable[[], RemoteWorker]
) -> None:
    first, second = remote_worker(), remote_worker()
    await queue.request("collect:4h")
    assert await first.do("acquire 0.6") == "1"
    assert await first.do("take") == "collect:4h"
    first.send(signal.SIGSTOP)
    await until(lambda: acquires(second, 30), within_s=15)
    assert await second.do("take") == "collect:4h"
    for order in ("progress", "finish", "take"):
        first.tell(order)
    first.send(signal.SIGCONT)
    assert [await first.answer() for _ in range(3)] == ["LeaseLost"] * 3
    record = await queue.get("collect:4h")
    assert record is not None and (record.state, record.attempts) == ("active", 2)
    assert await second.do("finish") == "ok"


async def acquires(worker: RemoteWorker, ttl_s: float) -> bool:
    return await worker.do(f"acquire {ttl_s}") != "held"


class Drill:
    """One worker's random life, and what every request was promised."""

    def __init__(self, store: HotStore) -> None:
        self.store = store
        self.queue = JobQueue(store)
        self.step = 0
        self.asked: list[tuple[str, int, int]] = []  # id, run that answers, step of the request
        self.begun: dict[tuple[str, int], int] = {}  # id, run -> step of its last beginning
        self.ended: dict[str, int] = {}  # id -> greatest run that ended
        self.leases: list[Lease] = []
        self.job: JobRecord | None = None

    async def ask(self, job_id: str) -> None:
        job = await self.queue.request(job_id)
        self.asked.append((job_id, job.run, self.step))

    async def take(self) -> None:
        if self.job is None:
            self.job = await self.queue.take(self.leases[-1])
            if self.job is not None:
                self.begun[self.job.id, self.job.run] = self.step

    async def end(self) -> None:
        if self.job is not None:
            await self.queue.finish(
                self.job, self.leases[-1], state="complete", as_of_ms=5, result={}, error=None
            )
            self.job = None

    async def hand_back(self) -> None:
        if self.job is not None:
            await self.queue.hand_back(self.job, self.leases[-1])
            self.job = None

    async def die(self) -> None:
        self.job = None
        await self.store.execute("DEL", "lock:worker")
        lease = await try_acquire(self.store, "worker", holder="test", ttl_s=600)
        assert lease is not None
        self.leases.append(lease)

    async def note_ends(self) -> None:
        for record in await self.queue.list():
            if record.last is not None:
                assert record.last.run >= self.ended.get(record.id, 0)  # never falls
                self.ended[record.id] = record.last.run


@pytest.mark.parametrize("seed", range(6))
async def test_every_request_is_answered_by_a_run_that_began_after_it(
    redis_url: str, seed: int
) -> None:
    """Random requests, takes, ends, deaths and hand-backs; then the queue is run empty."""
    chance = random.Random(seed)  # noqa: S311 - the same every time
    store = NativeStore(redis_url, client_name="test")
    drill = Drill(store)
    await drill.die()
    deeds = [drill.take, drill.take, drill.end, drill.end, drill.die, drill.hand_back]
    for drill.step in range(1, 400):
        if chance.random() < 0.25:
            await drill.ask(chance.choice(("collect:4h", "collect:1h")))
        else:
            await chance.choice(deeds)()
        await drill.note_ends()
    await drill.end()
    for drill.step in range(400, 420):
        await drill.take()
        await drill.end()
    await drill.note_ends()
    assert len(drill.asked) > 50
    for job_id, run, asked_at in drill.asked:
        answers = [at for (i, r), at in drill.begun.items() if i == job_id and r >= run]
        assert drill.ended[job_id] >= run
        assert answers and min(answers) > asked_at
    assert {job.state for job in await drill.queue.list()} <= {"complete", "failed"}
    for lease in drill.leases:
        await lease.release()
    await store.aclose()
