"""A hot store that answers and refuses: out of memory, or a replica that may not be written.

Documents are served, whoever asks for more is told why not, and work goes on by itself.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis

from budgets.shared_budgets import SharedBudgets
from job_queue.queue import JobQueue
from market.markets import Exchange
from stores.hot.beats import beat, store_health, workers_alive
from stores.hot.leases import Lease, try_acquire
from stores.hot.opening import open_hot_store
from stores.hot.store import HotStore, StoreRefused
from tests.fixtures.api import StartApi
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.simulator import StartSimulator
from tests.fixtures.upstash import OwnValkey
from timing.clock import SystemClock
from venues.venue import Limit

MARKETS = 12


@pytest.fixture
def server(own_valkey: Callable[..., OwnValkey]) -> OwnValkey:
    return own_valkey("--maxmemory-policy", "noeviction")


@pytest.fixture
async def service(
    start_service: StartService,
    start_simulator: StartSimulator,
    server: OwnValkey,
    service_settings: ServiceSettings,
) -> Service:
    """One that has collected 1h; the next time that takes a second."""
    exchanges = start_simulator(binance=6, bybit=6)
    settings = service_settings(
        exchanges, REDIS_URL=server.url, CONCURRENCY_LIMIT="2", WORKER_LOCK_TTL_S="2"
    )
    service = await start_service(**settings)
    await service.funding_ready()
    await service.collect("1h")
    exchanges.post("/sim/faults", {"kind": "slow", "endpoint": "klines", "seconds": 0.3})
    return service


async def collecting(service: Service) -> Any:
    asked = await service.post("/get-market-data", {"timeframe": "1h"})
    await service.job("collect:1h", lambda job: job["progress"]["done"] >= 2)
    return asked


async def test_a_full_store_fails_the_job_with_its_cause_and_serves_on(
    service: Service, server: OwnValkey
) -> None:
    before = await service.get("/cache/1h")
    asked = await collecting(service)
    with redis.Redis.from_url(server.url) as store:
        store.config_set("maxmemory", 1)
        # Told at once, and not collected anew for as long as there is no room.
        job = await service.job("collect:1h", lambda job: job["last"]["run"] >= asked["run"], 15)
        assert (job["state"], job["attempts"]) == ("failed", 1)
        assert job["error"].startswith("redis: OOM command not allowed")
        status, answer = await service.answer("/get-market-data", {"timeframe": "4h"})
        assert status == 503
        assert answer["detail"].startswith("redis: OOM command not allowed")
        assert await service.get("/cache/1h") == before
        ready = await service.until_ready("degraded")
        assert ready["parts"]["store"].startswith("takes no writes: OOM command not allowed")
        assert ready["parts"]["worker"].startswith("the last run of collect:1h failed at ")
        assert list(store.scan_iter("staging:*")) == []
        store.config_set("maxmemory", 0)
    assert (await service.collect("1h"))["result"]["markets"] == MARKETS
    assert (await service.get("/cache/1h"))["version"] > before["version"]
    await service.until_ready("ready")


async def test_a_replica_is_waited_out(service: Service, server: OwnValkey) -> None:
    before = await service.get("/cache/1h")
    asked = await collecting(service)
    with redis.Redis.from_url(server.url) as store:
        store.execute_command("REPLICAOF", "127.0.0.1", "1")
        status, answer = await service.answer("/get-market-data", {"timeframe": "4h"})
        assert status == 503
        assert answer["detail"].startswith("redis: READONLY ")
        ready = await service.until_ready("degraded")
        assert ready["parts"]["store"].startswith("takes no writes: READONLY ")
        # Long enough for the lease to be lost, and for a worker to look again.
        await service.until_said("lease_lost")
        assert await service.get("/cache/1h") == before
        store.execute_command("REPLICAOF", "NO", "ONE")
    last = await service.ended(asked)
    assert last["result"]["markets"] == MARKETS
    await service.until_ready("ready")


async def test_ready_knows_what_cannot_be_known(start_api: StartApi, server: OwnValkey) -> None:
    api = await start_api(redis_url=server.url)
    with redis.Redis.from_url(server.url) as store:

        async def ready() -> tuple[int, str, str]:
            async with api.http.get("/ready") as answer:
                said = json.loads(await answer.read())
                return answer.status, said["status"], said["parts"]["worker"]

        nobody = (503, "unavailable", "no heartbeat from any worker for 30 s")
        assert await ready() == nobody
        store.execute_command("REPLICAOF", "127.0.0.1", "1")
        # A worker could not say that it lives; documents are served.
        unknown = "unknown while the store takes no writes"
        assert await ready() == (200, "degraded", unknown)
        store.execute_command("REPLICAOF", "NO", "ONE")
        store.config_set("maxmemory", 1)
        assert await ready() == nobody


# The scripts themselves, at a server that has no room for one byte more.


@pytest.fixture
async def store(server: OwnValkey) -> AsyncIterator[HotStore]:
    store = open_hot_store(server.url, client_name="test")
    yield store
    await store.aclose()


@pytest.fixture
async def lease(store: HotStore) -> AsyncIterator[Lease]:
    lease = await try_acquire(store, "worker", holder="test", ttl_s=0.5)
    assert lease is not None
    yield lease
    await lease.release()


async def full(store: HotStore) -> None:
    await store.execute("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(StoreRefused, match="OOM"):
        await store.execute("SET", "key", "value")


async def test_what_is_known_of_runs_is_told_and_nothing_new_begins(
    store: HotStore, lease: Lease
) -> None:
    queue = JobQueue(store)
    await queue.request("collect:1h")
    await queue.request("collect:2h")
    first = await queue.take(lease)
    assert first is not None
    await full(store)
    await queue.progress(first, lease, phase="fetch", done=1, total=2)
    assert (await queue.list())[1].done == 1
    for job_id in ("collect:1h", "collect:2h", "collect:4h"):
        with pytest.raises(StoreRefused, match="OOM"):
            await queue.request(job_id)
    await queue.finish(
        first, lease, state="failed", as_of_ms=None, result=None, error="OOM: no room"
    )
    record = await queue.get("collect:1h")
    assert record is not None
    assert (record.state, record.error) == ("failed", "OOM: no room")
    with pytest.raises(StoreRefused, match="OOM"):
        await queue.take(lease)
    with pytest.raises(StoreRefused, match="OOM"):
        await try_acquire(store, "funding", holder="test", ttl_s=5)
    aborted = await queue.abort("collect:2h")
    assert aborted is not None and aborted.state == "aborted"
    await queue.aclose()


async def test_a_run_goes_back_and_its_lease_lives_on(store: HotStore, lease: Lease) -> None:
    queue = JobQueue(store)
    await queue.request("collect:1h")
    job = await queue.take(lease)
    assert job is not None
    await full(store)
    renewals = []
    for _ in range(2):  # two lives of the lease
        renewals.append(await store.execute("PTTL", lease.key))
        assert not await _lost(lease, within_s=0.5)
    assert min(renewals) > 0
    assert lease.held
    await queue.hand_back(job, lease)
    record = await queue.get("collect:1h")
    assert record is not None and record.state == "queued"
    await queue.aclose()


async def _lost(lease: Lease, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await lease.lost.wait()
    except TimeoutError:
        return False
    return True


async def test_workers_beat_on(store: HotStore) -> None:
    await full(store)
    await beat(store, "host-1", "numbers")
    assert await workers_alive(store) == {"host-1": b"numbers"}
    signs = await store_health(store)
    assert (signs.worker_alive, signs.can_beat) == (True, True)
    assert signs.refusal is not None and signs.refusal.startswith("OOM ")


async def test_budgets_stay_shared(store: HotStore) -> None:
    """Two processes behind one address: together they take no more than there is."""
    await full(store)
    both = [SharedBudgets(store, "egress", SystemClock()) for _ in range(2)]
    limit = Limit(100, 60.0)
    rooms = [
        (await budgets.take(Exchange.BINANCE, "weight", limit, 100, 60, 60)).room
        for budgets in both
    ]
    assert rooms == [60, 0]
    await both[0].pause(Exchange.BYBIT, 30.0, "told to")
    answer = await both[1].take(Exchange.BYBIT, "requests", limit, 100, 1, 1)
    assert (answer.room, answer.cause) == (0, "told to")
