"""How many calls of providers each client may cause, so that none uses up the quotas of all."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Final

from addresses.lists import Network
from api.answers import Scope
from api.client_address import client_of

_MINUTE_S: Final = 60.0
_MOST_CLIENTS: Final = 10_000  # of which anything is remembered


class TooManyCalls(Exception):
    """The client has caused as many calls as it may; `after_s`: when it may cause one again."""

    def __init__(self, most: int, after_s: int) -> None:
        super().__init__(
            f"your address has asked for as much as it may that nobody had asked for before"
            f" ({most} a minute, MAX_PROVIDER_CALLS_PER_CLIENT): what is known is still answered"
        )
        self.after_s = after_s


class ClientCalls:
    """A bucket for each client's address, full with `most` calls, and filled in a minute."""

    def __init__(
        self,
        most: int,
        proxies: Sequence[Network],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._proxies = proxies
        self._clock_s = clock_s
        self._left: dict[str, tuple[float, float]] = {}  # calls, and when that was

    def take(self, scope: Scope, calls: int = 1) -> bool:
        """Whether the client may cause these calls; they are counted then. More than a bucket holds
        take a full one."""
        client, now_s = client_of(scope, self._proxies), self._clock_s()
        left = self._left_of(client, now_s)
        if left < min(calls, self._most):
            return False
        self._put(client, left - calls, now_s)
        return True

    def give_back(self, scope: Scope, calls: int = 1) -> None:
        """They were not made after all."""
        client, now_s = client_of(scope, self._proxies), self._clock_s()
        self._put(client, self._left_of(client, now_s) + calls, now_s)

    def refusal(self, scope: Scope) -> TooManyCalls:
        left = self._left_of(client_of(scope, self._proxies), self._clock_s())
        lacks = max(0.0, 1.0 - left)
        return TooManyCalls(self._most, max(1, math.ceil(lacks * _MINUTE_S / self._most)))

    def _left_of(self, client: str, now_s: float) -> float:
        left, at_s = self._left.get(client, (float(self._most), now_s))
        return min(self._most, left + (now_s - at_s) * self._most / _MINUTE_S)

    def _put(self, client: str, left: float, now_s: float) -> None:
        if left >= self._most:
            self._left.pop(client, None)
            return
        if client not in self._left and len(self._left) >= _MOST_CLIENTS:
            del self._left[next(iter(self._left))]
        self._left[client] = (left, now_s)
