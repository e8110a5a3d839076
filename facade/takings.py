"""Takings: what each client took of a limit lately, so that who had its part leaves others theirs.

A client alone may have most of it; the rest is kept for those who come later.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Final

OF_WHO_HAD_ITS_PART: Final = 0.75  # of what may be taken, by all who had
_HELD: Final = 1.1  # windows for which room that was taken is not free again (budgets/left_over)
_MOST: Final = 10_000  # requests that are remembered; the oldest are forgotten above it


class Takings:
    """`window_s`: of the limit. `processes`: that give room of it, each a part. `now_s`: seconds
    from an arbitrary start."""

    def __init__(
        self, window_s: float, processes: int = 1, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._held_s = window_s * _HELD
        self._processes = processes
        self._now_s = now_s
        self._taken: deque[tuple[float, str, float]] = deque()  # until when it counts
        self._of_client: dict[str, float] = {}

    def took(self, clients: Collection[str], weight: int) -> None:
        """A request that these clients asked for together was given room."""
        for client in clients:
            part = weight / len(clients)
            self._taken.append((self._now_s() + self._held_s, client, part))
            self._of_client[client] = self._of_client.get(client, 0.0) + part
        self._forget()

    @property
    def are_some(self) -> bool:
        """Whether anything that was taken counts now."""
        self._forget()
        return bool(self._taken)

    def have_had_theirs(
        self, clients: Iterable[str], waiting: Collection[str], allowance: int
    ) -> bool:
        """Whether each of these had its part of `allowance`; `waiting`: who asks now, too. One more
        may always come: the parts of all together are less than what they may have."""
        self._forget()
        seen = len(self._of_client.keys() | set(waiting))
        part = OF_WHO_HAD_ITS_PART * allowance / (seen + 1) / self._processes
        return all(self._of_client.get(client, 0.0) >= part for client in clients)

    def _forget(self) -> None:
        now_s = self._now_s()
        while self._taken and (self._taken[0][0] <= now_s or len(self._taken) > _MOST):
            _, client, part = self._taken.popleft()
            left = self._of_client[client] - part
            if left > 1e-6:
                self._of_client[client] = left
            else:
                del self._of_client[client]
