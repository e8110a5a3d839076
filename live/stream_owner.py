"""StreamOwner: whom a pool tells what its connections receive, and what becomes of them."""

from collections.abc import Collection
from typing import Protocol

from live.arrivals import MarketEvent
from live.events import LeftOut
from live.stream_venue import Topic


class StreamOwner(Protocol):
    """Plain calls that return quickly and never wait.

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

    def on_heartbeat(self, epoch: int) -> None:
        """Data have come that the owner did not ask for, such as those of the heartbeat's market:
        the connection lives, though all others may be silent."""
        ...

    def needs(self, epoch: int) -> Collection[str]:
        """The markets for which this connection must not be ended by us yet, though another one
        delivers the same: a candle is whole on one that has delivered before its open. It is kept
        for them for some minutes (stream_line.LONGEST_KEPT_S), then it ends all the same."""
        ...

    def on_epoch_ended(self, epoch: int, reason: str) -> None:
        """No further event comes in this epoch. `reason`: a value of stream_counts.End."""
        ...
