"""Two whole services on one store and one address, with clients that ask at random.

How long they ask is set by RACE_SECONDS (9, in the slow tests 30).
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from job_queue.kinds import JOB_IDS, Lane, lane_of
from market.timeframes import COLLECTED
from stores.hot.leases import lock_key
from stores.hot.redis_client import NativeStore
from stores.hot.replies import anything
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import StartSimulator

RACE_S = float(os.environ.get("RACE_SECONDS", "9"))
LONG_RACE_S = 30.0
CLIENTS = 4
SECRET = "cron-secret"

# sample(worker lock, funding lock, jobs...): both locks, then state and lease of each job.
SAMPLE = """
local found = {}
for i = 1, ARGV[1] do found[i] = redis.call('GET', KEYS[i]) or '' end
for i = ARGV[1] + 1, #KEYS do
  local r = redis.call('HMGET', KEYS[i], 'state', 'lease')
  found[#found + 1] = {r[1] or '', r[2] or ''}
end
return found
"""


class Watcher:
    """Looks at the queue itself, all of it in one step, for as long as the race lasts."""

    def __init__(self, redis_url: str) -> None:
        self.store = NativeStore(redis_url, client_name="watcher")
        self.samples = 0
        self.busy: Counter[str] = Counter()  # samples with an active job, by lane
        self.holders: set[bytes] = set()
        self.ended: set[bytes] = set()  # holders that were ended from outside
        self.wrong: list[Any] = []

    async def holder(self) -> bytes:
        """Who runs a collection, as soon as somebody does."""
        lock: bytes | None = await until(lambda: self.store.execute("GET", "lock:worker"))
        assert lock is not None
        return lock.rpartition(b" ")[2]

    async def watch(self) -> None:
        script = self.store.script("sample", SAMPLE)
        keys = [*map(lock_key, Lane), *(f"job:{job_id}" for job_id in JOB_IDS)]
        while True:
            found = await script.run(keys, [len(Lane)], reply=anything)
            self.samples += 1
            locks, jobs = dict(zip(Lane, found, strict=False)), found[len(Lane) :]
            active = [
                (lane_of(job_id), lease)
                for job_id, (state, lease) in zip(JOB_IDS, jobs, strict=True)
                if state == b"active"
            ]
            lanes = Counter(lane for lane, _ in active)
            self.busy.update(lanes)
            holders = {lease.rpartition(b" ")[2] for _, lease in active}
            self.holders |= holders
            # Only the job of a worker that was killed may be active without a lease.
            orphaned = any(locks[lane] != lease for lane, lease in active)
            if max(lanes.values(), default=0) > 1 or (orphaned and not holders & self.ended):
                self.wrong.append((locks, jobs))
            await asyncio.sleep(0.005)  # the pace of the samples


class Client:
    """POSTs at random to both services, and checks how each of its jobs ends."""

    def __init__(self, services: list[Service], seed: int) -> None:
        self.services = services
        self.chance = random.Random(seed)  # noqa: S311 - the same every time
        self.answered = 0
        self.timeframes: set[str] = set()

    async def ask(self, until: float) -> None:
        async with asyncio.TaskGroup() as checks:
            while time.monotonic() < until:
                asked_ms = time.time_ns() // 1_000_000
                job = await self.post(self.chance.choice(self.services))
                check = checks.create_task(self.check(job, asked_ms))
                if self.chance.random() < 0.5:
                    await check  # so that the queue runs empty now and then
                else:
                    await asyncio.sleep(self.chance.random() * 0.3)  # at a client's pace

    async def post(self, service: Service) -> Any:
        if self.chance.random() < 0.1:
            authorization = {"Authorization": f"Bearer {SECRET}"}
            return await service.post("/api/v1/internal/update-fr", **authorization)
        timeframe = str(self.chance.choice(COLLECTED))
        self.timeframes.add(timeframe)
        return await service.post("/get-market-data", {"timeframe": timeframe})

    async def check(self, job: Any, asked_ms: int) -> None:
        last = await self.chance.choice(self.services).ended(job, 120)
        assert last["as_of"] >= asked_ms, (job, last)
        self.answered += 1


@pytest.mark.parametrize("race_s", [RACE_S, pytest.param(LONG_RACE_S, marks=pytest.mark.slow)])
@pytest.mark.timeout(180 + max(RACE_S, LONG_RACE_S) * 3)
async def test_one_collection_at_a_time_and_no_post_without_its_answer(
    start_simulator: StartSimulator,
    start_service: StartService,
    service_settings: ServiceSettings,
    redis_url: str,
    tmp_path: Path,
    race_s: float,
) -> None:
    # Bybit's limit is what collections of 30 markets run into: they share it.
    simulator = start_simulator(binance=3, bybit=30)
    settings = service_settings(
        simulator, EGRESS_ID="race", CRON_SECRET=SECRET, WORKER_LOCK_TTL_S="3", HISTORY_CANDLES="60"
    )
    starts = [start_service("serve", **settings, DATA_DIR=str(tmp_path / name)) for name in "ab"]
    services = list(await asyncio.gather(*starts))
    await services[0].funding_ready()

    watcher = Watcher(redis_url)
    watching = asyncio.create_task(watcher.watch())
    clients = [Client(services, seed) for seed in range(CLIENTS)]
    until = time.monotonic() + race_s
    try:
        async with asyncio.TaskGroup() as asking:
            for client in clients:
                asking.create_task(client.ask(until))
            # Whoever takes over begins within what the one before it has left of the limits.
            for number in (signal.SIGTERM, signal.SIGKILL):
                await asyncio.sleep(race_s / 3)
                holder = await watcher.holder()
                watcher.ended.add(holder)
                os.kill(int(holder.rpartition(b":")[2]), number)
        assert not watching.done()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await watcher.store.aclose()

    assert watcher.wrong == []
    assert watcher.busy["worker"] > watcher.samples / 4  # it was a race, not a stroll
    answered = sum(client.answered for client in clients)
    print(f"{answered} POSTs, {watcher.samples} samples, {watcher.busy}, {watcher.holders}")  # noqa: T201
    assert answered > race_s / 2
    assert len(watcher.holders) >= len(services)  # both had their turn
    stats = simulator.stats()
    print(stats["total"], stats["most_in_window"])  # noqa: T201
    assert stats["limits_broken"] == {}
    assert stats["rejected"] == []
    for timeframe in set().union(*(client.timeframes for client in clients)):
        job = await services[0].get(f"/jobs/collect:{timeframe}")
        documents = [await service.get(f"/cache/{timeframe}") for service in services]
        assert {document["as_of"] for document in documents} == {job["last"]["as_of"]}
