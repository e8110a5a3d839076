"""Counts of the streams, for GET /sim/stats."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class StreamCounts:
    """One exchange's counts; `open` and `streams` are of now, the others since the last reset."""

    open: int = 0
    streams: int = 0  # subscriptions of all open connections together
    connected: int = 0
    refused: int = 0  # connections that were refused before they opened
    messages_in: int = 0  # pings and pongs included
    messages_out: int = 0  # answers and data
    bytes_out: int = 0
    closed: Counter[str] = field(default_factory=Counter)  # by close code; "cut", "client"
    most_messages_in: int = 0  # in the window of the exchange's limit, of one connection

    def reset(self) -> None:
        self.connected = self.refused = self.messages_in = self.messages_out = 0
        self.bytes_out = self.most_messages_in = 0
        self.closed.clear()

    def as_json(self) -> dict[str, Any]:
        return {
            "open": self.open,
            "streams": self.streams,
            "connected": self.connected,
            "refused": self.refused,
            "messages_in": self.messages_in,
            "messages_out": self.messages_out,
            "bytes_out": self.bytes_out,
            "most_messages_in": self.most_messages_in,
            "closed": dict(self.closed),
        }
