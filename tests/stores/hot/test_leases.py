"""Leases over both clients: one holder at a time, and a holder that knows when it is over."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable

import pytest

from stores.hot.leases import (
    Lease,
    LeaseLost,
    current_holder,
    new_nonce,
    retry_under_lease,
    try_acquire,
)
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore, StoreRefused, StoreUnavailable
from stores.hot.upstash_client import UpstashStore
from tests.fixtures.lateness import elapsed
from tests.fixtures.signals import until
from tests.fixtures.upstash import OpenStore, OwnValkey, RemoteWorker, UpstashEndpoint


class Clock:
    """A clock that goes only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def leases() -> AsyncIterator[list[Lease]]:
    """Put leases here to have them released, so that no renewal outlives its test."""
    held: list[Lease] = []
    yield held
    for lease in held:
        await lease.release()


async def acquired(store: HotStore, leases: list[Lease], **options: object) -> Lease:
    wanted: dict[str, object] = {"holder": "host 1 pid 7", "ttl_s": 30} | options
    lease = await try_acquire(store, "worker", **wanted)  # type: ignore[arg-type]
    assert lease is not None
    leases.append(lease)
    return lease


async def test_only_one_holds_it(store: HotStore, leases: list[Lease]) -> None:
    first = await acquired(store, leases)
    assert await try_acquire(store, "worker", holder="another", ttl_s=30) is None
    held = await current_holder(store, "worker")
    assert held is not None
    assert (held.holder, held.token) == ("host 1 pid 7", first.token)
    assert 29_000 < held.ttl_ms <= 30_000
    first.check()
    await first.release()
    with pytest.raises(LeaseLost):
        first.check()
    assert await current_holder(store, "worker") is None
    second = await acquired(store, leases, holder="another")
    assert second.token > first.token


async def test_the_lanes_are_apart(store: HotStore, leases: list[Lease]) -> None:
    await acquired(store, leases)
    funding = await try_acquire(store, "funding", holder="another", ttl_s=30)
    assert funding is not None
    await funding.release()


async def test_of_many_that_ask_at_once_one_gets_it(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(3)]
    asked = [try_acquire(s, "worker", holder=f"{n}", ttl_s=30) for s in stores for n in range(5)]
    got = [lease for lease in await asyncio.gather(*asked) if lease]
    assert len(got) == 1
    await got[0].release()


async def renewed(store: HotStore, lease: Lease) -> None:
    """Waits until the store counts the lease's life anew."""
    left_ms = await store.execute("PTTL", lease.key)

    async def rose() -> bool:
        nonlocal left_ms
        before_ms, left_ms = left_ms, await store.execute("PTTL", lease.key)
        return bool(left_ms > before_ms)

    await until(rose, within_s=20)


async def test_it_renews_itself(store: HotStore, leases: list[Lease]) -> None:
    lease = await acquired(store, leases, ttl_s=1.5)
    for _ in range(3):  # of which each comes after a third of its life
        await renewed(store, lease)
    lease.check()
    held = await current_holder(store, "worker")
    assert held is not None and held.token == lease.token


async def test_an_attempt_whose_reply_was_lost_is_found_again(
    store: HotStore, leases: list[Lease]
) -> None:
    nonce = new_nonce()
    lost = await acquired(store, leases, nonce=nonce, ttl_s=60)  # as if nobody had heard of it
    assert await try_acquire(store, "worker", holder="another", ttl_s=30) is None
    other = await try_acquire(store, "worker", holder="another", ttl_s=30, nonce=nonce)
    assert other is None  # the nonce alone is not enough
    found = await acquired(store, leases, nonce=nonce, ttl_s=30)
    assert found.value == lost.value
    held = await current_holder(store, "worker")
    assert held is not None and 29_000 < held.ttl_ms <= 30_000
    await found.release()
    assert await current_holder(store, "worker") is None


async def test_releasing_twice_or_late_harms_nobody(store: HotStore, leases: list[Lease]) -> None:
    lease = await acquired(store, leases)
    await store.execute("DEL", lease.key)
    other = await acquired(store, leases, holder="another")
    await lease.release()
    await lease.release()
    held = await current_holder(store, "worker")
    assert held is not None and held.token == other.token


async def test_the_store_says_that_it_is_lost(store: HotStore, leases: list[Lease]) -> None:
    lease = await acquired(store, leases, ttl_s=0.6)
    await store.execute("SET", lease.key, "99 x somebody else")
    async with asyncio.timeout(20):
        await lease.lost.wait()
    with pytest.raises(LeaseLost):
        lease.check()


async def test_a_lost_store_does_not_make_tokens_equal(
    store: HotStore, leases: list[Lease]
) -> None:
    before = await acquired(store, leases, ttl_s=0.6)
    await store.execute("FLUSHALL")
    after = await acquired(store, leases)
    assert after.token == before.token  # counted anew from nothing
    async with asyncio.timeout(20):
        await before.lost.wait()
    assert after.held


