"""StreamShard: keeps the topics of one group delivering, over one connection after another.

A connection that is to be replaced (by age, or because the exchange says that it will close it)
stays until the next one is open, subscribed and has brought what the old one brings.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Final

from live.connection import Connection, StreamParts
from live.pacing import due_or_woken
from live.stream_counts import PLANNED, End
from live.stream_line import StreamLine
from live.stream_owner import StreamOwner
from live.stream_status import ConnectionStatus
from live.stream_venue import Channel, Topic
from logging_setup import OutageLog
from timing.backoff import Backoff

FIRST_PAUSE_S: Final = 1.0
SLOWEST_PAUSE_S: Final = 60.0
RESET_AFTER_S: Final = 60.0  # of data
_LOOK_S: Final = 0.5
_TOLD_AGAIN_S: Final = 3600.0  # of an outage: behind some firewalls it lasts for good
# Of a life, after which a connection is replaced; spread, so that not all are at once.
_ROTATED: Final = (20 / 23, 1.0)


class StreamShard:
    """The topics of one route that share a connection.

    `on_change()` is called whenever something has happened to a connection. `failures`: tries and
    connections that failed since one last brought data for a minute.
    """

    def __init__(
        self, parts: StreamParts, owner: StreamOwner, route: str, next_epoch: Callable[[], int],
        random: Random, on_change: Callable[[], None],
    ) -> None:  # fmt: skip
        self.route = route
        self.topics: dict[Topic, str] = {}  # with the exchange's names
        self.failures = 0
        self._parts = parts
        self._owner = owner
        self._next_epoch = next_epoch
        self._random = random
        self._on_change = on_change
        self._backoff = Backoff(FIRST_PAUSE_S, SLOWEST_PAUSE_S)
        self._outage = OutageLog(
            *(parts.every_log, "stream_down", "stream_up"),
            clock=parts.clock.monotonic_s,
            again_s=_TOLD_AGAIN_S,
        )
        self._open_at_s = 0.0
        self._serving: StreamLine | None = None
        self._coming: StreamLine | None = None
        self._closing: list[StreamLine] = []
        self._replace: End | None = None  # why the serving one is to be replaced
        self._share = random.uniform(*_ROTATED)  # of its life, for the serving one
        self._wake = asyncio.Event()

    # What is wanted.

    def want(self, topics: Mapping[Topic, str]) -> None:
        """Replaces the topics; open connections subscribe and unsubscribe the difference."""
        before, self.topics = self.topics, dict(topics)
        added = [topic for topic in self.topics if topic not in before]
        removed = [topic for topic in before if topic not in self.topics]
        for line in (self._serving, self._coming):
            if line is not None and (added or removed):
                line.want(added, removed)

    def heartbeat(self) -> dict[Topic, str]:
        """A topic of the market that always trades, of the first topic's kind; a ticker in place
        of an order book where it has the same route. A topic of all markets is its own."""
        first = next(iter(self.topics), None)
        if first is None or not first.symbol:
            return {}
        venue = self._parts.venue
        topic = first._replace(symbol=venue.heartbeat_symbol)
        ticker = Topic(Channel.TICKER, venue.heartbeat_symbol)
        if topic.channel is Channel.ORDERBOOK and venue.route(ticker) == self.route:
            topic = ticker
        return {topic: venue.name(topic)}

    def subscribe_anew(self, topic: Topic, epoch: int | None) -> None:
        """Unsubscribes and subscribes a topic again, on this or on every open connection."""
        for line in (self._serving, self._coming):
            if line is not None:
                line.subscribe_anew(topic, self.topics[topic], epoch)

    def renew(self, epoch: int | None) -> None:
        """Replaces the open connection, if it has this number, as before the end of its life."""
        serving = self._connection
        if serving is not None and epoch in (None, serving.epoch):
            self._replace = self._replace or End.RENEWED
            self._wake.set()

    # The connections.

    async def run(self) -> None:
        """Keeps a connection open until cancelled; then all are closed."""
        try:
            while True:
                await due_or_woken(self._parts.clock, self._wake, self._act())
        finally:
            await asyncio.gather(*(line.close() for line in self._lines()))

    def _act(self) -> float | None:
        """Does what is due; when to look again, if nothing happens before."""
        now = self._parts.clock.monotonic_s()
        try:
            self._look(now)
            if self._lacks_one() and now >= self._open_at_s:
                self._open()
            return self._next_due_s(now)
        except Exception:  # the streams must not stay down for an error of ours
            exchange = self._parts.venue.exchange
            self._parts.every_log.exception("stream_fault", exchange=exchange, route=self.route)
            return now + FIRST_PAUSE_S

    def _lines(self) -> Iterator[StreamLine]:
        for line in (self._serving, self._coming, *self._closing):
            if line is not None:
                yield line

    @property
    def _connection(self) -> Connection | None:
        """The one that serves, if it is open."""
        return self._serving.connection if self._serving is not None else None

    def _lacks_one(self) -> bool:
        if self._coming is not None:
            return False
        return self._serving is None or self._replace is not None

    def _open(self) -> None:
        line = StreamLine(
            self._parts, self._owner, self.route, self._next_epoch,
            lambda: (self.topics, self.heartbeat()), self._note_change,
        )  # fmt: skip
        if self._serving is None:
            self._serve_by(line)
        else:
            self._coming = line

    def _serve_by(self, line: StreamLine | None) -> None:
        self._serving, self._coming, self._replace = line, None, None
        self._share = self._random.uniform(*_ROTATED)

    def _look(self, now: float) -> None:
        """Brings the shard up to what has happened since the last look."""
        self._closing = [line for line in self._closing if not line.is_over]
        if self._coming is not None and self._coming.ended is not None:
            self._put_away(self._coming, now)
            self._coming = None
        if self._serving is not None and self._serving.ended is not None:
            self._put_away(self._serving, now)
            self._serve_by(self._coming)  # however far it is
        if self._serving is None or (connection := self._connection) is None:
            return
        self._note_data(connection)
        self._replace = self._replace or self._due_to_be_replaced(connection, now)
        if self._coming is not None and not self._coming.is_closing:
            self._compare(self._serving, self._coming, now)

    def _put_away(self, line: StreamLine, now: float) -> None:
        """Takes note of why a line has ended, and keeps it until its socket is closed."""
        self._closing.append(line)
        if line.ended is None or line.ended.end in PLANNED:
            return
        if line.connection is not None:
            self._note_data(line.connection)
        self.failures += 1
        # Full jitter; it begins anew only after a minute of data.
        pause_s = self._backoff.pause_s() * self._random.random()
        if line.was_refused:
            pause_s = SLOWEST_PAUSE_S * self._random.uniform(0.5, 1)
        self._open_at_s = now + pause_s
        self._outage.failed(
            line.ended.end, exchange=self._parts.venue.exchange, route=self.route,
            detail=line.ended.detail, topics=len(self.topics), next_try_s=round(pause_s, 1),
        )  # fmt: skip

    def _note_data(self, connection: Connection) -> None:
        first_s = connection.life.first_data_s
        if first_s is not None and connection.life.last_data_s - first_s >= RESET_AFTER_S:
            self._backoff.reset()
            self.failures = 0
            self._outage.recovered(exchange=self._parts.venue.exchange, route=self.route)

    def _due_to_be_replaced(self, connection: Connection, now: float) -> End | None:
        if connection.closing_soon is not None:
            return End.NOTICE
        rotate_at_s = self._rotate_at_s(connection)
        return End.AGE if rotate_at_s is not None and now >= rotate_at_s else None

    def _rotate_at_s(self, connection: Connection) -> float | None:
        life_s = self._parts.venue.life_s
        return None if life_s is None else connection.life.opened_s + self._share * life_s

    def _compare(self, old: StreamLine, new: StreamLine, now: float) -> None:
        """Closes the old connection once the new one brings what it brings, or gives the new one
        up when it does not."""
        verdict = new.judge_against(old, now)
        if verdict is None:
            return
        if verdict:
            old.stop(self._replace or End.RENEWED)
            self._closing.append(old)
            self._serve_by(new)
        else:
            new.stop(End.UNPROVEN, f"{new.lacks(old)} topics deliver on the old one alone")

    def _next_due_s(self, now: float) -> float | None:
        if self._lacks_one():
            return self._open_at_s
        if self._coming is not None:
            return now + _LOOK_S if self._coming.connection is not None else None
        return None if self._connection is None else self._rotate_at_s(self._connection)

    def _note_change(self) -> None:
        self._wake.set()
        self._on_change()

    # For status.

    @property
    def is_settled(self) -> bool:
        """Whether every topic is subscribed on an open connection, or refused."""
        return self._connection is not None and self._connection.subscriptions.is_settled

    def statuses(self) -> Iterator[ConnectionStatus]:
        return (line.status() for line in self._lines() if not line.is_over)

    def refused(self) -> dict[str, str]:
        """Topic names that the exchange refuses, and why."""
        return {} if self._connection is None else self._connection.subscriptions.refused

    def without_data(self) -> list[str]:
        """Topic names that the exchange has acknowledged and sent nothing of."""
        return [] if self._connection is None else self._connection.without_data

    def proven(self) -> set[Topic]:
        """Topics of which the connection that serves has brought data."""
        if self._connection is None:
            return set()
        return {topic for topic, count in self._connection.arrivals.counts().items() if count}
