"""The commands, pauses and deadlines of a lease, as they are given to the store."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import pytest
import redis
from structlog.testing import capture_logs

from stores.hot import leases
from stores.hot.leases import (
    Lease,
    LeaseHolder,
    LeaseLost,
    current_holder,
    retry_under_lease,
    try_acquire,
)
from stores.hot.store import StoreRefused, StoreUnavailable
from tests.fixtures.canned_store import CannedStore, held_lease, lua_of

TTL_S: Final = 15.0


class Clock:
    """A clock that goes only when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Sleeps:
    """In place of asyncio.sleep: each pause is noted and takes its time on the clock, at once; the
    one after the last allowed never ends."""

    def __init__(self, clock: Clock) -> None:
        self.pauses: list[float] = []
        self.allowed = 0
        self.over = asyncio.Event()
        self._clock = clock

    async def __call__(self, pause_s: float) -> None:
        if len(self.pauses) >= self.allowed:
            self.over.set()
            await asyncio.Event().wait()
        self.pauses.append(pause_s)
        self._clock.now += pause_s
        await really(0)


really = asyncio.sleep


async def steps(count: int) -> None:
    """Lets the other tasks run."""
    for _ in range(count):
        await really(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> CannedStore:
    return CannedStore()


@pytest.fixture
def sleeps(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Sleeps:
    found = Sleeps(clock)
    monkeypatch.setattr("stores.hot.leases.asyncio.sleep", found)
    return found


@pytest.fixture
async def taken(store: CannedStore, clock: Clock) -> AsyncIterator[Callable[[], Any]]:
    """Acquires a lease; released without a command at the end."""
    held: list[Lease] = []

    async def take(ttl_s: float = TTL_S) -> Lease:
        store.replies.insert(0, [1, b"", 7])
        lease = await try_acquire(store, "worker", holder="host 1", ttl_s=ttl_s, clock=clock)
        assert lease is not None
        held.append(lease)
        return lease

    yield take
    for lease in held:
        store.replies = [1]
        await lease.release()


async def test_acquiring(store: CannedStore) -> None:
    store.replies = [[1, b"", 7], 1]
    lease = await try_acquire(store, "worker", holder="host\n 1\tpid 2 " + "x" * 300, ttl_s=1.5)
    assert lease is not None
    (sent,) = store.sent
    assert sent[2:5] == (2, "lock:worker", "lock:worker:token")
    words, ttl_ms, longest_ms = sent[5:]
    assert (ttl_ms, longest_ms) == (1_500, 300_000)
    holder = ("host 1 pid 2 " + "x" * 300)[:200]
    assert isinstance(words, str)
    nonce, _, rest = words.partition(" ")
    assert re.fullmatch("[0-9a-f]{12}", nonce) and rest == holder
    assert (lease.name, lease.key, lease.token) == ("worker", "lock:worker", 7)
    assert lease._renewal.get_name() == "lease worker"
    lease.raise_if_lost(b"ok")
    with pytest.raises(LeaseLost, match="another process holds the worker lease"):
        lease.raise_if_lost(b"lost")
    assert (lease.value, lease.holder) == (f"7 {words}", holder)
    await lease.release()
    assert store.sent[1][2:] == (1, "lock:worker", words)
    assert store.deadlines_s == [2.0, 1.0]
    assert store.names == ["acquire", "release"]
    await lease.release()
    assert len(store.sent) == 2 and not lease.held and not lease.lost.is_set()


@pytest.mark.parametrize(("last", "told"), [(0, []), (-1, ["lock_without_expiry"])])
async def test_a_lease_of_another(store: CannedStore, last: int, told: list[str]) -> None:
    store.replies = [[0, b"6 nonce theirs", last]]
    with capture_logs() as logs:
        assert await try_acquire(store, "worker", holder="us", ttl_s=5) is None
    assert [line["event"] for line in logs] == told


async def test_a_renewal_every_third(
    store: CannedStore, clock: Clock, sleeps: Sleeps, taken: Callable[[], Any]
) -> None:
    sleeps.allowed = 3
    store.replies = [1, 1, 1]
    lease = await taken()
    await sleeps.over.wait()
    assert sleeps.pauses == [5.0, 5.0, 5.0]
    assert [sent[2:] for sent in store.sent[1:]] == [(1, "lock:worker", lease.value, 15_000)] * 3
    assert store.deadlines_s[1:] == [2.0, 2.0, 2.0]
    assert store.names[1:] == ["renew", "renew", "renew"]
    clock.now = 1_015.0 + 14.9
    assert lease.held
    clock.now = 1_015.0 + 15.0  # its whole life after the last renewal was sent
    assert not lease.held and lease.lost.is_set()


async def test_without_an_answer_it_asks_again_until_its_life_is_over(
    store: CannedStore, sleeps: Sleeps, taken: Callable[[], Any]
) -> None:
    sleeps.allowed = 100
    store.replies = [StoreUnavailable("away")] * 100
    with capture_logs() as logs:
        lease = await taken()
        async with asyncio.timeout(20):
            await lease.lost.wait()
    growing = [0.125, 0.25, 0.5]
    assert sleeps.pauses[:5] == [5.0, *growing, 0.5]
    assert sum(sleeps.pauses) == 15.0 and sleeps.pauses[-1] == 0.125  # the rest of its life
    assert store.deadlines_s[1] == 2.0 and store.deadlines_s[-1] == pytest.approx(0.125)
    assert max(store.deadlines_s) == 2.0
    assert {line["event"] for line in logs} == {"lease_not_renewed", "lease_lost"}
    with pytest.raises(LeaseLost, match="the worker lease has expired or was lost"):
        lease.check()


async def test_after_an_answer_the_pauses_begin_anew(
    store: CannedStore, sleeps: Sleeps, taken: Callable[[], Any]
) -> None:
    sleeps.allowed = 6
    away = StoreUnavailable("away")
    store.replies = [away, away, 1, away, 1, 1]
    await taken()
    await sleeps.over.wait()
    assert sleeps.pauses == [5.0, 0.125, 0.25, 5.0, 0.125, 5.0]


async def test_a_short_life_is_asked_for_faster(
    store: CannedStore, sleeps: Sleeps, taken: Callable[[float], Any]
) -> None:
    sleeps.allowed = 4
    store.replies = [StoreUnavailable("away")] * 4
    await taken(3.0)
    await sleeps.over.wait()
    assert sleeps.pauses == pytest.approx([1.0, 0.075, 0.15, 0.3])
    assert store.deadlines_s[1:] == pytest.approx([2.0, 1.925, 1.775, 1.475])


@pytest.mark.parametrize(
    ("reply", "reason"),
    [(0, "another process holds it"), (RuntimeError("odd"), "its renewal failed")],
)
async def test_a_renewal_that_is_refused_ends_it(
    store: CannedStore, sleeps: Sleeps, taken: Callable[[], Any], reply: Any, reason: str
) -> None:
    sleeps.allowed = 5
    store.replies = [reply]
    with capture_logs() as logs:
        lease = await taken()
        async with asyncio.timeout(20):
            await lease.lost.wait()
    assert logs[-1] == {
        **{"event": "lease_lost", "log_level": "warning", "lease": "worker", "token": 7},
        "reason": reason,
    }
    assert sleeps.pauses == [5.0] and not lease.held
    await steps(5)
    assert len(store.sent) == 2


async def test_its_body_ends_at_once(
    store: CannedStore, clock: Clock, taken: Callable[[], Any]
) -> None:
    lease = await taken()
    with pytest.raises(LeaseLost, match="the worker lease was lost") as caught:
        async with lease as entered:
            assert entered is lease
            clock.now += TTL_S
            assert not lease.held
            store.replies = [1]
            async with asyncio.timeout(0.9):
                await asyncio.Event().wait()
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, BaseException)
    assert store.names[-1] == "release"


async def test_a_lease_that_is_over_is_not_entered(
    store: CannedStore, clock: Clock, taken: Callable[[], Any]
) -> None:
    lease = await taken()
    clock.now += TTL_S
    with pytest.raises(LeaseLost, match="has expired"):
        async with lease:
            raise AssertionError("the body ran")


async def test_a_release_that_fails_is_told_and_not_raised(store: CannedStore) -> None:
    lease = await held_lease(store)
    store.replies = [StoreUnavailable("away")]
    with capture_logs() as logs:
        await lease.release()
    (line,) = logs
    assert (line["event"], line["key"], line["error"]) == (
        "lease_not_released",
        "lock:worker",
        "away",
    )


@pytest.mark.parametrize(
    ("value", "holder"),
    [
        (None, None),
        (b"7 nonce host 1 pid 2", LeaseHolder("host 1 pid 2", 7, 900)),
        (b"1" * 15 + b" n h", LeaseHolder("h", 111_111_111_111_111, 900)),
        (b"1" * 16 + b" n h", LeaseHolder("h", 0, 900)),
        (b"9" * 5_000 + b" n h", LeaseHolder("h", 0, 900)),
        (b"x n h\xff", LeaseHolder("h\ufffd", 0, 900)),
        (b"", LeaseHolder("", 0, 900)),
    ],
)
async def test_the_holder(
    store: CannedStore, value: bytes | None, holder: LeaseHolder | None
) -> None:
    store.replies = [[value, 900]]
    assert await current_holder(store, "funding") == holder
    assert store.sent[0][2:] == (1, "lock:funding") and store.names == ["holder"]


@pytest.mark.parametrize(
    ("code", "tries"),
    [
        *((code, 1) for code in ("OOM", "NOPERM", "NOAUTH", "WRONGPASS", "WRONGTYPE")),
        ("ERR", 6),
    ],
)
async def test_refusals_end_a_write(
    sleeps: Sleeps, taken: Callable[[], Any], code: str, tries: int
) -> None:
    lease = await taken()
    await steps(3)
    sleeps.allowed = 100
    asked: list[int] = []

    async def write() -> None:
        asked.append(1)
        raise StoreRefused(code, code)

    with pytest.raises(StoreRefused, match=code):
        await retry_under_lease(lease, write)
    assert len(asked) == tries
    assert sleeps.pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6][: tries - 1])