async def test_our_own_clock_ends_it(store: HotStore, leases: list[Lease]) -> None:
    clock = Clock()
    lease = await acquired(store, leases, ttl_s=15, clock=clock)
    clock.now += 14.9
    lease.check()
    clock.now += 0.1
    with pytest.raises(LeaseLost):
        lease.check()
    assert lease.lost.is_set()


async def test_a_store_that_hangs_ends_it_in_time(own_valkey: Callable[..., OwnValkey]) -> None:
    server = own_valkey()
    store = NativeStore(server.url, client_name="test")
    lease = await try_acquire(store, "worker", holder="test", ttl_s=1)
    assert lease is not None
    server.pause()
    async with asyncio.timeout(30), elapsed() as took:
        await lease.lost.wait()
    # At the latest its whole life after the last renewal was sent.
    assert took.own_s < 1.2
    server.resume()
    await lease.release()
    await store.aclose()


async def test_upstash_failing_ends_it_in_time_and_a_short_failure_does_not(
    upstash: UpstashEndpoint, leases: list[Lease]
) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    lease = await acquired(store, leases, ttl_s=1.5)
    upstash.fail("500", times=2, match="evalsha")
    await renewed(store, lease)
    lease.check()
    upstash.fail("503")
    async with asyncio.timeout(2.5):
        await lease.lost.wait()
    upstash.fail("")
    await lease.release()
    await store.aclose()


async def test_as_a_context_it_cancels_its_body_when_lost(store: HotStore) -> None:
    lease = await try_acquire(store, "worker", holder="test", ttl_s=0.6)
    assert lease is not None
    with pytest.raises(LeaseLost):
        async with lease:
            await store.execute("SET", lease.key, "99 x somebody else")
            await asyncio.Event().wait()
    assert await store.execute("GET", lease.key) == b"99 x somebody else"


async def test_as_a_context_it_is_released_whatever_happens(store: HotStore) -> None:
    for error in (RuntimeError, TimeoutError, asyncio.CancelledError):
        lease = await try_acquire(store, "worker", holder="test", ttl_s=30)
        assert lease is not None
        with pytest.raises(error):
            async with lease:
                raise error
        assert await current_holder(store, "worker") is None


async def test_cancelling_while_it_is_taken_leaves_no_lock(open_store: OpenStore) -> None:
    store, other = open_store(), open_store()
    await current_holder(store, "worker")
    for turns in range(40):  # of the event loop: some before the command is sent, some after
        taking = asyncio.create_task(try_acquire(store, "worker", holder="test", ttl_s=30))
        for _ in range(turns):
            await asyncio.sleep(0)
        taking.cancel()
        (result,) = await asyncio.gather(taking, return_exceptions=True)
        if isinstance(result, Lease):
            await result.release()
        assert await current_holder(other, "worker") is None


async def test_a_killed_holder_is_followed_when_its_time_is_over(
    store: HotStore, leases: list[Lease], remote_worker: Callable[[], RemoteWorker]
) -> None:
    worker = remote_worker()
    assert await worker.do("acquire 1") == "1"
    worker.kill()
    assert await try_acquire(store, "worker", holder="test", ttl_s=30) is None
    lease = await until(lambda: try_acquire(store, "worker", holder="test", ttl_s=30), within_s=15)
    assert lease is not None
    leases.append(lease)


async def test_a_stopped_holder_knows_on_waking_that_it_is_over(
    store: HotStore, leases: list[Lease], remote_worker: Callable[[], RemoteWorker]
) -> None:
    worker = remote_worker()
    assert await worker.do("acquire 0.5") == "1"
    worker.send(signal.SIGSTOP)

    async def is_free() -> bool:
        return await current_holder(store, "worker") is None

    await until(is_free, within_s=15)
    worker.tell("held")
    worker.send(signal.SIGCONT)
    assert await worker.answer() == "False"


async def test_a_write_is_repeated_while_the_lease_is_held(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stores.hot.leases._MOST_REFUSALS", 3)
    clock = Clock()
    store, leases = NativeStore(redis_url, client_name="test"), list[Lease]()
    lease = await acquired(store, leases, ttl_s=15, clock=clock)
    failures = [StoreUnavailable("away"), StoreRefused("429", "429")]

    async def write() -> str:
        if failures:
            raise failures.pop()
        return "written"

    assert await retry_under_lease(lease, write) == "written"

    refusals: list[str] = []

    async def refused(code: str) -> None:
        refusals.append(code)
        raise StoreRefused(code, code)

    with pytest.raises(StoreRefused):
        await retry_under_lease(lease, lambda: refused("OOM"))
    with pytest.raises(StoreRefused):
        await retry_under_lease(lease, lambda: refused("ERR"))
    assert refusals == ["OOM", "ERR", "ERR", "ERR"]

    async def never() -> None:
        clock.now += 10
        raise StoreUnavailable("away")

    with pytest.raises(LeaseLost):
        await retry_under_lease(lease, never)
    await lease.release()
    await store.aclose()
