"""WebSocket frames from a server to its client (RFC 6455, 5.2): whole, not masked."""

import struct
from typing import Final

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA


def frame(payload: bytes, kind: int = TEXT) -> bytes:
    """One whole frame with this payload."""
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", 0x80 | kind, length) + payload
    if length < 65_536:
        return struct.pack("!BBH", 0x80 | kind, 126, length) + payload
    return struct.pack("!BBQ", 0x80 | kind, 127, length) + payload
