"""Long answers arrive complete and in order, for fast and for slow readers."""

import asyncio
import gzip
import socket
import zlib
from collections.abc import Callable

import pytest

from api.answers import CHUNK_BYTES
from tests.fixtures.api import ServedApi
from tests.fixtures.documents import AS_OF_MS, document


def request(path: str, coding: str = "identity") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {coding}\r\n\r\n".encode()


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return await reader.readexactly(length)


@pytest.fixture
async def published(native_api: ServedApi) -> ServedApi:
    await native_api.publish("4h", document(rows=12_000), AS_OF_MS)
    return native_api


async def test_long_answers_are_whole_and_in_order(published: ServedApi) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", published.port)
    paths = [f"/cache/4h?limit={limit}" for limit in (600, 1, 9000)]
    expected = {}
    for path in paths:
        async with published.http.get(path) as first:
            expected[path] = await first.read()
    # Less than is handed over at once, and more.
    assert 64 * 1024 < len(expected[paths[0]]) < CHUNK_BYTES < len(expected[paths[2]])
    for path in paths * 3:
        writer.write(request(path))
        assert await answer(reader) == expected[path]
    # Several at once, to one that reads late.
    for path in paths * 2:
        writer.write(request(path))
    for path in paths * 2:
        assert await answer(reader) == expected[path]
    writer.close()


async def test_a_reader_who_takes_little_at_a_time_gets_all(published: ServedApi) -> None:
    path = "/cache/4h?limit=3000"
    async with published.http.get(path) as first:
        expected = await first.read()
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.setblocking(False)
    loop = asyncio.get_running_loop()
    with slow:
        await loop.sock_connect(slow, ("127.0.0.1", published.port))
        await loop.sock_sendall(slow, request(path))
        received = bytearray()
        async with asyncio.timeout(20):
            while not received.endswith(expected[-1000:]):
                received += await loop.sock_recv(slow, 3000)
    assert received.partition(b"\r\n\r\n")[2] == expected


async def test_each_document_is_sent_in_each_coding(published: ServedApi) -> None:
    await published.publish("8h", document(AS_OF_MS + 1, rows=13_000), AS_OF_MS + 1)
    plain = {"4h": document(rows=12_000), "8h": document(AS_OF_MS + 1, rows=13_000)}
    read: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
        "identity": bytes,
    }
    for _ in range(3):
        for name, text in plain.items():
            for coding, decoded in read.items():
                headers = {"Accept-Encoding": coding}
                async with published.http.get(f"/cache/{name}", headers=headers) as found:
                    assert decoded(await found.read()) == text
