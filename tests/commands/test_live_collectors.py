"""Collectors of a file in processes of their own: data, control from another process, takeovers."""

import argparse
import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
import redis.asyncio

from commands import live, serve
from config import SettingsError, load_settings
from live.configured.actual import CollectorState, collector_states, lease_name
from stores.hot.leases import current_holder
from stores.hot.redis_client import NativeStore
from tests.fixtures.api import StartApi, ask
from tests.fixtures.postgres import OwnPostgres
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import Simulator, StartSimulator
from tests.live.configured.hosts import until_streams

EXAMPLE: Final = Path(__file__).resolve().parents[2] / "deploy" / "collectors.example.toml"
MAJORS: Final = """
[[collector]]
name = "majors"
exchange = "binance"
symbols = ["BTC-USDT", "ETH-USDT"]
data_types = ["trade"]
outputs = ["redis"]
"""
Settings = Callable[..., dict[str, str]]


@pytest.mark.parametrize("command", [live.run, serve.run])
async def test_a_mistake_in_the_file_ends_the_start(command: Any, tmp_path: Path) -> None:
    file = tmp_path / "collectors.toml"
    file.write_text(MAJORS.replace("BTC-USDT", "BTC//USDT").replace("trade", "trades"))
    settings = load_settings(data_dir=tmp_path, live="off", collectors=file)
    with pytest.raises(SettingsError) as caught:
        await command(settings, asyncio.Event(), argparse.Namespace(parent_fd=None))
    assert [line.partition(": not")[0] for line in caught.value.lines] == [
        f"COLLECTORS: {file}: collector majors: data_types: 'trades' is none of ticker, trade,"
        " orderbook, candle",
        f"COLLECTORS: {file}: collector majors: symbols",
    ]


@pytest.fixture
def simulator(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=4, bybit=4, okx=4)


@pytest.fixture
def settings(service_settings: ServiceSettings, simulator: Simulator, tmp_path: Path) -> Settings:
    """Settings of a process with the collector `majors`, which feeds no candles."""
    file = tmp_path / "collectors.toml"
    file.write_text(MAJORS)
    streams = simulator.base_url.replace("http", "ws")
    addresses = {f"{name}_WS_URL": streams for name in ("BINANCE", "BYBIT", "OKX")}
    addresses["OKX_BASE_URL"] = simulator.base_url

    def made(**given: str) -> dict[str, str]:
        return service_settings(simulator, LIVE="off", COLLECTORS=str(file), **addresses, **given)

    return made


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[NativeStore]:
    store = NativeStore(redis_url, client_name="test")
    yield store
    await store.aclose()


