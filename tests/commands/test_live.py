"""`live` as a process of its own, and as a child of `serve`."""

import argparse
import asyncio
import signal
from pathlib import Path

import pytest

from commands.live import run
from config import SettingsError, load_settings
from live.feed_state import FeedState, feed_states
from market.markets import Exchange
from stores.hot.beats import processes_alive
from stores.hot.leases import current_holder
from stores.hot.redis_client import NativeStore
from tests.fixtures.numbers import Numbers
from tests.fixtures.service import ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import StartSimulator

_UPSTASH = {
    "upstash_redis_rest_url": "https://x.upstash.io",
    "upstash_redis_rest_token": "t0ken",
}
LIVE_URLS = {"binance": "https://fapi.binance.com", "bybit": "https://api.bybit.com"}


@pytest.mark.parametrize(
    ("settings", "fed"),
    [
        ({}, ["binance", "bybit"]),
        (_UPSTASH, []),
        ({**_UPSTASH, "bybit_ws_url": "ws://127.0.0.1:1"}, ["bybit"]),
        ({**_UPSTASH, "live": "on"}, ["binance", "bybit"]),
        ({"live": "off"}, []),
        ({"live": "OFF", "binance_ws_url": "ws://127.0.0.1:1"}, []),
        ({"exchanges": "bybit"}, ["bybit"]),
        ({f"{name}_base_url": url for name, url in LIVE_URLS.items()}, ["binance", "bybit"]),
        ({f"{name}_base_url": "http://127.0.0.1:1" for name in LIVE_URLS}, []),
        ({"binance_base_url": "http://127.0.0.1:1"}, ["bybit"]),
        (
            {
                "binance_base_url": "http://127.0.0.1:1",
                "binance_ws_url": "ws://127.0.0.1:1",
                "bybit_base_url": "http://127.0.0.1:1",
            },
            ["binance"],
        ),
        ({"live": "on"}, ["binance", "bybit"]),
        (
            {
                "live": "on",
                **{f"{name}_base_url": "http://127.0.0.1:1" for name in LIVE_URLS},
                **{f"{name}_ws_url": "ws://127.0.0.1:1" for name in LIVE_URLS},
            },
            ["binance", "bybit"],
        ),
    ],
)
def test_which_exchanges_are_fed(settings: dict[str, str], fed: list[str]) -> None:
    assert load_settings(**settings).live_exchanges == [Exchange(name) for name in fed]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"live": "off"}, "LIVE: is off"),
        (
            {f"{name}_base_url": "http://127.0.0.1:1" for name in LIVE_URLS},
            "without BINANCE_WS_URL or BYBIT_WS_URL: set it too",
        ),
        (_UPSTASH, "over Upstash, which bills commands: set LIVE=on, or BINANCE_WS_URL"),
    ],
)
async def test_with_nothing_to_feed_it_says_what_to_set(
    settings: dict[str, str], says: str, tmp_path: Path
) -> None:
    settings = {"data_dir": str(tmp_path), "live": "auto", **settings}
    with pytest.raises(SettingsError, match=says):
        await run(load_settings(**settings), asyncio.Event(), argparse.Namespace(parent_fd=None))


def test_the_streams_of_the_live_exchange_do_not_feed_another_ones_candles() -> None:
    elsewhere = {"binance_base_url": "http://127.0.0.1:1"}
    with pytest.raises(SettingsError, match="LIVE=on needs BINANCE_WS_URL where another REST"):
        load_settings(live="on", **elsewhere)
    streams = "wss://fstream.binance.com"  # it is a mirror of the live one, who says so
    assert load_settings(live="on", binance_ws_url=streams, **elsewhere).live_exchanges
    assert load_settings(live="on", exchanges="bybit", **elsewhere).live_exchanges == ["bybit"]


async def until_fed(store: NativeStore, markets: int, but: str = "") -> FeedState:
    """The state of the feed of Binance, once it is subscribed to its markets; `but`: the holder
    before."""

    async def is_fed() -> FeedState | None:
        state = (await feed_states(store, ["binance"])).get("binance")
        if state is None or state.holder == but:
            return None
        return state if state.markets == markets <= state.streams else None

    return await until(is_fed)


