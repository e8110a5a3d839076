"""How many connections there may be, how large a request's head, how long each part may take.

The limits of a request's body are in api/request_body.py.
"""

from collections.abc import Hashable
from typing import Final, Protocol

from uvicorn.server import ServerState

from api.answers import PIECE_DEADLINE_S
from metrics.api import ApiMetrics

HEAD_DEADLINE_S: Final = 10.0
LONGEST_TARGET: Final = 16 * 1024  # path and query: all symbols there are fit
LARGEST_HEAD: Final = 32 * 1024
MOST_HEADERS: Final = 100
# Requests sent before the first is answered wait in memory, and one read may bring thousands.
MOST_PIPELINED: Final = 16
MOST_CONNECTIONS: Final = 16_384
# Files that are never given to clients: the stores' connections, logs, the pages of /docs.
OWN_FILES: Final = 64


class Connection(Hashable, Protocol):
    """One of a server's connections, as far as its place is concerned."""

    def end(self) -> None:
        """Closes a connection that nothing is owed to."""


class ConnectionLimits(ServerState):
    """The state of a uvicorn server that takes no more connections than it has files for.

    When it is full, the one that was idle for longest makes room for a new one; when all are
    being served, the new one is refused. `head_deadline_s` is the time for a request's head,
    `piece_deadline_s` that for taking PIECE_BYTES of an answer.
    """

    def __init__(
        self,
        most: int,
        metrics: ApiMetrics,
        *,
        head_deadline_s: float = HEAD_DEADLINE_S,
        piece_deadline_s: float = PIECE_DEADLINE_S,
    ) -> None:
        super().__init__()
        self.most = most
        self.metrics = metrics
        self.head_deadline_s = head_deadline_s
        self.piece_deadline_s = piece_deadline_s
        # Open, with no request of theirs being served; in the order in which they became so.
        self.idle: dict[Connection, None] = {}

    @classmethod
    def within(cls, open_files: int, metrics: ApiMetrics) -> "ConnectionLimits":
        """For a process that may have this many files open."""
        return cls(min(MOST_CONNECTIONS, max(open_files - OWN_FILES, open_files // 2)), metrics)

    def makes_room(self) -> bool:
        """Whether there is room for the connection that has just been opened."""
        if len(self.connections) <= self.most:
            return True
        for longest in self.idle:
            longest.end()
            return True
        return False
