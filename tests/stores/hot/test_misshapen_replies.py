"""Replies of other shapes, as a proxy before Upstash may send: every operation on the store goes on
or raises a StoreUnavailable that names what was asked and what came, and nothing else."""

import asyncio
import base64
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from budgets.shared_budgets import SharedBudgets
from cache_manager import CacheManager
from commands.errors import CannotStart
from commands.store_check import StoreCheck
from config import load_settings
from documents.stored_text import stored_hash
from job_queue.kinds import IDS_BY_LANE, JOB_IDS
from job_queue.queue import JobAborted, JobQueue
from job_queue.records import read_record
from jobs.known_markets import save_known_markets
from market.markets import Exchange
from stores.hot.beats import beat, store_health, workers_alive
from stores.hot.inspection import inspect
from stores.hot.leases import Lease, LeaseLost, current_holder, try_acquire
from stores.hot.owner import Installation, claim
from stores.hot.store import StoreUnavailable
from stores.hot.upstash_client import UpstashStore
from timing.clock import SystemClock
from venues.venue import Limit

RECORD: Final = ["state", "active", "run", "1", "seq", "1", "attempts", "1"]
STREAM: Final = zlib.compress(b"{}")
STORED: Final = base64.b64encode(STREAM).decode()
META: Final = json.dumps(
    {
        "version": 5,
        "content_hash": stored_hash(STREAM),
        "updated_at": 1,
        "as_of": 1,
        "stored_bytes": len(STORED),
        "json_bytes": 2,
        "stored_hash": stored_hash(STREAM),
    }
)
HELD: Final = [1, "7 nonce test", 7]


