"""The channel `instruments`: what changes in the lists while someone is subscribed."""

from collections.abc import Iterable
from typing import Final
from weakref import WeakSet

from simulator.answers import dump
from simulator.market import Market
from simulator.okx import lists
from simulator.streams.feeds import NEVER_MS, Feed, Message

# Events of POST /sim/faults that change an instrument's entry.
_EVENTS: Final = ("list_new", "delist", "relaunch")


class ListingFeed(Feed):
    """The changes of one kind of instruments, from the subscription on."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._waiting: list[bytes] = []

    def start(self, now_ms: int) -> None:
        self._waiting.clear()
        self.next_ms = NEVER_MS

    def add(self, market: Market, now_ms: int) -> None:
        self._waiting.append(b'"data":[' + dump(lists.instrument(market)) + b"]")
        self.next_ms = now_ms

    def push(self, now_ms: int) -> Iterable[Message]:
        found = [Message(data) for data in self._waiting]
        self.start(now_ms)
        return found


class Listings:
    """The feeds of `instruments` that are in use."""

    def __init__(self) -> None:
        self._feeds: WeakSet[ListingFeed] = WeakSet()

    def feed(self, kind: str) -> ListingFeed:
        made = ListingFeed(kind)
        self._feeds.add(made)
        return made

    def changed(self, event: str, market: Market, now_ms: int) -> None:
        """An event was applied to a market."""
        if event not in _EVENTS:
            return
        for feed in self._feeds:
            if feed.kind in (lists.kind_of(market), "ANY"):
                feed.add(market, now_ms)
