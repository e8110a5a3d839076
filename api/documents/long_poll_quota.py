"""Limits the long polls that one client may have open at once."""

import contextlib
from collections import Counter
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

from addresses.lists import Network
from api.client_address import client_of


class TooManyLongPolls(Exception):
    """The client has reached its limit of open long polls."""


class LongPolls:
    """Counts the open long polls of each client address."""

    def __init__(self, most_per_client: int, proxies: Sequence[Network]) -> None:
        self._most = most_per_client
        self._proxies = proxies
        self._open: Counter[str] = Counter()

    @contextlib.contextmanager
    def counted(self, scope: MutableMapping[str, Any]) -> Iterator[None]:
        """Counts a long poll while it is open. Raises TooManyLongPolls."""
        client = client_of(scope, self._proxies)
        if self._open[client] >= self._most:
            raise TooManyLongPolls(
                f"too many long polls from your address (limit {self._most}): retry without wait="
            )
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]
