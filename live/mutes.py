"""Mutes: names that an exchange has acknowledged and never sent anything of.

An acknowledgement proves nothing, only data do. A market that is not traded is silent, too, so they
are subscribed anew after a quarter of an hour, and then ever more seldom.
"""

from collections.abc import Callable, Collection
from typing import Final

FIRST_S: Final = 900.0  # three candles of 5m: nearly every market trades in one of them
SLOWEST_S: Final = 4 * 3600.0
LOOK_EVERY_S: Final = 60.0


class Mutes:
    """Those of one connection. `has_data`: whether anything has come under a name. No I/O; `now` is
    monotonic time in seconds."""

    def __init__(self, has_data: Callable[[str], bool], now: float) -> None:
        self._has_data = has_data
        self._silent: dict[str, tuple[float, int]] = {}  # since when, and how often asked anew
        self.look_at_s = now + LOOK_EVERY_S

    @property
    def names(self) -> Collection[str]:
        """Those that had sent nothing when it was looked last."""
        return self._silent.keys()

    def due(self, held: Collection[str], now: float) -> list[str]:
        """The held names that must be subscribed anew now; to be called from `look_at_s` on."""
        if now < self.look_at_s:
            return []
        self.look_at_s = now + LOOK_EVERY_S
        silent = (name for name in held if not self._has_data(name))
        self._silent = {name: self._silent.get(name, (now, 0)) for name in silent}
        due = []
        for name, (since_s, times) in self._silent.items():
            if now >= since_s + min(FIRST_S * 2**times, SLOWEST_S):
                self._silent[name] = now, times + 1
                due.append(name)
        return due
