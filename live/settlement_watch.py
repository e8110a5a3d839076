"""SettlementWatch: notices settlements of funding, by the stream that tells when each comes next.

It has a connection of its own: that it brings something says nothing of the streams of candles.
"""

from collections.abc import Callable, Collection, Iterable

from live.arrivals import MarketEvent
from live.events import FundingEvent, LeftOut
from live.stream_venue import Channel, StreamVenue, Topic

ALL_MARKETS = Topic(Channel.FUNDING, "")


def is_offered(venue: StreamVenue) -> bool:
    """Whether one stream of the exchange tells it of all markets; one for each market costs more
    than it brings (Bybit tells it ten times a second)."""
    try:
        venue.name(ALL_MARKETS)
    except ValueError:
        return False
    return True


class SettlementWatch:
    """A StreamOwner (stream_owner.py). `on_settled` is called when a listed market has settled."""

    def __init__(self, on_settled: Callable[[], None]) -> None:
        self._on_settled = on_settled
        self._listed: frozenset[str] = frozenset()
        self._next_ms: dict[str, int] = {}

    def list_markets(self, symbols: Iterable[str]) -> None:
        self._listed = frozenset(symbols)
        self._next_ms = {each: ms for each, ms in self._next_ms.items() if each in self._listed}

    def on_event(self, epoch: int, event: MarketEvent | LeftOut) -> None:
        """The time of the next settlement moves on when there was one, and before it when the
        exchange changes the interval."""
        if type(event) is not FundingEvent or event.symbol not in self._listed:
            return
        known_ms = self._next_ms.get(event.symbol)
        self._next_ms[event.symbol] = event.next_funding_time_ms
        if known_ms is not None and known_ms <= event.time_ms < event.next_funding_time_ms:
            self._on_settled()

    def on_epoch_began(self, epoch: int, topics: Collection[Topic]) -> None:
        pass

    def on_topics_changed(
        self, epoch: int, added: Collection[Topic], removed: Collection[Topic]
    ) -> None:
        pass

    def on_heartbeat(self, epoch: int) -> None:
        pass

    def needs(self, epoch: int) -> Collection[str]:
        return ()

    def on_epoch_ended(self, epoch: int, reason: str) -> None:
        pass
