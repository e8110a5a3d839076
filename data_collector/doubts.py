"""Doubts: answers that contradict much of what is known, which count when they are given again."""

from dataclasses import dataclass, field

from market.timeframes import Timeframe
from market.unconfirmed_lists import ASKED_AGAIN_AFTER_MS


@dataclass(slots=True)
class Doubts:
    """The answers that were doubted, by Market.key and timeframe; one for each worker process."""

    _since_ms: dict[tuple[str, Timeframe], int] = field(default_factory=dict)

    def is_believed(self, key: str, timeframe: Timeframe, as_of_ms: int, doubt: str | None) -> bool:
        """Whether an answer counts. One with a doubt does if there was one a minute ago, too, and
        none without since."""
        place = key, timeframe
        if doubt is None:
            self._since_ms.pop(place, None)
            return True
        since_ms = self._since_ms.setdefault(place, as_of_ms)
        if as_of_ms - since_ms < ASKED_AGAIN_AFTER_MS:
            return False
        del self._since_ms[place]
        return True
