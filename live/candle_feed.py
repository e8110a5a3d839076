"""CandleFeed: the owner of a StreamPool that hands what connections deliver to a CandleBook."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable

from live.arrivals import MarketEvent
from live.candle_book import CandleBook
from live.events import CandleEvent, Dropped, LeftOut
from live.stream_venue import Channel, Topic


class CandleFeed:
    """A StreamOwner (stream_owner.py). `now_ms`: the exchange's time, as far as it is known;
    `heard` gets the time of an event that has come, but for closings, and returns the exchange's
    time then.

    `dropped`: what was left out of messages on purpose, by cause.
    """

    def __init__(
        self,
        book: CandleBook,
        now_ms: Callable[[], int],
        heard: Callable[[int], int] | None = None,
    ) -> None:
        self.dropped: Counter[str] = Counter()
        self._book = book
        self._now_ms = now_ms
        self._heard = heard or (lambda event_time_ms: now_ms())

    def on_epoch_began(self, epoch: int, topics: Collection[Topic]) -> None:
        self._book.begin_epoch(epoch, self._now_ms())

    def on_topics_changed(
        self, epoch: int, added: Collection[Topic], removed: Collection[Topic]
    ) -> None:
        self._book.unsubscribe(epoch, self._symbols(removed), self._now_ms())

    def on_event(self, epoch: int, event: MarketEvent | LeftOut) -> None:
        if type(event) is CandleEvent:
            # The time of a closing may be the close that it claims.
            now_ms = self._now_ms() if event.closed else self._heard(event.event_time_ms)
            self._book.take(epoch, event, now_ms)
        elif isinstance(event, LeftOut):
            if event.cause is Dropped.UNREADABLE:
                self._book.unreadable(epoch, self._now_ms(), event.symbol)
            else:
                self.dropped[event.cause] += 1

    def on_heartbeat(self, epoch: int) -> None:
        self._book.heard(epoch, self._now_ms())

    def on_epoch_ended(self, epoch: int, reason: str) -> None:
        self._book.end_epoch(epoch, self._now_ms())

    def needs(self, epoch: int) -> list[str]:
        """The markets that would become unproven if this connection ended now."""
        return self._book.needs(epoch, self._now_ms())

    def _symbols(self, topics: Iterable[Topic]) -> list[str]:
        timeframe = self._book.timeframe
        return [
            topic.symbol
            for topic in topics
            if topic.channel is Channel.CANDLE and topic.timeframe == timeframe
        ]
