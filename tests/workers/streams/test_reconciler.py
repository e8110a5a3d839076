"""Reconciler: a worker runs where its row says, is connected anew, restarted, given up, stopped."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from database import Database
from metrics.workers import WorkersMetrics
from stores.cold.workers.notices import CHANNEL
from stores.hot.leases import lock_key
from stores.hot.opening import open_hot_store
from stores.hot.store import HotStore
from tests.fixtures.signals import until, until_true
from tests.fixtures.upstash import OwnValkey
from tests.workers.streams.hosting import QUICK, definition, hosting, publish_all, put_row
from tests.workers.streams.source import Source
from workers.changes import Changes
from workers.context import Context
from workers.definition import WrongWorkers
from workers.run_handle import RunLost
from workers.state import WorkerState, stream_lease, worker_states
from workers.streams.published import Published, read_published


async def published(store: HotStore, name: str, count: int) -> Published:
    async def look() -> Published | None:
        found = await read_published(store, name)
        return found if len(found.values) >= count else None

    return await until(look)


async def state_of(store: HotStore, name: str) -> WorkerState:
    return (await worker_states(store, [name]))[name]


async def until_left(store: HotStore, name: str) -> WorkerState:
    """Waits until no process holds the worker."""

    async def look() -> WorkerState | None:
        found = await state_of(store, name)
        return found if found.stream is None and found.state not in (None, "running") else None

    return await until(look)


async def test_publishes_what_comes_until_it_is_stopped_by_its_row(
    store: HotStore, database: Database, database_url: str, source: Source
) -> None:
    await put_row(database_url, "trades")
    trades = definition("trades", publish_all, f"{source.url}/trades", subscribe={"op": "all"})
    async with hosting(store, database, trades):
        assert await source.until_received(1) == ['{"op":"all"}']
        await source.tell("one")
        await source.tell(b"\x01\x02")
        found = await published(store, "trades", 2)
        assert [value.value for value in found.values] == ["one", [1, 2]]
        assert [value.number for value in found.values] == [1, 2]
        assert found.latest == found.values[-1]

        async def beats() -> WorkerState | None:
            found = await state_of(store, "trades")
            return found if found.stream and found.stream.messages == 2 else None

        state = await until(beats)
        assert state.stream is not None
        assert (state.state, state.host, state.stream.holder) == ("running", "a:1", "a:1")
        assert (state.stream.status, state.stream.published) == ("open", 2)
        await put_row(database_url, "trades", enabled=False, changed_at=2)
        left = await until_left(store, "trades")
        assert (left.state, left.last_error) == ("stopped", None)
        await put_row(database_url, "trades", enabled=True, changed_at=3)
        await source.until_open(2)
    assert (await state_of(store, "trades")).stream is None


async def test_is_connected_anew_after_a_cut_and_subscribes_again(
    store: HotStore, database: Database, database_url: str, source: Source
) -> None:
    await put_row(database_url, "trades")
    trades = definition("trades", publish_all, f"{source.url}/trades?key=1", subscribe=["a", "b"])
    async with hosting(store, database, trades):
        await source.until_received(2)
        await source.tell("before")
        await published(store, "trades", 1)
        await source.cut()
        assert await source.until_received(4) == ["a", "b", "a", "b"]
        await source.tell("after")
        found = await published(store, "trades", 2)
        assert [value.value for value in found.values] == ["before", "after"]
        assert source.opened == ["trades?key=1"] * 2


async def test_a_connection_without_messages_is_opened_anew(
    store: HotStore, database: Database, database_url: str, source: Source
) -> None:
    """Also where its server still answers pings."""
    await put_row(database_url, "trades")
    trades = definition(
        *("trades", publish_all, f"{source.url}/trades"),
        freshness_s=0.3,
        heartbeat_s=0.1,
        ping="hi",
    )
    async with hosting(store, database, trades):
        await source.until_open(3)

        async def told() -> WorkerState | None:
            found = await state_of(store, "trades")
            return found if found.stream and found.stream.error else None

        state = await until(told)
        assert state.stream is not None and state.stream.error == "no message for 0.3 s"


async def test_what_its_function_raises_restarts_it_and_too_much_of_it_ends_it(
    store: HotStore, database: Database, database_url: str
) -> None:
    calls: list[int] = []

    async def broken(feed: Context) -> None:
        calls.append(feed.attempt)
        raise ValueError("no such field: price")

    await put_row(database_url, "broken")
    async with hosting(store, database, definition("broken", broken, restarts=2)):
        left = await until_left(store, "broken")
        assert left.state == "failed"
        assert left.last_error == (
            "3 failures in a row, the last: ValueError: no such field: price"
        )
        assert calls == [1, 2, 3]
        # Nobody takes it, another process neither, until its row is changed.
        async with hosting(store, database, definition("broken", broken, restarts=2), host="b:2"):
            await put_row(database_url, "broken", changed_at=2)

            async def called_again() -> bool:
                return len(calls) == 6

            await until(called_again)
        assert calls == [1, 2, 3, 1, 2, 3]


async def test_a_function_that_is_called_again_publishes_on(
    store: HotStore, database: Database, database_url: str
) -> None:
    async def fails(feed: Context) -> None:
        await feed.publish(*(f"{feed.attempt}-{number}" for number in range(3)))
        if feed.attempt < 3:
            raise ValueError("no such field: price")
        await asyncio.Event().wait()

    await put_row(database_url, "fails")
    async with hosting(store, database, definition("fails", fails)):
        found = await published(store, "fails", 9)
    assert [value.value for value in found.values] == [
        f"{attempt}-{number}" for attempt in (1, 2, 3) for number in range(3)
    ]
    assert [value.number for value in found.values] == [*range(1, 10)]


async def test_a_function_that_would_end_the_event_loop_or_its_task_has_failed(
    store: HotStore, database: Database, database_url: str
) -> None:
    raised = [KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError(), BaseException("own")]
    left_to_raise = iter(raised)

    async def broken(feed: Context) -> None:
        raise next(left_to_raise)

    await put_row(database_url, "broken")
    async with hosting(store, database, definition("broken", broken, restarts=3)):
        left = await until_left(store, "broken")
    assert left.last_error == "4 failures in a row, the last: BaseException: own"


async def test_a_source_that_refuses_too_often_is_given_up(
    store: HotStore, database: Database, database_url: str, source: Source
) -> None:
    source.refuse = True
    await put_row(database_url, "trades")
    trades = definition("trades", publish_all, f"{source.url}/trades", restarts=3)
    async with hosting(store, database, trades):
        left = await until_left(store, "trades")
    assert left.last_error is not None
    assert left.last_error.startswith("4 failures in a row, the last: cannot open: ")
    assert "503" in left.last_error and "127.0.0.1" not in left.last_error
    assert source.refused == 4


async def test_a_host_of_another_egress_leaves_it_alone(
    store: HotStore, database: Database, database_url: str, source: Source
) -> None:
    await put_row(database_url, "near", egress="tokyo")
    await put_row(database_url, "far", egress="default")
    both = [
        definition("near", publish_all, f"{source.url}/near"),
        definition("far", publish_all, f"{source.url}/far"),
    ]
    async with hosting(store, database, *both) as host:
        await source.until_open()
        assert host.reconciler.held == ["far"]
        await put_row(database_url, "near", egress="default", changed_at=2)
        await source.until_open(2)
        assert source.opened == ["far", "near"]


async def test_the_function_is_cancelled_when_the_lease_is_lost_and_publishes_nothing(
    store: HotStore, database: Database, database_url: str, source: Source
) -> None:
    """Another process has the lease; the function swallows its cancellation and goes on."""
    refused: asyncio.Queue[str] = asyncio.Queue()

    async def stubborn(feed: Context) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await feed.publish("late")
            except RunLost as error:
                refused.put_nowait(str(error))

    await put_row(database_url, "trades")
    async with hosting(store, database, definition("trades", stubborn)):

        async def held() -> bool:
            return (await state_of(store, "trades")).state == "running"

        await until(held)
        await store.execute(
            "SET", lock_key(stream_lease("trades")), "99 nonce other:1", "PX", 60000
        )
        told = await asyncio.wait_for(refused.get(), 60)
        assert told.startswith("trades: nothing is published: ")
    assert (await read_published(store, "trades")).latest is None
    state = await state_of(store, "trades")
    assert state.stream is not None and state.stream.holder == "other:1"


async def test_plain_functions_and_classes_handle_messages_in_a_thread(
    store: HotStore, database: Database, database_url: str, source: Source
) -> None:
    told: list[str] = []

    def doubled(feed: Context, message: str) -> int | None:
        feed.send_blocking(f"got {message}")
        if message == "0":
            feed.publish_blocking("zero")
            return None
        return 2 * int(message)

    class Trades:
        feed: Context

        def on_open(self) -> None:
            self.feed.send_blocking("hello")

        async def on_message(self, message: str) -> str | None:
            return None if message == "0" else f"class {message}"

        def on_error(self, error: Exception) -> None:
            told.append(f"error {error}")

        def on_close(self, why: str) -> None:
            told.append(f"close {why}")

    await put_row(database_url, "plain")
    await put_row(database_url, "of_class")
    both = [
        definition("plain", doubled, f"{source.url}/plain"),
        definition("of_class", Trades, f"{source.url}/of_class"),
    ]
    async with hosting(store, database, *both):
        await source.until_open(2)
        assert await source.until_received(1) == ["hello"]
        await source.tell("0")
        await source.tell("21")
        plain = await published(store, "plain", 2)
        of_class = await published(store, "of_class", 1)
        assert [value.value for value in plain.values] == ["zero", 42]
        assert [value.value for value in of_class.values] == ["class 21"]
        await source.cut()
        await source.until_open(4)
    closed = "closed by the source (1012): restarting"
    assert told == [f"error {closed}", f"close {closed}", "close stopped"]


async def test_a_change_of_rows_is_heard_at_once(
    store: HotStore, database: Database, database_url: str, source: Source
) -> None:
    """Between reads a minute apart."""
    changes, stop = Changes(database), asyncio.Event()
    listening = asyncio.create_task(changes.run(stop))
    await put_row(database_url, "trades", enabled=False)
    trades = definition("trades", publish_all, f"{source.url}/trades")
    pace = replace(QUICK, wishes_s=60)
    async with hosting(store, database, trades, pace=pace, changes=changes):
        await until_true(lambda: changes.is_heard)
        await put_row(database_url, "trades", enabled=True, changed_at=2)
        await notified(database_url)
        await source.until_open()
        await put_row(database_url, "trades", enabled=False, changed_at=3)
        await notified(database_url)
        await until_left(store, "trades")
    stop.set()
    await listening


async def test_goes_on_and_is_taken_over_while_postgresql_is_away(
    store: HotStore, database: Database, database_url: str, source: Source
) -> None:
    await put_row(database_url, "trades")
    trades = definition("trades", publish_all, f"{source.url}/trades")
    async with hosting(store, database, trades, host="a:1") as one:
        await source.until_open()
        async with hosting(store, database, trades, host="b:2") as two:
            await until_true(lambda: two.reconciler.wanted == ["trades"])
            await take_away(database_url)
            await source.tell("still here")
            await published(store, "trades", 1)
            await one.end()
            await source.until_open(2)
            await source.tell("here, too")
            found = await published(store, "trades", 2)
            assert [value.value for value in found.values] == ["still here", "here, too"]
            assert two.reconciler.held == ["trades"]


async def test_a_store_that_is_away_ends_what_runs_and_it_begins_again(
    database: Database, database_url: str, source: Source, own_valkey: Callable[..., OwnValkey]
) -> None:
    """Nothing may be written under a lease that may have expired."""
    server = own_valkey()
    store = open_hot_store(server.url, client_name="test")
    await put_row(database_url, "trades")
    async with hosting(store, database, definition("trades", publish_all, f"{source.url}/t")):
        await source.until_open()
        server.pause()
        await until_true(lambda: not source.sockets)
        server.resume()
        await source.until_open(2)
        await source.tell("again")
        await published(store, "trades", 1)
    await store.aclose()


async def test_metrics_tell_what_is_held_and_what_it_does(
    store: HotStore, database: Database, database_url: str, source: Source
) -> None:
    registry = CollectorRegistry()

    def value(name: str) -> float | None:
        return registry.get_sample_value(f"perpcache_worker_stream_{name}", {"name": "trades"})

    await put_row(database_url, "trades")
    trades = definition("trades", publish_all, f"{source.url}/trades")
    async with hosting(store, database, trades, metrics=WorkersMetrics(registry)):
        await source.until_open()
        assert (value("held"), value("messages_total")) == (1, 0)
        await source.tell("one")
        await source.tell("two")
        await published(store, "trades", 2)
        await source.cut()
        await source.until_open(2)
        assert (value("messages_total"), value("published_total")) == (2, 2)
        assert value("restarts_total") == 1
        assert value("last_message_timestamp_seconds") == pytest.approx(time.time(), abs=60)
        await put_row(database_url, "trades", enabled=False, changed_at=2)
        await until_left(store, "trades")
    assert (value("held"), value("messages_total"), value("waiting")) == (0, 2, 0)


async def take_away(database_url: str) -> None:
    """Ends all connections to the database; it takes no more."""
    parts = urlsplit(database_url)
    server = await asyncpg.connect(urlunsplit(parts._replace(path="/postgres")), timeout=10)
    try:
        name = parts.path.strip("/")
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
    finally:
        await server.close()


async def notified(database_url: str) -> None:
    """As those who change rows do."""
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        await connection.execute("SELECT pg_notify($1, 'worker')", CHANNEL)
    finally:
        await connection.close()


async def test_a_function_that_is_stuck_shows_by_its_lag(
    store: HotStore, database: Database, database_url: str, source: Source
) -> None:
    may_go_on = asyncio.Event()

    async def stuck(feed: Context) -> None:
        async for _ in feed.messages():
            await may_go_on.wait()

    await put_row(database_url, "stuck")
    async with hosting(store, database, definition("stuck", stuck, f"{source.url}/stuck")):
        await source.until_open()
        for _ in range(4):
            await source.tell("message")

        async def beats() -> bool:
            stream = (await state_of(store, "stuck")).stream
            return stream is not None and stream.waiting == 3 and (stream.lag_s or 0) > 0.2

        await until(beats)
        may_go_on.set()


async def test_definitions_that_cannot_run_stop_the_start(
    store: HotStore, database: Database
) -> None:
    wrong = replace(definition("trades", publish_all), options={"freshness_s": -1})
    with pytest.raises(WrongWorkers) as stopped:
        async with hosting(store, database, wrong):
            pass
    assert stopped.value.lines == [
        "test.py:1: worker trades: freshness_s is -1: it is seconds, over 0 and at most 86400"
    ]
