"""The pace of a WebSocket worker's restarts: growing pauses by chance, and when it is given up."""

import random
from collections.abc import Callable

from workers.streams.options import StreamOptions


class RestartPace:
    """Counts the failures in a row, of connections and of the worker's function alike.

    The n-th is followed by a pause of `first_pause_s` * 2 ** (n - 1), at most `longest_pause_s`, of
    which a half is by chance, so that workers that were cut together do not come back together.
    A connection that has brought messages for longer than `longest_pause_s` ends the row.
    """

    def __init__(
        self,
        options: StreamOptions,
        between: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._options = options
        self._between = between
        self.in_a_row = 0

    def failed(self, brought_s: float) -> float | None:
        """The pause after a failure, in seconds; None: give up. `brought_s`: from the first message
        to the last since the failure before; 0 without any."""
        options = self._options
        if brought_s > options.longest_pause_s:
            self.in_a_row = 0
        self.in_a_row += 1
        if self.in_a_row > options.restarts:
            return None
        doubled = min(self.in_a_row - 1, 63)  # more only overflows
        pause_s = min(options.longest_pause_s, options.first_pause_s * 2.0**doubled)
        return self._between(pause_s / 2, pause_s)