async def test_serve_feeds_and_a_stop_releases_the_lease(
    start_simulator: StartSimulator, start_service: StartService,
    service_settings: ServiceSettings, redis_url: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    simulator = start_simulator(binance=4, bybit=4)
    streams = simulator.base_url.replace("http", "ws")
    settings = service_settings(simulator, LIVE="auto", BINANCE_WS_URL=streams)
    service = await start_service("serve", **settings)
    store = NativeStore(redis_url, client_name="test")
    try:
        state = await until_fed(store, 4)
        assert state.connections == 1
        lease = await current_holder(store, "live:binance")
        assert lease is not None and lease.holder == state.holder
        assert await current_holder(store, "live:bybit") is None  # LIVE=auto
        # Its numbers are in the scrape of the API, and it counts as no worker.

        async def is_told() -> Numbers | None:
            numbers = Numbers(await service.text("/metrics"))
            return numbers if "live" in numbers.labels("perpcache_live_lease_held") else None

        told = await until(is_told, within_s=30)
        assert told.of("perpcache_live_processes") == told.of("perpcache_workers") == 1
        feeds = [each for each in told.samples if each.name == "perpcache_live_lease_held"]
        assert [each.labels for each in feeds] == [{"exchange": "binance", "live": state.holder}]
        # It is started again when it dies, and goes on when its lease has expired or before.
        assert service.pid_of("live") == int(state.holder.partition(":")[2])
        began = asyncio.get_running_loop().time()
        assert await service.stop(signal.SIGTERM) == 0
        assert asyncio.get_running_loop().time() - began < 30
        assert await current_holder(store, "live:binance") is None
        assert (await processes_alive(store))[1] == {}
        assert not service.said("child_killed")
    finally:
        await store.aclose()


async def test_streams_that_cannot_be_reached_harm_nothing(
    start_simulator: StartSimulator, start_service: StartService,
    service_settings: ServiceSettings,
) -> None:  # fmt: skip
    """As behind a firewall that lets requests through and no streams."""
    simulator = start_simulator(binance=2, bybit=0)
    settings = service_settings(
        simulator, LIVE="auto", EXCHANGES="binance", TIMEFRAMES="5m",
        BINANCE_WS_URL="ws://127.0.0.1:1",
    )  # fmt: skip
    service = await start_service("serve", **settings)
    (line,) = await service.until_said("stream_down")
    assert "cannot open a WebSocket" in line
    last = await service.collect("all")
    assert (last["result"]["markets"], last["result"]["carried_over"]) == (2, 0)
    assert "streamed" not in last["result"]
    await service.until_ready("ready")
    assert len(service.said("stream_down")) == 1
    assert await service.stop(signal.SIGTERM) == 0


async def test_alone_it_waits_while_another_one_feeds(
    start_simulator: StartSimulator, start_service: StartService,
    service_settings: ServiceSettings, redis_url: str,
) -> None:  # fmt: skip
    simulator = start_simulator(binance=3, bybit=0)
    settings = service_settings(
        simulator, LIVE="on", EXCHANGES="binance",
        BINANCE_WS_URL=simulator.base_url.replace("http", "ws"),
    )  # fmt: skip
    await start_service("serve", **(settings | {"LIVE": "off"}))
    first = await start_service("live", wait=False, **settings)
    store = NativeStore(redis_url, client_name="test")
    try:
        before = await until_fed(store, 3)
        second = await start_service("live", wait=False, **settings)
        assert not second.said("feed_began")
        assert await first.stop(signal.SIGTERM) == 0
        await second.until_said("feed_began")
        await until_fed(store, 3, but=before.holder)
        assert await second.stop(signal.SIGTERM) == 0
        assert (await asyncio.to_thread(simulator.stats))["limits_broken"] == {}
    finally:
        await store.aclose()
