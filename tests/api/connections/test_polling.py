"""Polls over one connection, byte for byte: each answer in order and up to date."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from typing import Any

import aiohttp
import orjson
import pytest

import api.documents.document_cache
from api.connections.protocol import ServingProtocol
from cache_manager import DocumentMeta
from tests.fixtures.api import CountingCache, ServedApi
from tests.fixtures.documents import AS_OF_MS, document

POLL = b"GET /cache/4h?limit=1 HTTP/1.1\r\nHost: x\r\nAccept-Encoding: identity\r\n\r\n"


class Connection:
    """One connection, spoken to in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(20):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return int(lines[0].split(" ")[1]), headers, body

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        self.writer.write(request)
        return await self.answer()

    async def ended(self) -> bool:
        async with asyncio.timeout(20):
            return await self._reader.read() == b""


@pytest.fixture
async def published(native_api: ServedApi) -> ServedApi:
    await native_api.publish("4h", document(), AS_OF_MS)
    return native_api


@pytest.fixture
async def connection(published: ServedApi) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", published.port)
    yield Connection(reader, writer)
    writer.close()


def steady(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, dict[str, str], bytes]:
    status, headers, body = answer
    return status, {k: v for k, v in headers.items() if k not in ("date", "age")}, body


async def test_the_version_is_checked_for_each_request(
    published: ServedApi, connection: Connection
) -> None:
    first = await connection.ask(POLL)
    assert first[0] == 200
    published.counts.clear()
    for _ in range(5):
        assert steady(await connection.ask(POLL)) == steady(first)
    assert published.counts == {"versions": 5}
    await published.publish("4h", document(AS_OF_MS + 1), AS_OF_MS + 1)
    for _ in range(2):
        _, headers, body = await connection.ask(POLL)
        assert orjson.loads(body)["version"] == AS_OF_MS + 1
        assert headers["etag"].startswith(f'"{AS_OF_MS + 1}-')


async def test_what_was_asked_before_is_answered_alike(connection: Connection) -> None:
    _, headers, _ = await connection.ask(POLL)
    requests = [
        POLL,
        POLL.replace(b"GET", b"HEAD"),
        POLL.replace(b"?limit=1", b""),
        POLL.replace(b"identity", b"deflate"),
        POLL.replace(b"identity", b"identity;q=0"),
        POLL.replace(b"limit=1", b"limit=0"),
        POLL.replace(b"4h", b"8h"),
        POLL.replace(b"4h", b"3h"),
        POLL.replace(b"\r\n\r\n", f"\r\nIf-None-Match: {headers['etag']}\r\n\r\n".encode()),
        POLL.replace(b"\r\n\r\n", b"\r\nIf-None-Match: *\r\n\r\n"),
    ]
    for request in requests:
        answers: list[object] = []
        other_form = request.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n")
        for form in (other_form, request, request):
            if request.startswith(b"HEAD"):
                connection.writer.write(form)
                async with asyncio.timeout(20):
                    head = await connection._reader.readuntil(b"\r\n\r\n")
                answers.append(re.sub(rb"(?i)(date|age): [^\r]*\r\n", b"", head))
            else:
                answers.append(steady(await connection.ask(form)))
        assert answers[0] == answers[1] == answers[2], request


async def test_answers_keep_the_order_of_their_requests(connection: Connection) -> None:
    other = POLL.replace(b"limit=1", b"limit=2")
    health = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    for request in (POLL, other):
        await connection.ask(request)
    connection.writer.write(POLL + health + other)  # in one read
    for request in (POLL, health, other, POLL):
        connection.writer.write(request)  # in several, sent before the first is answered
        await asyncio.sleep(0)
    kinds = []
    for _ in range(7):
        status, _, body = await connection.answer()
        assert status == 200
        found = orjson.loads(body)
        kinds.append(len(found["markets"][0]["rows"]) if "markets" in found else "health")
    assert kinds == [1, "health", 2, 1, "health", 2, 1]


async def test_a_known_request_within_a_body_is_a_body(connection: Connection) -> None:
    await connection.ask(POLL)
    await connection.ask(POLL)
    head = b"POST /get-market-data HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    asked = head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(POLL)
    status, _, _ = await connection.ask(asked)
    assert status == 100  # its head has been read: what follows is a read of its own
    status, _, body = await connection.ask(POLL)
    assert (status, b"markets" in body) == (422, False)


async def test_a_head_in_two_parts_is_one_request(connection: Connection) -> None:
    await connection.ask(POLL)
    for at in (1, 20, len(POLL) - 1):
        # An answer shows that what came before it has been read.
        connection.writer.write(POLL + POLL[:at])
        assert (await connection.answer())[0] == 200
        status, _, body = await connection.ask(POLL[at:])
        assert (status, b"markets" in body) == (200, True)


async def test_who_wants_to_close_is_closed(published: ServedApi, connection: Connection) -> None:
    closing = POLL.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    for _ in range(2):
        reader, writer = await asyncio.open_connection("127.0.0.1", published.port)
        other = Connection(reader, writer)
        status, headers, _ = await other.ask(closing)
        assert (status, headers["connection"]) == (200, "close")
        assert await other.ended()
        writer.close()
    assert (await connection.ask(POLL))[0] == 200


async def test_who_hangs_up_while_the_store_is_asked_holds_up_nobody(
    published: ServedApi, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered, gone_away = asyncio.Event(), asyncio.Event(), asyncio.Event()
    read_metas, connection_lost = CountingCache.read_metas, ServingProtocol.connection_lost

    async def late(self: CountingCache, names: Iterable[str]) -> dict[str, DocumentMeta | None]:
        asked.set()
        await answered.wait()
        return await read_metas(self, names)

    def note(self: ServingProtocol, exc: Exception | None) -> None:
        connection_lost(self, exc)
        gone_away.set()

    reader, writer = await asyncio.open_connection("127.0.0.1", published.port)
    gone = Connection(reader, writer)
    assert (await gone.ask(POLL))[0] == (await connection.ask(POLL))[0] == 200
    monkeypatch.setattr(CountingCache, "read_metas", late)
    monkeypatch.setattr(ServingProtocol, "connection_lost", note)
    async with asyncio.timeout(20):
        gone.writer.write(POLL)
        await asked.wait()
        connection.writer.write(POLL)
        gone.writer.transport.abort()
        await gone_away.wait()
        answered.set()
    assert (await connection.answer())[0] == 200
    assert (await connection.ask(POLL))[0] == 200


async def test_a_hundred_who_ask_for_the_same_slice_cost_one_computation(
    published: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts: list[object] = []
    cut = api.documents.document_cache._filter

    def count(text: Any, wanted: Any, coding: Any) -> Any:
        cuts.append(wanted)
        return cut(text, wanted, coding)

    monkeypatch.setattr(api.documents.document_cache, "_filter", count)
    await published.http.get("/health")
    published.counts.clear()
    connector = aiohttp.TCPConnector(limit=0)
    base = f"http://127.0.0.1:{published.port}"
    async with aiohttp.ClientSession(base, connector=connector) as client:

        async def ask() -> bytes:
            async with client.get("/cache/4h?limit=2&exchange=binance") as answer:
                return await answer.read()

        bodies = await asyncio.gather(*(ask() for _ in range(100)))
    assert len(set(bodies)) == 1
    assert len(cuts) == 1
    assert published.counts["documents"] == 1
    assert published.counts["versions"] < 50
