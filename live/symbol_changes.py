"""Changes of a running collector's symbols: what is subscribed, and when the rest is due.

What is asked for is the collector's list of symbols, whoever changed it. The difference between the
two is pending, and is applied again, after growing pauses, until there is none.
"""

import asyncio
from collections.abc import Iterable
from typing import Final, NamedTuple

from live.data_types import DataType
from timing.backoff import Backoff

_FIRST_PAUSE_S: Final = 1.0
_SLOWEST_S: Final = 60.0


class Difference(NamedTuple):
    """The symbols to subscribe and to unsubscribe, in the order in which they were asked for."""

    new: list[str]
    gone: list[str]


class SymbolChanges:
    """The symbols and data types that one connection is subscribed to."""

    def __init__(self) -> None:
        self.held: dict[str, None] = {}  # in order
        self.types: list[DataType] = []
        self.asked = asyncio.Event()
        self.due_at: float | None = None
        self._pauses = Backoff(_FIRST_PAUSE_S, _SLOWEST_S)

    def ask(self, now: float) -> None:
        """The list of symbols was changed."""
        self.due_at = now
        self._pauses.reset()
        self.asked.set()

    def difference(self, symbols: Iterable[str]) -> Difference:
        wanted = dict.fromkeys(symbols)
        return Difference(
            [symbol for symbol in wanted if symbol not in self.held],
            [symbol for symbol in self.held if symbol not in wanted],
        )

    def subscribed(self, symbols: Iterable[str], types: list[DataType]) -> None:
        self.held |= dict.fromkeys(symbols)
        self.types = list(types)

    def pending(self, symbols: Iterable[str], types: list[DataType]) -> bool:
        """Whether something else is asked for than is subscribed."""
        return any(self.difference(symbols)) or bool(self.held and self.types != list(types))

    def unsubscribed(self, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            self.held.pop(symbol, None)

    def applied(self) -> None:
        """Nothing is pending any more."""
        self.due_at = None
        self.asked.clear()
        self._pauses.reset()

    def failed(self, now: float) -> None:
        """It is tried again after a pause."""
        self.due_at = now + self._pauses.pause_s()
        self.asked.set()