class Store:
    """An Upstash client, and a server that answers its commands with `answers` in turn, then 1."""

    client: UpstashStore
    lease: Lease

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.asked: list[list[Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        body = self.answers.pop(0) if self.answers else wire(1)
        return web.Response(body=body, content_type="application/json")


def wire(result: Any) -> bytes:
    return json.dumps({"result": result}).encode()


@asynccontextmanager
async def strange_store() -> AsyncIterator[Store]:
    store, app = Store(), web.Application()
    app.router.add_post("/", store.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    store.client = UpstashStore(f"http://127.0.0.1:{runner.addresses[0][1]}", "token")
    store.answers = [wire(HELD)]
    lease = await try_acquire(store.client, "worker", holder="test", ttl_s=300)
    assert lease is not None
    store.lease = lease
    try:
        yield store
    finally:
        await lease.release()
        await store.client.aclose()
        await runner.cleanup()


@contextmanager
def running() -> Iterator[tuple[asyncio.Runner, Store]]:
    with asyncio.Runner() as runner:
        entered = strange_store()
        yield runner, runner.run(entered.__aenter__())
        runner.run(entered.__aexit__(None, None, None))


async def acquire(store: Store) -> None:
    lease = await try_acquire(store.client, "funding", holder="test", ttl_s=300)
    if lease is not None:
        await lease.release()


async def take_room(store: Store) -> None:
    budgets = SharedBudgets(store.client, "egress", SystemClock())
    grant = await budgets.take(Exchange.BYBIT, "requests", Limit(600, 5.0), 600, 1, 4)
    assert 0 <= grant.room <= 4


async def save_markets(store: Store) -> None:
    await save_known_markets(
        store.client, store.lease, {"exchanges": [], "quote": "USDT", "markets_limit": 0}, []
    )


ACTIVE: Final = read_record("collect:4h", [word.encode() for word in RECORD])
# Each operation, with the right replies to its commands.
OPERATIONS: Final[dict[str, tuple[Callable[[Store], Awaitable[object]], list[Any]]]] = {
    "request": (lambda s: JobQueue(s.client).request("collect:4h"), [[1, RECORD]]),
    "has_work": (lambda s: JobQueue(s.client).has_work("worker"), [[0, -1, -1, -1, -1]]),
    "beat": (lambda s: JobQueue(s.client).beat("host:1", "note"), [[0, 50, -1, -1, -1]]),
    "take": (lambda s: JobQueue(s.client).take(s.lease), [["ok", 1, RECORD, -1]]),
    "progress": (
        lambda s: JobQueue(s.client).progress(ACTIVE, s.lease, phase="fetch", done=1, total=2),
        ["ok"],
    ),
    "hand_back": (lambda s: JobQueue(s.client).hand_back(ACTIVE, s.lease), ["ok"]),
    "abort": (lambda s: JobQueue(s.client).abort("collect:4h"), [RECORD]),
    "get": (lambda s: JobQueue(s.client).get("collect:4h"), [[RECORD]]),
    "list": (lambda s: JobQueue(s.client).list(), [[RECORD, *([[]] * (len(JOB_IDS) - 1))]]),
    "acquire": (acquire, [HELD, 1]),
    "holder": (lambda s: current_holder(s.client, "worker"), [["7 nonce test", 1_000]]),
    "plain beat": (lambda s: beat(s.client, "host:1"), [1]),
    "health": (
        lambda s: store_health(s.client, locks=["lock:a", "lock:b"], pauses=["pause:a"]),
        [[1, "", [["7 nonce test", 100, 1], ["", -2, 0]], [[5, "ban"]]]],
    ),
    "workers": (lambda s: workers_alive(s.client), [[["a", "note", "b", ""], ["c", "note"]]]),
    "claim": (
        lambda s: claim(s.client, Installation({"bybit": "https://x.test"})),
        [["", "", "", "MARKETS_LIMIT", "7"]],
    ),
    "inspect": (lambda s: inspect(s.client), [["GET", "ERR"], "redis_version:7.0.0"]),
    "check": (
        lambda s: StoreCheck(load_settings(), s.client, own=False).once(),
        [[], "redis_version:7.0.0", ["", "", ""]],
    ),
    "metas": (lambda s: CacheManager(s.client).read_metas(["4h", "1h"]), [[META, None]]),
    "states": (
        lambda s: CacheManager(s.client).read_states(["4h", "1h"]),
        [[[META, len(STORED)], ["", 0]]],
    ),
    "next_version": (lambda s: CacheManager(s.client).next_version("4h", 5), [[META]]),
    "read": (lambda s: CacheManager(s.client).read("4h"), [[META, None], STORED]),
    "room": (take_room, [[0, "", "7", 100, 4, 0]]),
    "save markets": (save_markets, ["ok"]),
}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "ok", "7", "lost", "state", "x" * 300, "é\x1b"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=6,
)
bodies = st.sampled_from(
    [
        *(b"", b"{}", b"[]", b"null", b"7", b'"ok"', b"<html>maintenance</html>", b"\xff\xfe"),
        *(b'{"result": [1', b'{"error": null}', b'{"error": {"a": 1}}', b'{"error": "ERR no"}'),
        *(b'{"result": "\\ud800"}', b'{"result": ' + b"[" * 700 + b"]" * 700 + b"}"),
        *(b'{"result": NaN}', b"[" * 100_000, b'{"result": 1e400}'),
    ]
)


@st.composite
def misshapen(draw: st.DrawFn, right: Any) -> bytes:
    """A body that is near to the right one, or any other."""
    if draw(st.integers(0, 4)) == 0:
        return draw(bodies)
    return wire(draw(changed(right)))


@st.composite
def changed(draw: st.DrawFn, right: Any) -> Any:
    """The value with one of its parts changed."""
    if isinstance(right, list) and right and draw(st.integers(0, 3)):
        place = draw(st.integers(0, len(right) - 1))
        match draw(st.sampled_from(["part", "without", "twice"])):
            case "part":
                return [*right[:place], draw(changed(right[place])), *right[place + 1 :]]
            case "without":
                return right[:place] + right[place + 1 :]
            case _:
                return [*right[:place], right[place], *right[place:]]
    as_text = str(right) if isinstance(right, int) else f"{right}x"
    return draw(json_values | st.just(as_text) | st.just([right]))


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_reply_is_more_than_an_unavailable_store(name: str) -> None:
    operation, right = OPERATIONS[name]

    with running() as (runner, store):

        @settings(max_examples=60, deadline=None)
        @given(st.data())
        def check(data: st.DataObject) -> None:
            place = data.draw(st.integers(0, len(right) - 1))
            strange = data.draw(misshapen(right[place]))
            store.answers = [*map(wire, right[:place]), strange, *map(wire, right[place + 1 :])]

            async def go() -> None:
                try:
                    await operation(store)
                except StoreUnavailable as error:
                    assert len(str(error)) < 400
                except (LeaseLost, JobAborted, CannotStart):
                    pass

            runner.run(go())

        check()
        store.answers = [*map(wire, right)]
        runner.run(_as_it_is(operation, store))


async def _as_it_is(operation: Callable[[Store], Awaitable[object]], store: Store) -> None:
    """With right replies the operation does not fail, and sends no more commands."""
    before = len(store.asked)
    expected = before + len(store.answers)
    await operation(store)
    assert len(store.asked) == expected


NUMBER: Final = "a whole number from"


@pytest.mark.parametrize(
    ("name", "came", "told"),
    [
        ("request", None, "script request: the reply is null, not a list of 2"),
        ("request", "<html>", "script request: the reply is a text of 6 bytes, not a list of 2"),
        (
            "request",
            ["1", RECORD],
            f"script request: element 1 of the reply is a text of 1 byte, not {NUMBER} 1 to "
            "9223372036854775807",
        ),
        (
            "request",
            [1, [*RECORD, 5.5]],
            "script request: element 2.9 of the reply is the number 5.5, not a text",
        ),
        (
            "request",
            [1, RECORD[1:]],
            "script request: element 2 of the reply is a list of 7, not a list of names, each with "
            "its text",
        ),
        ("has_work", [0], "script has_work: the reply is a list of 1, not a list of 5"),
        (
            "has_work",
            [0, 300_001, -1, -1, -1],
            f"script has_work: element 2 of the reply is the number 300001, not {NUMBER} -1 to "
            "300000",
        ),
        (
            "beat",
            [True, 0, -1, -1, -1],
            f"script beat: element 1 of the reply is true, not {NUMBER} -1 to 300000",
        ),
        (
            "take",
            ["ok", 99, RECORD, -1],
            "script take: element 2 of the reply is the number 99,"
            f" not {NUMBER} 0 to {len(IDS_BY_LANE['worker'])}",
        ),
        (
            "take",
            ["maybe", 0, [], -1],
            "script take: element 1 of the reply is a text of 5 bytes, not 'ok' or 'lost'",
        ),
        (
            "progress",
            {"ok": 1},
            "script progress: the reply is an object, not 'ok' or 'lost' or 'aborted'",
        ),
        ("hand_back", [], "script hand_back: the reply is a list of 0, not 'ok' or 'lost' or 'abo"),
        ("get", [], "script list: the reply is a list of 0, not a list of 1"),
        ("list", {}, f"script list: the reply is an object, not a list of {len(JOB_IDS)}"),
        ("abort", False, "script abort: the reply is false, not a list"),
        ("acquire", [1, "x", None], "script acquire: element 3 of the reply is null, not a whole"),
        ("holder", [7, 1], "script holder: element 1 of the reply is the number 7, not a text or"),
        (
            "workers",
            [[], ["a", None]],
            "script alive: element 2.2 of the reply is null, not a text",
        ),
        ("metas", [META], "MGET: the reply is a list of 1, not a list of 2"),
        ("metas", [META, 3], "MGET: element 2 of the reply is the number 3, not a text or null"),
        ("claim", ["", ""], "script claim: the reply is a list of 2, not three texts"),
        ("inspect", ["GET"], "script try: the reply is a list of 1, not a list of names, each"),
        ("check", None, "script try: the reply is null, not a list"),
    ],
)
def test_the_error_tells_what_was_asked_and_what_came(name: str, came: Any, told: str) -> None:
    operation, _ = OPERATIONS[name]

    with running() as (runner, store):
        store.answers = [wire(came)]
        with pytest.raises(StoreUnavailable) as caught:
            runner.run(_once(operation, store))
    assert str(caught.value).startswith(f"upstash: {told}")


async def _once(operation: Callable[[Store], Awaitable[object]], store: Store) -> None:
    await operation(store)


def test_a_page_and_lists_without_end_are_told_with_the_command() -> None:
    with running() as (runner, store):
        for body, told in (
            (b"{}", "GET: the answer is not what Upstash sends"),
            (b"<html>", "GET: the answer is not what Upstash sends: HTTP 200, application/json"),
            (
                b'{"result": ' + b"[" * 9 + b"]" * 9 + b"}",
                "GET: the answer has more than 8 lists in lists",
            ),
            (
                b'{"result": ' + b"[" * 8 + b"]" * 8 + b"}",
                "GET: the reply is a list of 1, not a text or null",
            ),
        ):
            store.answers = [body]
            with pytest.raises(StoreUnavailable) as caught:
                runner.run(store.client.execute("GET", "key"))
            assert str(caught.value) == f"upstash: {told}"


def test_an_end_that_was_not_confirmed_is_written_again() -> None:
    with running() as (runner, store):
        queue = JobQueue(store.client)
        store.answers = [wire(None), wire("ok")]
        before = len(store.asked)
        runner.run(
            queue.finish(ACTIVE, store.lease, state="failed", as_of_ms=None, result=None, error="x")
        )
        assert len(store.asked) == before + 2
