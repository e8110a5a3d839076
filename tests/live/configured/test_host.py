"""The host of collectors: what is wanted happens at the exchange, and is told."""

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from database import Database
from live.configured.actual import lease_name
from live.configured.collector_file import CollectorFile, read_collector_file
from live.configured.desired import DesiredCollector, desired_of, with_symbol, without_symbol
from live.configured.hosted import Valve
from live.data_types import DataType, MarketDataPoint
from stores.cold.collectors import CollectorWish
from stores.hot.leases import current_holder, lock_key, try_acquire
from stores.hot.redis_client import NativeStore
from stores.hot.store import StoreUnavailable
from tests.fixtures.api import NO_DATABASE
from tests.fixtures.simulator import Simulator, StartSimulator
from tests.fixtures.upstash import OpenStore
from tests.live.configured.hosts import Hosting, Points, until_streams

Host = Callable[..., Hosting]
MAJORS = """
[[collector]]
name = "majors"
exchange = "binance"
symbols = ["BTC-USDT", "ETH-USDT"]
data_types = ["trade"]
outputs = ["redis"]
"""
OTHER = MAJORS.replace("majors", "other").replace("binance", "bybit")


class Breakable(NativeStore):
    """A store that can be away."""

    is_away = False

    async def execute(self, *command: Any, **options: Any) -> Any:
        if self.is_away:
            raise StoreUnavailable("redis: away")
        return await super().execute(*command, **options)


@pytest.fixture
def simulator(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=5, bybit=5, okx=2)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.open()
    yield database
    await database.aclose()


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Breakable]:
    store = Breakable(redis_url, client_name="test")
    yield store
    await store.aclose()


@pytest.fixture
async def host(
    simulator: Simulator, store: Breakable, database: Database, tmp_path: Path
) -> AsyncIterator[Host]:
    """Makes and starts hosts; ended after the test."""
    hosts: list[Hosting] = []

    def start(text: str = MAJORS, **given: Any) -> Hosting:
        file = given.pop("file", None) or file_of(tmp_path, text)
        parts = {"store": store, "database": database, **given}
        hosts.append(Hosting(simulator, file=file, **parts))
        hosts[-1].start()
        return hosts[-1]

    yield start
    for each in reversed(hosts):
        await each.ended()


def file_of(
    folder: Path, text: str, name: str = "f.toml", modified_s: float = 1e9
) -> CollectorFile:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    os.utime(path, (modified_s, modified_s))
    return read_collector_file(path)


async def ask(database: Database, name: str, **changed: Any) -> None:
    """Changes what is wanted, as an API process does."""

    def change(wish: CollectorWish) -> CollectorWish:
        return replace(wish, **{key: make(wish) for key, make in made.items()})

    made = {
        key: value if callable(value) else (lambda _, value=value: value)
        for key, value in changed.items()
    }
    await database.collectors.change(name, change)


async def change_symbols(database: Database, add: str = "", remove: str = "") -> None:
    found: DesiredCollector = desired_of(await database.collectors.read())["majors"]

    def change(wish: CollectorWish) -> CollectorWish:
        if add:
            wish = with_symbol(found.definition, wish, add, add.replace("-", ""))
        if remove:
            wish = without_symbol(found.definition, wish, remove.replace("-", ""))
        return wish

    await database.collectors.change("majors", change)


async def test_a_collector_of_the_file_runs_and_its_points_reach_the_output(
    host: Host, store: Breakable
) -> None:
    one = host()
    state = await one.until_status("majors", "running")
    assert (state.holder, state.error, state.restarts) == ("one", None, 0)
    point = await one.points.next()
    assert (point.exchange, point.data_type) == ("binance", "trade")
    assert point.symbol in ("BTC-USDT", "ETH-USDT")
    lease = await current_holder(store, lease_name("majors"))
    assert lease is not None and lease.holder == "one"
    assert state.collector is not None and state.health is not None
    assert state.collector["symbols"] == ["BTC-USDT", "ETH-USDT"]
    assert state.health["is_healthy"]
    await one.ended()
    assert await current_holder(store, lease_name("majors")) is None


async def test_what_is_asked_for_happens_at_the_exchange(
    host: Host, database: Database, simulator: Simulator
) -> None:
    one = host()
    # The market that shows that a connection lives is BTCUSDT, which the collector has, too.
    await until_streams(simulator, "binance", 2)
    await change_symbols(database, add="SOL-USDT")
    await until_streams(simulator, "binance", 3)
    await change_symbols(database, remove="ETH-USDT")
    await until_streams(simulator, "binance", 2)
    state = await one.until_state("majors", lambda state: state.collector is not None)
    assert state.collector is not None
    assert state.collector["symbols"] == ["BTC-USDT", "SOL-USDT"]
    assert state.collector["statistics"]["restarts"] == 0
    connected = simulator.stats()["streams"]["binance"]["connected"]

    await ask(database, "majors", restarts=lambda wish: wish.restarts + 1)
    state = await one.until_state("majors", lambda state: state.restarts == 1)
    await one.until_status("majors", "running")
    await until_streams(simulator, "binance", 2)
    assert simulator.stats()["streams"]["binance"]["connected"] == connected + 1

    await ask(database, "majors", running=False)
    await one.until_status("majors", "stopped")
    await until_streams(simulator, "binance", 0)
    await ask(database, "majors", running=True, enabled=False)
    await ask(database, "majors", enabled=True)
    await until_streams(simulator, "binance", 2)
    await one.until_status("majors", "running")


