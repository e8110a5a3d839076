"""Doubts: answers that contradict much of what is known, which count when they are given again."""

from dataclasses import dataclass, field
from typing import Final, Literal

from market.timeframes import DAY_MS, Timeframe
from market.unconfirmed_lists import ASKED_AGAIN_AFTER_MS

# What an answer is about: the candles of a timeframe, or those or the open interest of a base. One
# that is right about a timeframe says nothing of a doubt about the base.
Subject = Timeframe | Literal["base", "base interest"]

# An answer says "again" what was said up to so long ago: passes come once a day at least, and
# nobody has asked again in between where what was doubted was not needed any more.
_FORGOTTEN_AFTER_MS: Final = 2 * DAY_MS


@dataclass(slots=True)
class Doubts:
    """The answers that were doubted, by Market.key and subject; one for each worker process."""

    _since_ms: dict[tuple[str, Subject], int] = field(default_factory=dict)

    def is_believed(self, key: str, subject: Subject, as_of_ms: int, doubt: str | None) -> bool:
        """Whether an answer counts. One with a doubt does if there was one a minute ago, too, and
        none without since."""
        place = key, subject
        if doubt is None:
            self._since_ms.pop(place, None)
            return True
        since_ms = self._since_ms.get(place)
        if since_ms is None or not 0 <= as_of_ms - since_ms <= _FORGOTTEN_AFTER_MS:
            self._since_ms[place] = as_of_ms
            return False
        if as_of_ms - since_ms < ASKED_AGAIN_AFTER_MS:
            return False
        del self._since_ms[place]
        return True
