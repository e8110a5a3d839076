"""ETags, If-None-Match and If-Modified-Since (RFC 9110, 8.8.3, 13.1.2, 13.1.3)."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from importlib.metadata import version
from typing import Final

from api.documents.content_coding import Coding
from api.formats import Format

_LONGEST_DATE: Final = 256

_ENTITY_TAG: Final = re.compile(rb'(?:W/)?"([^"]*)"')
# Apache and others append "-gzip", Jetty "--gzip".
_PROXY_SUFFIX: Final = re.compile(rb"--?(?:gzip|br|zstd|deflate)$")

# The library that writes tables: another release may write the same rows in other bytes.
_WRITER: Final = version("arro3-io").encode()
# What tags of each format have before the coding; count up where the same rows are written anew.
FORM_TAGS: Final = {
    Format.JSON: b"",
    Format.CSV: b"-csv1",
    Format.ARROW: b"-arrow1." + _WRITER,
    Format.PARQUET: b"-parquet1." + _WRITER,
}


def entity_tag(representation: bytes, coding: Coding) -> bytes:
    return b'"%b-%b"' % (representation, _CODED[coding])


def etag_matches(if_none_match: bytes, representation: bytes) -> bool:
    """Whether If-None-Match names this version of this query, in any coding.

    A compressing proxy may have appended its coding to the tag, inside the quotes.
    """
    if if_none_match.strip() == b"*":
        return True
    for match in _ENTITY_TAG.finditer(if_none_match):
        tag = match[1]
        if _names(tag, representation) or _names(_PROXY_SUFFIX.sub(b"", tag), representation):
            return True
    return False


def read_date(value: bytes) -> int | None:
    """An HTTP date (RFC 9110, 5.6.7) in seconds since 1970; None if it is malformed."""
    return None if len(value) > _LONGEST_DATE else _read_date(value)


_CODED: Final = {coding: coding.value.encode() for coding in Coding}
_CODINGS: Final = frozenset(_CODED.values())


def _names(tag: bytes, representation: bytes) -> bool:
    head, _, coding = tag.rpartition(b"-")
    return head == representation and coding in _CODINGS


@lru_cache(256)
def _read_date(value: bytes) -> int | None:
    try:
        date = parsedate_to_datetime(value.decode("latin-1"))
        return int(date.replace(tzinfo=date.tzinfo or UTC).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None
