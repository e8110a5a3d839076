"""ExchangeTime: an exchange's time, read by REST now and then, never behind the events it sends."""

from collections.abc import Callable
from typing import Final

from timing.clock import boot_s

# An event of a time so much later is a mistake, and a candle book drops it, too.
_FUTURE_MS: Final = 60_000


class ExchangeTime:
    """The time in UTC ms by calling it; until it is read that of this machine, `wall_ms`."""

    def __init__(self, wall_ms: int, elapsed_s: Callable[[], float] = boot_s) -> None:
        self._elapsed_s = elapsed_s
        self._ahead_ms = wall_ms - self._elapsed_ms()

    def __call__(self) -> int:
        return self._elapsed_ms() + self._ahead_ms

    def read(self, server_ms: int) -> None:
        """The exchange has told its time: it lies behind it by as long as the answer took."""
        self._ahead_ms = server_ms - self._elapsed_ms()

    def heard(self, event_time_ms: int) -> int:
        """An event of this time has come, so the exchange's time is not earlier; returns it."""
        now_ms = int(self._elapsed_s() * 1000) + self._ahead_ms
        behind_ms = event_time_ms - now_ms
        if 0 < behind_ms <= _FUTURE_MS:
            self._ahead_ms += behind_ms
            return event_time_ms
        return now_ms

    def _elapsed_ms(self) -> int:
        return int(self._elapsed_s() * 1000)
