"""Publishing under faults: lost leases and replies, refusing stores, stopped or dead writers."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cache_manager import CacheManager
from stores.hot.leases import Lease, LeaseLost, try_acquire
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore, StoreRefused, StoreUnavailable
from stores.hot.upstash_client import UpstashStore
from tests.fixtures.cache import PIECE_BYTES, document, save
from tests.fixtures.signals import until
from tests.fixtures.upstash import OwnValkey, RemoteWorker, UpstashEndpoint


async def test_only_the_leases_holder_publishes(
    cache: CacheManager, lease: Lease, store: HotStore
) -> None:
    kept = await save(cache, lease, 10)
    # The lease goes to another while ours believes to hold it: the store itself refuses.
    await store.execute("DEL", lease.key)
    other = await try_acquire(store, "worker", holder="another", ttl_s=60)
    assert other is not None
    lease.check()
    with pytest.raises(LeaseLost):
        await save(cache, lease, 11)
    assert await cache.read_meta("4h") == kept
    assert (await save(cache, other, 11)).version == 11
    await other.release()
    with pytest.raises(LeaseLost):
        await save(cache, other, 12)


async def test_the_lease_is_checked_in_the_step_that_publishes(
    cache: CacheManager, lease: Lease, store: HotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = cache._stage

    async def stage_then_lose(*arguments: Any) -> None:
        await stage(*arguments)
        await store.execute("SET", lease.key, "99 nonce somebody else")

    monkeypatch.setattr(cache, "_stage", stage_then_lose)
    with pytest.raises(LeaseLost):
        await save(cache, lease, 10)
    assert await cache.read("4h") is None
    assert await store.execute("EXISTS", f"staging:4h:{lease.token}") == 0


async def test_a_failed_publish_leaves_nothing_and_the_next_starts_afresh(
    cache: CacheManager, lease: Lease, store: HotStore
) -> None:
    staging = f"staging:4h:{lease.token}"
    # What an earlier, longer attempt left behind must not become the tail of this one.
    await store.execute("SET", staging, "x" * 100_000)
    await save(cache, lease, 10, document(10, 8_000))
    assert await cache.get_from_cache("4h") == json.loads(document(10, 8_000))
    assert await store.execute("EXISTS", staging) == 0


async def test_pieces_that_expire_make_no_document(
    cache: CacheManager, lease: Lease, store: HotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = cache._stage

    async def stage_then_expire(staging: str, *arguments: Any) -> None:
        await stage(staging, *arguments)
        ttl_ms = await store.execute("PTTL", staging)
        assert 110_000 < ttl_ms <= 120_000
        await store.execute("DEL", staging)

    monkeypatch.setattr(cache, "_stage", stage_then_expire)
    with pytest.raises(StoreUnavailable, match="expired"):
        await save(cache, lease, 10)
    assert await cache.read("4h") is None


async def test_a_cancelled_publish_leaves_nothing(
    cache: CacheManager, lease: Lease, store: HotStore
) -> None:
    staging = f"staging:4h:{lease.token}"
    saving = asyncio.create_task(save(cache, lease, 10, document(10, 2_000_000)))
    await until(lambda: store.execute("EXISTS", staging))
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert await store.execute("EXISTS", staging) == 0
    assert await cache.read("4h") is None


async def test_replies_that_are_lost_are_asked_for_again(upstash: UpstashEndpoint) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    cache = CacheManager(store, piece_bytes=PIECE_BYTES)
    lease = await try_acquire(store, "worker", holder="test", ttl_s=60)
    assert lease is not None
    await save(cache, lease, 10)
    for times in range(1, 4):
        # First pieces, later ones and the publishing step in turn.
        upstash.fail("lost reply", times=times, match="evalsha")
        await save(cache, lease, 10 + times)
        stored = await cache.read("4h")
        assert stored is not None and stored.inflate() == document(10 + times)
    publish = cache._publish._sha
    upstash.fail("lost reply", times=1, match=publish)
    meta = await save(cache, lease, 20)
    assert await cache.read_meta("4h") == meta
    await lease.release()
    await store.aclose()


async def test_a_store_that_keeps_refusing_ends_the_publish_with_its_reason(
    upstash: UpstashEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stores.hot.leases._MOST_REFUSALS", 2)
    store = UpstashStore(upstash.url, upstash.token)
    cache = CacheManager(store, piece_bytes=PIECE_BYTES)
    lease = await try_acquire(store, "worker", holder="test", ttl_s=60)
    assert lease is not None
    kept = await save(cache, lease, 10)
    upstash.fail("quota", match="eval")
    with pytest.raises(StoreRefused, match="ERR max daily request limit exceeded"):
        await save(cache, lease, 11)
    upstash.fail("")
    assert await cache.read_meta("4h") == kept
    await lease.release()
    await store.aclose()


async def test_a_full_store_refuses_and_keeps_the_old_document(
    own_valkey: Callable[..., OwnValkey],
) -> None:
    server = own_valkey("--maxmemory-policy", "noeviction")
    store = NativeStore(server.url, client_name="test")
    cache = CacheManager(store, piece_bytes=100_000)
    lease = await try_acquire(store, "worker", holder="test", ttl_s=60)
    assert lease is not None
    await save(cache, lease, 10)

    async def used() -> int:
        told: bytes = await store.execute("INFO", "memory")
        return int(told.split(b"used_memory:")[1].split()[0])

    before = await used()
    await store.execute("CONFIG", "SET", "maxmemory", before + 1_000_000)
    saving = asyncio.create_task(save(cache, lease, 11, document(11, 5_000_000)))
    await _staged(store, lease)
    with pytest.raises(StoreRefused) as caught:
        await saving
    assert caught.value.code == "OOM"
    # What could be staged takes no room from anybody, and there is room for the job's end.
    assert await store.execute("EXISTS", f"staging:4h:{lease.token}") == 0
    assert await until(lambda: _below(used, before + 500_000))
    await store.execute("SET", "key", "value")
    assert await cache.get_from_cache("4h") == json.loads(document(10))
    await lease.release()
    await store.aclose()


async def _staged(store: NativeStore, lease: Lease) -> None:
    """Asks without a pause, for a piece may be there for a moment only."""
    async with asyncio.timeout(60):
        while not await store.execute("EXISTS", f"staging:4h:{lease.token}"):
            pass


async def _below(look: Callable[[], Awaitable[int]], limit: int) -> bool:
    return await look() < limit


async def test_a_server_that_is_made_a_replica_delays_the_publish_only(
    own_valkey: Callable[..., OwnValkey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stores.hot.leases._MOST_REFUSALS", 1)
    server = own_valkey()
    store = NativeStore(server.url, client_name="test")
    cache = CacheManager(store)
    lease = await try_acquire(store, "worker", holder="test", ttl_s=60)
    assert lease is not None
    kept = await save(cache, lease, 10)
    await store.execute("CONFIG", "SET", "replica-serve-stale-data", "yes")
    await store.execute("REPLICAOF", "127.0.0.1", 1)
    with pytest.raises(StoreRefused) as caught:
        await store.execute("SET", "key", "value")
    assert (caught.value.code, caught.value.transient) == ("READONLY", True)
    saving = asyncio.create_task(save(cache, lease, 11))
    await refused(store, 3)
    assert not saving.done()
    assert await cache.read_meta("4h") == kept
    await store.execute("REPLICAOF", "NO", "ONE")
    assert (await saving).version == 11
    await lease.release()
    await store.aclose()


async def refused(store: HotStore, commands: int) -> None:
    """Returns when the server has refused so many more scripts."""

    async def count() -> int:
        errors = (await store.execute("INFO", "commandstats")).decode()
        [line] = [x for x in errors.splitlines() if x.startswith("cmdstat_evalsha:")]
        return int(line.rpartition("failed_calls=")[2])

    before = await count()

    async def are_refused() -> bool:
        return await count() >= before + commands

    await until(are_refused)


async def test_a_restart_in_the_middle_delays_the_publish_only(
    own_valkey: Callable[..., OwnValkey],
) -> None:
    server = own_valkey()
    store = NativeStore(server.url, client_name="test")
    cache = CacheManager(store, piece_bytes=PIECE_BYTES)
    lease = await try_acquire(store, "worker", holder="test", ttl_s=60)
    assert lease is not None
    saving = asyncio.create_task(save(cache, lease, 10, document(10, 1_000_000)))
    await _staged(store, lease)
    server.kill()
    server.start()
    await saving
    assert await cache.get_from_cache("4h") == json.loads(document(10, 1_000_000))
    await lease.release()
    await store.aclose()


async def test_a_stopped_writers_late_publish_is_refused(
    store: HotStore, cache: CacheManager, remote_worker: Callable[[], RemoteWorker]
) -> None:
    worker = remote_worker()
    assert await worker.do("acquire 0.6") == "1"
    worker.tell("publish 1000 400000")
    await until(lambda: store.execute("EXISTS", "staging:4h:1"))
    worker.send(signal.SIGSTOP)
    ours = await until(lambda: try_acquire(store, "worker", holder="test", ttl_s=60))
    assert ours is not None
    await save(cache, ours, 10)
    worker.send(signal.SIGCONT)
    assert await worker.answer() == "LeaseLost"
    assert await cache.get_from_cache("4h") == json.loads(document(10))
    assert await store.execute("EXISTS", "staging:4h:1") == 0
    await ours.release()


async def test_a_killed_writer_leaves_the_old_document_and_pieces_that_expire(
    store: HotStore, cache: CacheManager, remote_worker: Callable[[], RemoteWorker]
) -> None:
    worker = remote_worker()
    assert await worker.do("acquire 1") == "1"
    worker.tell("publish 1000 400000")
    await until(lambda: store.execute("EXISTS", "staging:4h:1"))
    worker.kill()
    assert await cache.read("4h") is None
    assert 0 < await store.execute("PTTL", "staging:4h:1") <= 120_000
