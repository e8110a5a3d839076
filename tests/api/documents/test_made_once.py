"""The cache of parsed requests, and the headers cached with each."""

import zlib
from typing import Any, cast

from api.bytes_in_flight import BytesInFlight
from api.cors import Cors
from api.documents import endpoint
from api.documents.content_coding import Coding
from api.documents.document_cache import CachedDocument, DocumentBody
from api.documents.endpoint import CacheEndpoint
from api.documents.query import DocumentQuery
from cache_manager import DocumentMeta, StoredDocument

MADE_MS = 1_700_000_000_000


class Cache:
    """A cache that holds one document."""

    def __init__(self) -> None:
        self.publish(7)

    def publish(self, version: int) -> None:
        deflated = zlib.compress(b'{"version":%d}' % version)
        meta = DocumentMeta("4h", version, f"hash{version}", MADE_MS, MADE_MS, 99, 13, "")
        self.document = CachedDocument.from_stored(StoredDocument(meta, deflated, True))

    async def current(self, name: str) -> CachedDocument:
        return self.document

    def cached_body(
        self, document: CachedDocument, query: DocumentQuery, coding: Coding
    ) -> DocumentBody:
        return document.deflated


class Served:
    """An endpoint with a clock of the test's own, asked without any server."""

    def __init__(self, *origins: str) -> None:
        self.cache = Cache()
        self.now_ms = MADE_MS
        nothing = cast(Any, None)
        self.endpoint = CacheEndpoint(
            cast(Any, self.cache),
            nothing,
            now_ms=lambda: self.now_ms,
            nothing_yet=nothing,
            listed=nothing,
            as_of=nothing,
            long_polls=nothing,
            cors=Cors(origins),
            in_flight=BytesInFlight(10**9),
        )

    async def ask(self, query: bytes = b"", **headers: str) -> tuple[int, list[Any]]:
        fields = [(b"accept-encoding", b"deflate")]
        fields += [(n.replace("_", "-").encode(), v.encode()) for n, v in headers.items()]
        scope = {"method": "GET", "path": "/cache/4h", "query_string": query, "headers": fields}
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await self.endpoint(scope, cast(Any, None), send, "4h")
        return sent[0]["status"], sent[0]["headers"]


async def test_headers_are_made_once_a_second_and_anew_for_each_version() -> None:
    served = Served()
    _, first = await served.ask()
    _, again = await served.ask()
    assert again is first
    for later_ms, age in ((999, b"0"), (1000, b"1"), (61_999, b"61")):
        served.now_ms = MADE_MS + later_ms
        assert dict((await served.ask())[1])[b"age"] == age
    etag = dict(first)[b"etag"].decode()
    assert [(await served.ask(if_none_match=etag))[0] for _ in range(3)] == [304] * 3
    served.cache.publish(8)
    for _ in range(3):
        status, headers = await served.ask(if_none_match=etag)
        assert (status, dict(headers)[b"etag"]) == (200, b'"8-hash8-deflate"')
    assert dict((await served.ask())[1])[b"etag"] == b'"8-hash8-deflate"'


async def test_what_is_kept_for_a_request_holds_no_bytes_of_a_document() -> None:
    served = Served()
    await served.ask()
    served.cache.publish(8)
    kept = [request.last_answer for request in served.endpoint._parsed.values()]
    assert [entry and len(entry.answer.body.parts) for entry in kept] == [0]


async def test_requests_are_told_apart_by_all_that_they_ask_for() -> None:
    served = Served("https://one.example", "https://two.example")
    plain = await served.ask()
    for _ in range(2):
        for origin in ("https://one.example", "https://two.example"):
            found = dict((await served.ask(origin=origin))[1])
            assert found[b"access-control-allow-origin"] == origin.encode()
        assert b"access-control-allow-origin" not in dict((await served.ask())[1])
        assert (await served.ask(b"limit=0"))[0] == 422
        assert (await served.ask(if_none_match="*"))[0] == 304
        assert await served.ask() == plain


async def test_what_is_known_of_requests_has_a_bound() -> None:
    served = Served()
    for number in range(2 * endpoint._MOST_PARSED):
        await served.ask(b"_=%d" % number)
    assert len(served.endpoint._parsed) == endpoint._MOST_PARSED
    before = dict(served.endpoint._parsed)
    await served.ask(if_none_match='"' + "x" * endpoint._LONGEST_PARSED + '"')
    assert served.endpoint._parsed == before


def test_a_document_is_not_copied_to_be_sent() -> None:
    document = Cache().document
    assert document.deflated.parts[0] is document.stored.deflated
