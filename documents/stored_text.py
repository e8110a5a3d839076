"""Encodes and decodes a document's stored text: base64 of one zlib stream, piece by piece."""

import binascii
import hashlib
import io
import time
from collections.abc import Iterable, Iterator
from typing import Final

from documents.deflated import Deflated

# base64 and hashing hold the GIL for one slice at a time: about a millisecond.
_RAW_SLICE: Final = 3 << 16
_TEXT_SLICE: Final = 4 << 16


def stored_hash(stream: bytes) -> str:
    """The hash of a zlib stream or of a JSON text, as in DocumentMeta."""
    return hashlib.blake2b(stream, digest_size=8).hexdigest()


class TextStream:
    """Encodes a document in pieces of at most `piece_bytes`; CPU work for a thread.

    `hash` is of the stream and `written` of the text (bytes) of all pieces so far.
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
        """The next piece; empty after the last."""
        texts: list[bytes] = []
        length = 0
        for raw in self._slices:
            self._hash.update(raw)
            texts.append(binascii.b2a_base64(raw, newline=False))
            length += len(texts[-1])
            time.sleep(0)  # releases the GIL to the event loop
            if length + len(texts[0]) > self._piece_bytes:
                break
        self.written += length
        return b"".join(texts)


class TextDecoder:
    """Decodes pieces of text to their zlib stream. CPU work, for one thread at a time."""

    def __init__(self) -> None:
        self._stream = io.BytesIO()
        self._hash = hashlib.blake2b(digest_size=8)

    @property
    def hash(self) -> str:
        return self._hash.hexdigest()

    def feed(self, piece: bytes) -> bool:
        """Decodes a piece, whose length is a multiple of four; False if it is not base64."""
        view = memoryview(piece)
        try:
            for at in range(0, len(view), _TEXT_SLICE):
                raw = binascii.a2b_base64(view[at : at + _TEXT_SLICE], strict_mode=True)
                self._hash.update(raw)
                self._stream.write(raw)
                time.sleep(0)  # releases the GIL to the event loop
        except binascii.Error:
            return False
        return True

    def stream(self) -> bytes:
        """A copy of the stream so far."""
        return self._stream.getvalue()


def _slices(pieces: Iterable[bytes], size: int) -> Iterator[memoryview]:
    """The same bytes in slices of `size`; the last may be shorter."""
    gathered: list[bytes | memoryview] = []
    length = 0
    for piece in pieces:
        gathered.append(piece)
        length += len(piece)
        if length < size:
            continue
        joined = memoryview(b"".join(gathered))
        rest = length % size
        for start in range(0, length - rest, size):
            yield joined[start : start + size]
        gathered = [joined[length - rest :]]
        length = rest
    if length:
        yield memoryview(b"".join(gathered))
