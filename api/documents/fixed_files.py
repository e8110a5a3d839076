"""GET and HEAD /cache/<name>/<version>.parquet: files that never change, whole or by ranges.

The newest version is made when it is asked for. The one before it is there where this process has
made it, as long as there is memory for it; all others are gone.
"""

import re
from collections.abc import Sequence
from typing import Final

from api.answers import CSP, NO_CACHE, NOSNIFF, Answer, Body, Buffer, Header, Scope, problem
from api.bytes_in_flight import WAITING_BYTES, BytesInFlight
from api.documents.column_bodies import WHOLE, ColumnBodies
from api.documents.content_coding import Coding
from api.documents.document_cache import DocumentBody, DocumentCache
from api.documents.query import InvalidQuery, QueryReader
from api.documents.ranges import Part, Unsatisfiable, asked_part
from api.documents.validators import entity_tag, etag_matches
from api.formats import Format

_PATH: Final = re.compile(r"^(\w+)/([0-9]{1,16})\.parquet$", re.ASCII)
_TYPE: Final[Header] = (b"content-type", Format.PARQUET.media_type.encode())
# Not `public`: with READ_TOKEN set, shared caches must not keep it.
_FOREVER: Final[Header] = (b"cache-control", b"max-age=31536000, immutable")
_RANGES: Final[Header] = (b"accept-ranges", b"bytes")
_EMPTY: Final = Body((), 0)


def address_of(name: str, version: int) -> str:
    """The address of a version's file, relative to /cache/."""
    return f"{name}/{version}.{Format.PARQUET}"


def read_address(path: str) -> tuple[str, int] | None:
    """The name and version that the part of a path after /cache/ names; None for other paths."""
    found = _PATH.match(path)
    return found and (found[1], int(found[2]))


class FixedFiles:
    """Answers for whole Parquet files by their version. `answer` raises StoreUnavailable,
    InvalidQuery, DocumentError and TooManyBytes."""

    def __init__(
        self, cache: DocumentCache, bodies: ColumnBodies, in_flight: BytesInFlight
    ) -> None:
        self._cache = cache
        self._bodies = bodies
        self._in_flight = in_flight

    async def answer(self, name: str, version: int, scope: Scope) -> Answer:
        reader = QueryReader(scope["query_string"], ())
        if reader.errors:
            raise InvalidQuery(reader.errors)
        fields = dict(scope["headers"])  # of several Range fields none could be honoured
        document = await self._cache.current(name)
        if document is not None and document.meta.version == version:
            representation = document.representation(WHOLE, Format.PARQUET)
            last_modified = document.last_modified
            body = self._bodies.cached_body(document, WHOLE, Coding.IDENTITY)
        else:
            kept = self._bodies.kept_files(name)
            if version not in kept:
                versions = [*kept] if document is None else [document.meta.version, *kept]
                return _gone(name, version, versions)
            file, body = kept[version]
            representation, last_modified = file.representation, file.last_modified
        headers = [
            (b"etag", entity_tag(representation, Coding.IDENTITY)),
            (b"last-modified", last_modified),
            _FOREVER,
            _RANGES,
        ]
        known = fields.get(b"if-none-match")
        if known is not None and etag_matches(known, representation):
            return Answer(304, headers, _EMPTY)
        buffers = {object(): WAITING_BYTES} if body is None else body.buffers
        holding = self._in_flight.hold(self._in_flight.client(scope), buffers)
        try:
            if body is None:
                assert document is not None  # noqa: S101 - only a newest version is not made yet
                body = await self._bodies.make_held(document, WHOLE, Coding.IDENTITY, holding)
            answer = _part_of(body, headers, fields, scope["method"])
        except BaseException:
            holding.release()
            raise
        return Answer(answer.status, answer.headers, answer.body, holding)


def _part_of(
    body: DocumentBody, headers: Sequence[Header], fields: dict[bytes, bytes], method: str
) -> Answer:
    """What a request for these bytes gets. `headers`: of every answer with the file."""
    described = (_TYPE, NOSNIFF, CSP)
    asked = fields.get(b"range") if method == "GET" else None  # RFC 9110, 14.2
    condition = fields.get(b"if-range")
    if condition is not None and condition.strip() != headers[0][1]:
        asked = None  # a date is no strong validator of ours
    try:
        part = asked_part(asked, body.length)
    except Unsatisfiable:
        content_range = (b"content-range", b"bytes */%d" % body.length)
        detail = f"the file has {body.length} bytes"
        return problem(416, detail, NO_CACHE, _RANGES, content_range)
    if part is None:
        length = (b"content-length", b"%d" % body.length)
        return Answer(200, [*headers, *described, length], body)
    cut = Body(_cut(body.parts, part), part.end - part.start)
    content_range = (b"content-range", b"bytes %d-%d/%d" % (part.start, part.end - 1, body.length))
    length = (b"content-length", b"%d" % cut.length)
    return Answer(206, [*headers, *described, content_range, length], cut)


def _cut(parts: Sequence[Buffer], part: Part) -> list[Buffer]:
    """The bytes of a part, as views."""
    found: list[Buffer] = []
    position = 0
    for each in parts:
        start, end = max(part.start - position, 0), min(part.end - position, len(each))
        if start < end:
            found.append(memoryview(each)[start:end])
        position += len(each)
    return found


def _gone(name: str, version: int, versions: Sequence[int]) -> Answer:
    there = [f"/cache/{address_of(name, each)}" for each in dict.fromkeys(versions)]
    known = " and ".join(there) or "no version of it"
    detail = (
        f"there is no {version} of {name} here, only {known}; /cache/{name}.parquet is the newest"
    )
    return problem(404, detail, NO_CACHE)
