"""StreamLine: one connection of a shard, from the try to open it until its socket is closed."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Final

from live.connection import Connection, StreamParts
from live.dialing import CannotOpen
from live.liveness import Ending
from live.stream_counts import PLANNED, End
from live.stream_owner import StreamOwner
from live.stream_status import ConnectionStatus
from live.stream_venue import Topic

OVERLAP_S: Final = 5.0  # in which a new connection must bring what the old one does
ACCEPT_S: Final = 30.0  # then it is given up
# An old one that is still needed stays for so long: two closes of 5m, and the time of a closing.
LONGEST_KEPT_S: Final = 660.0

Wanted = Callable[[], tuple[Mapping[Topic, str], Mapping[Topic, str]]]


class StreamLine:
    """One connection and its task. `wanted()`: the topics and the heartbeat's, with their names.
    `on_change()` is called whenever something has happened, `ended` then tells if it is over.

    `was_refused`: so that an address that connects too often should pause for long.
    """

    def __init__(
        self, parts: StreamParts, owner: StreamOwner, route: str, next_epoch: Callable[[], int],
        wanted: Wanted, on_change: Callable[[], None],
    ) -> None:  # fmt: skip
        self.connection: Connection | None = None
        self.ended: Ending | None = None
        self.is_closing = False  # it was told to end
        self.was_refused = False
        self._parts = parts
        self._owner = owner
        self._route = route
        self._next_epoch = next_epoch
        self._wanted = wanted
        self._on_change = on_change
        self._began_s = parts.clock.monotonic_s()
        self._settled_s: float | None = None  # since when it may be compared with the old one
        self._counts_then: Mapping[Topic, int] = {}  # of the old one
        self._equal_s: float | None = None  # since when it brings what the old one does
        self._task = asyncio.create_task(self._live())

    @property
    def is_over(self) -> bool:
        """Whether its socket is closed, too."""
        return self._task.done()

    async def close(self) -> None:
        """Ends it, and waits until its socket is closed."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def stop(self, end: End, detail: str = "") -> None:
        """Lets it end, soon."""
        self.is_closing = True
        if self.connection is not None:
            self.connection.stop(end, detail)

    def want(self, added: Collection[Topic], removed: Collection[Topic]) -> None:
        """The wanted topics have changed; the owner is told if the connection is open."""
        if self.connection is not None:
            self.connection.want(*self._wanted())
            self._tell(self._owner.on_topics_changed, self.connection.epoch, added, removed)

    def subscribe_anew(self, topic: Topic, name: str, epoch: int | None) -> None:
        """Unsubscribes and subscribes a topic again, if this is the connection that is meant."""
        if self.connection is not None and epoch in (None, self.connection.epoch):
            self.connection.subscribe_anew(name)
            self._tell(self._owner.on_topics_changed, self.connection.epoch, [topic], [topic])

    async def _live(self) -> None:
        connection: Connection | None = None
        ending = Ending(End.STOPPED, "")
        exchange = self._parts.venue.exchange
        try:
            socket = await self._parts.dialer.open(self._route)
            self._parts.counts.opened += 1
            connection = Connection(
                self._parts, self._next_epoch(), socket, self._owner.on_event, self._heartbeat,
                self._on_change,
            )  # fmt: skip
            topics, heartbeat = self._wanted()
            connection.want(topics, heartbeat)
            self.connection = connection
            self._parts.log.info(
                "stream_open", exchange=exchange, route=self._route, epoch=connection.epoch,
                topics=len(topics),
            )  # fmt: skip
            self._tell(self._owner.on_epoch_began, connection.epoch, list(topics))
            self._on_change()
            ending = await connection.run()
        except CannotOpen as error:
            ending, self.was_refused = Ending(End.REFUSED, error.cause), error.is_too_many
        except Exception as error:
            self._parts.every_log.exception("stream_fault", exchange=exchange, route=self._route)
            ending = Ending(End.FAULT, f"{type(error).__name__}: {error}")
        finally:
            self.ended = ending
            self._parts.counts.ended[ending.end] += 1
            if ending.end not in PLANNED:
                self._parts.counts.last_failure = f"{ending.end}: {ending.detail}"
            if connection is not None:
                self._tell(self._owner.on_epoch_ended, connection.epoch, str(ending.end))
            self._on_change()
            if connection is not None:
                await connection.close()

    def judge_against(self, old: "StreamLine", now: float) -> bool | None:
        """Whether this connection can take the old one's place: it is subscribed, and has brought
        of each topic of which the old one has brought something since, and the owner needs the
        old one no longer. False: it does not, in all the time that it had; None: not yet."""
        mine, its = self.connection, old.connection
        if mine is None or its is None:
            return None
        if self._settled_s is None:
            if mine.subscriptions.is_settled and mine.life.first_data_s is not None:
                self._settled_s, self._counts_then = now, its.arrivals.counts()
        elif now >= self._settled_s + OVERLAP_S and not self.lacks(old):
            if self._equal_s is None:
                self._equal_s = now
            is_late = now >= self._equal_s + LONGEST_KEPT_S
            return True if is_late or not self._owner.needs(its.epoch) else None
        if self._equal_s is not None:  # it may lack what has just come, or has gone silent since
            return False if now >= self._equal_s + LONGEST_KEPT_S + ACCEPT_S else None
        return False if now >= mine.life.opened_s + ACCEPT_S else None

    def lacks(self, old: "StreamLine") -> int:
        """How many topics have come on the old one since this one is subscribed, and never here."""
        if self.connection is None or old.connection is None:
            return 0
        here, there = self.connection.arrivals.counts(), old.connection.arrivals.counts()
        return sum(
            count > self._counts_then.get(topic, 0) and not here[topic]
            for topic, count in there.items()
            if topic in here
        )

    def _heartbeat(self, epoch: int) -> None:
        self._tell(self._owner.on_heartbeat, epoch)

    def _tell(self, call: Callable[..., None], *arguments: object) -> None:
        """Calls the owner, whose errors must not end a connection."""
        try:
            call(*arguments)
        except Exception:
            self._parts.counts.owner_errors += 1
            self._parts.log.warning(
                "stream_owner_failed", exchange=self._parts.venue.exchange, exc_info=True
            )

    def status(self) -> ConnectionStatus:
        now, connection, route = self._parts.clock.monotonic_s(), self.connection, self._route
        if connection is None:
            age_s = now - self._began_s
            return ConnectionStatus(None, route, "opening", age_s, 0, 0, 0, None, None)
        life = connection.life
        if self.is_closing or self.ended is not None:
            state = "closing"
        else:
            state = "subscribing" if life.first_data_s is None else "delivering"
        return ConnectionStatus(
            connection.epoch,
            route,
            state,
            now - life.opened_s,
            len(connection.subscriptions.held),
            sum(count > 0 for count in connection.arrivals.counts().values()),
            life.messages,
            now - life.last_message_s if life.messages else None,
            now - life.last_data_s if life.first_data_s is not None else None,
        )