async def test_a_store_that_is_away_or_busy_is_waited_for(
    sleeps: Sleeps, taken: Callable[[], Any]
) -> None:
    lease = await taken()
    await steps(3)
    sleeps.allowed = 100
    failures: list[Exception] = [
        *(StoreRefused("later", "LOADING") for _ in range(4)),
        *(StoreUnavailable("away") for _ in range(3)),
    ]

    async def write() -> str:
        if failures:
            raise failures.pop()
        return "written"

    assert await retry_under_lease(lease, write) == "written"
    assert sleeps.pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])


async def test_nothing_is_written_after_its_end(
    clock: Clock, sleeps: Sleeps, taken: Callable[[], Any]
) -> None:
    lease = await taken()
    await steps(3)
    sleeps.allowed = 100
    asked: list[float] = []

    async def write() -> None:
        asked.append(clock.now)
        raise StoreUnavailable("away")

    with pytest.raises(LeaseLost):
        await retry_under_lease(lease, write)
    assert max(asked) < 1_000.0 + TTL_S <= clock.now


def test_the_clock_counts_the_time_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 7, raising=False)
    monkeypatch.setattr(time, "clock_gettime", lambda clock: 40.0 + clock)
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    assert leases._boot_clock() == 47.0
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    assert leases._boot_clock() == 5.0


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


