"""Watches the closes: which markets' closing events are awaited, came late, or not at all."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

SOON_MS: Final = 2_500  # how long documents wait for closing events
_KEPT_CLOSES: Final = 4
_KEPT_LAGS: Final = 4096


@dataclass(slots=True)
class Close:
    """One close of all markets. `waiting`: those whose closing event has not come; `without_soon`,
    `without`: those that had none after SOON_MS, and after the grace (None before); `silent`: those
    of `without` of which no message came in the whole candle."""

    open_time_ms: int
    close_ms: int
    waiting: set[str]
    without_soon: frozenset[str] | None = None
    without: frozenset[str] | None = None
    silent: frozenset[str] = frozenset()


class ClosingWatch:
    """The newest closes by the open time of their candle, and the lags of closing events."""

    def __init__(self, interval_ms: int, grace_ms: int, now_ms: int) -> None:
        self.closes: dict[int, Close] = {}
        self._interval_ms = interval_ms
        self._grace_ms = grace_ms
        self._next_ms = now_ms - now_ms % interval_ms + interval_ms
        self._lags: deque[int] = deque(maxlen=_KEPT_LAGS)

    def came(self, symbol: str, open_time_ms: int, lag_ms: int) -> None:
        """The first closing event of a candle; before or after its close is awaited."""
        self._lags.append(lag_ms)
        if (close := self.closes.get(open_time_ms)) is not None:
            close.waiting.discard(symbol)

    def forget(self, symbol: str) -> None:
        for close in self.closes.values():
            close.waiting.discard(symbol)

    def advance(self, now_ms: int) -> Iterator[int]:
        """The open times of candles that have closed since the last call, for `await_all`. After a
        long sleep only the newest ones."""
        oldest_ms = now_ms - now_ms % self._interval_ms - (_KEPT_CLOSES - 1) * self._interval_ms
        self._next_ms = max(self._next_ms, oldest_ms)
        while self._next_ms <= now_ms:
            yield self._next_ms - self._interval_ms
            self._next_ms += self._interval_ms

    def await_all(self, open_time_ms: int, symbols: Iterable[str]) -> None:
        """Begins to wait for the closing events of a candle that has closed."""
        close = Close(open_time_ms, open_time_ms + self._interval_ms, set(symbols))
        self.closes[open_time_ms] = close
        while len(self.closes) > _KEPT_CLOSES:
            del self.closes[min(self.closes)]

    def soon_over(self, now_ms: int) -> None:
        for close in self.closes.values():
            if close.without_soon is None and now_ms >= close.close_ms + SOON_MS:
                close.without_soon = frozenset(close.waiting)

    def grace_over(self, now_ms: int) -> Iterator[Close]:
        """The closes whose grace has ended since the last call."""
        for close in self.closes.values():
            if close.without is None and now_ms >= close.close_ms + self._grace_ms:
                close.without = frozenset(close.waiting)
                yield close

    def lag_ms(self, share: float) -> int | None:
        """The lag that this share of the newest _KEPT_LAGS closing events did not exceed."""
        if not self._lags:
            return None
        ordered = sorted(self._lags)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
