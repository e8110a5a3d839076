"""The document `overview`: its JSON, and what of it makes a version another one.

`{"name":"overview","version":…,"as_of":…,"updated_at":…,"at":…,"quote":…,"assets":[…]}`: the head
changes with each version, the body from `at` on only with what it tells.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import orjson

from documents.names import OVERVIEW
from documents.text import DocumentError
from market.assets.figures import Overview

_BODY: Final = b',"at":'


@dataclass(slots=True)
class LastOverview:
    """The overview that a worker published or read last: its version and content hash, and the
    hash of its body."""

    place: tuple[int, str] | None = None
    body_hash: str = ""


def overview_body(overview: Overview, quote: str) -> bytes:
    """What the document tells, as the end of its JSON. CPU work: about 2 ms per 1000 markets."""
    told = {"at": overview.at, "quote": quote, "assets": overview.assets}
    return b"," + orjson.dumps(told)[1:]


def overview_document(
    body: bytes, *, version: int, as_of_ms: int, updated_at_ms: int, **more: str
) -> bytes:
    """The whole document of a body. `more`: what else its head tells."""
    head = {"name": OVERVIEW, "version": version, "as_of": as_of_ms, "updated_at": updated_at_ms}
    return orjson.dumps(head | more)[:-1] + body


def body_of(document: bytes) -> bytes:
    """The body of a document. Raises DocumentError for any other text."""
    begin = document.find(_BODY)
    if begin < 0:
        raise DocumentError("not an overview")
    return document[begin:]


def body_hash(body: bytes) -> str:
    """Equal for documents that tell the same."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()