async def test_a_collector_that_cannot_be_made_harms_no_other(
    host: Host, database: Database, tmp_path: Path
) -> None:
    """As another release may have written it."""
    await database.collectors.take_file(
        "/other.toml",
        1,
        '[{"name":"odd","exchange":"binance","symbols":{"A-USDT":"AUSDT"},'
        '"data_types":["liquidation"],"outputs":["redis"]}]',
    )
    one = host()
    await one.until_status("majors", "running")
    state = await one.until_status("odd", "error")
    assert state.error is not None and "liquidation" in state.error
    assert state.collector is None


@pytest.mark.slow
async def test_a_takeover_over_each_kind_of_store(host: Host, open_store: OpenStore) -> None:
    one = host(store=open_store())
    state = await one.until_status("majors", "running")
    assert state.holder == "one"
    two = host(holder="two", store=open_store())
    await one.ended()
    await two.until_state("majors", lambda state: state.holder == "two")
    await two.points.next()
    await two.ended()


@pytest.mark.slow
async def test_a_lost_lease_ends_it_until_it_can_be_had_again(
    host: Host, store: Breakable, simulator: Simulator
) -> None:
    one = host(lease_s=3.0)
    await one.points.next()
    # Somebody else has it: as after a long freeze, or a network that was cut.
    await store.execute("UNLINK", lock_key(lease_name("majors")))
    theirs = await try_acquire(store, lease_name("majors"), holder="two", ttl_s=15)
    assert theirs is not None
    await until_streams(simulator, "binance", 0)
    await theirs.release()
    await one.points.next()


async def test_from_the_end_of_the_lease_on_nothing_is_handed_out(store: Breakable) -> None:
    """Also where nothing else of the process has noticed, as after a freeze."""
    now_s = 100.0
    lease = await try_acquire(store, "a", holder="one", ttl_s=15, clock=lambda: now_s)
    assert lease is not None
    points = Points()
    valve = Valve(lease, [points, points])
    point = MarketDataPoint("binance", "BTC-USDT", datetime.now(UTC), DataType.TRADE, {})
    await valve.take(point)
    assert points.taken == [point, point]
    now_s += 15
    await valve.take(point)
    now_s -= 15
    await valve.take(point)  # it stays lost
    assert len(points.taken) == 2
    await lease.release()


@pytest.mark.slow
async def test_collectors_go_on_while_the_database_is_away(
    host: Host, database: Database, store: Breakable, simulator: Simulator
) -> None:
    first = host()
    await first.until_status("majors", "running")
    await ask(database, "majors", added={"SOL-USDT": "SOLUSDT"})
    await until_streams(simulator, "binance", 3)
    await first.ended()

    # A process that starts meanwhile takes what the last one knew.
    away = Database(NO_DATABASE)
    second = host(database=away, holder="second")
    await until_streams(simulator, "binance", 3)
    await second.points.next()
    await second.ended()
    # Where nobody knew anything, what its own file says.
    await store.execute("UNLINK", "live:collectors")
    third = host(database=away, holder="third")
    await third.until_status("majors", "running")
    await until_streams(simulator, "binance", 2)
    await third.ended()
    await away.aclose()


async def test_the_newest_copy_of_a_file_counts_and_what_no_file_names_ends(
    host: Host, tmp_path: Path, simulator: Simulator, database: Database, store: Breakable
) -> None:
    old = host(file=file_of(tmp_path, MAJORS + OTHER, modified_s=1e9))
    await until_streams(simulator, "binance", 2)
    await until_streams(simulator, "bybit", 2)
    await ask(database, "other", added={"SOL-USDT": "SOLUSDT"})
    await until_streams(simulator, "bybit", 3)
    newer = MAJORS.replace('"BTC-USDT", ', "").replace("trade", "ticker")
    new = host(file=file_of(tmp_path, newer, modified_s=2e9), holder="new")
    # The old host runs them on, as the new file says.
    await until_streams(simulator, "bybit", 0)
    await old.until_state(
        "majors", lambda state: (state.collector or {}).get("data_types") == ["ticker"]
    )
    assert await current_holder(store, lease_name("other")) is None
    # A process with the old copy changes nothing.
    await new.ended()
    again = host(file=file_of(tmp_path, MAJORS + OTHER, modified_s=1e9), holder="again")
    await old.ended()
    state = await again.until_state("majors", lambda state: state.holder == "again")
    assert (state.collector or {})["symbols"] == ["ETH-USDT"]
    assert list(desired_of(await database.collectors.read())) == ["majors"]
    # What was asked for of `other` waits for the file that names it again.
    host(file=file_of(tmp_path, MAJORS + OTHER, modified_s=3e9), holder="back")
    await until_streams(simulator, "bybit", 3)


async def test_hosts_with_different_files_run_the_collectors_of_all(
    host: Host, tmp_path: Path, simulator: Simulator
) -> None:
    one = host(file=file_of(tmp_path, MAJORS, "one.toml"))
    await one.until_status("majors", "running")
    two = host(file=file_of(tmp_path, OTHER, "two.toml"), holder="two")
    await two.until_status("other", "running")
    await two.ended()  # without it, the other one runs what its file named
    await one.until_state("other", lambda state: state.holder == "one")
    await until_streams(simulator, "bybit", 2)
