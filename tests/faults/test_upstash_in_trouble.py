"""Upstash slow, failing, over its quota or cut off, at random, while documents are published.

Seeded: the same troubles in every run. Readers poll all the while.
"""

import asyncio
import itertools
import json
import random
from functools import partial
from typing import Any, Final

import pytest
import redis

from cache_manager import CacheManager
from stores.hot.leases import try_acquire
from stores.hot.store import StoreRefused, StoreUnavailable
from stores.hot.upstash_client import UpstashStore
from tests.fixtures.service import SHORT_HISTORY, Service, StartService, asking
from tests.fixtures.signals import until, until_true
from tests.fixtures.simulator import StartSimulator
from tests.fixtures.upstash import UpstashEndpoint

TROUBLES: Final = (
    *("503", "html", "500", "429", "quota", "truncated", "list", "empty", "no result"),
    *("null", "text", "no elements", "nulls", "object", "deep"),
    *("reset", "lost reply", "slow"),
)
MARKETS = 12


def document(version: int) -> bytes:
    chance = random.Random(version)  # noqa: S311 - the same every time
    rows = [[version, chance.random()] for _ in range(700)]
    return json.dumps({"version": version, "rows": rows}).encode()


async def read_on(cache: CacheManager, seen: list[int]) -> None:
    """Every document that is read is whole, and none is older than one before."""
    while True:
        await asyncio.sleep(0.01)  # a reader's pace
        try:
            stored = await cache.read("4h")
        except StoreUnavailable as error:
            assert str(error).startswith(("upstash: ", "cache:4h is being replaced"))
            continue
        if stored is not None:
            assert stored.inflate() == document(stored.meta.version)
            assert not seen or stored.meta.version >= seen[-1]
            seen.append(stored.meta.version)


async def test_no_trouble_leaves_half_a_document(
    upstash: UpstashEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stores.hot.leases._MOST_REFUSALS", 2)
    chance = random.Random(5)  # noqa: S311 - the same every time
    stores = [UpstashStore(upstash.url, upstash.token) for _ in range(2)]
    writer, reader = (CacheManager(store, piece_bytes=4_000) for store in stores)
    lease = await try_acquire(stores[0], "worker", holder="test", ttl_s=120)
    assert lease is not None
    seen: list[int] = []
    reading = asyncio.create_task(read_on(reader, seen))
    published, refused = set(), set()
    troubles = chance.sample(TROUBLES, k=len(TROUBLES))
    for version, trouble in enumerate(troubles, start=1):
        # A refusal that stays ends the publish.
        times = 2 if trouble == "quota" else chance.choice((1, 2, 3))
        upstash.fail(trouble, times=times, match="evalsha")
        meta: dict[str, Any] = {"version": version, "as_of_ms": version, "updated_at_ms": version}
        try:
            await writer.save_to_cache("4h", document(version), **meta, lease=lease)
            published.add(version)
        except StoreRefused as error:
            assert "ERR max daily request limit exceeded" in str(error)
            refused.add(version)
        assert not reading.done(), reading.exception()
    upstash.fail("")
    meta = {"version": 100, "as_of_ms": 100, "updated_at_ms": 100}
    await writer.save_to_cache("4h", document(100), **meta, lease=lease)
    await until_true(lambda: 100 in seen)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert (len(published), len(refused)) == (len(TROUBLES) - 1, 1)
    assert not refused & set(seen)  # what was said to have failed is not there
    await lease.release()
    assert [key async for key in _keys(stores[0], "staging:*")] == []
    for store in stores:
        await store.aclose()


async def _keys(store: UpstashStore, pattern: str) -> Any:
    for key in await store.execute("KEYS", pattern):
        yield key


async def poll(service: Service, versions: list[int]) -> None:
    while True:
        await asyncio.sleep(0.03)  # a client's pace
        status, answer = await service.answer("/cache/1h")
        if status != 200:
            assert (status, answer["detail"].partition(":")[0]) == (503, "upstash")
            continue
        assert len(answer["markets"]) == MARKETS
        for market in answer["markets"]:
            times = [row[0] for row in market["rows"]]
            assert times and all(a < b for a, b in itertools.pairwise(times))
            assert market["checked_at"] <= answer["as_of"]
        assert not versions or answer["version"] >= versions[-1]
        versions.append(answer["version"])


async def make_trouble(upstash: UpstashEndpoint, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same every time
    while True:
        await asyncio.to_thread(
            upstash.fail, chance.choice(TROUBLES), times=chance.choice((1, 2, 4))
        )
        await asyncio.sleep(chance.uniform(0.05, 0.3))  # the pace of the trouble


async def asked(service: Service) -> Any:
    """An accepted POST; those refused say why."""
    while True:
        status, answer = await service.answer("/get-market-data", {"timeframe": "1h"})
        if status == 202:
            return answer
        assert status == 503
        assert answer["detail"].startswith(("upstash: ", "no answer in time"))


async def last_of(service: Service, run: int) -> Any:
    """How the job ended, if it was this run or a later one."""
    status, job = await service.answer("/jobs/collect:1h")
    return job["last"] if status == 200 and job["last"]["run"] >= run else None


async def test_the_service_collects_and_serves_through_it(
    start_service: StartService,
    start_simulator: StartSimulator,
    upstash: UpstashEndpoint,
    database_url: str,
    redis_url: str,
) -> None:
    exchanges = start_simulator(binance=6, bybit=6)
    service = await start_service(
        "serve",
        **asking(exchanges),
        **SHORT_HISTORY,
        **upstash.environment,
        DATABASE_URL=database_url,
        UPSTASH_POLL_S="0.5",
        WORKER_LOCK_TTL_S="3",
    )
    await service.funding_ready()
    await service.collect("1h")
    worker = service.pid_of("worker")
    versions: list[int] = []
    async with asyncio.timeout(60):
        polling = asyncio.create_task(poll(service, versions))
        trouble = asyncio.create_task(make_trouble(upstash, 11))
        for _ in range(2):
            request = await asked(service)
            ended = await until(partial(last_of, service, request["run"]))
            why = ended["error"] or ""
            assert ended["state"] == "complete" or why.startswith("upstash: "), ended
            assert not polling.done(), polling.exception()
        trouble.cancel()
        polling.cancel()
        await asyncio.gather(trouble, polling, return_exceptions=True)
    upstash.fail("")
    last = await service.collect("1h")
    assert last["result"]["markets"] == MARKETS
    assert (await service.get("/cache/1h"))["version"] > max(versions)
    assert len(set(versions)) > 1
    assert service.pid_of("worker") == worker
    await service.until_ready("ready")
    assert await service.stop() == 0
    with redis.Redis.from_url(redis_url) as store:
        assert list(store.scan_iter("staging:*")) == []
        assert list(store.scan_iter("lock:worker")) == []
    assert upstash.token not in "\n".join(service.lines)
