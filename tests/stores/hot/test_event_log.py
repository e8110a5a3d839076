"""The log of events: what is read of it; nothing that is wrong with it holds up what it tells."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from budgets.shared_budgets import SharedBudgets
from cache_manager import CacheManager
from job_queue.queue import JobQueue
from market.markets import Exchange
from stores.hot.event_log import LOG, PAUSES, EventLog, Position, read_position
from stores.hot.leases import Lease
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore
from tests.fixtures.cache import save
from tests.fixtures.signals import until
from timing.clock import SystemClock

FOREIGN: dict[str, Callable[[redis.Redis, str], Any]] = {
    "text": lambda client, key: client.set(key, "x"),
    "hash": lambda client, key: client.hset(key, "a b", "c d"),
    "list": lambda client, key: client.rpush(key, "x"),
    "stream": lambda client, key: client.xadd(key, {"x": "y"}),
}


def kinds(reading: Any) -> list[str]:
    return [entry.fields.get(b"kind", b"").decode() for entry in reading.entries]


async def make_each(store: HotStore, cache: CacheManager, lease: Lease) -> None:
    """A document, a job and a pause; two events each for the latter."""
    await save(cache, lease, 10)
    await JobQueue(store).request("discovery")
    await JobQueue(store).abort("discovery")
    await SharedBudgets(store, "default", SystemClock()).pause(Exchange.BYBIT, 0.05, "cause")
    assert await cache.read_meta("4h") is not None


@pytest.mark.parametrize("kind", FOREIGN)
async def test_foreign_values_are_replaced(
    store: HotStore, cache: CacheManager, lease: Lease, redis_url: str, kind: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        for key in (LOG, PAUSES):
            FOREIGN[kind](client, key)
    log = EventLog(store)
    first = await log.read(None, {})
    was = kinds(first)
    assert was == ([""] if kind == "stream" else [])  # whose entries are of no kind of ours
    await make_each(store, cache, lease)

    async def has_ended() -> bool:
        return kinds(await log.read(None, {})).count("pause") == 2

    await until(has_ended)
    told = kinds(await log.read(None, {}))
    assert told[len(was) :] == ["document", "job", "job", "pause", "pause"]


async def test_a_full_store_takes_the_steps_without_their_events(
    redis_url: str, cache: CacheManager, store: HotStore, lease: Lease
) -> None:
    queue = JobQueue(store)
    await queue.request("discovery")
    job = await queue.take(lease)
    assert job is not None
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory", "1")
        try:
            await queue.finish(job, lease, state="failed", as_of_ms=None, result=None, error="full")
            await EventLog(store).read(None, {})
        finally:
            client.config_set("maxmemory", "0")
    record = await queue.get("discovery")
    assert record is not None and record.state == "failed"


async def test_a_user_without_streams_still_publishes(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as owner:
        owner.execute_command(
            *("ACL", "SETUSER", "mute", "on", ">pw", "~*", "&*", "+@all", "-xadd", "-xrange")
        )
        try:
            store = NativeStore(redis_url.replace("unix://", "unix://mute:pw@"), client_name="t")
            record = await JobQueue(store).request("discovery")
            assert record.state == "queued"
            assert kinds(await EventLog(store).read(None, {})) == []
            await store.aclose()
        finally:
            owner.execute_command("ACL", "DELUSER", "mute")


async def test_what_is_read_comes_after_the_position(store: HotStore) -> None:
    queue, log = JobQueue(store), EventLog(store)
    await queue.request("discovery")
    await queue.abort("discovery")
    await queue.request("funding")
    everything = await log.read(None, {})
    one, two, three = everything.entries
    assert everything.is_whole and not everything.is_gap and everything.pause_ends_ms is None
    for known, rest in ((one, [two, three]), (three, [])):
        reading = await log.read(known.at, {})
        assert (reading.is_gap, reading.entries) == (False, rest)
    for unknown in (Position(0, 0), Position(one.at.at_ms, 99), Position(three.at.at_ms + 1, 0)):
        reading = await log.read(unknown, {})
        assert (reading.is_gap, reading.entries) == (True, everything.entries)


async def test_versions_that_are_others_come_with_their_meta(
    store: HotStore, cache: CacheManager, lease: Lease
) -> None:
    log, keys = EventLog(store), ("cache:4h:meta", "cache:5m:meta")
    assert (await log.read(None, dict.fromkeys(keys, ""))).metas == {}
    assert (await log.read(None, dict.fromkeys(keys, "3"))).metas == dict.fromkeys(keys, b"")
    await save(cache, lease, 10)
    found = (await log.read(None, dict.fromkeys(keys, ""))).metas
    assert list(found) == ["cache:4h:meta"] and b'"version":10,' in found["cache:4h:meta"]
    assert (await log.read(None, dict(zip(keys, ("10", ""), strict=True)))).metas == {}


@pytest.mark.parametrize(
    ("text", "position"),
    [
        (b"1795185441250-0", Position(1_795_185_441_250, 0)),
        (b"0-7", Position(0, 7)),
        (b"", None),
        (b"-", None),
        (b"1-", None),
        (b"1", None),
        (b"1-2-3", None),
        (b"+1-2", None),
        ("\N{ARABIC-INDIC DIGIT ONE}-1".encode(), None),
        (b"1" * 15 + b"-0", None),
        (b"1-" + b"9" * 60, None),
    ],
)
def test_positions(text: bytes, position: Position | None) -> None:
    assert read_position(text) == position
    assert position is None or str(position).encode() == text
