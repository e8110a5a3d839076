"""Content negotiation: the coding to send for an Accept-Encoding header (RFC 9110, 12.5.3)."""

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Final

# Longer headers are not cached, so that clients cannot fill the memory.
_LONGEST_CACHED: Final = 256
_QVALUE: Final = re.compile(rb"^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$")


class Coding(StrEnum):
    """The codings we offer, the preferred one first: documents are stored as deflate."""

    DEFLATE = "deflate"
    GZIP = "gzip"
    IDENTITY = "identity"


def choose_coding(accept_encoding: bytes | None) -> Coding | None:
    """The coding to send; None if the client accepts none of ours.

    A request without the header gets identity.
    """
    if accept_encoding is None:
        return Coding.IDENTITY
    if len(accept_encoding) > _LONGEST_CACHED:
        return _choose_coding(accept_encoding)
    return _choose_coding_cached(accept_encoding)


def _choose_coding(accept_encoding: bytes) -> Coding | None:
    qualities = dict(_qualities(accept_encoding))
    others = qualities.get(b"*")
    best: tuple[float, Coding] | None = None
    for coding in Coding:
        quality = qualities.get(coding.value.encode())
        if quality is None and coding is Coding.IDENTITY:
            # Identity is acceptable even if it is not listed, unless `*` has q=0.
            quality = 0.0 if others == 0 else 0.0001
        elif quality is None:
            quality = others or 0.0
        if quality > 0 and (best is None or quality > best[0]):
            best = (quality, coding)
    return best and best[1]


def _qualities(accept_encoding: bytes) -> Iterator[tuple[bytes, float]]:
    """Each coding with its quality; malformed elements are skipped."""
    for element in accept_encoding.lower().split(b","):
        name, _, parameter = (part.strip() for part in element.partition(b";"))
        key, _, value = (part.strip() for part in parameter.partition(b"="))
        if not name or (parameter and (key != b"q" or not _QVALUE.match(value))):
            continue
        yield (b"gzip" if name == b"x-gzip" else name), float(value) if parameter else 1.0


_choose_coding_cached = lru_cache(1024)(_choose_coding)
