"""What a server is and allows, found on real servers: rights, clusters, replicas, eviction."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis

from api.documents.publish_watcher import PublishWatcher
from budgets.shared_budgets import SharedBudgets
from cache_manager import CacheManager
from job_queue.queue import JobQueue
from jobs.known_markets import KNOWN_MARKETS
from market.markets import Exchange
from stores.hot import inspection
from stores.hot.beats import beat, store_health, workers_alive
from stores.hot.inspection import RIGHTS, Inspection, inspect
from stores.hot.leases import try_acquire
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore, StoreRefused, StoreUnavailable
from tests.fixtures.cache import document, known, save
from tests.fixtures.signals import until_now
from tests.fixtures.upstash import OwnValkey
from timing.clock import SystemClock
from venues.venue import Limit

MakeValkey = Callable[..., OwnValkey]
OpenAs = Callable[..., NativeStore]


@pytest.fixture
async def open_as() -> AsyncIterator[OpenAs]:
    """Opens a client of a server, as a user with these rights and with that prefix."""
    async with AsyncExitStack() as opened:

        def client(server: OwnValkey, *rights: str, prefix: str = "perp:") -> NativeStore:
            url = server.url
            if rights:
                with redis.Redis.from_url(url) as owner:
                    owner.execute_command("ACL", "SETUSER", "perp", "on", ">secret", *rights)
                url = url.replace("unix://", "unix://perp:secret@")
            store = NativeStore(url, client_name="perpcache-test", prefix=prefix)
            opened.push_async_callback(store.aclose)
            return store

        yield client


async def refusal(store: HotStore) -> str:
    found = await inspect(store)
    assert found.refusal is not None
    return found.refusal


async def warnings(store: HotStore) -> dict[str, dict[str, str]]:
    found = await inspect(store)
    assert found.refusal is None
    return dict(found.warnings)


async def use(store: NativeStore) -> None:
    """Everything that processes do with the store."""
    await beat(store, "host:1", "note")
    assert (await store_health(store)).worker_alive
    assert list(await workers_alive(store)) == ["host:1"]
    lease = await try_acquire(store, "worker", holder="host:1", ttl_s=30)
    assert lease is not None
    queue = JobQueue(store)
    await queue.request("collect:4h")
    job = await queue.take(lease)
    assert job is not None
    await queue.hand_back(job, lease)
    job = await queue.take(lease)
    assert job is not None
    await queue.progress(job, lease, phase="fetch", done=1, total=2)
    cache = CacheManager(store, piece_bytes=4_000)
    await save(cache, lease, 10)
    await queue.finish(job, lease, state="complete", as_of_ms=5, result={}, error=None)
    assert [job.state for job in await queue.list()] == ["complete"]
    stored = await cache.read("4h")
    assert stored is not None and stored.inflate() == document(10)
    budgets = SharedBudgets(store, "default", SystemClock())
    assert (await budgets.take(Exchange.BINANCE, "weight", Limit(10, 60), 10, 1, 4)).valid_s > 0
    await budgets.pause(Exchange.BINANCE, 5, "too fast")
    await store.execute("MGET", KNOWN_MARKETS)
    await lease.release()


async def test_a_plain_server_is_used_without_a_word(store: HotStore) -> None:
    found = await inspect(store)
    assert found == Inspection()
    assert await store.execute("EXISTS", "probe:1", "probe:2") == 0


async def test_the_documented_rights_are_enough(own_valkey: MakeValkey, open_as: OpenAs) -> None:
    store = open_as(own_valkey(), "~perp:*", "&perp:*", *RIGHTS.split())
    assert await warnings(store) == {}
    await use(store)


async def test_connections_opened_at_once_all_go_without_a_name(
    own_valkey: MakeValkey, open_as: OpenAs
) -> None:
    store = open_as(own_valkey(), "~perp:*", "&perp:*", "+@all", "-client")
    first = asyncio.gather(*(store.execute("GET", f"key:{number}") for number in range(8)))
    assert await first == [None] * 8


@pytest.mark.parametrize(
    ("without", "named"),
    [
        (("-rename",), "RENAME"),
        (("-hset", "-incr"), "INCR, HSET"),
        (("-time",), "TIME"),
        (("-eval", "-evalsha"), "EVAL and EVALSHA"),
        (("-evalsha",), "EVAL and EVALSHA"),
        (("resetkeys", "~other:*"), "commands on keys perp:*"),
    ],
)
async def test_missing_rights_are_named_with_the_rule_that_gives_them(
    own_valkey: MakeValkey, open_as: OpenAs, without: tuple[str, ...], named: str
) -> None:
    store = open_as(own_valkey(), "~perp:*", "&perp:*", "+@all", *without)
    line = await refusal(store)
    assert f"may not run {named}: " in line
    assert f"ACL SETUSER NAME ~perp:* &perp:* {RIGHTS}" in line and "\n" not in line


async def test_channels_names_and_info_are_done_without(
    own_valkey: MakeValkey, open_as: OpenAs
) -> None:
    server = own_valkey()
    rights = ("-publish", "-subscribe", "-client", "-info", "-config", "-scan", "-script")
    store = open_as(server, "~perp:*", "resetchannels", "+@all", *rights)
    assert list(await warnings(store)) == ["store_without_publish", "store_without_info"]
    await use(store)
    with redis.Redis.from_url(server.url) as owner:
        users = [client for client in owner.client_list() if client["user"] == "perp"]
    assert users and all(client["name"] == "" for client in users)
    # A reader that waits is answered although no message ever reaches it.
    watcher = PublishWatcher(CacheManager(store), poll_s=0.05)
    lease = await try_acquire(store, "worker", holder="host:1", ttl_s=30)
    assert lease is not None
    try:
        assert await watcher.wait_newer("4h", known(10), timeout_s=0.2) is None
        await save(CacheManager(store), lease, 11)
        newer = await watcher.wait_newer("4h", known(10), timeout_s=5)
        assert newer is not None and newer.version == 11
        await save(CacheManager(store), lease, 12)
        newer = await watcher.wait_newer("4h", known(11), timeout_s=5)
        assert newer is not None and newer.version == 12
    finally:
        await watcher.aclose()
        await lease.release()


async def test_a_publisher_without_the_right_to_publish_is_seen_by_subscribed_readers(
    own_valkey: MakeValkey, open_as: OpenAs
) -> None:
    server = own_valkey()
    mute = open_as(server, "~perp:*", "&perp:*", "+@all", "-publish")
    reader = NativeStore(server.url, client_name="reader", prefix="perp:")
    watcher = PublishWatcher(CacheManager(reader), poll_s=0.05)
    lease = await try_acquire(mute, "worker", holder="host:1", ttl_s=30)
    assert lease is not None
    try:
        await save(CacheManager(mute), lease, 10)
        for version in (10, 11, 12):
            await save(CacheManager(mute), lease, version + 1)
            newer = await watcher.wait_newer("4h", known(version), timeout_s=5)
            assert newer is not None and newer.version == version + 1
    finally:
        await watcher.aclose()
        await lease.release()
        await reader.aclose()


async def test_only_this_users_name_is_left_out(own_valkey: MakeValkey, open_as: OpenAs) -> None:
    server = own_valkey()
    store = open_as(server, "~*", "+@all")
    await store.execute("INFO")
    with redis.Redis.from_url(server.url) as owner:
        names = {client["name"] for client in owner.client_list() if client["user"] == "perp"}
    assert names == {"perpcache-test"}


@pytest.mark.parametrize(
    ("maxmemory", "policy", "effect"),
    [
        ("100mb", "allkeys-lru", "documents may vanish"),
        ("100mb", "volatile-ttl", "leases may vanish"),
        ("0", "allkeys-lru", None),
        ("100mb", "noeviction", None),
    ],
)
async def test_an_evicting_policy_is_told(
    own_valkey: MakeValkey, open_as: OpenAs, maxmemory: str, policy: str, effect: str | None
) -> None:
    store = open_as(own_valkey("--maxmemory", maxmemory, "--maxmemory-policy", policy))
    told = await warnings(store)
    if effect is None:
        assert told == {}
    else:
        assert told["store_may_evict"]["policy"] == policy
        assert told["store_may_evict"]["effect"] == effect


async def test_a_replica_is_told(own_valkey: MakeValkey, open_as: OpenAs) -> None:
    server = own_valkey("--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "yes")
    assert list(await warnings(open_as(server))) == ["store_read_only"]


@pytest.mark.parametrize(
    ("version", "told"), [("6.0.16", True), ("5.0.7", True), ("6.2.0", False), ("10.0.1", False)]
)
async def test_an_old_server_is_told(
    store: HotStore, monkeypatch: pytest.MonkeyPatch, version: str, told: bool
) -> None:
    """No server that old can be had here: only its answer to INFO is given."""
    execute = store.execute

    async def as_old(*command: str | bytes | int, **options: float) -> object:
        if command[0] == "INFO":
            return f"# Server\r\nredis_version:{version}\r\nmaxmemory:0\r\n".encode()
        return await execute(*command, **options)

    monkeypatch.setattr(store, "execute", as_old)
    expected = {"store_too_old": {"version": version, "needed": "6.2"}} if told else {}
    assert await warnings(store) == expected


def cluster_of_one(own_valkey: MakeValkey, slots: str = "0 16383") -> OwnValkey:
    server = own_valkey("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
    with redis.Redis.from_url(server.url) as owner:
        owner.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots.split())
        until_now(lambda: owner.cluster("INFO")["cluster_state"] == "ok")
    return server


async def test_a_cluster_needs_a_prefix_with_a_tag(own_valkey: MakeValkey, open_as: OpenAs) -> None:
    server = cluster_of_one(own_valkey)
    for prefix in ("", "perp:"):
        line = await refusal(open_as(server, prefix=prefix))
        assert "cluster" in line and "REDIS_PREFIX" in line and "{perpcache}:" in line
    store = open_as(server, prefix="{perp}:")
    assert await warnings(store) == {}
    await use(store)
    async with store.listen(store.channel("published")) as messages:
        lease = await try_acquire(store, "worker", holder="host:1", ttl_s=30)
        assert lease is not None
        await save(CacheManager(store), lease, 11)
        assert await anext(aiter(messages)) == b"4h 11"
        await lease.release()


async def test_a_cluster_node_that_does_not_hold_the_prefix_is_refused(
    own_valkey: MakeValkey, open_as: OpenAs
) -> None:
    # By CRC16, {perp} is in slot 7365; without that slot the node does not serve it.
    server = cluster_of_one(own_valkey, "0 100")
    with pytest.raises(StoreUnavailable, match="CLUSTERDOWN"):
        await inspect(open_as(server, prefix="{perp}:"))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("MOVED 7365 10.0.0.5:6379", "name the node that does, 10.0.0.5:6379"),
        ("ERR unknown command 'EVAL', with args beginning with: ", "does not run scripts (EVAL)"),
        ("NOPERM this user has no permissions to run the 'select' command", "may not run SELECT: "),
    ],
)
async def test_what_else_a_server_may_answer(
    store: HotStore, monkeypatch: pytest.MonkeyPatch, answer: str, said: str
) -> None:
    """Answers of servers that cannot be had here."""

    async def refuse(*_: object, **__: object) -> None:
        raise StoreRefused(f"redis: {answer}", answer.partition(" ")[0])

    monkeypatch.setattr(store, "execute", refuse)
    assert said in await refusal(store)


def test_every_command_that_is_used_is_tried() -> None:
    root = Path(__file__).resolve().parents[3]
    rooms = ["stores/hot", "job_queue", "jobs", "budgets", "api", "metrics", "workers", "live"]
    rooms.append("providers")
    files = [file for room in rooms for file in (root / room).rglob("*.py")]
    files += [root / "cache_manager.py", root / "worker.py"]
    text = "\n".join(file.read_text() for file in files)
    in_scripts = set(re.findall(r"redis\.p?call\('([A-Z]+)'", text))
    plain = set(re.findall(r"\.execute\(\s*\"([A-Z]+)\"", text)) - {"INFO", "EVAL", "EVALSHA"}
    assert {"HINCRBY", "SREM", "SETRANGE"} <= in_scripts | plain
    tried = set(re.findall(r"^try\('([A-Z]+)'|then try\('([A-Z]+)'", inspection._TRY, re.MULTILINE))
    assert in_scripts | plain == {name for pair in tried for name in pair if name}
