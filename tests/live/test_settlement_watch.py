"""Settlements, told by the stream of when markets settle next."""

import asyncio

import pytest

from config import load_live_settings
from live.events import FundingEvent
from live.exchange_feed import ExchangeFeed, FeedParts
from live.exchanges import STREAM_VENUES
from live.settlement_watch import SettlementWatch, is_offered
from stores.hot.redis_client import NativeStore
from tests.fixtures.signals import until
from tests.fixtures.simulator import StartSimulator
from timing.clock import SystemClock

SETTLED_MS = 1_795_190_400_000  # 16:00 UTC: all markets settle, whether every 1, 2, 4 or 8 hours
HOUR_MS = 3_600_000


def settlements(*events: tuple[int, int], symbol: str = "BTCUSDT") -> int:
    """How many settlements are told by events of (time, next settlement)."""
    told = []
    watch = SettlementWatch(lambda: told.append(1))
    watch.list_markets(["BTCUSDT"])
    for time_ms, next_ms in events:
        watch.on_event(1, FundingEvent(symbol, time_ms, next_ms))
    return len(told)


@pytest.mark.parametrize(
    ("events", "count"),
    [
        pytest.param([(90, 100), (99, 100), (101, 200), (102, 200)], 1, id="one"),
        pytest.param([(90, 100), (250, 300)], 1, id="after a break"),
        pytest.param([(101, 200)], 0, id="the first message tells none"),
        pytest.param([(50, 400), (60, 100), (70, 400)], 0, id="another interval is none"),
        pytest.param([(90, 100), (101, 200), (99, 100), (103, 200)], 2, id="two connections"),
    ],
)
def test_when_the_time_of_the_next_settlement_moves_on(
    events: list[tuple[int, int]], count: int
) -> None:
    assert settlements(*events) == count


def test_markets_that_are_not_collected_tell_nothing() -> None:
    assert settlements((90, 100), (101, 200), symbol="OTHERUSDT") == 0


def test_bybit_is_not_asked_for_it() -> None:
    assert [name for name, venue in STREAM_VENUES.items() if is_offered(venue)] == ["binance"]


async def test_a_feed_tells_of_a_settlement_once_and_again_if_that_failed(
    start_simulator: StartSimulator, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("live.exchange_feed.SETTLED_S", 0.3)
    simulator = start_simulator(binance=4, bybit=0, now=SETTLED_MS - 120_000, frozen=True)
    address = simulator.base_url.replace("http", "ws")
    symbols = [key.partition(":")[2] for key in simulator.truth("5m", exchange="binance")]
    told: list[int] = []
    is_told = asyncio.Event()
    store = NativeStore(redis_url, client_name="feed")

    async def markets() -> list[str]:
        return symbols

    async def server_ms() -> int:
        return SETTLED_MS - 120_000

    async def on_settled() -> bool:
        told.append(1)
        if len(told) == 2:
            is_told.set()
        return len(told) > 1

    feed = ExchangeFeed(
        FeedParts(
            venue=STREAM_VENUES["binance"],
            settings=load_live_settings(binance_ws_url=address),
            store=store,
            holder="one",
            markets=markets,
            server_ms=server_ms,
            clock=SystemClock(),
            on_settled=on_settled,
        )
    )
    stop = asyncio.Event()
    running = asyncio.create_task(feed.run(stop))

    async def pass_s(seconds: int) -> None:
        for _ in range(seconds // 4):
            await asyncio.to_thread(simulator.post, "/sim/clock", {"pass_ms": 4_000})
            await asyncio.sleep(0.05)

    async def are_subscribed() -> bool:
        # Candles come first, as soon as time passes.
        await asyncio.to_thread(simulator.post, "/sim/clock", {"pass_ms": 250})
        stats = await asyncio.to_thread(simulator.stats)
        return bool(stats["streams"]["binance"]["streams"] == len(symbols) + 1)

    try:
        await until(are_subscribed)
        clock = await asyncio.to_thread(simulator.get, "/sim/clock")
        await pass_s((SETTLED_MS - clock["now_ms"]) // 1000 - 4)
        assert not told
        await pass_s(16)
        await asyncio.wait_for(is_told.wait(), 30)
        await pass_s(60)
        assert len(told) == 2
    finally:
        stop.set()
        await running
        await store.aclose()
