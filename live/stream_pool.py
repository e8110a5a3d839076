"""StreamPool: all connections to the streams of one exchange, for any set of topics.

Topics of one route share connections, as many as each holds; topics are added and removed while
connections stay open.
"""

import asyncio
from collections.abc import Iterable
from itertools import count
from random import Random
from types import TracebackType
from typing import Self

import structlog

from live.connection import StreamParts
from live.dialing import Dialer
from live.pacing import SharedPace, pace_of_process
from live.stream_address import ExchangeAddress
from live.stream_counts import StreamCounts
from live.stream_owner import StreamOwner
from live.stream_shard import StreamShard
from live.stream_status import PoolStatus
from live.stream_venue import Channel, StreamVenue, Topic
from logging_setup import EventLog, ThrottledLog
from timing.clock import Clock, SystemClock

_log = structlog.get_logger(__name__)


class StreamPool:
    """The streams of one exchange; open it with `async with`.

    `connects`: the pace of new connections; that of the process by default. `random` spreads
    reconnects and the ages at which connections are replaced. `log`: where faults are told.
    """

    def __init__(
        self, venue: StreamVenue, owner: StreamOwner, address: ExchangeAddress,
        *, connects: SharedPace | None = None, clock: Clock | None = None,
        random: Random | None = None, log: EventLog = _log,
    ) -> None:  # fmt: skip
        self._clock = clock or SystemClock()
        connects = connects or pace_of_process(f"{venue.exchange} connects", *venue.connects)
        self._dialer = Dialer(venue.exchange, address, connects, self._clock)
        self.counts = StreamCounts()
        self._venue = venue
        self._owner = owner
        throttled = ThrottledLog(log, clock=self._clock.monotonic_s)
        self._parts = StreamParts(venue, self._dialer, self.counts, self._clock, log, throttled)
        self._random = random or Random()  # noqa: S311 - it spreads times, it keeps no secret
        self._epochs = count(1)
        self._shards: dict[StreamShard, asyncio.Task[None] | None] = {}
        self._shard_of: dict[Topic, StreamShard] = {}
        self._ending: set[asyncio.Task[None]] = set()  # of shards without topics
        self._is_open = False
        self._changed = asyncio.Event()  # set, and replaced, at every change

    async def __aenter__(self) -> Self:
        await self._dialer.__aenter__()
        self._is_open = True
        for shard in self._shards:
            self._start(shard)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_open = False
        tasks = [*self._ending, *(task for task in self._shards.values() if task is not None)]
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._shards = dict.fromkeys(self._shards)
            self._ending.clear()
            await self._dialer.__aexit__(kind, error, trace)

    def set(self, topics: Iterable[Topic]) -> None:
        """Replaces all topics, by adding and removing the difference. Raises ValueError."""
        wanted = dict.fromkeys(topics)
        added = [topic for topic in wanted if topic not in self._shard_of]
        names = self._names(added)
        self.remove([topic for topic in self._shard_of if topic not in wanted])
        self._place(names)

    def add(self, topics: Iterable[Topic]) -> None:
        """Subscribes topics, on open connections with room or on new ones.

        Raises ValueError for one that the exchange does not have; then none is added.
        """
        self._place(self._names(topic for topic in topics if topic not in self._shard_of))

    def remove(self, topics: Iterable[Topic]) -> None:
        """Unsubscribes topics; a connection without any is closed."""
        left: dict[StreamShard, dict[Topic, str]] = {}
        for topic in topics:
            shard = self._shard_of.pop(topic, None)
            if shard is not None:
                left.setdefault(shard, dict(shard.topics)).pop(topic)
        for shard, kept in left.items():
            if kept:
                shard.want(kept)
            else:
                self._end(shard)

    def subscribe_anew(self, topic: Topic, epoch: int | None = None) -> None:
        """Unsubscribes and subscribes a topic, for a new snapshot; others are not disturbed.

        `epoch`: on this connection alone.
        """
        if (shard := self._shard_of.get(topic)) is not None:
            shard.subscribe_anew(topic, epoch)

    async def settled(self) -> None:
        """Waits until all topics are subscribed on open connections, or refused."""
        while not all(shard.is_settled for shard in self._shards):
            await self._changed.wait()

    def _note_change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def renew(self, epoch: int | None = None) -> None:
        """Replaces this connection, or every open one; each stays until the next one brings what
        it brings."""
        for shard in self._shards:
            shard.renew(epoch)

    def _names(self, topics: Iterable[Topic]) -> dict[Topic, str]:
        return {topic: self._venue.name(topic) for topic in topics}

    def _place(self, names: dict[Topic, str]) -> None:
        loads = {shard: _Load(shard.route, dict(shard.topics)) for shard in self._shards}
        changed: dict[StreamShard, _Load] = {}
        for topic, name in names.items():
            shard = self._room_for(topic, name, loads)
            loads[shard].add(topic, name)
            changed[shard] = loads[shard]
            self._shard_of[topic] = shard
        for shard, load in changed.items():
            shard.want(load.topics)
            if self._shards[shard] is None and self._is_open:
                self._start(shard)

    def _room_for(self, topic: Topic, name: str, loads: "dict[StreamShard, _Load]") -> StreamShard:
        route = self._venue.route(topic)
        for shard, load in loads.items():
            if load.route == route and load.has_room(topic, name, self._venue):
                return shard
        shard = StreamShard(
            self._parts, self._owner, route, lambda: next(self._epochs), self._random,
            self._note_change,
        )  # fmt: skip
        self._shards[shard] = None
        loads[shard] = _Load(route, {})
        return shard

    def _start(self, shard: StreamShard) -> None:
        self._shards[shard] = asyncio.create_task(shard.run())

    def _end(self, shard: StreamShard) -> None:
        task = self._shards.pop(shard)
        if task is not None:
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    @property
    def is_open(self) -> bool:
        """Whether any connection is open."""
        statuses = (status for shard in self._shards for status in shard.statuses())
        return any(status.epoch is not None for status in statuses)

    def status(self) -> PoolStatus:
        """The state now; counts are since the pool was made."""
        connections = [status for shard in self._shards for status in shard.statuses()]
        ages = [each.last_message_age_s for each in connections]
        counts = self.counts
        return PoolStatus(
            exchange=self._venue.exchange,
            connections=connections,
            topics=len(self._shard_of),
            streams=sum(each.streams for each in connections if each.state != "closing"),
            proven=sum(len(shard.proven() & shard.topics.keys()) for shard in self._shards),
            messages=counts.messages,
            bytes=counts.bytes,
            events=counts.events,
            unreadable=counts.unreadable,
            unwanted=counts.unwanted,
            owner_errors=counts.owner_errors,
            left_out={str(cause): number for cause, number in counts.left_out.items()},
            opened=counts.opened,
            reconnects=counts.reconnects,
            failures=max((shard.failures for shard in self._shards), default=0),
            last_failure=counts.last_failure,
            last_message_age_s=min((age for age in ages if age is not None), default=None),
            refused={name: why for shard in self._shards for name, why in shard.refused().items()},
            without_data=[name for shard in self._shards for name in shard.without_data()],
        )


class _Load:
    """The topics that one connection is to have, and what they take of its limits."""

    def __init__(self, route: str, topics: dict[Topic, str]) -> None:
        self.route = route
        self.topics = topics
        self._names = set(topics.values())
        self._bytes = sum(len(name.encode()) for name in self._names)
        self._books = sum(topic.channel is Channel.ORDERBOOK for topic in topics)

    def add(self, topic: Topic, name: str) -> None:
        self.topics[topic] = name
        self._books += topic.channel is Channel.ORDERBOOK
        if name not in self._names:
            self._names.add(name)
            self._bytes += len(name.encode())

    def has_room(self, topic: Topic, name: str, venue: StreamVenue) -> bool:
        """Whether the connection holds one more topic, and a heartbeat."""
        is_book = topic.channel is Channel.ORDERBOOK
        if is_book and not _is_below(self._books, venue.books_a_connection):
            return False
        if name in self._names:
            return True
        taken = self._bytes + 2 * len(name.encode())
        return _is_below(len(self._names) + 1, venue.names_a_connection) and _is_below(
            taken - 1, venue.name_bytes_a_connection
        )


def _is_below(number: int, limit: int | None) -> bool:
    return limit is None or number < limit
