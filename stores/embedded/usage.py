"""How many processes use an embedded server: locks that count them and order start and stop."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from stores.embedded.errors import Deadline
from stores.embedded.locks import same_file, try_lock
from stores.embedded.server_files import ServerFiles


class ServerUsers:
    """The processes that use one server; each holds a shared lock on its users file."""

    def __init__(self, files: ServerFiles) -> None:
        self._files = files
        self._ours: int | None = None

    @property
    def joined(self) -> bool:
        return self._ours is not None

    @contextlib.contextmanager
    def control(self, deadline: Deadline) -> Iterator[None]:
        """Holds the control lock: no other process starts or stops the server meanwhile.

        Raises EmbeddedStoresError if another process holds it until the deadline.
        """
        busy = f"another process is still starting or stopping {self._files.description}"
        while True:
            descriptor = self._files.open("control")
            try:
                while not try_lock(descriptor, fcntl.LOCK_EX):
                    deadline.wait(busy)
                # The file may have been removed meanwhile, and others may have locked a new one.
                if same_file(descriptor, self._files.path("control")):
                    yield
                    return
            finally:
                os.close(descriptor)

    def join(self) -> None:
        """Makes this process a user. Call it while holding `control`."""
        if self._ours is None:
            self._ours = self._files.open("users")
            # Only holders of the control lock lock it exclusively, so this does not wait.
            fcntl.flock(self._ours, fcntl.LOCK_SH)

    def leave(self) -> None:
        if self._ours is not None:
            # Closing alone would keep the lock while a forked child has the descriptor.
            fcntl.flock(self._ours, fcntl.LOCK_UN)
            os.close(self._ours)
            self._ours = None

    def is_unused(self) -> bool:
        """Whether no process, including this one, is a user. Call it while holding `control`."""
        descriptor = self._files.open("users")
        try:
            return try_lock(descriptor, fcntl.LOCK_EX)
        finally:
            os.close(descriptor)
