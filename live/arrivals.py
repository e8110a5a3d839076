"""Arrivals: which topic an event belongs to on one connection, and how many have come of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from live.events import BookEvent, CandleEvent, FundingEvent, TickerEvent, TradeEvent
from live.stream_venue import Channel, StreamVenue, Topic

MarketEvent = CandleEvent | TradeEvent | TickerEvent | BookEvent | FundingEvent

CHANNELS: Final[Mapping[type, Channel]] = {
    CandleEvent: Channel.CANDLE,
    TradeEvent: Channel.TRADE,
    TickerEvent: Channel.TICKER,
    BookEvent: Channel.ORDERBOOK,
    FundingEvent: Channel.FUNDING,
}
_MOST_SPARE: Final = 10_000  # topics that came along unasked; more than any exchange has markets


@dataclass(slots=True, eq=False)
class Arrival:
    """One topic on one connection. `is_wanted`: its events go to the owner; else it came along
    with what was asked for, or tells alone that the connection is alive."""

    topic: Topic
    name: str
    is_wanted: bool
    count: int = 0


class Arrivals:
    """The topics of one connection, found by event."""

    def __init__(self, venue: StreamVenue) -> None:
        self._venue = venue
        self._by_topic: dict[Topic, Arrival] = {}
        self._by_name: dict[str, list[Arrival]] = {}
        self._spare: dict[Topic, Arrival] = {}
        # A candle is found by (symbol, timeframe), another event by its kind and symbol.
        self._candles: dict[tuple[str, str], Arrival] = {}
        self._others: dict[type, dict[str, Arrival]] = {}
        self._of_all: dict[type, Arrival] = {}  # topics of all markets

    def replace(self, topics: Mapping[Topic, str], heartbeat: Mapping[Topic, str]) -> None:
        """Takes the wanted topics and the heartbeat's, each with its name; counts are kept."""
        old = self._by_topic
        self._by_topic = {}
        for topic, name in {**heartbeat, **topics}.items():
            arrival = old.get(topic) or Arrival(topic, name, is_wanted=False)
            arrival.is_wanted = topic in topics
            self._by_topic[topic] = arrival
        self._by_name = {}
        for arrival in self._by_topic.values():
            self._by_name.setdefault(arrival.name, []).append(arrival)
        self._spare = {}
        self._candles = {}
        self._others = {kind: {} for kind in CHANNELS}
        self._of_all = {}
        for arrival in self._by_topic.values():
            self._index(arrival)

    def _index(self, arrival: Arrival) -> None:
        channel, symbol, timeframe = arrival.topic
        if channel is Channel.CANDLE:
            self._candles[symbol, timeframe] = arrival
            return
        kind = next(kind for kind, each in CHANNELS.items() if each is channel)
        if symbol:
            self._others[kind][symbol] = arrival
        else:
            self._of_all[kind] = arrival

    def of(self, event: MarketEvent) -> Arrival | None:
        """The arrival of a market's event; None for one that nobody asked for, such as the last
        ones after an unsubscription."""
        if type(event) is CandleEvent:
            found = self._candles.get((event.symbol, event.timeframe))
        else:
            found = self._others[type(event)].get(event.symbol)
        return found if found is not None else self._came_along(event)

    def _came_along(self, event: MarketEvent) -> Arrival | None:
        """The arrival of a topic that shares its name with a subscribed one: a ticker that tells
        funding too, or an array of all markets."""
        if type(event) in self._of_all:
            return self._of_all[type(event)]
        timeframe = event.timeframe if isinstance(event, CandleEvent) else ""
        topic = Topic(CHANNELS[type(event)], event.symbol, timeframe)
        try:
            name = self._venue.name(topic)
        except ValueError:
            return None
        if name not in self._by_name or len(self._spare) >= _MOST_SPARE:
            return None
        arrival = self._spare[topic] = Arrival(topic, name, is_wanted=False)
        self._by_name[name].append(arrival)
        self._index(arrival)
        return arrival

    def has_data(self, name: str) -> bool:
        """Whether anything has come under this name."""
        return any(arrival.count for arrival in self._by_name.get(name, ()))

    def forget(self, name: str) -> None:
        """Counts what comes under this name from 0 again."""
        for arrival in self._by_name.get(name, ()):
            arrival.count = 0

    def counts(self) -> dict[Topic, int]:
        """How many events have come of each wanted topic, and of the heartbeat's."""
        return {topic: arrival.count for topic, arrival in self._by_topic.items()}

    @property
    def wanted(self) -> Iterable[Topic]:
        return (topic for topic, arrival in self._by_topic.items() if arrival.is_wanted)

    @property
    def names(self) -> Iterable[str]:
        """The names to subscribe to."""
        return self._by_name
