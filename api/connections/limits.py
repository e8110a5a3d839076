"""Limits of connections: their number, the size of a request's head, and deadlines.

The limits of a request's body are in api/request_body.py.
"""

from collections.abc import Hashable
from typing import Final, Protocol

from uvicorn.server import ServerState

from api.answers import PIECE_DEADLINE_S
from api.connections.hosts import Hosts
from metrics.api import ApiMetrics

HEAD_DEADLINE_S: Final = 10.0
LONGEST_TARGET: Final = 16 * 1024  # path and query, enough for all symbols
LARGEST_HEAD: Final = 32 * 1024
MOST_HEADERS: Final = 100
# Pipelined requests wait in memory, and one read may bring thousands.
MOST_PIPELINED: Final = 16
LARGEST_PIPELINE: Final = LARGEST_HEAD  # bytes of their heads together
# What brings neither head nor body: trailers, chunk extensions, the frames of tiny chunks.
LARGEST_TRAILER: Final = LARGEST_HEAD
MOST_CONNECTIONS: Final = 16_384
# Open files reserved for stores, logs and the files of /docs.
RESERVED_FILES: Final = 64


class Connection(Hashable, Protocol):
    """A connection that can be closed to make room for another."""

    def end(self) -> None:
        """Closes an idle connection."""


class ConnectionLimits(ServerState):
    """The state of a uvicorn server that limits its connections to `most`.

    A new connection above the limit replaces the one that was idle for longest, and is refused if
    none is idle. `hosts`: those that requests may name. `head_deadline_s` is the time for a
    request's head, `piece_deadline_s` that for a client to take PIECE_BYTES of an answer.
    """

    def __init__(
        self,
        most: int,
        metrics: ApiMetrics,
        *,
        hosts: Hosts | None = None,
        head_deadline_s: float = HEAD_DEADLINE_S,
        piece_deadline_s: float = PIECE_DEADLINE_S,
    ) -> None:
        super().__init__()
        self.hosts = hosts or Hosts()
        self.most = most
        self.metrics = metrics
        self.head_deadline_s = head_deadline_s
        self.piece_deadline_s = piece_deadline_s
        # Connections without a request in progress, the longest idle first.
        self.idle: dict[Connection, None] = {}

    @classmethod
    def for_open_files(
        cls, open_files: int, metrics: ApiMetrics, hosts: Hosts
    ) -> "ConnectionLimits":
        """Limits for a process that may have `open_files` files open."""
        most = min(MOST_CONNECTIONS, max(open_files - RESERVED_FILES, open_files // 2))
        return cls(most, metrics, hosts=hosts)

    def make_room(self) -> bool:
        """Ends an idle connection if there is one too many; False if none is idle."""
        if len(self.connections) <= self.most:
            return True
        for longest in self.idle:
            longest.end()
            return True
        return False
