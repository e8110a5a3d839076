"""REDIS_PREFIX: every key and channel carries it, whatever is done."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis

from api.scrape import ProcessGroup
from budgets.shared_budgets import SharedBudgets
from cache_manager import PUBLISHED, CacheManager
from commands.composition import local_wakeup
from config import SettingsError, load_settings
from job_queue.queue import JobQueue
from jobs.known_markets import Selection, load_known_markets, save_known_markets
from market.markets import Exchange, Market
from metrics.api import ApiMetrics
from stores.hot.beats import beat, live_beat, processes_alive, store_health, workers_alive
from stores.hot.keys import with_prefix
from stores.hot.leases import Lease, current_holder, try_acquire
from stores.hot.opening import open_hot_store
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore
from tests.fixtures.signals import until_true
from timing.clock import SystemClock
from venues.venue import Limit

OpenWithPrefix = Callable[[str], HotStore]
MARKETS = [Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT", 0)]
SELECTION: Selection = {"exchanges": [Exchange.BINANCE], "quote": "USDT", "markets_limit": 0}
LIMIT = Limit(1000, 60)


def test_each_command_is_known_by_its_keys() -> None:
    assert with_prefix("", ("ANY", "thing")) == ("ANY", "thing")
    assert with_prefix("p:", ("get", b"a")) == ("get", "p:a")
    assert with_prefix("p:", ("SET", "a", "b", "EX", 3)) == ("SET", "p:a", "b", "EX", 3)
    assert with_prefix("p:", ("MGET", "a", "b")) == ("MGET", "p:a", "p:b")
    assert with_prefix("p:", ("GETRANGE", "a", 0, 9)) == ("GETRANGE", "p:a", 0, 9)
    assert with_prefix("p:", ("HGETALL", "a")) == ("HGETALL", "p:a")
    assert with_prefix("p:", ("SMEMBERS", "a")) == ("SMEMBERS", "p:a")
    assert with_prefix("p:", ("SREM", "a", "b")) == ("SREM", "p:a", "b")
    assert with_prefix("p:", ("UNLINK", "a", "b")) == ("UNLINK", "p:a", "p:b")
    assert with_prefix("p:", ("INFO", "a")) == ("INFO", "a")
    script = ("EVALSHA", "sha", 2, "a", "b", "c", 4)
    assert with_prefix("p:", script) == ("EVALSHA", "sha", 2, "p:a", "p:b", "c", 4)
    assert with_prefix("p:", ("EVAL", "lua", 0, "c")) == ("EVAL", "lua", 0, "c")
    with pytest.raises(ValueError, match="LPUSH"):
        with_prefix("p:", ("LPUSH", "a", "b"))


@pytest.mark.parametrize("prefix", ["perp:", "{perp}:", "a.b-c_D9:", "x{y}z", "p" * 64])
def test_a_prefix_is_letters_digits_and_tags(prefix: str) -> None:
    assert load_settings(redis_prefix=prefix).redis_prefix == prefix


@pytest.mark.parametrize(
    "prefix", ["a b", "a*", "a?", "[a]", "{}", "{a", "a}", "{a}}", "a/b", "ä", "a\n", "p" * 65]
)
def test_another_prefix_is_refused_in_one_line(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_PREFIX", prefix)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    (line,) = caught.value.lines
    assert line.startswith("REDIS_PREFIX: must be at most 64 letters, digits and . _ : -")


def test_workers_of_two_prefixes_are_not_woken_by_each_other(tmp_path: Path) -> None:
    plain, ours = (
        local_wakeup(load_settings(data_dir=tmp_path, redis_prefix=prefix))
        for prefix in ("", "perp:")
    )
    with asyncio.Runner() as runner:

        async def woken() -> list[str]:
            heard: list[str] = []
            with (
                plain.listening(lambda: heard.append("plain")),
                ours.listening(lambda: heard.append("ours")),
            ):
                ours.wake()
                await until_true(lambda: heard)
                plain.wake()
                await until_true(lambda: "plain" in heard)
            return heard

        assert runner.run(woken()) == ["ours", "plain"]


@pytest.fixture
async def open_with_prefix(store_environment: dict[str, str]) -> AsyncIterator[OpenWithPrefix]:
    """Opens a client of the test's store for the settings with that REDIS_PREFIX."""
    opened: list[HotStore] = []
    given = {name.lower(): value for name, value in store_environment.items()}

    def open_one(prefix: str) -> HotStore:
        settings = load_settings(**given, redis_prefix=prefix)
        opened.append(open_hot_store(settings, client_name="test"))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.aclose()


