"""The built-in collectors against the simulated exchanges: true candles, and every fault."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from config import LiveSettings, load_live_settings
from live.builtin import COLLECTORS, create_collector
from live.data_types import DataType, MarketDataPoint
from live.exchange_collector import ExchangeCollector
from live.pacing import pace_of_process
from live.points import moment
from tests.fixtures.signals import until_true
from tests.fixtures.simulator import Simulator, StartSimulator

EXCHANGES = sorted(COLLECTORS)
CLOSE_MS = 1_795_185_600_000  # 2026-11-20 14:40 UTC: a 5m candle closes
SYMBOLS = ["BTC-USDT-SWAP", "ETH/USDT:USDT"]


@pytest.fixture(autouse=True)
def _paces_of_its_own() -> None:
    """What earlier tests have asked for is no load on these exchanges."""
    pace_of_process.cache_clear()


@dataclass
class Taken:
    collector: ExchangeCollector
    points: list[MarketDataPoint] = field(default_factory=list)

    def of(self, kind: DataType, symbol: str = SYMBOLS[0]) -> list[MarketDataPoint]:
        return [p for p in self.points if p.data_type is kind and p.symbol == symbol]

    def closed(self, symbol: str) -> list[MarketDataPoint]:
        return [p for p in self.of(DataType.CANDLE, symbol) if p.data["closed"]]

    def minute(self, opened_ms: int, symbol: str) -> list[MarketDataPoint]:
        """The close of the candle that opened then."""
        return [p for p in self.closed(symbol) if p.data["timestamp"] == moment(opened_ms)]

    def traded(self, since_ms: int, symbol: str) -> Decimal:
        """The sizes of the trades of that minute, added up."""
        since, until = moment(since_ms), moment(since_ms + 60_000)
        trades = [p for p in self.of(DataType.TRADE, symbol) if since <= p.timestamp < until]
        return sum((p.data["size"] for p in trades), Decimal())

    async def has_minute(self, opened_ms: int, symbol: str) -> None:
        await until_true(lambda: self.minute(opened_ms, symbol))

    async def has(self, kind: DataType) -> None:
        await until_true(lambda: self.of(kind))

    async def has_closed(self, symbol: str) -> None:
        await until_true(lambda: self.closed(symbol))

    async def take(self, point: MarketDataPoint) -> None:
        self.points.append(point)


def settings_of(simulator: Simulator) -> LiveSettings:
    streams = simulator.base_url.replace("http://", "ws://")
    return load_live_settings(
        **{f"{exchange}_ws_url": streams for exchange in EXCHANGES},
        **{f"{exchange}_base_url": simulator.base_url for exchange in EXCHANGES},
    )


@contextlib.asynccontextmanager
async def collecting(
    simulator: Simulator, *data_types: str, timeframe: str = "5m"
) -> AsyncIterator[dict[str, Taken]]:
    settings = settings_of(simulator)
    taken = {}
    for exchange in EXCHANGES:
        collector = create_collector(
            exchange, SYMBOLS, data_types=data_types, timeframes=(timeframe,), settings=settings
        )
        taken[exchange] = Taken(collector)
        for kind in collector.data_types:
            collector.add_data_callback(kind, taken[exchange].take)
    try:
        assert (
            await asyncio.gather(*(one.collector.start() for one in taken.values())) == [True] * 3
        )
        yield taken
    finally:
        await asyncio.gather(*(one.collector.stop() for one in taken.values()))


async def test_all_exchanges_and_all_types(start_simulator: StartSimulator) -> None:
    simulator = start_simulator(binance=3, bybit=3, okx=3, now=CLOSE_MS - 4000, speed=4)
    async with collecting(simulator, "candle", "trade", "ticker", "orderbook") as taken:
        for exchange, one in taken.items():
            for symbol in SYMBOLS:
                await one.has_closed(symbol)
            for kind in one.collector.data_types:
                await one.has(kind)
            status = one.collector.get_status()
            assert status["streams"]["unreadable"] == 0, status
            assert status["streams"]["left_out"] == {}, status
            assert status["streams"]["refused"] == {}, status
            assert status["streams"]["owner_errors"] == 0
            assert one.collector.get_health_status()["is_healthy"]
            for point in one.of(DataType.ORDERBOOK):
                bids, asks = point.data["bids"], point.data["asks"]
                assert bids == sorted(bids, reverse=True) and asks == sorted(asks)
                assert bids[0][0] < asks[0][0]
            await _equals_the_truth(simulator, exchange, one)
    stats = simulator.stats()
    assert stats["limits_broken_total"] == 0, stats["limits_broken"]
    assert stats["rejected_total"] == 0, stats["rejected"]


async def _equals_the_truth(simulator: Simulator, exchange: str, one: Taken) -> None:
    truth = simulator.truth("5m", exchange=exchange)
    for symbol in SYMBOLS:
        candle = one.closed(symbol)[0].data
        opened_ms = round(candle["timestamp"].timestamp() * 1000)
        rows = truth[f"{exchange}:{candle['exchange_symbol']}"]
        row = next(row for row in rows if row[0] == opened_ms)
        names = ("open", "high", "low", "close", "volume", "turnover")
        assert [float(candle[name]) for name in names] == row[1:7]


def _fault(simulator: Simulator, exchange: str, kind: str, **settings: Any) -> None:
    simulator.post("/sim/faults", {"kind": kind, "exchange": exchange, "count": 1, **settings})


async def test_faults(start_simulator: StartSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live.stream_shard.FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr("live.stream_line.OVERLAP_S", 0.3)
    monkeypatch.setattr("live.book_keeper.FIRST_PAUSE_S", 0.05)
    simulator = start_simulator(binance=3, bybit=3, okx=3, now=CLOSE_MS, speed=10)
    async with collecting(simulator, "trade", "orderbook") as taken:
        for one in taken.values():
            await one.has(DataType.ORDERBOOK)
        await asyncio.gather(*(_bear_all(simulator, each, one) for each, one in taken.items()))


async def _bear_all(simulator: Simulator, exchange: str, one: Taken) -> None:
    """One fault after another; after each, trades and whole books go on."""

    def streams(name: str) -> Any:
        return one.collector.get_status()["streams"][name]

    def ends(reason: str) -> int:
        return int(streams("reconnects").get(reason, 0))

    async def goes_on() -> None:
        trades, books = len(one.of(DataType.TRADE)), len(one.of(DataType.ORDERBOOK))
        await until_true(lambda: len(one.of(DataType.TRADE)) > trades)
        await until_true(lambda: len(one.of(DataType.ORDERBOOK)) > books)

    await goes_on()
    _fault(simulator, exchange, "stream_cut")
    await until_true(lambda: ends("cut") == 1)
    await goes_on()
    _fault(simulator, exchange, "stream_close", status=1012)
    await until_true(lambda: ends("cut") == 2)
    await goes_on()
    _fault(simulator, exchange, "stream_garbage")
    await until_true(lambda: streams("unreadable") == 1)
    await goes_on()
    _fault(simulator, exchange, "stream_giant", rows=9_000_000)
    await until_true(lambda: ends("too_large") == 1)
    await goes_on()
    _fault(simulator, exchange, "stream_gap")
    await until_true(lambda: one.collector.get_status()["books"]["breaks"] == 1)
    await until_true(lambda: one.collector.get_status()["books"]["live"] == len(SYMBOLS))
    await goes_on()
    ids = [(p.symbol, p.data["trade_id"]) for p in one.points if p.data_type is DataType.TRADE]
    assert len(ids) == len(set(ids))


async def test_no_trade_is_lost_or_repeated_while_connections_are_replaced(
    start_simulator: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trades of a minute, in which connections are replaced again and again, add up to the
    volume of its candle."""
    monkeypatch.setattr("live.stream_line.OVERLAP_S", 0.1)
    simulator = start_simulator(binance=3, bybit=3, okx=3, now=CLOSE_MS - 20_000, speed=20)
    async with collecting(simulator, "trade", "candle", timeframe="1m") as taken:
        for one in taken.values():
            await one.has(DataType.TRADE)
        renewing = asyncio.create_task(_renew(taken))
        for one in taken.values():
            await one.has_minute(CLOSE_MS, SYMBOLS[0])
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        for exchange, one in taken.items():
            assert one.collector.get_status()["streams"]["reconnects"].get("renewed", 0) > 1
            for symbol in SYMBOLS:
                await one.has_minute(CLOSE_MS, symbol)
                (candle,) = one.minute(CLOSE_MS, symbol)
                assert one.traded(CLOSE_MS, symbol) == candle.data["volume"], exchange


async def _renew(taken: dict[str, Taken]) -> None:
    while True:
        for one in taken.values():
            assert one.collector._session is not None
            one.collector._session._pool.renew()
        await asyncio.sleep(0.5)
