"""One zlib stream, joined from parts that were compressed one by one.

A part ends on a byte boundary and refers to nothing before it, so parts joined in any order are
one valid stream (RFC 1950), which is also HTTP's `deflate`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from isal import isal_zlib

_LEVEL: Final = 1  # isal: on documents as small as levels 2 and 3, and faster
_RAW: Final = -15  # a stream without header and checksum, with the full window
_PART_BYTES: Final = 1 << 20
_HEADER: Final = b"\x78\x01"
_FLUSH: Final = b"\x00\x00\xff\xff"  # with which each part ends
_END: Final = b"\x03\x00"  # an empty final block
_ADLER_BASE: Final = 65521
HEADER_BYTES: Final = len(_HEADER)
FRAME_BYTES: Final = HEADER_BYTES + len(_END) + 4  # of a stream, beside its parts


class DeflatedPart(NamedTuple):
    """A compressed piece of text; `size` (bytes) and `adler` (Adler-32) are those of the text."""

    deflated: bytes
    size: int
    adler: int


@dataclass(frozen=True, slots=True)
class Deflated:
    """A complete zlib stream in pieces, and the size of its text in bytes."""

    pieces: tuple[bytes, ...]
    text_bytes: int

    def inflate(self) -> bytes:
        return inflate(b"".join(self.pieces), self.text_bytes)


def deflate(text: bytes | memoryview) -> DeflatedPart:
    return deflate_each((text,))[0]


def deflate_each(texts: Iterable[bytes | memoryview]) -> list[DeflatedPart]:
    """Compresses each text to a part of its own."""
    # One compressor for all: a full flush makes it forget what it has seen.
    compressor = isal_zlib.compressobj(level=_LEVEL, wbits=_RAW)
    return [
        DeflatedPart(
            compressor.compress(text) + compressor.flush(isal_zlib.Z_FULL_FLUSH),
            len(text),
            _adler32(text),
        )
        for text in texts
    ]


def stored_part(deflated: bytes, text: memoryview) -> DeflatedPart | None:
    """The part of a stream that holds this text; None if no part ends there."""
    return DeflatedPart(deflated, len(text), _adler32(text)) if deflated.endswith(_FLUSH) else None


def _adler32(text: bytes | memoryview) -> int:
    found: int = isal_zlib.adler32(text)
    return found


def deflate_whole(text: bytes) -> Deflated:
    """Compresses a complete text."""
    view = memoryview(text)
    return join_parts(
        deflate_each(
            view[start : start + _PART_BYTES] for start in range(0, len(view), _PART_BYTES)
        )
    )


def join_parts(parts: Iterable[DeflatedPart]) -> Deflated:
    """One stream of the parts' texts in order."""
    texts, sizes, adlers = list(zip(*parts, strict=True)) or ((), (), ())
    pieces = (_HEADER, *texts, _END + _combined_adler(sizes, adlers).to_bytes(4, "big"))
    return Deflated(pieces, sum(sizes))


def inflate(stream: bytes, text_bytes: int) -> bytes:
    """The text of a stream. Raises ValueError if it is damaged or not `text_bytes` long."""
    try:
        text: bytes = isal_zlib.decompress(stream, bufsize=text_bytes)
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub calls it a value
        raise ValueError(str(error)) from None
    if len(text) != text_bytes:
        raise ValueError(f"{len(text)} bytes instead of {text_bytes}")
    return text


def inflate_at_most(stream: bytes, most_bytes: int) -> bytes:
    """The text of a stream. Raises ValueError if it is damaged or longer than `most_bytes`."""
    inflater = isal_zlib.decompressobj()
    try:
        text: bytes = inflater.decompress(stream, most_bytes)
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub calls it a value
        raise ValueError(str(error)) from None
    if not inflater.eof:
        raise ValueError(f"the stream does not end within {most_bytes} bytes of text")
    return text


def inflate_parts(parts: bytes | memoryview, text_bytes: int) -> bytes:
    """The text of adjacent parts of a stream. Raises ValueError if it is damaged, or not of
    `text_bytes`."""
    try:
        text: bytes = isal_zlib.decompress(b"".join((parts, _END)), wbits=_RAW, bufsize=text_bytes)
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub calls it a value
        raise ValueError(str(error)) from None
    if len(text) != text_bytes:
        raise ValueError(f"{len(text)} bytes instead of {text_bytes}")
    return text


def _combined_adler(sizes: Sequence[int], adlers: Sequence[int]) -> int:
    """The Adler-32 of a text from those of its parts (zlib: adler32_combine)."""
    low, high = 1, 0
    for size, adler in zip(sizes, adlers, strict=True):
        high = (high + (adler >> 16) + size * (low - 1)) % _ADLER_BASE
        low = (low + (adler & 0xFFFF) - 1) % _ADLER_BASE
    return high << 16 | low
