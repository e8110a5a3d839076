"""Beats: which workers are alive, whether the store takes writes, which leases and pauses last."""

from collections.abc import AsyncIterator

import pytest
import redis

from stores.hot.beats import (
    AfterBeat,
    BeatTimes,
    HeldLock,
    StoreHealth,
    beat,
    beat_times,
    forget_live,
    live_beat,
    live_beat_times,
    processes_alive,
    store_health,
    workers_alive,
)
from stores.hot.replies import text
from stores.hot.store import HotStore, StoreRefused
from tests.fixtures.canned_store import CannedStore, lua_of


async def test_workers_that_beat_are_alive(store: HotStore) -> None:
    assert await store_health(store) == StoreHealth(worker_alive=False, refusal=None)
    assert await workers_alive(store) == {}
    await beat(store, "host-1", "note 1")
    await beat(store, "host-2")
    assert await store_health(store) == StoreHealth(worker_alive=True, refusal=None)
    assert await store.execute("EXISTS", "workers:none") == 0
    assert await workers_alive(store) == {"host-1": b"note 1", "host-2": b""}
    # Over Upstash a heartbeat comes every 30 s.
    longest_s = {"native": 30, "upstash": 60}[store.kind]
    for key in ("workers:any", "workers:host-1", "workers:host-2"):
        assert longest_s - 5 <= await store.execute("TTL", key) <= longest_s
    assert 86_000 < await store.execute("TTL", "workers") <= 86_400
    await store.execute("DEL", "workers:host-1")  # as its expiry does
    assert await workers_alive(store) == {"host-2": b""}
    assert await store.execute("SMEMBERS", "workers") == [b"host-2"]


async def test_live_processes_are_alive_and_are_no_workers(store: HotStore) -> None:
    await beat(store, "host:1", "of a worker")
    await live_beat(store, "host:1", "of live data")
    await live_beat(store, "other host:2", "")
    workers, live = await processes_alive(store)
    assert workers == {"host:1": b"of a worker"}
    assert live == {"host:1": b"of live data", "other host:2": b""}
    longest_s = live_beat_times(store).ttl_s
    assert longest_s - 5 <= await store.execute("TTL", "processes:live:host:1") <= longest_s
    await forget_live(store, "host:1")
    assert await processes_alive(store) == (workers, {"other host:2": b""})
    assert await store.execute("SMEMBERS", "processes:live") == [b"other host:2"]
    await store.execute("DEL", "workers:any", "workers:host:1")  # as their expiry does
    assert not (await store_health(store)).worker_alive


async def test_the_times_of_each_kind_of_store() -> None:
    assert beat_times(CannedStore()) == BeatTimes(10.0, 30)
    assert beat_times(CannedStore(kind="upstash")) == BeatTimes(30.0, 60)
    assert live_beat_times(CannedStore()) == BeatTimes(10.0, 30)
    assert live_beat_times(CannedStore(kind="upstash")) == BeatTimes(60.0, 150)


async def test_a_script_runs_with_a_beat(store: HotStore) -> None:
    then = AfterBeat("return redis.call('GET', KEYS[4]) .. ARGV[5]", text, ["mine"], ["!"])
    await store.execute("SET", "mine", "x")
    assert await beat(store, "host-1", "note", then) == b"x!"
    assert await workers_alive(store) == {"host-1": b"note"}
    assert await beat(store, "host-1") == 1


async def test_held_leases_and_pauses_that_last(store: HotStore) -> None:
    await beat(store, "host 1")
    for key, value, left_ms in (
        ("lock:alive", "7 nonce host 1", 90_000),
        ("lock:dead", "8 nonce host 2", 80_000),
        ("lock:for ever", "9 nonce host 1", None),
        ("lock:odd", "x", 70_000),
        ("pause:one", "a ban", 60_000),
        ("pause:for ever", "why", None),
    ):
        expiry = () if left_ms is None else ("PX", left_ms)
        await store.execute("SET", key, value, *expiry)
    await store.execute("RPUSH", "lock:foreign", "a")
    names = ("alive", "dead", "for ever", "odd", "foreign", "free")
    health = await store_health(
        store,
        locks=[f"lock:{name}" for name in names],
        pauses=["pause:one", "pause:for ever", "pause:none"],
    )
    assert health.worker_alive and health.refusal is None
    assert {key: (lock.holder, lock.holder_alive) for key, lock in health.locks.items()} == {
        "lock:alive": ("host 1", True),
        "lock:dead": ("host 2", False),
        "lock:for ever": ("host 1", True),
        "lock:odd": ("nobody known", False),
        "lock:foreign": ("nobody known", False),
    }
    left = {key: lock.left_ms for key, lock in health.locks.items()}
    assert left["lock:for ever"] is left["lock:foreign"] is None
    assert 70_000 < (left["lock:dead"] or 0) <= 80_000 < (left["lock:alive"] or 0) <= 90_000
    ((key, (left_ms, cause)),) = health.pauses.items()
    assert (key, cause) == ("pause:one", "a ban") and 50_000 < left_ms <= 60_000