class Channels:
    """What is published on the channels of collectors, in order, with the time of its arrival."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        self._pubsub = client.pubsub()
        self.messages: list[tuple[float, Mapping[str, Any]]] = []
        self._more = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        await self._pubsub.psubscribe("live:*:trade:*")
        async for message in self._pubsub.listen():
            if message["type"] == "pmessage":
                async with self._more:
                    self.messages.append((time.monotonic(), json.loads(message["data"])))
                    self._more.notify_all()

    async def next_of(self, wanted: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        """The next message that is wanted, of those that come from now on."""
        seen = len(self.messages)
        async with asyncio.timeout(60), self._more:
            while True:
                for _, message in self.messages[seen:]:
                    if wanted(message):
                        return message
                assert not self._reading.done(), self._reading
                seen = len(self.messages)
                await self._more.wait()

    async def aclose(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]


@pytest.fixture
async def channels(redis_url: str) -> AsyncIterator[Channels]:
    client = redis.asyncio.Redis.from_url(redis_url, socket_timeout=None)
    channels = Channels(client)
    yield channels
    await channels.aclose()
    await client.aclose()


async def until_held(store: NativeStore, but: str = "") -> CollectorState:
    """The state of `majors`, once a process runs it; `but`: the holder before."""

    async def is_held() -> CollectorState | None:
        state = (await collector_states(store, ["majors"])).get("majors")
        if state is None or state.holder == but or state.status != "running":
            return None
        return state

    return await until(is_held)


def holder_of(service: Service, state: CollectorState) -> bool:
    return state.holder.endswith(f":{service.process.pid}")


async def test_the_example_runs_as_it_is_shipped(
    simulator: Simulator, settings: Settings, start_service: StartService, start_api: StartApi,
    redis_url: str, database_url: str, channels: Channels, store: NativeStore,
) -> None:  # fmt: skip
    """The file lies with `live` alone; another process answers over HTTP."""
    own = settings() | {"COLLECTORS": str(EXAMPLE)}
    process = await start_service("live", wait=False, **own)
    api = await start_api(redis_url=redis_url, dsn=database_url)
    message = await channels.next_of(lambda message: message["exchange"] == "binance")
    assert message["symbol"] in ("BTC-USDT", "ETH-USDT")
    assert message["exchange_symbol"] == message["symbol"].replace("-", "")
    assert set(message["data"]) >= {"price", "size", "side"}
    await until_streams(simulator, "bybit", 4)
    server = await asyncpg.connect(database_url)
    try:

        async def is_stored() -> bool:
            return bool(await server.fetchval("SELECT count(*) FROM live_trades"))

        await until(is_stored)
    finally:
        await server.close()

    asked = {
        "okx-books/enable": ("okx", 3),  # with the market that shows that the connection lives
        "majors/stop": ("binance", 0),
        "bybit-candles/symbols/SOL%2FUSDT:USDT": ("bybit", 6),
    }
    for path in asked:
        assert (await ask(api, "POST", f"/api/collectors/{path}"))[0] == 202
    for exchange, streams in asked.values():
        await until_streams(simulator, exchange, streams)

    async def told() -> Any:
        _, _, answer = await ask(api, "GET", "/api/collectors")
        found = {each["name"]: each["actual"]["status"] for each in answer["collectors"]}
        changed = found["okx-books"] == "running" and found["majors"] == "stopped"
        return found if changed else None

    assert await until(told) == {
        "bybit-candles": "running",
        "majors": "stopped",
        "okx-books": "running",
    }
    assert await process.stop(signal.SIGTERM) == 0
    assert await current_holder(store, lease_name("majors")) is None
    assert (await asyncio.to_thread(simulator.stats))["limits_broken"] == {}


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_another_process_takes_over_from_one_that_was_killed_or_stopped(
    settings: Settings, start_service: StartService, store: NativeStore, channels: Channels
) -> None:
    first = await start_service("live", wait=False, **settings())
    before = await until_held(store)
    second = await start_service("live", wait=False, **settings())
    await second.until_said("collectors_wanted")
    began = time.monotonic()
    first.process.kill()
    state = await until_held(store, but=before.holder)
    assert time.monotonic() - began < 30
    assert holder_of(second, state)
    await channels.next_of(lambda _: True)
    third = await start_service("live", wait=False, **settings())
    await third.until_said("collectors_wanted")
    began = time.monotonic()
    assert await second.stop(signal.SIGTERM) == 0
    await third.until_said("collector_hosted")
    taken_s = time.monotonic() - began
    assert taken_s < 10, taken_s  # 3 s where the machine is not busy
    await channels.next_of(lambda _: True)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_frozen_process_publishes_nothing_once_another_one_does(
    settings: Settings, start_service: StartService, store: NativeStore, channels: Channels
) -> None:
    frozen = await start_service("live", wait=False, **settings())
    before = await until_held(store)
    first = (await channels.next_of(lambda _: True))["publisher"]
    other = await start_service("live", wait=False, **settings())
    await other.until_said("collectors_wanted")
    frozen.process.send_signal(signal.SIGSTOP)
    frozen_ms = time.time() * 1000
    began = time.monotonic()
    state = await until_held(store, but=before.holder)
    assert time.monotonic() - began < 30
    assert holder_of(other, state)
    await channels.next_of(lambda message: message["publisher"] != first)
    thawed = time.monotonic()
    frozen.process.send_signal(signal.SIGCONT)
    await frozen.until_said("collector_left")
    for _ in range(3):
        await channels.next_of(lambda message: message["publisher"] != first)
    late = [
        message
        for arrived, message in channels.messages
        if arrived > thawed and message["publisher"] == first
    ]
    # What it had taken before the freeze may still come; nothing of later.
    assert all(message["time"] <= frozen_ms + 1000 for message in late), late
    assert (await until_held(store)).holder == state.holder


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_collectors_of_serve_go_on_while_the_database_is_away(
    own_postgres: OwnPostgres, settings: Settings, start_service: StartService,
    store: NativeStore, channels: Channels, simulator: Simulator,
) -> None:  # fmt: skip
    service = await start_service("serve", **settings(DATABASE_URL=own_postgres.url))
    await until_held(store)
    await service.post("/api/collectors/majors/symbols/SOL-USDT", {})
    await until_streams(simulator, "binance", 3)
    own_postgres.kill()
    await service.until_said("collectors_not_read")
    status, answer = await service.answer("/api/collectors")
    assert (status, "the database" in answer["detail"]) == (503, True)
    status, _ = await service.answer("/api/collectors/majors/stop", {})
    assert status == 503
    for _ in range(3):
        await channels.next_of(lambda _: True)
    # Its process dies meanwhile, and goes on with what was known.
    os.kill(service.pid_of("live"), signal.SIGKILL)
    await service.until_said("collector_hosted", times=2)
    await until_streams(simulator, "binance", 3)
    own_postgres.start()
    await service.until_said("collectors_read_again")

    async def is_stopped() -> bool:
        status, _ = await service.answer("/api/collectors/majors/stop", {})
        return status == 202

    await until(is_stopped)
    await until_streams(simulator, "binance", 0)
