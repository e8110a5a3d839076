"""Waiting for a version: a publish wakes it, and a waiter costs no command."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from api.documents.publish_watcher import PublishWatcher
from cache_manager import CacheManager, DocumentMeta
from stores.hot.leases import Lease, try_acquire
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore
from stores.hot.upstash_client import UpstashStore
from tests.fixtures.cache import known
from tests.fixtures.lateness import elapsed
from tests.fixtures.signals import until
from tests.fixtures.upstash import OpenStore, OwnValkey, UpstashEndpoint

POLL_S = 0.1


@pytest.fixture
async def writer(open_store: OpenStore) -> AsyncIterator[Callable[..., object]]:
    """Publishes as another process would."""
    store = open_store()
    lease = await try_acquire(store, "worker", holder="test", ttl_s=60)
    assert lease is not None
    cache = CacheManager(store)

    async def publish(version: int, name: str = "4h") -> DocumentMeta:
        return await save(cache, lease, version, name)

    yield publish
    await lease.release()


async def save(cache: CacheManager, lease: Lease, version: int, name: str = "4h") -> DocumentMeta:
    return await cache.save_to_cache(
        name, b"{}", version=version, as_of_ms=1, updated_at_ms=1, lease=lease
    )


@pytest.fixture
async def watcher(store: HotStore) -> AsyncIterator[PublishWatcher]:
    watcher = PublishWatcher(CacheManager(store), poll_s=POLL_S)
    yield watcher
    await watcher.aclose()


Publish = Callable[..., "asyncio.Future[DocumentMeta]"]


async def test_a_publish_wakes_everybody_within_200_ms(
    watcher: PublishWatcher, writer: Publish
) -> None:
    first = await writer(1)
    assert await watcher.wait_newer("4h", None, 5) == first  # there is one already
    waiting = [asyncio.create_task(watcher.wait_newer("4h", known(1), 20)) for _ in range(500)]
    other = asyncio.create_task(watcher.wait_newer("1h", None, 20))
    answered, _ = await asyncio.wait(waiting, timeout=0.15, return_when=asyncio.FIRST_COMPLETED)
    assert not answered
    second = await writer(2)
    async with elapsed() as took:
        assert set(await asyncio.gather(*waiting)) == {second}
    assert took.own_s < 0.2
    assert not other.done()
    third = await writer(3, "1h")
    assert await other == third


async def test_a_version_that_came_before_the_waiting_is_seen(
    watcher: PublishWatcher, writer: Publish
) -> None:
    await writer(1)
    await writer(2)
    for held in (None, known(0), known(1)):
        meta = await watcher.wait_newer("4h", held, 5)
        assert meta is not None and meta.version == 2
    await writer(3)  # while nobody waits
    meta = await watcher.wait_newer("4h", known(2), 5)
    assert meta is not None and meta.version == 3


async def test_waiting_ends_with_its_time(watcher: PublishWatcher, writer: Publish) -> None:
    await writer(1)
    async with elapsed() as took:
        assert await watcher.wait_newer("4h", known(1), 0.3) is None
    assert took.seconds > 0.29
    assert took.own_s < 0.6


async def test_closing_answers_everybody(watcher: PublishWatcher) -> None:
    waiting = [asyncio.create_task(watcher.wait_newer("4h", None, 60)) for _ in range(10)]
    await asyncio.sleep(0)  # each begins to wait
    await watcher.aclose()
    assert await asyncio.gather(*waiting) == [None] * 10
    assert await watcher.wait_newer("4h", None, 60) is None


async def test_publishes_and_waits_at_random_lose_nothing(
    watcher: PublishWatcher, writer: Publish
) -> None:
    async def follow() -> None:
        version = 0
        while version < 60:
            meta = await watcher.wait_newer("4h", known(version), 10)
            assert meta is not None and meta.version > version
            version = meta.version

    async with asyncio.TaskGroup() as followers:
        for _ in range(5):
            followers.create_task(follow())
        for version in range(1, 61):
            await writer(version)
            for _ in range(version % 4):
                await asyncio.sleep(0)


async def test_a_crowd_costs_what_one_costs(redis_url: str) -> None:
    store = NativeStore(redis_url, client_name="crowd")
    watcher = PublishWatcher(CacheManager(store))
    waiting = [asyncio.create_task(watcher.wait_newer("4h", None, 60)) for _ in range(2000)]
    plain = NativeStore(redis_url, client_name="plain")

    async def listening() -> bool:
        # It has read what there is since it listens: nothing is left to do.
        return "4h" in watcher._newest

    await until(listening)
    clients = (await plain.execute("CLIENT", "LIST")).decode()
    assert clients.count("name=crowd") <= 3  # the listener, and what commands ran on
    calls = (await plain.execute("INFO", "commandstats")).decode()
    lines = [line for line in calls.splitlines() if line.startswith("cmdstat_mget:")]
    reads = int(lines[0].split("calls=")[1].split(",")[0]) if lines else 0
    assert len(asyncio.all_tasks()) < 2010
    await watcher.aclose()
    await asyncio.gather(*waiting)
    after = (await plain.execute("INFO", "commandstats")).decode()
    assert (f"cmdstat_mget:calls={reads}," in after) == bool(reads)
    await store.aclose()
    await plain.aclose()


async def test_over_rest_only_a_waiting_process_asks(upstash: UpstashEndpoint) -> None:
    poll_s = 4 * POLL_S  # long beside what a read takes on a busy machine
    store = UpstashStore(upstash.url, upstash.token)
    watcher = PublishWatcher(CacheManager(store), poll_s=poll_s)
    waiting = [
        asyncio.create_task(watcher.wait_newer(name, None, 10 * poll_s))
        for name in ("4h", "8h", "1h")
        for _ in range(50)
    ]
    assert set(await asyncio.gather(*waiting)) == {None}
    polls = upstash.commands()
    assert set(polls) == {"MGET"} and 7 <= polls["MGET"] <= 11
    await asyncio.sleep(3 * poll_s)
    assert upstash.commands()["MGET"] <= polls["MGET"] + 1
    assert await watcher.wait_newer("4h", None, 2 * poll_s) is None
    await watcher.aclose()
    await store.aclose()


async def test_waiters_survive_a_restart_of_the_store(
    own_valkey: Callable[..., OwnValkey],
) -> None:
    server = own_valkey()
    store, other = (NativeStore(server.url, client_name="test") for _ in range(2))
    watcher = PublishWatcher(CacheManager(store))
    lease = await try_acquire(other, "worker", holder="test", ttl_s=60)
    assert lease is not None
    await save(CacheManager(other), lease, 1)
    waiting = asyncio.create_task(watcher.wait_newer("4h", known(1), 20))

    async def listening() -> bool:
        return b"name=test:listen" in await other.execute("CLIENT", "LIST")

    await until(listening)
    server.kill()
    server.start()
    # Published while the listener may still be reconnecting: it looks again when it is back.
    await save(CacheManager(other), lease, 2)
    meta = await waiting
    assert meta is not None and meta.version == 2
    await watcher.aclose()
    await lease.release()
    await store.aclose()
    await other.aclose()
