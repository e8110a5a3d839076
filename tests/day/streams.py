"""The feeds of a day's exchanges, by the day's clock, and all closing events that came to them.

The closings are read from the messages as they came, by code of its own.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import orjson

from budgets.exchange_client import ExchangeClient
from budgets.rate_limits import RateLimits
from commands.composition import open_parts
from commands.live import markets_of, server_ms
from config import Settings
from live.exchange_feed import ExchangeFeed, FeedParts
from live.exchanges import STREAM_VENUES
from live.feed_state import FeedState, feed_states
from live.pacing import pace_of_process
from market.markets import Exchange
from tests.day.clock import DayClock

STEP_MS: Final = 300_000
POLLED: Final = tuple(Exchange)
_KEPT_MS: Final = 30 * 3_600_000

Markets = Callable[[], Awaitable[Sequence[str] | None]]


@dataclass
class Closings:
    """The closing events of one exchange that came, by symbol and open time: when first."""

    now_ms: Callable[[], int]
    came: dict[tuple[str, int], int] = field(default_factory=dict)
    messages: int = 0

    def note(self, payload: bytes) -> None:
        self.messages += 1
        if b'"x":true' in payload:
            candle = orjson.loads(payload)["data"]["k"]
            self._came(candle["s"], candle["t"])
        elif b'"confirm":true' in payload:
            message = orjson.loads(payload)
            for candle in message["data"]:
                if candle["confirm"]:
                    self._came(message["topic"].rpartition(".")[2], candle["start"])
        elif payload.endswith(b'"1"]]}'):
            message = orjson.loads(payload)
            for row in message["data"]:
                if row[8] == "1":
                    self._came(message["arg"]["instId"], int(row[0]))

    def _came(self, symbol: str, open_ms: int) -> None:
        self.came.setdefault((symbol, open_ms), self.now_ms())
        old = [place for place in self.came if place[1] < self.now_ms() - _KEPT_MS]
        for place in old if len(old) > 5000 else ():
            del self.came[place]


class Feeds:
    """One process of feeds, of all exchanges; it can be ended, and started again."""

    def __init__(self, clock: DayClock, fraction: float) -> None:
        self.closings = {str(name): Closings(clock.wall_ms) for name in POLLED}
        self.ended: Counter[str] = Counter()  # reasons of feeds that have ended
        self._clock = clock
        self._fraction = fraction
        self._opened = contextlib.AsyncExitStack()
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, settings: Settings) -> None:
        """Starts the feeds in a process of their own, as it were."""
        self._opened = contextlib.AsyncExitStack()
        parts = await self._opened.enter_async_context(open_parts(settings, "live"))
        self.store = parts.store
        limits = RateLimits(self._fraction, self._clock.beside)
        client = await self._opened.enter_async_context(
            ExchangeClient(settings, limits=limits, request_s=2.5)
        )
        self._stop = asyncio.Event()
        for exchange in POLLED:
            markets = markets_of(settings, parts, exchange)
            self._start(settings, str(exchange), markets, partial(server_ms, client, exchange))

    def _start(
        self, settings: Settings, exchange: str, markets: Markets,
        server_ms: Callable[[], Awaitable[int | None]],
    ) -> None:  # fmt: skip
        venue, closings = STREAM_VENUES[exchange], self.closings[exchange]

        def read(payload: bytes) -> Any:
            closings.note(payload)
            return venue.read(payload)

        feed = ExchangeFeed(
            FeedParts(
                venue=replace(venue, read=read),
                settings=settings,
                store=self.store,
                holder="feed",
                markets=markets,
                server_ms=server_ms,
                clock=self._clock.beside,
                elapsed_s=self._clock.monotonic_s,
            )
        )
        self._tasks.append(asyncio.create_task(feed.run(self._stop), name=f"feed of {exchange}"))

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)
        self._tasks.clear()
        await self._opened.aclose()
        # It counts by the day's clock, which no other test has.
        pace_of_process.cache_clear()

    async def states(self) -> dict[str, FeedState]:
        return await feed_states(self.store, self.closings)
