"""The errors of the embedded stores, and the deadline for waiting on them."""

import threading
import time


class EmbeddedStoresError(Exception):
    """An embedded store cannot be used; the message has the reason and the path of its log."""


class DiskFull(EmbeddedStoresError):
    """The disk has too little space for the store; the message names the folder."""


class WaitCancelled(EmbeddedStoresError):
    """The caller that waited for the store was cancelled."""


class Deadline:
    """A time limit for waiting, which ends early when `give_up` is set."""

    def __init__(self, seconds: float, give_up: threading.Event | None = None) -> None:
        self._end = time.monotonic() + seconds
        self._give_up = give_up or threading.Event()

    def wait(self, message: str, seconds: float = 0.02) -> None:
        """Sleeps for `seconds`. Raises EmbeddedStoresError(message) after the deadline."""
        if time.monotonic() > self._end:
            raise EmbeddedStoresError(message)
        if self._give_up.wait(seconds):
            raise WaitCancelled("waiting for the store was cancelled")
