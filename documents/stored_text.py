"""Documents as the text that is stored: base64 of one zlib stream, written and read in pieces."""

import binascii
import hashlib
import io
import time
from collections.abc import Iterable, Iterator
from typing import Final

from documents.deflated import Deflated

# Native code holds the interpreter for one slice at most: about a millisecond.
_RAW_SLICE: Final = 3 << 16
_TEXT_SLICE: Final = 4 << 16


def stored_hash(stream: bytes) -> str:
    """The hash of a zlib stream, or of a text, as a document's meta has it."""
    return hashlib.blake2b(stream, digest_size=8).hexdigest()


class TextStream:
    """A document as text, in pieces of at most `piece_bytes`; CPU work for a thread.

    `hash` and `written` are of all pieces so far.
    """

    def __init__(self, document: Deflated, piece_bytes: int) -> None:
        self._slices = _slices(document.pieces, min(_RAW_SLICE, piece_bytes // 4 * 3))
        self._piece_bytes = piece_bytes
        self._hash = hashlib.blake2b(digest_size=8)
        self.written = 0

    @property
    def hash(self) -> str:
        return self._hash.hexdigest()

    def piece(self) -> bytes:
        """The next piece; empty when there is none left."""
        texts: list[bytes] = []
        length = 0
        for raw in self._slices:
            self._hash.update(raw)
            texts.append(binascii.b2a_base64(raw, newline=False))
            length += len(texts[-1])
            time.sleep(0)  # lets the event loop have the interpreter
            if length + len(texts[0]) > self._piece_bytes:
                break
        self.written += length
        return b"".join(texts)


class TextDecoder:
    """The zlib stream of pieces of text. CPU work for threads, one at a time."""

    def __init__(self) -> None:
        self._stream = io.BytesIO()
        self._hash = hashlib.blake2b(digest_size=8)

    @property
    def hash(self) -> str:
        return self._hash.hexdigest()

    def feed(self, piece: bytes) -> bool:
        """Takes a piece of whole groups of four characters; False when it is not base64."""
        view = memoryview(piece)
        try:
            for at in range(0, len(view), _TEXT_SLICE):
                raw = binascii.a2b_base64(view[at : at + _TEXT_SLICE], strict_mode=True)
                self._hash.update(raw)
                self._stream.write(raw)
                time.sleep(0)  # lets the event loop have the interpreter
        except binascii.Error:
            return False
        return True

    def stream(self) -> bytes:
        """What was fed so far; copies it."""
        return self._stream.getvalue()


def _slices(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes cut anew, each slice of `size` but the last."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)