async def use_everything(store: HotStore) -> Lease:
    """Writes every kind of key; the lease and a pause stay."""
    await beat(store, "host:1", "note")
    lease = await try_acquire(store, "worker", holder="host:1", ttl_s=30)
    assert lease is not None
    queue = JobQueue(store)
    await queue.request("collect:4h")
    job = await queue.take(lease)
    assert job is not None
    await queue.progress(job, lease, phase="fetch", done=1, total=2)
    cache = CacheManager(store, piece_bytes=64)
    await cache.save_to_cache(
        "4h", bytes(range(256)) * 4, version=5, as_of_ms=5, updated_at_ms=5, lease=lease
    )
    await save_known_markets(store, lease, SELECTION, MARKETS)
    budgets = SharedBudgets(store, "default", SystemClock())
    assert (await budgets.take(Exchange.BINANCE, "weight", LIMIT, 100, 1, 100)).room == 100
    await budgets.pause(Exchange.BYBIT, 30, "too fast")
    await live_beat(store, "host:3", "note")
    await ProcessGroup(ApiMetrics("api-1", group="host:2"), ["api-1", "api-2"]).read(store)
    return lease


async def test_every_key_carries_the_prefix_and_two_prefixes_never_meet(
    open_with_prefix: OpenWithPrefix, redis_url: str
) -> None:
    ours, theirs = open_with_prefix("ours:"), open_with_prefix("theirs:")
    lease = await use_everything(ours)
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        keys = sorted(client.scan_iter(count=1000))
        assert {key.removeprefix("ours:").partition(":")[0] for key in keys} == {
            *("cache", "events", "lock", "job", "jobs", "known", "budget", "pause", "workers"),
            *("metrics", "processes"),
        }
        assert all(key.startswith("ours:") for key in keys)
        before = {key: client.dump(key) for key in keys}
        # The other installation sees nothing of it, and leaves it as it was.
        assert await current_holder(theirs, "worker") is None
        assert await processes_alive(theirs) == ({}, {})
        assert not (await store_health(theirs)).worker_alive
        assert await JobQueue(theirs).list() == []
        assert await CacheManager(theirs).read("4h") is None
        other = await use_everything(theirs)
        assert await load_known_markets(theirs, other, SELECTION) == MARKETS
        await other.release()
        assert {key: client.dump(key) for key in keys} == before
    assert list(await workers_alive(ours)) == ["host:1"]
    stored = await CacheManager(ours, piece_bytes=64).read("4h")
    assert stored is not None and stored.inflate() == bytes(range(256)) * 4
    assert [job.state for job in await JobQueue(ours).list()] == ["active"]
    await lease.release()


async def test_messages_reach_the_installation_of_their_prefix_only(redis_url: str) -> None:
    ours, theirs = (
        NativeStore(redis_url, client_name="test", prefix=prefix) for prefix in ("a:", "b:")
    )
    queue = JobQueue(ours)
    try:
        async with ours.listen(ours.channel(PUBLISHED), ours.channel("queued")) as messages:
            await JobQueue(theirs).request("funding")
            await (await use_everything(theirs)).release()
            await queue.request("discovery")
            assert await anext(aiter(messages)) == b"discovery"
            await (await use_everything(ours)).release()
            heard = [await anext(aiter(messages)) for _ in range(2)]
            assert heard == [b"collect:4h", b"4h 5"]
    finally:
        await ours.aclose()
        await theirs.aclose()
