"""Answers that are not read: what they hold is counted to the last byte, and limited."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest

import api.documents.document_cache
from documents.building import DocumentBuilder
from market.markets import MarketSeries, Row
from market.timeframes import Timeframe
from tests.fixtures.api import ServedApi, StartApi, get
from tests.fixtures.documents import AS_OF_MS, FORMING_MS, HOUR_MS, MARKETS
from tests.fixtures.signals import until_true

# Each market's rows are less than a view is made of, so a slice copies them.
ROWS = 3000
LIMIT = 4_000_000


def noisy(version: int = AS_OF_MS) -> bytes:
    """A document that does not compress well."""
    chance = random.Random(version)  # noqa: S311 - no secret
    builder = DocumentBuilder(Timeframe.H4, "collected")
    for market in MARKETS:
        rows: list[Row] = [
            (
                FORMING_MS - age * 4 * HOUR_MS,
                *(1.0, 2.0, 0.5, 1.25, chance.random(), chance.random()),
                None,
                None,
            )
            for age in reversed(range(ROWS))
        ]
        builder.add(MarketSeries(market, rows, AS_OF_MS), {})
    return builder.finish(version=version, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS, missing=[])


class Reader:
    """A connection that takes the head of an answer, and the rest only when told to."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self.status = 0
        self.headers: dict[str, str] = {}

    @classmethod
    async def ask(cls, api: ServedApi, path: str, client: str = "", coding: str = "") -> "Reader":
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        reader = cls(connection)
        await reader._loop.sock_connect(connection, ("127.0.0.1", api.port))
        forwarded = f"X-Forwarded-For: {client}\r\n" if client else ""
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {coding}\r\n{forwarded}\r\n"
        await reader._loop.sock_sendall(connection, request.encode())
        async with asyncio.timeout(20):
            while b"\r\n\r\n" not in reader._received:
                reader._received += await reader._loop.sock_recv(connection, 256)
        head, _, reader._received = reader._received.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        reader.status = int(lines[0].split(" ")[1])
        reader.headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        return reader

    async def body(self, leaving: int = 0) -> bytes:
        """The rest of the body, but for its last bytes."""
        length = int(self.headers["content-length"]) - leaving
        async with asyncio.timeout(20):
            while len(self._received) < length:
                left = length - len(self._received)
                self._received += await self._loop.sock_recv(self._connection, min(left, 2**16))
        return self._received

    async def detail(self) -> str:
        return str(orjson.loads(await self.body())["detail"])

    def close(self) -> None:
        self._connection.close()


class Readers:
    """Opens readers of an API, and closes them at the end."""

    def __init__(self, api: ServedApi, stack: AsyncExitStack) -> None:
        self.api = api
        self._stack = stack

    async def ask(self, path: str, client: str = "", coding: str = "") -> Reader:
        reader = await Reader.ask(self.api, path, client, coding)
        self._stack.callback(reader.close)
        return reader

    async def until_held(self, total: int) -> None:
        await until_true(lambda: self.api.app.in_flight.total == total, within_s=20)


@pytest.fixture
async def readers(start_api: StartApi, redis_url: str) -> AsyncIterator[Readers]:
    api = await start_api(redis_url=redis_url, max_bytes_in_flight=LIMIT, send_buffer=4096)
    api.limits.piece_deadline_s = 60
    await api.publish("4h", noisy(), AS_OF_MS)
    async with AsyncExitStack() as stack:
        yield Readers(api, stack)


