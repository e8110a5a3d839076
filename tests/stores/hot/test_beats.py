"""Beats: which workers are alive, and whether the store takes writes."""

from stores.hot.beats import StoreHealth, beat, store_health, workers_alive
from stores.hot.store import HotStore


async def test_workers_that_beat_are_alive(store: HotStore) -> None:
    assert await store_health(store) == StoreHealth(worker_alive=False, refusal=None)
    assert await workers_alive(store) == {}
    await beat(store, "host-1", "note 1")
    await beat(store, "host-2")
    assert await store_health(store) == StoreHealth(worker_alive=True, refusal=None)
    assert await store.execute("EXISTS", "workers:none") == 0
    assert await workers_alive(store) == {"host-1": b"note 1", "host-2": b""}
    ttl_s = await store.execute("TTL", "workers:any")
    # Over Upstash a heartbeat comes every 30 s.
    longest_s = {"native": 30, "upstash": 60}[store.kind]
    assert longest_s - 2 <= ttl_s <= longest_s
    await store.execute("DEL", "workers:host-1")  # as its expiry does
    assert await workers_alive(store) == {"host-2": b""}
