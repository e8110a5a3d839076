"""The watcher over a real store and a real receiver: restarts, two hosts, an outage, storms."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from config import load_settings
from database import Database
from notify.destination import Destination
from notify.outbox import Outbox
from notify.rules import Rules
from notify.texts import Writer
from notify.watcher import LOOKS_EVERY_S, TRIES_EVERY_S, TTL_S, Watcher
from status.problem import Problem
from status.seen import read_of_seen, read_seen
from stores.hot.leases import current_holder, try_acquire
from stores.hot.opening import open_hot_store
from stores.hot.read import read
from stores.hot.store import HotStore
from tests.fixtures.clock import ManualClock
from tests.fixtures.signals import until
from tests.fixtures.upstash import OpenStore, OwnValkey, UpstashEndpoint
from tests.notify.problems import BANNED, STALE, STORE_AWAY, problem
from tests.notify.receiver import Receiver, receiving


@dataclass
class Hosts:
    """Watchers that see the same problems at the same time, and tell one receiver."""

    receiver: Receiver
    clock: ManualClock = field(default_factory=ManualClock)
    problems: list[Problem] = field(default_factory=list)
    stops: dict[str, asyncio.Event] = field(default_factory=dict)

    def watcher(
        self,
        store: HotStore,
        name: str = "host-1:1",
        *,
        rules: Rules | None = None,
        urls: Sequence[str] | None = None,
        **options: Any,
    ) -> Watcher:
        async def look() -> Sequence[Problem]:
            return list(self.problems)

        addresses = [self.receiver.url] if urls is None else urls
        outbox = Outbox([Destination(url, 1, pauses_s=()) for url in addresses])
        return Watcher(
            *(store, look, outbox),
            rules=rules or Rules(after_s=0),
            writer=Writer("live-1"),
            holder=name,
            clock=self.clock,
            **options,
        )

    async def look(self, watcher: Watcher, after_s: float = 5) -> bool:
        """A look after this time, and the end of what it sends."""
        self.clock.now += after_s
        watches = await watcher.step()
        await watcher.settled()
        return watches


@contextlib.asynccontextmanager
async def ended(*watchers: Watcher) -> AsyncIterator[None]:
    """Ends them as a process does that is stopped."""
    try:
        yield
    finally:
        for watcher in watchers:
            await stopped(watcher)


async def first_seen(store: HotStore) -> list[str]:
    """The ids of the record as the page reads them."""
    seen = await read(store, read_of_seen())
    return list(seen)


async def stopped(watcher: Watcher) -> None:
    stop = asyncio.Event()
    stop.set()
    await watcher.run(stop)


@pytest.fixture
async def hosts() -> AsyncIterator[Hosts]:
    async with receiving() as receiver:
        yield Hosts(receiver)


async def test_begun_again_and_ended_over_restarts(hosts: Hosts, open_store: OpenStore) -> None:
    hosts.problems = [BANNED]
    for _ in range(3):  # each time another process
        watcher = hosts.watcher(open_store())
        async with ended(watcher):
            assert await hosts.look(watcher)
            assert await hosts.look(watcher)
    assert hosts.receiver.titles == ["[critical] live-1: exchange banned: binance"]
    for _ in range(2):
        watcher = hosts.watcher(open_store())
        async with ended(watcher):
            await hosts.look(watcher, 3600)
    assert hosts.receiver.titles[1:] == ["[still critical] live-1: exchange banned: binance"]
    hosts.problems = []
    watcher = hosts.watcher(open_store())
    async with ended(watcher):
        await hosts.look(watcher)
    for _ in range(2):
        watcher = hosts.watcher(open_store())
        async with ended(watcher):
            await hosts.look(watcher, 60)
    assert hosts.receiver.titles[2:] == ["[over] live-1: exchange banned: binance"]
    assert await read_seen(open_store()) == {}


async def test_what_is_first_seen_is_told_to_the_page(hosts: Hosts, open_store: OpenStore) -> None:
    store = open_store()
    hosts.problems = [BANNED, STALE]
    watcher = hosts.watcher(store, urls=[])  # nobody is told
    async with ended(watcher):
        await hosts.look(watcher)
        first_ms = hosts.clock.wall_ms()
        await hosts.look(watcher, 60)
        seen = await read(store, read_of_seen())
        assert seen == dict.fromkeys((BANNED.id, STALE.id), first_ms)
        hosts.problems = [STALE]
        await hosts.look(watcher, 60)
        assert await first_seen(store) == [STALE.id]
    # Where NOTIFY_URLS is set later, what lasts is told.
    watcher = hosts.watcher(store)
    async with ended(watcher):
        await hosts.look(watcher)
    assert len(hosts.receiver.taken) == 1


async def test_of_two_hosts_one_tells(hosts: Hosts, open_store: OpenStore) -> None:
    hosts.problems = [BANNED]
    first, second = (hosts.watcher(open_store(), f"host-{number}:1") for number in (1, 2))
    async with ended(first, second):
        watching = [await hosts.look(each) for each in (first, second, first, second)]
        assert watching == [True, False, True, False]
        assert len(hosts.receiver.taken) == 1
        await stopped(first)
        hosts.problems = []
        assert await hosts.look(second)
        await hosts.look(second, 60)
        assert hosts.receiver.titles[1:] == ["[over] live-1: exchange banned: binance"]


async def test_two_hosts_at_once_tell_once(hosts: Hosts, open_store: OpenStore) -> None:
    hosts.problems = [BANNED]
    watchers = [hosts.watcher(open_store(), f"host-{number}:1") for number in range(4)]
    async with ended(*watchers):
        for _ in range(3):
            await asyncio.gather(*(hosts.look(each) for each in watchers))
    assert len(hosts.receiver.taken) == 1


async def test_what_nobody_took_is_told_later_with_what_came_since(
    hosts: Hosts, open_store: OpenStore
) -> None:
    hosts.receiver.status = 500
    hosts.problems = [BANNED]
    watcher = hosts.watcher(open_store(), rules=Rules(after_s=0, most=1))
    async with ended(watcher):
        await hosts.look(watcher)
        hosts.problems = [BANNED, STALE]
        hosts.receiver.status = 200
        await hosts.look(watcher, 1)
        assert hosts.receiver.taken == []  # not before the pause is over
        await hosts.look(watcher, 300)
    (body,) = hosts.receiver.taken
    assert body["title"] == "[critical] live-1: 2 problems"


async def test_a_hanging_receiver_holds_up_no_look(hosts: Hosts, open_store: OpenStore) -> None:
    store = open_store()
    hosts.receiver.hangs = True
    hosts.problems = [BANNED]
    watcher = hosts.watcher(store)
    async with ended(watcher):
        await watcher.step()
        await hosts.receiver.until(1, asked=True)
        hosts.problems = [BANNED, STALE]
        hosts.clock.now += 5
        await watcher.step()
        assert set(await read_seen(store)) == {BANNED.id, STALE.id}
        hosts.receiver.release()
        await watcher.settled()
        assert len(hosts.receiver.taken) == 2


async def test_a_storm_sends_no_more_messages_than_allowed(
    hosts: Hosts, open_store: OpenStore
) -> None:
    watcher = hosts.watcher(open_store(), rules=Rules(after_s=0, most=3))
    async with ended(watcher):
        for number in range(12):  # a minute
            hosts.problems.append(problem(subject=f"market-{number}"))
            await hosts.look(watcher)
        assert len(hosts.receiver.taken) == 3
        await hosts.look(watcher)
        assert len(hosts.receiver.taken) == 4
        assert hosts.receiver.titles[3] == "[critical] live-1: 9 problems"


async def test_the_last_holder_tells_that_the_store_is_away(
    hosts: Hosts, own_valkey: Callable[..., OwnValkey]
) -> None:
    server = own_valkey()
    settings = load_settings(redis_url=server.url)
    async with contextlib.AsyncExitStack() as opened:
        stores = [open_hot_store(settings, client_name="test") for _ in range(2)]
        for store in stores:
            opened.push_async_callback(store.aclose)
        first, second = (
            hosts.watcher(store, f"host-{number}:1", ttl_s=1.0)
            for number, store in enumerate(stores, start=1)
        )
        hosts.problems = [BANNED]
        async with ended(first, second):
            assert [await hosts.look(each) for each in (first, second)] == [True, False]
            server.kill()
            hosts.problems = [STORE_AWAY]
            for _ in range(3):
                await hosts.look(first)
                await hosts.look(second)
            assert hosts.receiver.titles[1:] == ["[critical] live-1: store away: hot store"]
            # What it told before is not over: nothing is known of it.
            server.start()
            hosts.problems = [BANNED]

            async def again() -> bool:
                return await hosts.look(first, 20) and len(hosts.receiver.taken) == 3

            await until(again)
            assert hosts.receiver.titles[2:] == ["[over] live-1: store away: hot store"]
            assert BANNED.id in await read_seen(stores[0])


async def test_another_host_takes_over_while_the_store_was_away_from_the_last(
    hosts: Hosts, own_valkey: Callable[..., OwnValkey]
) -> None:
    server = own_valkey()
    settings = load_settings(redis_url=server.url)
    async with contextlib.AsyncExitStack() as opened:
        stores = [open_hot_store(settings, client_name="test") for _ in range(2)]
        for store in stores:
            opened.push_async_callback(store.aclose)
        first, second = (
            hosts.watcher(store, f"host-{number}:1", ttl_s=1.0)
            for number, store in enumerate(stores, start=1)
        )

        async def lost() -> bool:
            return not first.holds_lease

        async with ended(first, second):
            await hosts.look(first)
            server.kill()
            hosts.problems = [STORE_AWAY]
            await hosts.look(first)
            server.start()
            hosts.problems = [BANNED]
            # As if the lease had expired meanwhile.
            lua = "return redis.call('DEL', KEYS[1])"
            await stores[1].execute("EVAL", lua, 1, "lock:notify")
            assert await hosts.look(second)
            lease = await current_holder(stores[1], "notify")
            assert lease is not None and lease.holder == "host-2:1"
            await until(lost)
            assert not await hosts.look(first)
            assert not await hosts.look(first)
    assert hosts.receiver.titles == [
        "[critical] live-1: store away: hot store",
        "[critical] live-1: exchange banned: binance",
        "[over] live-1: store away: hot store",
    ]


async def test_one_of_all_stands_in_for_a_holder_that_is_gone_with_the_store(
    hosts: Hosts, own_valkey: Callable[..., OwnValkey], database_url: str
) -> None:
    server = own_valkey()
    settings = load_settings(redis_url=server.url)
    async with contextlib.AsyncExitStack() as opened:
        watchers, locks = [], []
        for number in (1, 2, 3):
            store = open_hot_store(settings, client_name="test")
            opened.push_async_callback(store.aclose)
            database = Database(database_url)
            opened.push_async_callback(database.aclose)
            locks.append(database.session_lock("notify"))
            opened.push_async_callback(locks[-1].release)
            watchers.append(hosts.watcher(store, f"host-{number}:1", ttl_s=1.0, lock=locks[-1]))
        last, *others = watchers
        hosts.problems = [BANNED]

        async def lost() -> bool:
            return not last.holds_lease

        async def looks(who: Sequence[Watcher], seconds: int) -> None:
            for _ in range(0, seconds, 10):
                for each in who:
                    await hosts.look(each, 10 / len(who))

        async with ended(*watchers):
            await looks(watchers, 20)
            assert hosts.receiver.titles == ["[critical] live-1: exchange banned: binance"]
            server.kill()
            hosts.problems = [STORE_AWAY]
            await until(lost)
            # While the one lives that watched last, it alone tells, for however long.
            await looks(watchers, 120)
            assert hosts.receiver.titles[1:] == ["[critical] live-1: store away: hot store"]
            # It is gone, and with it its lock: another tells of the store, and of nothing else.
            await locks[0].release()
            hosts.problems = [STORE_AWAY, STALE]
            await looks(others, 120)
            assert hosts.receiver.titles[2:] == ["[critical] live-1: store away: hot store"]
            server.start()
            hosts.problems = [BANNED]

            async def over() -> bool:
                await looks(others, 20)
                return len(hosts.receiver.taken) >= 4

            await until(over)
            await looks(others, 120)
            assert hosts.receiver.titles[3:] == ["[over] live-1: store away: hot store"]


async def test_a_record_that_others_have_overwritten_is_replaced(
    hosts: Hosts, store: HotStore
) -> None:
    await store.execute("EVAL", "return redis.call('SET', KEYS[1], 'theirs')", 1, "problems")
    hosts.problems = [BANNED]
    watcher = hosts.watcher(store)
    async with ended(watcher):
        await hosts.look(watcher)
        assert await first_seen(store) == [BANNED.id]
        lua = "return redis.call('HSET', KEYS[1], 'damaged', 'theirs')"
        await store.execute("EVAL", lua, 1, "problems")
        assert await first_seen(store) == [BANNED.id]


async def test_what_it_costs_on_upstash(hosts: Hosts, upstash: UpstashEndpoint) -> None:
    """As docs/notifications.md says. What a look asks itself, here nothing, is two commands."""
    settings = load_settings(
        upstash_redis_rest_url=upstash.url, upstash_redis_rest_token=upstash.token
    )
    store = open_hot_store(settings, client_name="test")
    watcher = hosts.watcher(store)
    hosts.problems = [BANNED]
    async with ended(watcher):
        await hosts.look(watcher)
        upstash.fail("")
        for _ in range(10):
            hosts.problems = [problem(text=f"{hosts.clock.now} s more")]  # another text each time
            await hosts.look(watcher, LOOKS_EVERY_S["upstash"])
        assert upstash.commands() == {}
    await store.aclose()
    # The lease is renewed every third of its time; others try to take it.
    a_minute = 60 / (TTL_S["upstash"] / 3) + 2 * 60 / LOOKS_EVERY_S["upstash"]
    assert a_minute == pytest.approx(2.6) and TRIES_EVERY_S["upstash"] == 300


async def test_what_a_later_release_has_written_is_kept_for_it(
    hosts: Hosts, open_store: OpenStore
) -> None:
    store = open_store()
    later = b'{"first_ms":1795000000000,"kind":"moon_away","subject":"","begun_ms":1795000000000}'
    lua = "return redis.call('HSET', KEYS[1], 'moon_away:', ARGV[1], 'damaged', 'theirs')"
    await store.execute("EVAL", lua, 1, "problems", later)
    hosts.problems = [BANNED]
    watcher = hosts.watcher(store)
    async with ended(watcher):
        await hosts.look(watcher)
        assert set(await read_seen(store)) == {BANNED.id, "moon_away:"}
        hosts.problems = []
        await hosts.look(watcher)
        await hosts.look(watcher, 60)
    assert await read_seen(store) == {"moon_away:": later}
    assert [title.partition(":")[0] for title in hosts.receiver.titles] == [
        "[critical] live-1",
        "[over] live-1",
    ]


async def test_a_store_that_froze_is_watched_at_once_when_it_is_back(
    hosts: Hosts, own_valkey: Callable[..., OwnValkey]
) -> None:
    server = own_valkey()
    store = open_hot_store(load_settings(redis_url=server.url), client_name="test")
    hosts.problems = [BANNED]
    watcher = hosts.watcher(store, ttl_s=60.0)
    async with contextlib.aclosing(store), ended(watcher):
        other = await try_acquire(store, "other", holder="test", ttl_s=60)
        assert other is not None  # the store is connected to, and knows the script
        await other.release()
        server.pause()
        await hosts.look(watcher)  # the store reads this attempt when it is back
        assert not watcher.holds_lease
        server.resume()

        async def watches() -> bool:
            await hosts.look(watcher)
            return watcher.holds_lease

        await until(watches, 20)
    assert len(hosts.receiver.taken) == 1
