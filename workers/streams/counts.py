"""StreamCounts: what a held WebSocket worker has done and does, as its beat and metrics tell it."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["connecting", "open", "waiting", "failed"]


@dataclass(slots=True)
class StreamCounts:
    """Counted since this process took the worker.

    `status`: waiting is the pause before a restart. `restarts`: failures after which it was
    connected or called again. `lag_s`: how long the last message had waited when the function took
    it. `error`: of the last failure.
    """

    since_ms: int
    status: Status = "connecting"
    messages: int = 0
    published: int = 0
    connections: int = 0
    restarts: int = 0
    last_message_ms: int | None = None
    lag_s: float = 0.0
    waiting: int = 0  # messages that have come and that the function has not taken
    error: str | None = None
