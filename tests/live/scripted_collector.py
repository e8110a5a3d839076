"""A collector whose exchange does what a test says: connects, refuses, raises, hangs, cuts."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any, Literal

from config import load_live_settings
from live.collector import BaseDataCollector
from live.data_types import DataType, MarketDataPoint
from metrics.collectors import CollectorMetrics
from tests.live.virtual_time import LoopClock
from timing.clock import Clock

# `deaf`: hangs, and ignores its cancellation.
Mood = Literal["ok", "false", "raise", "hang", "deaf"]


class Exchange:
    """What the collector talks to. `released` ends what is deaf."""

    def __init__(self) -> None:
        self.moods: dict[str, Mood] = {}
        self.calls: Counter[str] = Counter()
        self.connects: list[float] = []  # the loop's times
        self.open = 0
        self.most_open = 0
        self.subscribed: set[str] = set()
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.released = asyncio.Event()

    async def do(self, what: str) -> bool:
        self.calls[what] += 1
        mood = self.moods.get(what, "ok")
        if mood == "raise":
            raise OSError(f"{what} is not possible")
        if mood == "hang":
            await asyncio.Event().wait()
        while mood == "deaf" and not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                continue
        return mood == "ok"


class ScriptedCollector(BaseDataCollector):
    """Reads `Exchange.messages`: exceptions are raised, others are (symbol, number)."""

    def __init__(
        self,
        exchange: Exchange,
        clock: Clock,
        name: str = "scripted",
        symbols: tuple[str, ...] = ("BTC", "ETH"),
        auto_restart: bool = True,
        metrics: CollectorMetrics | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            name,
            symbols,
            [DataType.TRADE],
            auto_restart=auto_restart,
            settings=load_live_settings(**settings),
            clock=clock,
            metrics=metrics,
        )
        self.exchange = exchange
        self.connected = False

    async def connect(self) -> bool:
        self.exchange.connects.append(asyncio.get_running_loop().time())
        if not await self.exchange.do("connect"):
            return False
        self.exchange.messages = asyncio.Queue()
        self.exchange.open += 1
        self.exchange.most_open = max(self.exchange.open, self.exchange.most_open)
        self.connected = True
        return True

    async def disconnect(self) -> None:
        # As careless as users' code may be.
        for callbacks in self._data_callbacks.values():
            callbacks.clear()
        if self.connected:
            self.connected = False
            self.exchange.open -= 1
            self.exchange.subscribed.clear()
        await self.exchange.do("disconnect")
        await super().disconnect()

    async def subscribe_to_data(self, symbols: list[str], data_types: list[DataType]) -> bool:
        done = await self.exchange.do("subscribe")
        if done:
            self.exchange.subscribed |= set(symbols)
        return done

    async def unsubscribe_from_data(self, symbols: list[str], data_types: list[DataType]) -> bool:
        done = await self.exchange.do("unsubscribe")
        if done:
            self.exchange.subscribed -= set(symbols)
        return done

    async def _process_message(self, message: Any) -> MarketDataPoint | None:
        await self.exchange.do("process")
        symbol, number = message
        return MarketDataPoint(
            self.exchange_name,
            symbol,
            datetime.fromtimestamp(number, UTC),
            DataType.TRADE,
            {"n": number},
        )

    async def _handle_messages(self) -> None:
        message = await self.exchange.messages.get()
        if isinstance(message, BaseException):
            raise message
        await self._notify_callbacks(await self._process_message(message))


Made = tuple[ScriptedCollector, Exchange, list[tuple[str, int]]]


def make_collector(**given: Any) -> Made:
    """A collector with a callback that keeps (symbol, number) of every point."""
    exchange, taken = Exchange(), list[tuple[str, int]]()
    collector = ScriptedCollector(exchange, LoopClock(asyncio.get_running_loop()), **given)

    async def take(point: MarketDataPoint) -> None:
        taken.append((point.symbol, point.data["n"]))

    collector.add_data_callback(DataType.TRADE, take)
    return collector, exchange, taken


def statistics(collector: ScriptedCollector) -> dict[str, Any]:
    found = collector.get_status()["statistics"]
    assert isinstance(found, dict)
    return found