async def test_what_the_store_tells_is_read_exactly() -> None:
    store = CannedStore(
        [
            *(0, b"-OOM command not allowed"),
            [
                *([b"1 n host\xff", 0, 1], [b"1 n", 1, 0], [b"1 n x y", -1, 0], [b"", -2, 0]),
            ],
            [[0, b"over"], [1, b"left\xff"], [-1, b"for ever"], [-2, b""]],
        ]
    )
    locks, pauses = ["lock:a", "lock:b", "lock:c", "lock:d"], ["p:a", "p:b", "p:c", "p:d"]
    assert await store_health(store, locks=locks, pauses=pauses) == StoreHealth(
        worker_alive=False,
        refusal="OOM command not allowed",
        locks={
            "lock:a": HeldLock("host\ufffd", 0, True),
            "lock:b": HeldLock("nobody known", 1, False),
            "lock:c": HeldLock("x y", None, False),
        },
        pauses={"p:b": (1, "left\ufffd")},
    )
    assert store.sent[0][2:] == (10, "workers:any", "workers:none", *locks, *pauses, 4)
    assert store.names == ["store_health"]


@pytest.mark.parametrize(
    ("refusal", "can_beat"),
    [(None, True), ("OOM command", True), ("READONLY You", False), ("MISCONF OOM", False)],
)
def test_a_full_store_still_takes_heartbeats(refusal: str | None, can_beat: bool) -> None:
    assert StoreHealth(worker_alive=True, refusal=refusal).can_beat is can_beat


async def test_of_more_than_1000_workers_the_first_1000_are_read(redis_url: str) -> None:
    lua = await lua_of("alive", processes_alive)
    with redis.Redis.from_url(redis_url) as client:
        ids = [f"{number:04}" for number in range(1_002)]
        client.sadd("workers", *ids)
        client.mset({f"workers:{name}": "note" for name in ids})
        client.delete("workers:0999")
        script = client.register_script(lua)
        workers, live = script(keys=["workers", "processes:live"], args=[1_000, 1])
        assert workers == [word for name in ids[:999] for word in (name.encode(), b"note")]
        assert live == []
        assert client.scard("workers") == 1_001 and not client.sismember("workers", "0999")


async def test_notes_cost_one_command_and_any_ids_can_be_read() -> None:
    store = CannedStore([[b"a\xff", b"note"], []], StoreRefused("redis: NOPERM", "NOPERM"))
    assert await workers_alive(store) == {"a\ufffd": b"note"}
    assert [sent[2:] for sent in store.sent] == [(2, "workers", "processes:live", 1_000, 1)]
    with pytest.raises(StoreRefused, match="NOPERM"):
        await workers_alive(store)


async def beat_lua() -> str:
    lua = await lua_of("beat", lambda store: beat(store, "host"))
    return lua.removesuffix("return 1")


async def health_lua() -> str:
    return await lua_of("store_health", store_health)


@pytest.fixture
async def full(redis_url: str) -> AsyncIterator[redis.Redis]:
    """A store without memory for more, but with the scripts; it has heard of one worker."""
    with redis.Redis.from_url(redis_url) as client:
        client.sadd("workers", "host-1")
        client.script_load(await beat_lua())
        client.script_load(await health_lua())
        client.config_set("maxmemory", "1")
        yield client
        client.config_set("maxmemory", "0")


async def test_a_full_store_takes_a_heartbeat_and_says_that_it_is_full(full: redis.Redis) -> None:
    keys = ["workers", "workers:host-2", "workers:any"]
    full.register_script(await beat_lua())(keys=keys, args=["host-2", "note", 30, 86_400])
    assert full.smembers("workers") == {b"host-1", b"host-2"}
    assert (full.get("workers:host-2"), full.get("workers:any")) == (b"note", b"1")
    health = full.register_script(await health_lua())
    alive, why, locks, pauses = health(keys=["workers:any", "workers:none"], args=[0])
    assert (alive, locks, pauses) == (1, [], []) and why.removeprefix(b"-").startswith(b"OOM")


@pytest.mark.parametrize(
    ("written", "alive"), [("'PX', 1", 1), ("'PX', 9000", 1), ("'KEEPTTL'", 0)]
)
async def test_a_heartbeat_counts_until_it_expires(
    redis_url: str, written: str, alive: int
) -> None:
    # Within one script the store's clock stands still.
    lua = f"redis.call('SET', KEYS[1], '1', {written})\n" + await health_lua()
    with redis.Redis.from_url(redis_url) as client:
        found = client.register_script(lua)(keys=["workers:any", "workers:none"], args=[0])
    assert found == [alive, b"", [], []]
