"""DocumentMeta: what a GET needs of a document without reading it, and its stored form."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import orjson
import structlog

from documents.names import BASES, SERVED

LARGEST_TIME: Final = 10**14  # ms: the year 5138; a version is a time or little more
_LARGEST_STORED: Final = 512 * 2**20  # bytes: Redis's own limit of a value
_LARGEST_META: Final = 10_000  # bytes
_MOST_COUNTED: Final = 10**9
_MOST_DEFLATED: Final = 1032  # bytes of text in one byte of a zlib stream
_HASH: Final = re.compile(r"[0-9a-f]{1,64}")

log = structlog.get_logger(__name__)


class DocumentCounts(NamedTuple):
    """How many `markets` a document has, how many of them are `stale` (carried over), and how many
    entries its list of what is `missing`. Of the overview alone: `at` which instant (UTC ms) it
    tells of how many `assets`."""

    markets: int
    stale: int
    missing: int
    at: int | None = None
    assets: int | None = None


_OF_ALL: Final = ("markets", "stale", "missing")


@dataclass(frozen=True, slots=True)
class DocumentMeta:
    """A document's version, times (UTC ms), sizes (bytes) and hashes.

    `stored_hash` is of the zlib stream, `stored_bytes` the length of its base64 text.
    `content_hash` distinguishes contents of one version: the hash of the stream, or of the JSON in
    documents of earlier releases.
    `published_ms`: the store's time at the publish, later than that of the version before even if
    that clock is set back; 0 in documents of earlier releases. `counts`: None in those, too.
    """

    name: str
    version: int
    content_hash: str
    updated_at_ms: int
    as_of_ms: int
    stored_bytes: int
    json_bytes: int
    stored_hash: str
    published_ms: int = 0
    counts: DocumentCounts | None = None


def meta_text(meta: DocumentMeta) -> bytes:
    """The stored form of a meta. The publish script finds the version in it by a pattern."""
    counts = {}
    if meta.counts is not None:
        told = meta.counts._asdict().items()
        counts = {"counts": {name: value for name, value in told if value is not None}}
    return orjson.dumps(
        {
            "version": meta.version,
            "content_hash": meta.content_hash,
            "updated_at": meta.updated_at_ms,
            "as_of": meta.as_of_ms,
            "stored_bytes": meta.stored_bytes,
            "json_bytes": meta.json_bytes,
            "stored_hash": meta.stored_hash,
            "published_at": meta.published_ms,
            **counts,
        }
    )


# Every answer of the API parses one of the same few texts.
@lru_cache(4 * len(SERVED + BASES))
def read_meta_text(name: str, text: bytes | None) -> DocumentMeta | None:
    """The meta of this stored form; None without one, or if it is unreadable."""
    if not text:
        return None
    try:
        if len(text) > _LARGEST_META:
            raise ValueError(f"{len(text)} bytes")
        found = orjson.loads(text)
        stored_bytes = _number(found["stored_bytes"], _LARGEST_STORED)
        return DocumentMeta(
            name=name,
            version=_number(found["version"], LARGEST_TIME),
            content_hash=_hash(found["content_hash"]),
            updated_at_ms=_number(found["updated_at"], LARGEST_TIME),
            as_of_ms=_number(found["as_of"], LARGEST_TIME),
            stored_bytes=stored_bytes,
            json_bytes=_number(found["json_bytes"], _MOST_DEFLATED * stored_bytes),
            stored_hash=_hash(found["stored_hash"]),
            published_ms=_number(found.get("published_at", 0), LARGEST_TIME),
            counts=_counts(found.get("counts")),
        )
    except (ValueError, KeyError, TypeError) as error:
        # The next publish replaces it.
        log.warning("meta_unreadable", document=name, reason=repr(error))
        return None


def _number(value: object, largest: int) -> int:
    if type(value) is not int or not 0 <= value <= largest:
        raise ValueError(f"{str(value)[:40]} is not a number from 0 to {largest}")
    return value


def _counts(found: object) -> DocumentCounts | None:
    """The counts, if they are there and can be read; a reader of the document needs none."""
    if not isinstance(found, dict):
        return None
    try:
        counts = DocumentCounts(*(_number(found.get(name), _MOST_COUNTED) for name in _OF_ALL))
        if "at" not in found:
            return counts
        at_ms = _number(found["at"], LARGEST_TIME)
        return counts._replace(at=at_ms, assets=_number(found.get("assets"), _MOST_COUNTED))
    except ValueError:
        return None


def _hash(value: object) -> str:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError(f"{str(value)[:40]} is not a hash")
    return value
