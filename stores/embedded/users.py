"""Who uses a server: one shared lock for each user, and the lock of whoever starts or ends it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from stores.embedded.errors import Deadline
from stores.embedded.locks import same_file, try_lock
from stores.embedded.record import ServerFiles


class ServerUsers:
    """The users of one server, of which this process may be one."""

    def __init__(self, files: ServerFiles) -> None:
        self._files = files
        self._ours: int | None = None

    @property
    def joined(self) -> bool:
        return self._ours is not None

    @contextlib.contextmanager
    def control(self, deadline: Deadline) -> Iterator[None]:
        """Nobody else starts or ends the server meanwhile.

        Raises EmbeddedStoresError if somebody else does so until the deadline.
        """
        busy = f"{self._files.what} is being started or ended by another process"
        while True:
            descriptor = self._files.open("control")
            try:
                while not try_lock(descriptor, fcntl.LOCK_EX):
                    deadline.wait(busy)
                # Someone may have removed the file, and others locked a new one.
                if same_file(descriptor, self._files.path("control")):
                    yield
                    return
            finally:
                os.close(descriptor)

    def join(self) -> None:
        """Makes this process a user. Call it under `control`."""
        if self._ours is None:
            self._ours = self._files.open("users")
            # Locked alone only by holders of the control lock, so this does not wait.
            fcntl.flock(self._ours, fcntl.LOCK_SH)

    def leave(self) -> None:
        if self._ours is not None:
            # Not only closed: a forked child may hold the same descriptor.
            fcntl.flock(self._ours, fcntl.LOCK_UN)
            os.close(self._ours)
            self._ours = None

    def nobody(self) -> bool:
        """Whether no process uses the server, this one included. Call it under `control`."""
        descriptor = self._files.open("users")
        try:
            return try_lock(descriptor, fcntl.LOCK_EX)
        finally:
            os.close(descriptor)
