"""StreamShard: keeps the topics of one group delivering, over one connection after another.

A connection that is to be replaced (by age, or because the exchange says that it will close it)
stays until the next one is open, subscribed and has brought what the old one brings.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final, Protocol

import structlog

from live.arrivals import MarketEvent
from live.connection import Connection, Ending, StreamParts
from live.dialing import CannotOpen
from live.events import LeftOut
from live.pacing import due_or_woken
from live.stream_counts import PLANNED, End
from live.stream_status import ConnectionStatus
from live.stream_venue import Channel, Topic
from logging_setup import OutageLog
from timing.backoff import Backoff

FIRST_PAUSE_S: Final = 1.0
SLOWEST_PAUSE_S: Final = 60.0
RESET_AFTER_S: Final = 60.0  # of data
OVERLAP_S: Final = 5.0  # in which the new connection must bring what the old one does
ACCEPT_S: Final = 30.0  # then it is given up
_LOOK_S: Final = 0.5
# Of a life, after which a connection is replaced; spread, so that not all are at once.
_ROTATED: Final = (20 / 23, 1.0)

log = structlog.get_logger(__name__)


class StreamOwner(Protocol):
    """Whom a pool hands its events to: plain calls that return quickly and never wait.

    An epoch is one connection from its opening to its end. The same topic may be in two epochs at
    once while a connection is replaced; each of them is complete by itself.
    """

    def on_epoch_began(self, epoch: int, topics: Collection[Topic]) -> None:
        """A connection is open; these topics are being subscribed to."""
        ...

    def on_topics_changed(
        self, epoch: int, added: Collection[Topic], removed: Collection[Topic]
    ) -> None:
        """Topics are subscribed or unsubscribed on an open connection. One that is in both is
        subscribed anew: what came before it does not connect with what follows."""
        ...

    def on_event(self, epoch: int, event: MarketEvent | LeftOut) -> None:
        """An event of a wanted topic, or what could not be read: the close of a candle may have
        been in it, and `symbol` tells of which market, where that can be read."""
        ...

    def on_epoch_ended(self, epoch: int, reason: str) -> None:
        """No further event comes in this epoch."""
        ...


@dataclass(slots=True, eq=False)
class _Line:
    """One connection of the shard, from the first try to open it to its end."""

    began_s: float
    task: "asyncio.Task[None] | None" = None
    connection: Connection | None = None
    rotate_at_s: float | None = None
    settled_s: float | None = None  # since when it may be compared with the one it replaces
    counts_then: Mapping[Topic, int] = field(default_factory=dict)  # of the old one
    ended: Ending | None = None
    is_closing: bool = False


class StreamShard:
    """The topics of one route that share a connection."""

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
        self._outage = OutageLog(log, "stream_down", "stream_up", clock=parts.clock.monotonic_s)
        self._open_at_s = 0.0
        self._serving: _Line | None = None
        self._coming: _Line | None = None
        self._closing: list[_Line] = []
        self._replace: End | None = None  # why the serving one is to be replaced
        self._wake = asyncio.Event()

    # What is wanted.

    def want(self, topics: Mapping[Topic, str]) -> None:
        """Replaces the topics; open connections subscribe and unsubscribe the difference."""
        before, self.topics = self.topics, dict(topics)
        added = [topic for topic in self.topics if topic not in before]
        removed = [topic for topic in before if topic not in self.topics]
        if not added and not removed:
            return
        for connection in self._connections():
            connection.want(self.topics, self.heartbeat())
            self._tell(self._owner.on_topics_changed, connection.epoch, added, removed)

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
        for connection in self._connections():
            if epoch not in (None, connection.epoch):
                continue
            connection.subscribe_anew(self.topics[topic])
            self._tell(self._owner.on_topics_changed, connection.epoch, [topic], [topic])

    def renew(self, epoch: int | None) -> None:
        """Replaces the open connection, if it has this number, as before the end of its life."""
        serving = self._serving.connection if self._serving is not None else None
        if serving is not None and epoch in (None, serving.epoch):
            self._replace = self._replace or End.RENEWED
            self._wake.set()

    def _connections(self) -> Iterator[Connection]:
        for line in (self._serving, self._coming):
            if line is not None and line.connection is not None:
                yield line.connection

    # The connections.

    async def run(self) -> None:
        """Keeps a connection open until cancelled; then all are closed."""
        try:
            while True:
                await due_or_woken(self._parts.clock, self._wake, self._act())
        finally:
            tasks = [line.task for line in self._lines() if line.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _act(self) -> float | None:
        """Does what is due; when to look again, if nothing happens before."""
        now = self._parts.clock.monotonic_s()
        try:
            self._look(now)
            if self._lacks_one() and now >= self._open_at_s:
                self._open(now)
            return self._next_due_s(now)
        except Exception:  # the streams must not stay down for an error of ours
            log.exception("stream_fault", exchange=self._parts.venue.exchange, route=self.route)
            return now + FIRST_PAUSE_S

    def _lines(self) -> Iterator[_Line]:
        for line in (self._serving, self._coming, *self._closing):
            if line is not None:
                yield line

    def _lacks_one(self) -> bool:
        if self._coming is not None:
            return False
        return self._serving is None or self._replace is not None

    def _open(self, now: float) -> None:
        line = _Line(began_s=now)
        line.task = asyncio.create_task(self._serve(line))
        if self._serving is None:
            self._serving = line
        else:
            self._coming = line

    async def _serve(self, line: _Line) -> None:
        """The whole life of one connection."""
        connection: Connection | None = None
        ending = Ending(End.STOPPED, "")
        too_many = False
        try:
            socket = await self._parts.dialer.open(self.route)
            self._parts.counts.opened += 1
            connection = Connection(
                self._parts, self._next_epoch(), socket, self._owner.on_event, self._note_change
            )
            connection.want(self.topics, self.heartbeat())
            line.connection = connection
            if (life_s := self._parts.venue.life_s) is not None:
                line.rotate_at_s = connection.opened_s + life_s * self._random.uniform(*_ROTATED)
            self._parts.log.info(
                "stream_open", exchange=self._parts.venue.exchange, route=self.route,
                epoch=connection.epoch, topics=len(self.topics),
            )  # fmt: skip
            self._tell(self._owner.on_epoch_began, connection.epoch, list(self.topics))
            self._note_change()
            ending = await connection.run()
        except CannotOpen as error:
            ending, too_many = Ending(End.REFUSED, error.cause), error.is_too_many
        except Exception as error:
            log.exception("stream_fault", exchange=self._parts.venue.exchange)
            ending = Ending(End.FAULT, f"{type(error).__name__}: {error}")
        finally:
            self._ended(line, ending, too_many=too_many)
            if connection is not None:
                await connection.close()

    def _ended(self, line: _Line, ending: Ending, *, too_many: bool) -> None:
        line.ended = ending
        self._parts.counts.ended[ending.end] += 1
        if line.connection is not None:
            self._tell(self._owner.on_epoch_ended, line.connection.epoch, str(ending.end))
        if ending.end not in PLANNED:
            self._failed(line, ending, too_many=too_many)
        self._note_change()

    def _failed(self, line: _Line, ending: Ending, *, too_many: bool) -> None:
        """Sets the pause before the next try: full jitter, reset only after a minute of data."""
        self._note_data(line)
        self.failures += 1
        self._parts.counts.last_failure = f"{ending.end}: {ending.detail}"
        pause_s = self._backoff.pause_s() * self._random.random()
        if too_many:
            pause_s = SLOWEST_PAUSE_S * self._random.uniform(0.5, 1)
        self._open_at_s = self._parts.clock.monotonic_s() + pause_s
        self._outage.failed(
            ending.end, exchange=self._parts.venue.exchange, route=self.route,
            detail=ending.detail, topics=len(self.topics), next_try_s=round(pause_s, 1),
        )  # fmt: skip

    def _note_data(self, line: _Line) -> None:
        connection = line.connection
        if connection is None or connection.first_data_s is None:
            return
        if connection.last_data_s - connection.first_data_s >= RESET_AFTER_S:
            self._backoff.reset()
            self.failures = 0
            self._outage.recovered(exchange=self._parts.venue.exchange, route=self.route)

    def _look(self, now: float) -> None:
        """Brings the shard up to what has happened since the last look."""
        self._closing = [line for line in self._closing if not _is_over(line)]
        if self._coming is not None and self._coming.ended is not None:
            self._put_away(self._coming)
            self._coming = None
        if self._serving is not None and self._serving.ended is not None:
            # The next one, if there is one, serves however far it is.
            self._put_away(self._serving)
            self._serving, self._coming, self._replace = self._coming, None, None
        serving = self._serving
        if serving is None or serving.connection is None:
            return
        self._note_data(serving)
        self._replace = self._replace or self._due_to_be_replaced(serving, now)
        if self._coming is not None:
            self._compare(serving, self._coming, now)

    def _due_to_be_replaced(self, line: _Line, now: float) -> End | None:
        if line.connection is not None and line.connection.closing_soon is not None:
            return End.NOTICE
        return End.AGE if line.rotate_at_s is not None and now >= line.rotate_at_s else None

    def _put_away(self, line: _Line) -> None:
        """Keeps a line that no longer serves until its socket is closed."""
        if not _is_over(line):
            self._closing.append(line)

    def _compare(self, old: _Line, new: _Line, now: float) -> None:
        """Closes the old connection once the new one brings what it brings, or gives the new one
        up when it does not."""
        if new.connection is None or old.connection is None or new.is_closing:
            return
        if new.settled_s is None:
            if new.connection.subscriptions.is_settled and new.connection.first_data_s is not None:
                new.settled_s = now
                new.counts_then = old.connection.arrivals.counts()
        elif now >= new.settled_s + OVERLAP_S and not self._lacking(old, new):
            old.connection.stop(self._replace or End.RENEWED)
            old.is_closing = True
            self._closing.append(old)
            self._serving, self._coming, self._replace = new, None, None
            return
        if now >= new.connection.opened_s + ACCEPT_S:
            lacking = self._lacking(old, new)
            new.connection.stop(End.UNPROVEN, f"{lacking} topics deliver on the old one alone")
            new.is_closing = True

    def _lacking(self, old: _Line, new: _Line) -> int:
        """How many topics have come on the old one since the new one is subscribed, and never on
        the new one."""
        if old.connection is None or new.connection is None:
            return 0
        on_old, on_new = old.connection.arrivals.counts(), new.connection.arrivals.counts()
        return sum(
            count > new.counts_then.get(topic, 0) and not on_new.get(topic, 0)
            for topic, count in on_old.items()
            if topic in on_new
        )

    def _next_due_s(self, now: float) -> float | None:
        if self._lacks_one():
            return self._open_at_s
        if self._coming is not None:
            return now + _LOOK_S if self._coming.connection is not None else None
        return self._serving.rotate_at_s if self._serving is not None else None

    def _note_change(self) -> None:
        self._wake.set()
        self._on_change()

    def _tell(self, call: Callable[..., None], *arguments: object) -> None:
        """Calls the owner, whose errors must not end a connection."""
        try:
            call(*arguments)
        except Exception:
            self._parts.counts.owner_errors += 1
            self._parts.log.warning(
                "stream_owner_failed", exchange=self._parts.venue.exchange, exc_info=True
            )

    # For status.

    @property
    def is_settled(self) -> bool:
        """Whether every topic is subscribed on an open connection, or refused."""
        serving = self._serving.connection if self._serving is not None else None
        return serving is not None and serving.subscriptions.is_settled

    def statuses(self) -> Iterator[ConnectionStatus]:
        now = self._parts.clock.monotonic_s()
        for line in self._lines():
            if not _is_over(line):
                yield _status(line, self.route, now)

    def refused(self) -> dict[str, str]:
        """Topic names that the exchange refuses, and why."""
        serving = self._serving.connection if self._serving is not None else None
        return {} if serving is None else serving.subscriptions.refused

    def proven(self) -> set[Topic]:
        """Topics of which the connection that serves has brought data."""
        serving = self._serving.connection if self._serving is not None else None
        if serving is None:
            return set()
        return {topic for topic, count in serving.arrivals.counts().items() if count}


def _is_over(line: _Line) -> bool:
    return line.task is None or line.task.done()


def _status(line: _Line, route: str, now: float) -> ConnectionStatus:
    connection = line.connection
    if connection is None:
        return ConnectionStatus(None, route, "opening", now - line.began_s, 0, 0, 0, None, None)
    if line.is_closing or line.ended is not None:
        state = "closing"
    else:
        state = "subscribing" if connection.first_data_s is None else "delivering"
    return ConnectionStatus(
        connection.epoch,
        route,
        state,
        now - connection.opened_s,
        len(connection.subscriptions.held),
        sum(count > 0 for count in connection.arrivals.counts().values()),
        connection.messages,
        now - connection.last_message_s if connection.messages else None,
        now - connection.last_data_s if connection.first_data_s is not None else None,
    )
