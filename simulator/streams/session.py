"""Session: one WebSocket connection, its subscriptions and what is to be written to it."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from simulator.streams.frames import PING, PONG, frame


class Keeper(Protocol):
    """The hub, as its sessions see it."""

    now_s: float
    dirty: "dict[Session, None]"

    def subscribe(self, session: "Session", stream: str, *, delivers: bool) -> None: ...
    def unsubscribe(self, session: "Session", stream: str) -> None: ...
    def snapshots(self, session: "Session", streams: Iterable[str]) -> None: ...
    def limit_broken(self, limit: str) -> None: ...


class Ending(NamedTuple):
    """How the server ends a connection: with a close frame, or without one (code 0)."""

    code: int
    reason: str = ""


class Session:
    """One open connection. Times are `elapsed_s` of the clock.

    `form`: in which envelope it reads messages, an exchange's own numbers. `state`: whatever else
    the exchange keeps for it.
    """

    __slots__ = (
        "_hub",
        "client",
        "conn_id",
        "deflate_bits",
        "ended",
        "ending",
        "form",
        "frames_out",
        "inbound",
        "last_in_s",
        "last_out_s",
        "last_push_s",
        "life_s",
        "number",
        "opened_s",
        "overdue_since_s",
        "path",
        "slow_since_s",
        "stalled_until_s",
        "state",
        "streams",
        "transport",
    )  # fmt: skip

    def __init__(
        self, hub: Keeper, transport: asyncio.Transport, client: str, path: str, number: int
    ) -> None:
        self._hub = hub
        self.transport = transport
        self.client = client
        self.path = path
        self.number = number
        self.conn_id = f"{number:08x}-sim"
        self.form = 0
        self.deflate_bits = 0  # the window that messages are compressed with; 0: they are not
        self.state: Any = None
        self.streams: dict[str, None] = {}  # subscribed, in order
        self.opened_s = self.last_in_s = self.last_out_s = hub.now_s
        self.last_push_s = hub.now_s  # of a stream's message
        self.life_s: float | None = None  # by a fault, else by the settings
        self.stalled_until_s = 0.0
        self.overdue_since_s: float | None = None  # real time since when a sign of life is missed
        self.slow_since_s: float | None = None  # real time since when too much waits to be read
        self.inbound: deque[float] = deque()  # times of the last messages in
        self.frames_out: list[bytes] = []
        self.ending: Ending | None = None
        self.ended: asyncio.Event = asyncio.Event()

    def send(self, data: bytes) -> None:
        """Queues one text message; it is written before the loop runs on."""
        self.send_frame(frame(data, deflate_bits=self.deflate_bits))

    def ping(self, payload: bytes) -> None:
        self._queue(frame(payload, PING))

    def pong(self, payload: bytes) -> None:
        self._queue(frame(payload, PONG))

    def send_frame(self, data: bytes) -> None:
        """Queues a whole frame. A stalled connection gets pings and pongs, and nothing else."""
        if self._hub.now_s >= self.stalled_until_s:
            self._queue(data)

    def _queue(self, data: bytes) -> None:
        if self.ending is None:
            self.frames_out.append(data)
            self._hub.dirty[self] = None

    def subscribe(self, stream: str, *, delivers: bool = True) -> None:
        """Subscribes to a stream, once; without `delivers` nothing of it comes here."""
        self._hub.subscribe(self, stream, delivers=delivers)

    def unsubscribe(self, stream: str) -> None:
        self._hub.unsubscribe(self, stream)

    def send_snapshots(self, streams: Iterable[str]) -> None:
        """Sends what new subscribers of these get at once; to be called after the answer."""
        self._hub.snapshots(self, streams)

    def limit_broken(self, limit: str) -> None:
        """Counts that this connection broke a limit of its exchange."""
        self._hub.limit_broken(limit)

    def close(self, code: int, reason: str = "") -> None:
        """Ends the connection with a close frame, after what is queued."""
        if self.ending is None:
            self.ending = Ending(code, reason)
            self.ended.set()

    def cut(self) -> None:
        """Ends the connection without a word."""
        self.close(0)
