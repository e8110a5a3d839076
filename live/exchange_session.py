"""ExchangeSession: what a built-in collector has open: streams, books, and the REST beside them."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from types import TracebackType
from typing import Any, Final, Self

from config import LiveSettings
from live.book_keeper import BookKeeper
from live.exchange_rest import REQUESTS_A_MINUTE, ExchangeRest
from live.pacing import due_or_woken, pace_of_process
from live.stream_address import rest_address, stream_address
from live.stream_feed import Item, StreamFeed
from live.stream_pool import StreamPool
from live.stream_status import PoolStatus
from live.stream_venue import Channel, StreamVenue, Topic
from timing.clock import Clock

# Their sizes are contracts on exchanges that count contracts; candles are in base units.
_SIZED: Final = (Channel.TRADE, Channel.TICKER, Channel.ORDERBOOK)


class ExchangeSession:
    """The open streams of one exchange; open it with `async with`."""

    def __init__(
        self, venue: StreamVenue, settings: LiveSettings, clock: Clock, book_depth: int
    ) -> None:
        exchange = venue.exchange
        self._venue = venue
        self._clock = clock
        rest_pace = pace_of_process(f"{exchange} REST of collectors", REQUESTS_A_MINUTE, 60.0)
        rest = rest_address(settings, exchange, venue.rest_url)
        streams = stream_address(settings, exchange, venue.base_url)
        self._rest = ExchangeRest(exchange, rest, rest_pace, clock)
        self._feed = StreamFeed(clock, book_depth)
        self._pool = StreamPool(venue, self._feed, streams, clock=clock)
        self._books = BookKeeper(venue, self._rest, self._subscribe_anew, clock)
        self._feed.books = self._books
        self._stack = AsyncExitStack()
        self._repairing: asyncio.Task[None] | None = None
        self._messages = 0
        self._failures = 0

    async def __aenter__(self) -> Self:
        try:
            await self._stack.enter_async_context(self._rest)
            await self._stack.enter_async_context(self._pool)
        except BaseException:
            await self._stack.aclose()
            raise
        self._repairing = asyncio.create_task(
            self._books.run(), name=f"books of {self._venue.exchange}"
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._repairing is not None:
                self._repairing.cancel()
                await asyncio.gather(self._repairing, return_exceptions=True)
        finally:
            await self._stack.aclose()

    async def add(self, topics: Iterable[Topic]) -> list[str]:
        """Subscribes topics. The symbols of those that are not, because their sizes are contracts
        and the exchange's list does not tell how many coins one is.

        Raises RestFailed or UnreadableMessage if that list is needed and cannot be had.
        """
        topics = list(topics)
        counted = {
            topic.symbol
            for topic in topics
            if topic.channel in _SIZED and self._venue.counts_contracts(topic.symbol)
        }
        unknown = await self._learn_sizes(counted)
        self._feed.counts_contracts = {*self._feed.counts_contracts, *counted}
        self._pool.add(
            topic for topic in topics if topic.channel not in _SIZED or topic.symbol not in unknown
        )
        return sorted(unknown)

    async def _learn_sizes(self, symbols: set[str]) -> set[str]:
        contracts = self._venue.contracts
        if contracts is not None and not symbols <= self._feed.contract_sizes.keys():
            sizes = contracts.read(await self._rest.get(contracts.path))
            self._feed.contract_sizes = sizes
        return symbols - self._feed.contract_sizes.keys()

    def remove(self, topics: Iterable[Topic]) -> None:
        """Unsubscribes topics."""
        self._pool.remove(topics)

    async def settled(self, within_s: float) -> bool:
        """Waits until every topic is subscribed or refused; whether they are in time."""
        try:
            async with asyncio.timeout(within_s):
                await self._pool.settled()
        except TimeoutError:
            return False
        return True

    async def take(self, count: int, within_s: float) -> Sequence[Item]:
        """What has come, at most `count` items; empty if nothing comes in time."""
        if not self._feed.queued:
            due_s = self._clock.monotonic_s() + within_s
            await due_or_woken(self._clock, self._feed.filled, due_s)
        return self._feed.take(count)

    def had_data(self) -> bool:
        """Whether data of any market have come since the last call, the heartbeat's included."""
        before, self._messages = self._messages, self._pool.counts.data
        return self._messages > before

    def new_failures(self) -> int:
        """How many connections have failed since the last call."""
        before, self._failures = self._failures, self._pool.counts.failures
        return self._failures - before

    @property
    def last_failure(self) -> str | None:
        return self._pool.counts.last_failure

    def _subscribe_anew(self, epoch: int, symbol: str) -> None:
        self._pool.subscribe_anew(Topic(Channel.ORDERBOOK, symbol), epoch)

    def pool_status(self) -> PoolStatus:
        return self._pool.status()

    def status(self) -> dict[str, Any]:
        """The state of the connections and books, ready for JSON."""
        pool = asdict(self._pool.status())
        counts = self._feed.counts
        return {
            "connections": pool.pop("connections"),
            "streams": pool,
            "books": self._books.status(),
            "queue": {
                "waiting": self._feed.queued,
                "dropped": counts["dropped"],
                "repeated": counts["repeated"],
                "without_contract_size": counts["without_contract_size"],
            },
        }
