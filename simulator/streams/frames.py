"""WebSocket frames from a server to its client (RFC 6455, 5.2): whole, not masked.

A compressed message (RFC 7692) is compressed alone, so that one frame serves all clients that
agreed to the same window.
"""

import struct
import zlib
from typing import Final

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA


_FINAL: Final = 0x80
_COMPRESSED: Final = 0x40


def frame(payload: bytes, kind: int = TEXT, deflate_bits: int = 0) -> bytes:
    """One whole frame with this payload; `deflate_bits`: the window to compress it with, 0: not."""
    first = _FINAL | kind
    if deflate_bits:
        first, payload = first | _COMPRESSED, _deflated(payload, deflate_bits)
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", first, length) + payload
    if length < 65_536:
        return struct.pack("!BBH", first, 126, length) + payload
    return struct.pack("!BBQ", first, 127, length) + payload


def _deflated(payload: bytes, bits: int) -> bytes:
    compressor = zlib.compressobj(1, wbits=-bits)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
