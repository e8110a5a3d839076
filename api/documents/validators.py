"""Which coding a client gets, and whether it has a version already: header grammar of RFC 9110.

Sections 12.5.3 (Accept-Encoding), 13.1.2 (If-None-Match), 8.8.3 (ETag).
"""

import re
from collections.abc import Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

# Longer inputs are not memoised: keys of any length would let a client fill the memory.
_LONGEST_MEMO: Final = 256

_QVALUE: Final = re.compile(rb"^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$")
_ENTITY_TAG: Final = re.compile(rb'(?:W/)?"([^"]*)"')
# Apache and others write "…-gzip", Jetty "…--gzip".
_PROXYS_SUFFIX: Final = re.compile(rb"--?(?:gzip|br|zstd|deflate)$")


class Coding(StrEnum):
    """What we can send, in the order in which we prefer it: deflate is as it is stored."""

    DEFLATE = "deflate"
    GZIP = "gzip"
    IDENTITY = "identity"


def choose_coding(accept_encoding: bytes | None) -> Coding | None:
    """The coding to send; None if the client accepts none that we have.

    Without a header nothing is known of the client, so it gets identity.
    """
    if accept_encoding is None:
        return Coding.IDENTITY
    if len(accept_encoding) > _LONGEST_MEMO:
        return _choose_coding(accept_encoding)
    return _choose_coding_short(accept_encoding)


def entity_tag(representation: bytes, coding: Coding) -> bytes:
    return b'"%b-%b"' % (representation, _CODED[coding])


def is_known(if_none_match: bytes, representation: bytes) -> bool:
    """Whether the client has this version of this query, in whatever coding.

    A compressing proxy may have appended its coding to the tag, inside the quotes.
    """
    if if_none_match.strip() == b"*":
        return True
    for match in _ENTITY_TAG.finditer(if_none_match):
        tag = match[1]
        if _is_of(tag, representation) or _is_of(_PROXYS_SUFFIX.sub(b"", tag), representation):
            return True
    return False


def read_date(value: bytes) -> int | None:
    """An HTTP date (RFC 9110, 5.6.7) in seconds since 1970; None if the text is not a date."""
    return None if len(value) > _LONGEST_MEMO else _read_date(value)


_CODED: Final = {coding: coding.value.encode() for coding in Coding}
_CODINGS: Final = frozenset(_CODED.values())


def _is_of(tag: bytes, representation: bytes) -> bool:
    head, _, coding = tag.rpartition(b"-")
    return head == representation and coding in _CODINGS


@lru_cache(256)
def _read_date(value: bytes) -> int | None:
    try:
        date = parsedate_to_datetime(value.decode("latin-1"))
        return int(date.replace(tzinfo=date.tzinfo or UTC).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


def _choose_coding(accept_encoding: bytes) -> Coding | None:
    qualities = dict(_qualities(accept_encoding))
    others = qualities.get(b"*")
    best: tuple[float, Coding] | None = None
    for coding in Coding:
        quality = qualities.get(coding.value.encode())
        if quality is None and coding is Coding.IDENTITY:
            # Identity that is not named is acceptable as the last choice, unless `*` has q=0.
            quality = 0.0 if others == 0 else 0.0001
        elif quality is None:
            quality = others or 0.0
        if quality > 0 and (best is None or quality > best[0]):
            best = (quality, coding)
    return best and best[1]


def _qualities(accept_encoding: bytes) -> Iterator[tuple[bytes, float]]:
    """The codings and their qualities; malformed elements are ignored."""
    for element in accept_encoding.lower().split(b","):
        name, _, parameter = (part.strip() for part in element.partition(b";"))
        key, _, value = (part.strip() for part in parameter.partition(b"="))
        if not name or (parameter and (key != b"q" or not _QVALUE.match(value))):
            continue
        yield (b"gzip" if name == b"x-gzip" else name), float(value) if parameter else 1.0


# Results are immutable and keys short.
_choose_coding_short = lru_cache(1024)(_choose_coding)
