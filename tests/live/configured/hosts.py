"""Hosts of collectors in this process, on real stores, beside the simulated exchanges."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from config import LiveSettings, load_live_settings
from database import Database
from live.configured.actual import CollectorState, collector_states
from live.configured.collector_file import CollectorFile
from live.configured.following import Following
from live.configured.host import CollectorHost
from live.data_types import MarketDataPoint
from stores.hot.store import HotStore
from tests.fixtures.signals import until
from tests.fixtures.simulator import Simulator
from timing.clock import SystemClock

LOOK_EVERY_S: Final = 0.1
EXCHANGES: Final = ("binance", "bybit", "okx")


class Points:
    """An output that keeps what it is given."""

    def __init__(self) -> None:
        self.taken: list[MarketDataPoint] = []
        self.more = asyncio.Event()

    def take(self, point: MarketDataPoint) -> None:
        self.taken.append(point)
        self.more.set()

    async def run(self) -> None:
        await asyncio.Event().wait()

    def status(self) -> dict[str, Any]:
        return {"sent": len(self.taken)}

    async def next(self) -> MarketDataPoint:
        """The next point that comes."""
        self.more.clear()
        async with asyncio.timeout(60):
            await self.more.wait()
        return self.taken[-1]


def settings_of(simulator: Simulator) -> LiveSettings:
    streams = simulator.base_url.replace("http://", "ws://")
    return load_live_settings(
        **{f"{exchange}_ws_url": streams for exchange in EXCHANGES},
        **{f"{exchange}_base_url": simulator.base_url for exchange in EXCHANGES},
    )


@dataclass
class Hosting:
    """One host; `holder`: its name. It is another process in all but its process id."""

    simulator: Simulator
    store: HotStore
    database: Database
    file: CollectorFile
    holder: str = "one"
    lease_s: float = 15.0
    points: Points = field(default_factory=Points)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    def start(self) -> None:
        clock = SystemClock()
        host = CollectorHost(
            Following(
                self.file, self.database.collectors, self.store, clock, look_every_s=LOOK_EVERY_S
            ),
            open_output=lambda name: self.points,
            settings=settings_of(self.simulator),
            store=self.store,
            holder=self.holder,
            clock=clock,
            lease_s=self.lease_s,
            look_every_s=LOOK_EVERY_S,
        )
        self.task = asyncio.create_task(host.run(self.stop))

    async def ended(self) -> None:
        self.stop.set()
        if self.task is not None:
            await self.task

    async def state(self, name: str) -> CollectorState | None:
        return (await collector_states(self.store, [name])).get(name)

    async def until_state(
        self, name: str, wanted: Callable[[CollectorState], bool]
    ) -> CollectorState:
        """Waits until the collector tells a state that is wanted."""
        seen: CollectorState | None = None

        async def is_so() -> CollectorState | None:
            nonlocal seen
            seen = await self.state(name)
            return seen if seen is not None and wanted(seen) else None

        return await until(is_so, details=lambda: seen)

    async def until_status(self, name: str, status: str) -> CollectorState:
        return await self.until_state(name, lambda state: state.status == status)


async def until_streams(simulator: Simulator, exchange: str, count: int) -> None:
    """Waits until the exchange has so many subscriptions."""

    async def are() -> bool:
        stats = await asyncio.to_thread(simulator.stats)
        return bool(stats["streams"][exchange]["streams"] == count)

    await until(are)
