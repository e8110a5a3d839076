"""Slices from chunks: the same answers as from the whole text, which stays compressed."""

import zlib
from collections.abc import AsyncIterator

import pytest

from api.bytes_in_flight import BytesInFlight
from api.documents import document_cache
from api.documents.content_coding import Coding
from api.documents.document_cache import CachedDocument, DocumentCache
from api.documents.query import DocumentQuery, read_query
from cache_manager import CacheManager, StoredDocument
from documents.chunk_index import encode_index
from documents.text import DocumentText
from tests.fixtures.api import ServedApi
from tests.fixtures.chunked import chunked_document
from tests.fixtures.documents import AS_OF_MS, FORMING_MS, HOUR_MS

KEY = "cache:4h:chunks"
QUERIES = (
    *(b"limit=1", b"limit=64", b"limit=1000", b"symbol=ethusdt", b"symbol=BTCUSDT&exchange=bybit"),
    *(b"exchange=binance", b"closed=true", b"closed=true&limit=2", b"exchange=bybit&since=0"),
    b"since=%d" % (FORMING_MS - 70 * 4 * HOUR_MS),
    b"since=%d&closed=true" % FORMING_MS,
)


@pytest.fixture
async def documents(native_api: ServedApi) -> AsyncIterator[DocumentCache]:
    found = DocumentCache(CacheManager(native_api.store))
    yield found
    await found.aclose()


@pytest.fixture
def inflated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The versions of the documents whose whole text was made."""
    versions: list[int] = []
    inflate = StoredDocument.inflate

    def count(self: StoredDocument) -> bytes:
        versions.append(self.meta.version)
        return inflate(self)

    monkeypatch.setattr(StoredDocument, "inflate", count)
    return versions


async def current(documents: DocumentCache) -> CachedDocument:
    document = await documents.current("4h")
    assert document is not None
    return document


async def answer(
    documents: DocumentCache, query: DocumentQuery, coding: Coding = Coding.IDENTITY
) -> bytes:
    body = await documents.body(await current(documents), query, coding)
    packed = b"".join(body.parts)
    assert len(packed) == body.length
    match coding:
        case Coding.IDENTITY:
            return packed
        case Coding.GZIP:
            return zlib.decompress(packed, 31)
        case Coding.DEFLATE:
            return zlib.decompress(packed)


def expected(query: DocumentQuery) -> bytes:
    return b"".join(DocumentText(chunked_document().inflate()).filtered(query.filter))


@pytest.mark.parametrize("words", QUERIES)
async def test_a_slice_needs_no_text(
    native_api: ServedApi, documents: DocumentCache, inflated: list[int], words: bytes
) -> None:
    await native_api.publish("4h", chunked_document(), AS_OF_MS)
    query = read_query(words)
    assert await answer(documents, query) == expected(query)
    assert inflated == []
    for coding in (Coding.GZIP, Coding.DEFLATE):
        assert await answer(documents, query, coding) == expected(query)


async def test_the_text_is_made_when_slices_have_cost_as_much(
    native_api: ServedApi, documents: DocumentCache, inflated: list[int]
) -> None:
    await native_api.publish("4h", chunked_document(), AS_OF_MS)
    costs = []
    for number in range(40):
        query = read_query(b"symbol=ETHUSDT&limit=1&since=%d" % number)
        assert await answer(documents, query) == expected(query)
        costs.append(len(inflated))
    assert costs[4] == 0  # each inflates two chunks of the twelve
    assert costs[-1] == 1


async def test_a_text_that_is_in_memory_is_used(
    native_api: ServedApi, documents: DocumentCache, inflated: list[int]
) -> None:
    await native_api.publish("4h", chunked_document(), AS_OF_MS)
    await answer(documents, read_query(b""))
    await native_api.store.execute("SET", KEY, "nobody reads it")
    query = read_query(b"limit=3")
    assert await answer(documents, query) == expected(query)
    assert inflated == [AS_OF_MS]


@pytest.mark.parametrize("change", ["lost", "damaged", "lying", "of the release before"])
async def test_without_a_usable_index_the_whole_text_is_cut(
    native_api: ServedApi, documents: DocumentCache, inflated: list[int], change: str
) -> None:
    made = chunked_document()
    meta = await native_api.publish("4h", made, AS_OF_MS)
    match change:
        case "lost":
            await native_api.store.execute("UNLINK", KEY)
        case "damaged":
            await native_api.store.execute("SET", KEY, "AAAA")
        case "lying":  # it adds up, but the chunks are not there
            made.index.deflated.reverse()  # type: ignore[attr-defined]
            made.index.text.reverse()  # type: ignore[attr-defined]
            lie = encode_index(made.index, version=AS_OF_MS, stored_hash=meta.stored_hash)
            await native_api.store.execute("SET", KEY, lie)
        case _:
            (text,) = await native_api.store.execute("MGET", KEY)
            await native_api.publish("4h", chunked_document().inflate(), AS_OF_MS + 1)
            await native_api.store.execute("SET", KEY, text)
    for words in QUERIES:
        query = read_query(words)
        assert await answer(documents, query) == expected(query), words
    assert len(inflated) == 1


async def test_symbols_that_a_document_lacks_are_found_by_the_index(
    native_api: ServedApi, inflated: list[int]
) -> None:
    await native_api.publish("4h", chunked_document(), AS_OF_MS)
    async with native_api.http.get("/cache/4h?symbol=BTCUSD") as response:
        assert response.status == 404
        assert "BTCUSDT" in await response.text()
    async with native_api.http.get("/cache/4h?symbol=BTCUSDT,NOPE&exchange=bybit") as response:
        assert (response.status, response.headers["X-Unknown-Symbols"]) == (200, "NOPE")
        assert len((await response.json())["markets"]) == 1
    # The one that `missing` names is known; the one of another exchange is known, too.
    async with native_api.http.get("/cache/4h?symbol=XYZUSDT,ETHUSDT&exchange=bybit") as response:
        assert response.status == 200
        assert "X-Unknown-Symbols" not in response.headers
        assert [entry["symbol"] for entry in (await response.json())["missing"]] == ["XYZUSDT"]
    assert inflated == []


async def test_an_answer_counts_for_what_it_holds_and_not_for_the_text(
    native_api: ServedApi,
) -> None:
    await native_api.publish("4h", chunked_document(), AS_OF_MS)
    in_flight = BytesInFlight(10**9)
    documents = DocumentCache(CacheManager(native_api.store), in_flight=in_flight)
    document = await current(documents)
    query = read_query(b"limit=1")
    holding = in_flight.hold("client", {})
    body = await documents.make_held(document, query, Coding.IDENTITY, holding)
    assert body.length == len(expected(query)) < 3000
    assert in_flight.held_by("client") == in_flight.total == body.length
    holding.release()
    assert in_flight.total == 0
    await documents.aclose()


async def test_room_for_a_slice_is_taken_before_it_is_made(
    native_api: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    await native_api.publish("4h", chunked_document(), AS_OF_MS)
    in_flight = BytesInFlight(10**9)
    documents = DocumentCache(CacheManager(native_api.store), in_flight=in_flight)
    held: list[int] = []
    cut = document_cache._filter

    def look(*arguments: object) -> object:
        held.append(in_flight.held_by("client"))
        return cut(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(document_cache, "_filter", look)
    document = await current(documents)
    for words in (b"limit=1", b"exchange=binance"):
        holding = in_flight.hold("client", {})
        body = await documents.make_held(document, read_query(words), Coding.IDENTITY, holding)
        assert held.pop() >= body.length
        holding.release()
    await documents.aclose()