async def test_each_client_has_its_part(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    cut = api.documents.document_cache._filter

    def count(text: Any, wanted: Any, coding: Any) -> Any:
        made.append(wanted)
        return cut(text, wanted, coding)

    monkeypatch.setattr(api.documents.document_cache, "_filter", count)
    first = await readers.ask("/cache/4h?since=1", "192.0.2.1")
    length = int(first.headers["content-length"])
    # Larger than a client's part, and than what the kernel takes: but it is the only one.
    assert (first.status, length > LIMIT // 8) == (200, True)
    assert readers.api.app.in_flight.total == length
    for path in ("/cache/4h?since=2", "/cache/4h", "/jobs", "/coins", "/openapi.json", "/"):
        refused = await readers.ask(path, "192.0.2.1")
        assert (refused.status, refused.headers["retry-after"]) == (429, "5"), path
        assert "eighth of MAX_BYTES_IN_FLIGHT" in await refused.detail()
    assert len(made) == 1  # refused before the work
    for path in ("/health", "/ready", "/cache/8h"):
        assert (await readers.ask(path, "192.0.2.1")).status != 429, path
    # The same answer once more takes no more memory, and others have parts of their own.
    assert (await readers.ask("/cache/4h?since=1", "192.0.2.1")).status == 200
    assert (await readers.ask("/cache/4h?since=1", "192.0.2.2")).status == 200
    assert readers.api.app.in_flight.total == length
    assert len(made) == 1


async def test_all_clients_have_the_limit(readers: Readers) -> None:
    taken: list[Reader] = []
    while True:
        number = len(taken)
        reader = await readers.ask(f"/cache/4h?since={number}", f"192.0.2.{number}")
        if reader.status != 200:
            break
        taken.append(reader)
    length = int(taken[0].headers["content-length"])
    assert len(taken) == LIMIT // length
    assert (reader.status, reader.headers["retry-after"]) == (503, "5")
    assert "limit 4 MB, MAX_BYTES_IN_FLIGHT" in await reader.detail()
    assert (await readers.ask("/health", "192.0.2.99")).status == 200
    # What has been read is free again.
    taken[0].close()
    await readers.until_held(length * (len(taken) - 1))
    assert (await readers.ask("/cache/4h?since=99", "192.0.2.99")).status == 200


async def test_an_answer_counts_to_its_last_byte(readers: Readers) -> None:
    reader = await readers.ask("/cache/4h?since=1")
    length = int(reader.headers["content-length"])
    await reader.body(leaving=60_000)
    # More than the kernel keeps for a reader, less than what uvicorn waits for.
    assert readers.api.app.in_flight.total == length
    assert len(await reader.body()) == length
    await readers.until_held(0)
    status, _, body = await get(readers.api, "/cache/4h?since=1", "HEAD")
    assert (status, body) == (200, b"")
    await readers.until_held(0)


async def test_a_version_that_is_read_counts_from_its_replacement(readers: Readers) -> None:
    reader = await readers.ask("/cache/4h", "192.0.2.1", "deflate")
    length = int(reader.headers["content-length"])
    assert (reader.status, length > 64_000) == (200, True)
    assert readers.api.app.in_flight.total == 0  # in memory without readers, too
    for number in range(1, 100):
        await readers.api.publish("4h", noisy(AS_OF_MS + number), AS_OF_MS + number)
        reader = await readers.ask("/cache/4h", "192.0.2.1", "deflate")
        if reader.status == 429:
            break
    # As many versions as fit, and one more, which was not counted when it was asked for.
    assert number == LIMIT // 8 // length + 1
    assert readers.api.app.in_flight.total > LIMIT // 8
    assert (await readers.ask("/cache/4h", "192.0.2.2", "deflate")).status == 200


async def test_whoever_hangs_up_holds_nothing(readers: Readers) -> None:
    for path, coding in (("since=1", "identity"), ("since=1", "gzip"), ("", "identity")):
        reader = await readers.ask(f"/cache/4h?{path}", "", coding)
        assert reader.status == 200
        assert readers.api.app.in_flight.total > 64_000
        reader.close()
        await readers.until_held(0)
    # Also while an answer is made, and when none can be.
    await readers.api.store.execute("SET", "cache:4h", "damaged")
    for _ in range(3):
        assert (await get(readers.api, "/cache/1h"))[0] == 404
    await readers.until_held(0)


async def test_other_answers_count_too(readers: Readers) -> None:
    """The largest file of /docs, which is sent in pieces."""
    readers.api.limits.piece_deadline_s = 60
    path = "/docs/swagger-ui-bundle.js"
    reader = await readers.ask(path)
    assert reader.status == 200
    held = readers.api.app.in_flight.total
    assert 16_000 < held < 200_000
    assert len(await reader.body()) == int(reader.headers["content-length"])
    await readers.until_held(0)
