"""The cursor of a page: where the next one begins, and the state that the first one was read in.

Opaque to clients: base64 of JSON. It fits the selection of its first page alone.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Self

import orjson

from history.selection import MarketName, Place

_LONGEST: Final = 1000
_DIGEST_BYTES: Final = 8


class BadCursor(ValueError):
    """The text is no cursor of ours, or one of another request; the message says which."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """`after`: the last row that was sent. `pin_ms`: nothing that is known later is told."""

    after: Place
    pin_ms: int

    def encode(self, selection: bytes) -> str:
        """`selection`: what must be the same on each page."""
        (exchange, symbol), time_ms = self.after
        fields = [_digest(selection), self.pin_ms, exchange, symbol, time_ms]
        return urlsafe_b64encode(orjson.dumps(fields)).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str, selection: bytes) -> Self:
        """Raises BadCursor."""
        try:
            if len(text) > _LONGEST:
                raise ValueError
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            digest, pin_ms, exchange, symbol, time_ms = orjson.loads(urlsafe_b64decode(padded))
            numbers = isinstance(pin_ms, int) and isinstance(time_ms, int)
            if not numbers or not isinstance(exchange, str) or not isinstance(symbol, str):
                raise ValueError
            if not (0 <= pin_ms < 2**62 and 0 <= time_ms < 2**62):
                raise ValueError
        except (ValueError, TypeError):
            raise BadCursor("must be `next` of an answer, as it was") from None
        if digest != _digest(selection):
            raise BadCursor("is of another request: only limit, columns and format may differ")
        return cls(Place(MarketName(exchange, symbol), time_ms), pin_ms)


def _digest(selection: bytes) -> str:
    return blake2b(selection, digest_size=_DIGEST_BYTES).hexdigest()
