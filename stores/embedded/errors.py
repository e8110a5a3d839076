"""What can be wrong with an embedded store, and the end of waiting for one."""

import threading
import time


class EmbeddedStoresError(Exception):
    """An embedded store cannot be used; the message says why, and where its log lies."""


class DiskFull(EmbeddedStoresError):
    """No space is left for it; the message says where. Later there may be."""


class GivenUp(EmbeddedStoresError):
    """Nobody waits for this any more."""


class Deadline:
    """An end to waiting, which comes early when the waiting is given up."""

    def __init__(self, seconds: float, give_up: threading.Event | None = None) -> None:
        self._end = time.monotonic() + seconds
        self._give_up = give_up or threading.Event()

    def wait(self, message: str, seconds: float = 0.02) -> None:
        """Sleeps a little. Raises EmbeddedStoresError with `message` when the deadline is over."""
        if time.monotonic() > self._end:
            raise EmbeddedStoresError(message)
        if self._give_up.wait(seconds):
            raise GivenUp("given up")