async def release(store: CannedStore) -> None:
    lease = await held_lease(store)
    await lease.release()


async def acquire(server: redis.Redis, before: str = "") -> Any:
    """The reply to the script, after others in the same instant of the store."""
    lua = await lua_of("acquire", lambda store: try_acquire(store, "a", holder="us", ttl_s=5))
    script = server.register_script(before + lua)
    return script(keys=["lock", "counter"], args=["nonce us", 5_000, 300_000])


@pytest.mark.parametrize(
    ("written", "last", "left_ms"),
    [
        ("'SET', KEYS[1], '6 n them', 'PX', 1", 0, 1),
        ("'SET', KEYS[1], '6 n them', 'PX', 300000", 0, 300_000),
        ("'SET', KEYS[1], '6 n them', 'PX', 300001", -1, 5_000),
        ("'SET', KEYS[1], '6 n them'", -1, 5_000),
    ],
)
async def test_a_held_lock_gets_an_expiry_if_it_has_none_that_is_near(
    server: redis.Redis, written: str, last: int, left_ms: int
) -> None:
    reply = await acquire(server, f"redis.call({written})\n")
    assert reply == [0, b"6 n them", last]
    # The first case may have expired meanwhile.
    assert left_ms - 1_000 < server.pttl("lock") <= left_ms


@pytest.mark.parametrize(
    ("counter", "token"),
    [
        *((None, 1), ("0", 1), ("1", 2), ("98", 99), ("-1", 1), ("-2", 1), ("abc", 1)),
        *(("99999999999998", 99_999_999_999_999), ("99999999999999", 1)),
        ("9223372036854775807", 1),
    ],
)
async def test_the_token_is_counted(server: redis.Redis, counter: str | None, token: int) -> None:
    if counter is not None:
        server.set("counter", counter)
    assert await acquire(server) == [1, b"%d nonce us" % token, token]
    assert server.get("counter") == b"%d" % token
    assert server.get("lock") == b"%d nonce us" % token
    assert 4_000 < server.pttl("lock") <= 5_000


@pytest.mark.parametrize(
    ("value", "released"),
    [
        (b"7 nonce us", 1),
        (b"8 nonce us", 1),  # whatever its token
        (b"7 nonce them", 0),
        (b"x nonce us", 0),
        (b" nonce us", 0),
        (None, 0),
    ],
)
async def test_a_lock_is_released_by_its_nonce(
    server: redis.Redis, value: bytes | None, released: int
) -> None:
    if value is None:
        server.rpush("lock", "a")
    else:
        server.set("lock", value)
    script = server.register_script(await lua_of("release", release))
    assert script(keys=["lock"], args=["nonce us"]) == released
    assert server.exists("lock") == 1 - released
    assert script(keys=["absent"], args=["nonce us"]) == 0


async def test_a_lock_is_renewed_by_its_value(server: redis.Redis) -> None:
    script = server.register_script(await lua_of("renew", release))
    server.set("lock", "7 nonce us", px=1_000)
    assert script(keys=["lock"], args=["7 nonce them", 9_000]) == 0
    assert 0 < server.pttl("lock") <= 1_000
    assert script(keys=["lock"], args=["7 nonce us", 9_000]) == 1
    assert 8_000 < server.pttl("lock") <= 9_000


async def test_a_lock_is_read(server: redis.Redis) -> None:
    lua = await lua_of("holder", lambda store: current_holder(store, "a"))
    script = server.register_script(lua)
    assert script(keys=["lock"], args=[]) == [None, -2]
    server.set("lock", "x")
    assert script(keys=["lock"], args=[]) == [b"x", -1]
    server.delete("lock")
    server.rpush("lock", "a")
    assert script(keys=["lock"], args=[]) == [None, -1]
