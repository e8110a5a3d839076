"""The pace of reconnecting: exponential backoff with full jitter, which never ends."""

import random
from collections.abc import Callable
from typing import Final

SLOWEST_S: Final = 60.0
_LEAST_S: Final = 1.0


class RestartPace:
    """The pauses before attempts to connect again.

    The n-th pause is anything from 1 s to `first_s` * 2 ** (n - 1), at most a minute, or `first_s`
    if that is longer: chosen by chance, so that collectors which were cut together do not come
    back together. After `most` attempts it is anything up to the slowest, and never ends.
    """

    def __init__(
        self,
        first_s: float,
        most: int,
        between: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first_s = first_s
        self._most = most
        self._between = between
        self.slowest_s = max(SLOWEST_S, first_s)

    def pause_s(self, attempt: int) -> float:
        """The pause before this attempt, counted from 1."""
        longest_s = self.slowest_s
        if attempt <= self._most and attempt < 32:
            longest_s = min(self.slowest_s, self._first_s * 2 ** (attempt - 1))
        return self._between(min(_LEAST_S, longest_s), longest_s)
