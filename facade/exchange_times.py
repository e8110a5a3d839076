"""ExchangeTimes: the exchanges' times, from what they told and the time that has passed since."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from market.markets import Exchange
from timing.clock import boot_s, now_ms

# An answer may be late, but never tells a time to come: the one that is furthest ahead is nearest,
# of those of some minutes, as clocks drift and are set.
_COUNTS_FOR_S: Final = 600.0


@dataclass(slots=True)
class _Told:
    ahead_ms: int  # of the time since start
    since_s: float
    last_s: float


class ExchangeTimes:
    """`passed_s`: seconds from an arbitrary start; `wall_ms`: the host's time in UTC ms."""

    def __init__(
        self, passed_s: Callable[[], float] = boot_s, wall_ms: Callable[[], int] = now_ms
    ) -> None:
        self._passed_s = passed_s
        self._wall_ms = wall_ms
        self._told: dict[Exchange, _Told] = {}

    def note(self, exchange: Exchange, told_ms: int) -> None:
        """A time that the exchange has just told."""
        passed_s = self._passed_s()
        ahead_ms = told_ms - int(passed_s * 1000)
        told = self._told.get(exchange)
        if told is None or ahead_ms >= told.ahead_ms or passed_s - told.since_s > _COUNTS_FOR_S:
            self._told[exchange] = _Told(ahead_ms, passed_s, passed_s)
        else:
            told.last_s = passed_s

    def told_ms(self, exchange: Exchange, within_s: float = _COUNTS_FOR_S) -> int | None:
        """The exchange's time now; None if it has not told it in so many seconds."""
        told, passed_s = self._told.get(exchange), self._passed_s()
        if told is None or passed_s - told.last_s > within_s:
            return None
        return told.ahead_ms + int(passed_s * 1000)

    def now_ms(self, exchange: Exchange) -> int:
        """The exchange's time now; the host's if it has told none lately."""
        told_ms = self.told_ms(exchange)
        return self._wall_ms() if told_ms is None else told_ms
