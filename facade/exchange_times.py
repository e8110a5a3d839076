"""ExchangeTimes: the exchanges' times, from what they told and the time that has passed since."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from market.markets import Exchange
from timing.clock import boot_s, now_ms

# An answer may be late, but never tells a time to come: the one that is furthest ahead is nearest,
# of those of some minutes, as clocks drift and are set.
_COUNTS_FOR_S: Final = 600.0
# How far the exchange's time may be ahead of what is taken for it: as it was told, to the second,
# and by the host.
BEHIND_MS: Final = 500
SECOND_MS: Final = 1_000
HOST_BEHIND_MS: Final = 2_000


class KnownTime(NamedTuple):
    """An exchange's time in UTC ms, and how far it may be ahead of that."""

    now_ms: int
    behind_ms: int

    @property
    def is_told(self) -> bool:
        """Whether the exchange has told it lately, if only to the second."""
        return self.behind_ms < HOST_BEHIND_MS


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
        self._dated: dict[Exchange, _Told] = {}

    def note(self, exchange: Exchange, told_ms: int) -> None:
        """A time that the exchange has just told."""
        self._note(self._told, exchange, told_ms)

    def note_date(self, exchange: Exchange, date_ms: int) -> None:
        """The second in which it has just answered."""
        self._note(self._dated, exchange, date_ms)

    def told_ms(self, exchange: Exchange, within_s: float = _COUNTS_FOR_S) -> int | None:
        """The exchange's time now; None if it has not told it in so many seconds."""
        return self._since(self._told, exchange, within_s)

    def now_ms(self, exchange: Exchange) -> int:
        """The exchange's time now, to the second if only that is known; the host's if it has told
        none lately."""
        return self.known(exchange).now_ms

    def known(self, exchange: Exchange) -> KnownTime:
        """`now_ms`, and how well it is known."""
        told_ms = self.told_ms(exchange)
        if told_ms is not None:
            return KnownTime(told_ms, BEHIND_MS)
        date_ms = self._since(self._dated, exchange, _COUNTS_FOR_S)
        if date_ms is not None:
            return KnownTime(date_ms, SECOND_MS + BEHIND_MS)
        return KnownTime(self._wall_ms(), HOST_BEHIND_MS)

    def _note(self, known: dict[Exchange, _Told], exchange: Exchange, told_ms: int) -> None:
        passed_s = self._passed_s()
        ahead_ms = told_ms - int(passed_s * 1000)
        told = known.get(exchange)
        if told is None or ahead_ms >= told.ahead_ms or passed_s - told.since_s > _COUNTS_FOR_S:
            known[exchange] = _Told(ahead_ms, passed_s, passed_s)
        else:
            told.last_s = passed_s

    def _since(
        self, known: dict[Exchange, _Told], exchange: Exchange, within_s: float
    ) -> int | None:
        told, passed_s = known.get(exchange), self._passed_s()
        if told is None or passed_s - told.last_s > within_s:
            return None
        return told.ahead_ms + int(passed_s * 1000)
