"""How many long polls one client may have open; who waits for what is publish_watcher.py's."""

import contextlib
from collections import Counter
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

from api.client_address import client_of
from config import Network


class TooManyLongPolls(Exception):
    """The client has as many long polls open as it may have."""


class LongPolls:
    """The long polls that are open, by client."""

    def __init__(self, most_per_client: int, proxies: Sequence[Network]) -> None:
        self._most = most_per_client
        self._proxies = proxies
        self._held: Counter[str] = Counter()

    @contextlib.contextmanager
    def held(self, scope: MutableMapping[str, Any]) -> Iterator[None]:
        """Counts one long poll while it is open. Raises TooManyLongPolls."""
        client = client_of(scope, self._proxies)
        if self._held[client] >= self._most:
            raise TooManyLongPolls(
                f"too many long polls from your address (limit {self._most}): retry without wait="
            )
        self._held[client] += 1
        try:
            yield
        finally:
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]
