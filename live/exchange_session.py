"""ExchangeSession: what a built-in collector has open: streams, books, and the REST beside them."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any, Final, Self

from config import LiveSettings
from live.book_keeper import BookKeeper
from live.contracts import ContractList
from live.errors import StreamError
from live.exchange_rest import REQUESTS_A_MINUTE, ExchangeRest
from live.pacing import due_or_woken, pace_of_process
from live.stream_address import rest_address, stream_address
from live.stream_feed import Item, StreamFeed
from live.stream_pool import StreamPool
from live.stream_status import PoolStatus
from live.stream_venue import Channel, StreamVenue, Topic
from logging_setup import EventLog, OutageLog
from timing.clock import Clock

# The list of contracts is read again so often: a market may be listed later, and the size of a
# contract may be changed.
SIZES_EVERY_S: Final = 300.0
_UNSIZED: Final = "it is not in the exchange's list of linear contracts"
# Their sizes are contracts on exchanges that count contracts; candles are in base units.
_SIZED: Final = (Channel.TRADE, Channel.TICKER, Channel.ORDERBOOK)


class ExchangeSession:
    """The open streams of one exchange; open it with `async with`."""

    def __init__(
        self,
        venue: StreamVenue,
        settings: LiveSettings,
        clock: Clock,
        book_depth: int,
        log: EventLog,
    ) -> None:
        exchange = venue.exchange
        self._venue = venue
        self._clock = clock
        self._log = log
        rest_pace = pace_of_process(f"{exchange} REST of collectors", REQUESTS_A_MINUTE, 60.0)
        rest = rest_address(settings, exchange, venue.rest_url)
        streams = stream_address(settings, exchange, venue.base_url)
        self._rest = ExchangeRest(exchange, rest, rest_pace, clock)
        self._feed = StreamFeed(clock, book_depth)
        self._pool = StreamPool(venue, self._feed, streams, clock=clock, log=log)
        self._books = BookKeeper(
            venue, self._rest, self._subscribe_anew, self._feed.in_coins, clock, log
        )
        self._feed.books = self._books
        self._stack = AsyncExitStack()
        self._unsized: dict[Topic, None] = {}  # wanted, and the size of a contract is not known
        self._tasks: list[asyncio.Task[None]] = []
        self._messages = 0
        self._failures = 0

    async def __aenter__(self) -> Self:
        try:
            await self._stack.enter_async_context(self._rest)
            await self._stack.enter_async_context(self._pool)
        except BaseException:
            await self._stack.aclose()
            raise
        work = {"books": self._books.run()}
        if self._venue.contracts is not None:
            work["contract sizes"] = self._follow_sizes(self._venue.contracts)
        self._tasks = [
            asyncio.create_task(each, name=f"{what} of {self._venue.exchange}")
            for what, each in work.items()
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            await self._stack.aclose()

    async def add(self, topics: Iterable[Topic]) -> None:
        """Subscribes topics. Those whose sizes are contracts, of which the exchange's list does not
        tell how many coins one is, count as refused, until it does.

        Raises RestFailed or UnreadableMessage if that list is needed and cannot be had.
        """
        topics = list(topics)
        counted = {topic.symbol for topic in topics if self._counts_contracts(topic)}
        contracts = self._venue.contracts
        if contracts is not None and not counted <= self._feed.contract_sizes.keys():
            await self._read_sizes(contracts)
        self._feed.counts_contracts = {*self._feed.counts_contracts, *counted}
        unsized = dict.fromkeys(topic for topic in topics if not self._is_sized(topic))
        self._pool.add(topic for topic in topics if topic not in unsized)
        self._unsized |= unsized

    def remove(self, topics: Iterable[Topic]) -> None:
        """Unsubscribes topics."""
        topics = list(topics)
        for topic in topics:
            self._unsized.pop(topic, None)
        self._pool.remove(topics)

    def _counts_contracts(self, topic: Topic) -> bool:
        return topic.channel in _SIZED and self._venue.counts_contracts(topic.symbol)

    def _is_sized(self, topic: Topic) -> bool:
        return topic.symbol in self._feed.contract_sizes or not self._counts_contracts(topic)

    async def _follow_sizes(self, contracts: ContractList) -> None:
        outage = OutageLog(self._log, "contract_sizes_not_read", "contract_sizes_read_again")
        exchange = self._venue.exchange
        while True:
            await self._clock.sleep(SIZES_EVERY_S)
            if not self._feed.counts_contracts:
                continue
            try:
                await self._read_sizes(contracts)
            except StreamError as error:
                outage.failed(error, exchange=exchange)
                continue
            except Exception:  # a fault of ours must not end the following
                self._log.exception("contract_sizes_not_read", exchange=exchange)
                continue
            outage.recovered(exchange=exchange)

    async def _read_sizes(self, contracts: ContractList) -> None:
        """Takes the list, and all that it changes. Raises RestFailed and UnreadableMessage."""
        told = contracts.read(await self._rest.get(contracts.path))
        before = self._feed.contract_sizes
        # A contract that is delisted has the size that it had.
        sizes = self._feed.contract_sizes = {**before, **told}
        for symbol in sorted(self._feed.counts_contracts):
            if symbol in before and sizes[symbol] != before[symbol]:
                self._log.warning(
                    "contract_size_changed",
                    exchange=self._venue.exchange,
                    market=symbol,
                    before=str(before[symbol]),
                    now=str(sizes[symbol]),
                )
                # What is in the book was counted by the other size.
                self._pool.subscribe_anew(Topic(Channel.ORDERBOOK, symbol))
        listed = [topic for topic in self._unsized if self._is_sized(topic)]
        for topic in listed:
            del self._unsized[topic]
        self._pool.add(listed)

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
        """Topics without the size of a contract are among those that are refused."""
        status = self._pool.status()
        unsized = {self._venue.name(topic): _UNSIZED for topic in self._unsized}
        return replace(
            status,
            topics=status.topics + len(self._unsized),
            refused={**status.refused, **unsized},
        )

    def status(self) -> dict[str, Any]:
        """The state of the connections and books, ready for JSON."""
        pool = asdict(self.pool_status())
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
