"""Values at our keys that others wrote: each part of the service replaces them in its next run."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from api.documents.document_cache import DocumentCache
from budgets.shared_budgets import SharedBudgets
from cache_manager import CacheManager, DamagedDocument, StaleVersion
from jobs.known_markets import Selection, load_known_markets, save_known_markets
from market.markets import Exchange, Market
from stores.hot.beats import beat, live_beat, processes_alive, store_health, workers_alive
from stores.hot.leases import Lease, LeaseLost, current_holder, try_acquire
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore
from tests.fixtures.cache import document, save
from tests.fixtures.signals import until
from timing.clock import SystemClock
from venues.venue import Limit

BINANCE: Final = Exchange.BINANCE
FOREIGN: Final = {
    "string": ("SET", "mine"),
    "list": ("RPUSH", "mine"),
    "set": ("SADD", "mine"),
    "sorted set": ("ZADD", 1, "mine"),
    "hash": ("HSET", "mine", "1"),
}
AS_OF: Final = 1_795_185_441_250


async def put(store: HotStore, key: str, kind: str) -> None:
    """Puts a value of another program at the key."""
    command, *value = FOREIGN[kind]
    await store.execute("DEL", key)
    await store.execute(command, key, *value)


@pytest.fixture(params=FOREIGN)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def publish_next(cache: CacheManager, lease: Lease) -> int:
    """Publishes as a collection does; returns the version."""
    version = await cache.next_version("4h", AS_OF)
    await cache.save_to_cache(
        "4h", document(7), version=version, as_of_ms=AS_OF, updated_at_ms=AS_OF, lease=lease
    )
    stored = await cache.read("4h")
    assert stored is not None and stored.meta.version == version
    assert stored.inflate() == document(7)
    return version


async def test_a_foreign_document_is_damage_until_the_next_publish(
    store: HotStore, cache: CacheManager, lease: Lease, kind: str
) -> None:
    await save(cache, lease, 10)
    await put(store, "cache:4h", kind)
    with pytest.raises(DamagedDocument, match="cache:4h"):
        await cache.read("4h")
    assert await publish_next(cache, lease) == AS_OF


async def test_foreign_metas_and_pieces_are_replaced(
    store: HotStore, cache: CacheManager, lease: Lease, kind: str
) -> None:
    await save(cache, lease, 10)
    await put(store, "cache:4h:meta", kind)
    await put(store, f"staging:4h:{lease.token}", kind)
    assert await cache.read_metas(["4h"]) == {"4h": None}
    assert await cache.read("4h") is None
    assert await publish_next(cache, lease) == AS_OF


@pytest.mark.parametrize(
    "version", ["10" + 30 * "0", "-5", '"abc"', "1.5", "100000000000000", "99999999999999", "9e30"]
)
async def test_an_impossible_version_is_replaced_by_the_next_publish(
    store: HotStore, cache: CacheManager, lease: Lease, version: str
) -> None:
    await save(cache, lease, 10)
    meta = await store.execute("GET", "cache:4h:meta")
    damaged = meta.replace(b'"version":10', b'"version":' + version.encode())
    assert damaged != meta
    await store.execute("SET", "cache:4h:meta", damaged)
    assert await publish_next(cache, lease) >= AS_OF
    assert await publish_next(cache, lease) > AS_OF


async def test_versions_far_ahead_are_still_followed_by_greater_ones(
    store: HotStore, cache: CacheManager, lease: Lease
) -> None:
    """Readers that have seen such a version must see the next one."""
    for text in ('{"version":90000000000000}', '{"version":90000000000000,"as_of":"x"}'):
        await store.execute("SET", "cache:4h:meta", text)
        assert await publish_next(cache, lease) == 90_000_000_000_001
    with pytest.raises(StaleVersion):
        await save(cache, lease, 90_000_000_000_000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("updated_at", time) for time in (-1, 10**15, 1.5, True)),
        *(("as_of", time) for time in (-1, 10**15)),
        *(("stored_bytes", size) for size in (-1, 2**40, "12", None)),
        *(("json_bytes", size) for size in (-1, 10**15)),
        *(("content_hash", text) for text in ("a\r\nb", "", 5)),
        *(("stored_hash", text) for text in ("a\r\nb", "", 5)),
        ("content_hash", "f" * 65),
        ("note", "x" * 10_000),
    ],
)
async def test_a_meta_with_an_impossible_field_counts_as_absent(
    store: HotStore, cache: CacheManager, lease: Lease, name: str, value: object
) -> None:
    await save(cache, lease, 10)
    meta = json.loads(await store.execute("GET", "cache:4h:meta"))
    await store.execute("SET", "cache:4h:meta", json.dumps(meta | {name: value}))
    assert await cache.read_meta("4h") is None
    await store.execute("SET", "cache:4h:meta", json.dumps(meta | {"later": "x"}))
    assert await cache.read_meta("4h") is not None  # a later release may add fields


async def test_a_foreign_lock_is_no_lease(store: HotStore, kind: str) -> None:
    await put(store, "lock:worker", kind)
    if kind != "string":
        assert await current_holder(store, "worker") is None
        lease = await try_acquire(store, "worker", holder="us", ttl_s=30)
    else:
        # It gets the expiry of a lease: a living holder would renew it.
        assert await try_acquire(store, "worker", holder="us", ttl_s=1) is None
        assert 0 < await store.execute("PTTL", "lock:worker") <= 1_000
        lease = await until(lambda: try_acquire(store, "worker", holder="us", ttl_s=30))
    assert lease is not None and lease.held
    await lease.release()


async def test_a_lock_that_lives_too_long_gets_the_expiry_of_a_lease(store: HotStore) -> None:
    await store.execute("SET", "lock:worker", "1 abc theirs", "PX", 300_000)
    assert await try_acquire(store, "worker", holder="us", ttl_s=5) is None
    assert await store.execute("PTTL", "lock:worker") > 200_000
    await store.execute("PEXPIRE", "lock:worker", 310_000)
    assert await try_acquire(store, "worker", holder="us", ttl_s=5) is None
    assert await store.execute("PTTL", "lock:worker") <= 5_000


async def test_a_living_holder_keeps_a_lock_whose_expiry_was_removed(store: HotStore) -> None:
    lease = await try_acquire(store, "worker", holder="us", ttl_s=1)
    assert lease is not None
    await store.execute("PERSIST", "lock:worker")
    for _ in range(3):
        assert await try_acquire(store, "worker", holder="others", ttl_s=5) is None

    async def is_renewed() -> bool:
        return bool(0 < await store.execute("PTTL", "lock:worker") <= 1_000)

    await until(is_renewed)
    lease.check()
    await lease.release()


async def test_a_lock_that_others_overwrite_is_lost(store: HotStore, kind: str) -> None:
    lease = await try_acquire(store, "worker", holder="us", ttl_s=30)
    assert lease is not None
    cache = CacheManager(store)
    await put(store, "lock:worker", kind)
    with pytest.raises(LeaseLost):
        await save(cache, lease, 10)
    with pytest.raises(LeaseLost):
        await save_known_markets(store, lease, SELECTION, MARKETS)
    await lease.release()
    assert await store.execute("EXISTS", "lock:worker") == 1  # it is not ours to remove


@pytest.mark.parametrize("value", ["abc", "1.5", "9223372036854775807", str(10**14), "-7", None])
async def test_a_fence_that_cannot_be_counted_up_starts_again(
    store: HotStore, value: str | None
) -> None:
    if value is None:
        await put(store, "lock:worker:token", "list")
    else:
        await store.execute("SET", "lock:worker:token", value)
    for token in (1, 2):
        lease = await try_acquire(store, "worker", holder="us", ttl_s=30)
        assert lease is not None and lease.token == token
        await save(CacheManager(store), lease, 10 + token)
        await lease.release()
        assert await current_holder(store, "worker") is None


async def test_foreign_heartbeats_are_replaced(store: HotStore, kind: str) -> None:
    of_live = ("processes:live", "processes:live:any", "processes:live:host:1")
    for key in ("workers", "workers:any", "workers:none", "workers:host:1", *of_live):
        await put(store, key, kind)
    health = await store_health(store)
    assert not health.worker_alive and health.refusal is None and health.can_beat is True
    assert await processes_alive(store) == ({}, {})
    await beat(store, "host:1", "note")
    await live_beat(store, "host:1", "another")
    assert (await store_health(store)).worker_alive
    assert (await workers_alive(store))["host:1"] == b"note"
    assert (await processes_alive(store))[1]["host:1"] == b"another"


MARKETS: Final = [Market(BINANCE, "BTCUSDT", "BTC", "USDT", 5)]
SELECTION: Final[Selection] = {"exchanges": [BINANCE], "quote": "USDT", "markets_limit": 0}


async def test_foreign_known_markets_are_none_and_replaced(
    store: HotStore, lease: Lease, kind: str
) -> None:
    await put(store, "known:markets", kind)
    assert await load_known_markets(store, lease, SELECTION) == []
    await save_known_markets(store, lease, SELECTION, MARKETS)
    assert await load_known_markets(store, lease, SELECTION) == MARKETS


@pytest.mark.parametrize(
    "rows",
    [
        *([5], [[]], [None], "x", 7, None),
        [["binance", 5, "BTC", "USDT", 0]],
        [["binance", "BTCUSDT", None, "USDT", 0]],
        [["binance", "BTCUSDT", "BTC", ["USDT"], 0]],
        [["binance", "BTCUSDT", "BTC", "USDT", "x"]],
        [["elsewhere", "BTCUSDT", "BTC", "USDT", 0]],
    ],
)
async def test_known_markets_that_cannot_be_read_are_none(
    store: HotStore, lease: Lease, rows: object
) -> None:
    key = [["binance"], "USDT", 0]
    await store.execute("SET", "known:markets", json.dumps({"selection": key, "markets": rows}))
    assert await load_known_markets(store, lease, SELECTION) == []


async def test_foreign_budgets_are_replaced(store: HotStore, kind: str) -> None:
    budgets = SharedBudgets(store, "default", SystemClock())
    await put(store, "budget:default:binance:weight", kind)
    await put(store, "pause:default:binance", kind)
    if kind != "string":  # a string is how a pause is stored; its text is the cause
        await store.execute("PEXPIRE", "pause:default:binance", 100_000)
    limit = Limit(100, 60)
    for left in (60, 20):
        grant = await budgets.take(BINANCE, "weight", limit, 100, 1, 40)
        assert (grant.room, grant.paused_s) == (40, 0), left
    assert (await budgets.take(BINANCE, "weight", limit, 100, 1, 40)).room == 20
    await budgets.pause(BINANCE, 50, "too fast")
    assert (await budgets.take(BINANCE, "weight", limit, 100, 1, 40)).cause == "too fast"


@pytest.mark.parametrize(
    ("slot", "room"),
    [("abc", "5"), ("nan", "5"), ("99999999999", "90"), ("{now}", "x"), ("{now}", "0x10")],
)
async def test_slots_that_cannot_be_are_removed(store: HotStore, slot: str, room: str) -> None:
    budgets = SharedBudgets(store, "default", SystemClock())
    seconds, _ = await store.execute("TIME")
    slot = slot.format(now=int(seconds) // 3)  # a slot is a 20th of a minute
    await store.execute("HSET", "budget:default:binance:weight", slot, room)
    granted = await budgets.take(BINANCE, "weight", Limit(100, 60), 100, 1, 100)
    assert granted.room == 100


async def test_foreign_messages_about_pauses_are_left_out(redis_url: str) -> None:
    store = NativeStore(redis_url, client_name="test")
    budgets = SharedBudgets(store, "default", SystemClock())
    heard: list[Any] = []
    budgets.listen(lambda *pause: heard.append(pause))

    async def is_listening() -> bool:
        return bool(await store.execute("PUBLISH", "paused:default", "hello"))

    try:
        await until(is_listening)
        for message in (b"", b"\xff\xfe", b"binance x y", b"elsewhere 5 y", b"bybit 1500 too fast"):
            await store.execute("PUBLISH", "paused:default", message)

        async def has_heard() -> bool:
            return bool(heard)

        await until(has_heard)
        assert heard == [(Exchange.BYBIT, 1.5, "too fast")]
    finally:
        await budgets.aclose()
        await store.aclose()


async def test_no_piece_is_staged_without_the_lease(
    store: HotStore, cache: CacheManager, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that lost its counter gives the token, and with it the staging key, to another."""
    await store.execute("DEL", "lock:worker", "lock:worker:token")
    other = await try_acquire(store, "worker", holder="another", ttl_s=30)
    assert other is not None and other.token == lease.token
    key = f"staging:4h:{lease.token}"
    await store.execute("SET", key, "pieces of the other", "PX", 60_000)
    execute, scripts = store.execute, []

    async def watched(*command: Any, **options: Any) -> Any:
        reply = await execute(*command, **options)
        if command[0] in ("EVAL", "EVALSHA"):
            scripts.append((reply, await execute("GET", key)))
        return reply

    monkeypatch.setattr(store, "execute", watched)
    with pytest.raises(LeaseLost):
        await save(cache, lease, 10)
    assert scripts == [(b"lost", b"pieces of the other")]
    monkeypatch.undo()
    await other.release()


async def test_an_api_that_holds_a_version_takes_no_older_one(
    store: HotStore, cache: CacheManager, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is restored from an older copy between the check and the read."""
    older = {}
    await save(cache, lease, 10)
    for name in ("cache:4h", "cache:4h:meta"):
        older[name] = await store.execute("GET", name)
    await save(cache, lease, 11)
    documents = DocumentCache(cache)
    held = await documents.current("4h")
    assert held is not None and held.meta.version == 11
    await save(cache, lease, 12)
    execute = store.execute
    restored: list[Callable[[], None]] = []

    async def restore_after_check(*command: Any, **options: Any) -> Any:
        reply = await execute(*command, **options)
        if command[0] == "MGET" and not restored:
            restored.append(lambda: None)
            for name, value in older.items():
                await execute("SET", name, value)
        return reply

    monkeypatch.setattr(store, "execute", restore_after_check)
    served = await documents.current("4h")
    assert restored and served is not None and served.meta.version == 11
    assert served.stored.inflate() == document(11)
    monkeypatch.undo()
    await documents.aclose()
