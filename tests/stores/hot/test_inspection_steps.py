"""What is made of a server's answers, by exact inputs."""

from typing import Any, Final

import pytest

from stores.hot.inspection import Inspection, inspect
from stores.hot.store import StoreRefused
from tests.fixtures.canned_store import CannedStore

RIGHTS: Final = "+@read +@write +@connection +@scripting +@pubsub +time +info"
GIVE: Final = f"give it the rights, such as ACL SETUSER NAME ~p:* &p:* {RIGHTS}"


def store_of(*replies: Any, kind: Any = "native") -> CannedStore:
    store = CannedStore(*replies, kind=kind)
    store.prefix = "p:"
    return store


def info(**fields: str) -> bytes:
    return b"# Server\r\n" + "\r\n".join(f"{k}:{v}" for k, v in fields.items()).encode()


async def test_two_commands_are_sent() -> None:
    store = store_of([], b"")
    assert await inspect(store) == Inspection()
    assert store.sent[0][2:] == (2, "probe:1", "probe:2", "p:probe")
    assert store.sent[1:] == [("INFO",)] and store.names == ["try"]
    store = store_of([], b"", kind="upstash")
    await inspect(store)
    assert store.sent[0][2:] == (2, "probe:1", "probe:2", "")  # REST has no channels


@pytest.mark.parametrize(
    ("flat", "refusal"),
    [
        ([b"HSET", b"NOPERM no", b"INCR", b"NOPERM no"], f"HSET, INCR: {GIVE}"),
        ([b"HSET", b"ERR x", b"INCR", b"no permissions\xff"], f"INCR: {GIVE}"),
        ([b"GET", b"The user executing the script can't"], f"GET: {GIVE}"),
        (
            [b"GET", b"NOPERM no", b"SET", b"NOPERM no permissions to access a key"],
            f"commands on keys p:*: {GIVE}",
        ),
        ([b"PUBLISH", b"NOPERM no", b"TIME", b"NOPERM no"], f"TIME: {GIVE}"),
    ],
)
async def test_missing_rights(flat: list[bytes], refusal: str) -> None:
    store = store_of(flat)
    found = await inspect(store)
    assert found == Inspection(f"its user may not run {refusal}")
    assert len(store.sent) == 1


@pytest.mark.parametrize(
    ("flat", "warnings"),
    [
        (
            [b"PUBLISH", b"NOPERM no channel access"],
            [("store_without_publish", "waiting readers of other hosts look by polling")],
        ),
        ([b"PUBLISH", b"ERR odd"], []),
        ([b"GET", b"ERR odd"], []),
        (
            [b"GET", b"ERR odd", b"SET", b"READONLY You can't"],
            [("store_read_only", "name the primary server, not a replica")],
        ),
    ],
)
async def test_what_goes_less_well(flat: list[bytes], warnings: list[tuple[str, str]]) -> None:
    found = await inspect(store_of(flat, b""))
    names = {"store_without_publish": "effect", "store_read_only": "advice"}
    assert found == Inspection(None, [(event, {names[event]: why}) for event, why in warnings])


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (info(redis_version="6.2.0"), []),
        (info(redis_version="6.2"), []),
        (info(redis_version="10.0"), []),
        (info(redis_version="x"), []),
        (info(redis_version="6.1.9"), [("store_too_old", {"version": "6.1.9", "needed": "6.2"})]),
        (info(redis_version="5.9"), [("store_too_old", {"version": "5.9", "needed": "6.2"})]),
        (
            info(maxmemory="7", maxmemory_policy="allkeys-lru"),
            [
                *[
                    (
                        "store_may_evict",
                        {
                            "policy": "allkeys-lru",
                            "effect": "documents may vanish",
                            "advice": "set noeviction",
                        },
                    )
                ]
            ],
        ),
        (
            info(maxmemory_policy="volatile-ttl") + b"\r\nodd\xff",
            [
                (
                    "store_may_evict",
                    {
                        "policy": "volatile-ttl",
                        "effect": "leases may vanish",
                        "advice": "set noeviction",
                    },
                )
            ],
        ),
        (info(maxmemory="0", maxmemory_policy="allkeys-lru"), []),
        (info(maxmemory="7", maxmemory_policy="noeviction"), []),
        (info(maxmemory="7"), []),
        (None, []),
        ([b"redis_version:5.0"], []),
        (StoreRefused("NOPERM no", "NOPERM"), []),
    ],
)
async def test_what_info_tells(text: Any, warnings: list[Any]) -> None:
    assert await inspect(store_of([], text)) == Inspection(None, warnings)


@pytest.mark.parametrize(
    ("code", "text", "refusal"),
    [
        (
            *("CROSSSLOT", "redis: CROSSSLOT Keys"),
            "this is a cluster, where all keys must be in one slot: set REDIS_PREFIX to one with a "
            "{tag}, such as {perpcache}:",
        ),
        (
            *("MOVED", "redis: MOVED 7365 10.0.0.5:6379"),
            "this node of the cluster does not hold the keys of REDIS_PREFIX p:: name the node "
            "that does, 10.0.0.5:6379",
        ),
        (
            *("NOPERM", "redis: NOPERM may not run the 'evalsha' command"),
            f"its user may not run EVAL and EVALSHA: {GIVE}",
        ),
        (
            *("NOPERM", "redis: NOPERM may not run the 'select|x' command"),
            f"its user may not run SELECT: {GIVE}",
        ),
        (*("NOPERM", "redis: NOPERM a key"), f"its user may not run commands on keys p:*: {GIVE}"),
        (
            *("ERR", "redis: ERR unknown command 'EVAL', with args"),
            "this server does not run scripts (EVAL), which Perpcache needs",
        ),
    ],
)
async def test_a_server_that_runs_no_script(code: str, text: str, refusal: str) -> None:
    assert await inspect(store_of(StoreRefused(text, code))) == Inspection(refusal)


async def test_another_refusal_may_pass() -> None:
    with pytest.raises(StoreRefused, match="LOADING"):
        await inspect(store_of(StoreRefused("redis: LOADING", "LOADING")))
