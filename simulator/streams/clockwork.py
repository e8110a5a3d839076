"""ClockFeed: a feed that pushes on a fixed grid of time, whatever has changed since."""

from abc import abstractmethod
from collections.abc import Iterable

from simulator.streams.feeds import Feed, Message


class ClockFeed(Feed):
    """Pushes at every multiple of `every_ms`; of several that have passed, at the newest alone."""

    def __init__(self, every_ms: int) -> None:
        self.every_ms = every_ms

    @abstractmethod
    def messages(self, now_ms: int) -> Iterable[Message]:
        """The messages at a time of the grid; none if nothing has changed."""

    def start(self, now_ms: int) -> None:
        self.next_ms = now_ms - now_ms % self.every_ms + self.every_ms

    def push(self, now_ms: int) -> Iterable[Message]:
        at_ms = now_ms - now_ms % self.every_ms
        self._plan(now_ms)
        return self.messages(at_ms)

    def skip(self, now_ms: int) -> bool:
        self._plan(now_ms)
        return True

    def _plan(self, now_ms: int) -> None:
        soonest_ms = now_ms + max(self.gap_ms - self.every_ms, 0)
        self.next_ms = soonest_ms - soonest_ms % self.every_ms + self.every_ms
