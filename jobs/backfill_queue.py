"""AskQueue: the asks of one limit of a backfill, some of which other hosts have, and give back."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from history.backfill.asks import Ask


class Taken(NamedTuple):
    """An ask; `came_back`: another host had it, and may have stored its page."""

    ask: Ask
    came_back: bool = False


class AskQueue:
    """Taken from by many: in the order of `asks`, and first what has come back."""

    def __init__(self, asks: Iterator[Ask]) -> None:
        self._asks = asks
        self._next: Ask | None = None
        self._back: deque[Ask] = deque()
        self._changed = asyncio.Event()
        self.away = 0  # asks that other hosts have

    async def take(self) -> Taken | None:
        """The next one, waited for while other hosts have some; None once all are done."""
        while True:
            if self._back:
                return Taken(self._back.popleft(), came_back=True)
            if (ask := self._pop()) is not None:
                return Taken(ask)
            if not self.away:
                return None
            self._changed.clear()
            await self._changed.wait()

    def give(self, most: int) -> list[Ask]:
        """The next ones, of one stage, for another host."""
        found: list[Ask] = []
        while len(found) < most and (ask := self._pop()) is not None:
            if found and ask.series.stage != found[0].series.stage:
                self._next = ask
                break
            found.append(ask)
        self.away += len(found)
        return found

    def ended(self, given: int, back: Sequence[Ask] = ()) -> None:
        """Another host does not have so many asks any more; those of `back` are not done."""
        self.away -= given
        self._back += back
        self._changed.set()

    def _pop(self) -> Ask | None:
        ask, self._next = self._next, None
        return next(self._asks, None) if ask is None else ask
