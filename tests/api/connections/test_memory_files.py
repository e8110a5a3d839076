"""Long answers at hand, sent by the kernel from files in memory: whole, right, and in order."""

import asyncio
import gzip
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from api.answers import Body
from api.connections.memory_files import LEAST_BYTES, MemoryFiles
from tests.fixtures.api import ServedApi
from tests.fixtures.documents import AS_OF_MS, document

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux's")

Sendfile = Callable[[int, int, int, int], int]


def request(path: str, coding: str = "identity") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {coding}\r\n\r\n".encode()


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return await reader.readexactly(length)


def open_files() -> int:
    links = (str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return sum("perpcache-body" in link for link in links)


@pytest.fixture
async def published(native_api: ServedApi) -> ServedApi:
    await native_api.publish("4h", document(rows=12_000), AS_OF_MS)
    return native_api


def _as_it_is(sendfile: Sendfile) -> Sendfile:
    return sendfile


def _some(sendfile: Sendfile) -> Sendfile:
    return lambda out, file, at, count: sendfile(out, file, at, min(count, 777))


def _none(_: Sendfile) -> Sendfile:
    def refuse(out: int, file: int, at: int, count: int) -> int:
        raise BlockingIOError

    return refuse


@pytest.mark.parametrize("taking", [_as_it_is, _some, _none])
async def test_what_the_socket_does_not_take_follows(
    published: ServedApi, monkeypatch: pytest.MonkeyPatch, taking: Callable[[Sendfile], Sendfile]
) -> None:
    sent: list[int] = []
    sendfile = taking(os.sendfile)

    def note(out: int, file: int, at: int, count: int) -> int:
        sent.append(count)
        return sendfile(out, file, at, count)

    monkeypatch.setattr(os, "sendfile", note)
    reader, writer = await asyncio.open_connection("127.0.0.1", published.port)
    paths = [f"/cache/4h?limit={limit}" for limit in (600, 1, 900)]
    expected = {}
    for path in paths:
        async with published.http.get(path) as first:
            expected[path] = await first.read()
    assert sent == []  # the first of each is made, and sent, the long way
    for path in paths * 3:
        writer.write(request(path))
        assert await answer(reader) == expected[path]
    long = [len(expected[path]) for path in (paths[0], paths[2])]
    assert min(long) > LEAST_BYTES
    assert sent == long * 3
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


async def test_each_answer_has_a_file_of_its_own(published: ServedApi) -> None:
    await published.publish("8h", document(AS_OF_MS + 1, rows=13_000), AS_OF_MS + 1)
    plain = {"4h": document(rows=12_000), "8h": document(AS_OF_MS + 1, rows=13_000)}
    for _ in range(3):
        for name, text in plain.items():
            async with published.http.get(
                f"/cache/{name}", headers={"Accept-Encoding": "gzip"}
            ) as found:
                body = await found.read()
            assert gzip.decompress(body) == text
            assert len(body) > LEAST_BYTES
    assert open_files() == 2
    for limit in range(700, 730):
        bodies = []
        for _ in range(2):
            async with published.http.get(f"/cache/4h?limit={limit}") as found:
                bodies.append(await found.read())
        assert bodies[0] == bodies[1]
        assert bodies[0].count(b"[1") == 3 * limit
    assert open_files() == 16


def test_files_are_few_and_end() -> None:
    files = MemoryFiles()
    before = open_files()
    bodies = [Body((b"%d" % number * LEAST_BYTES, b"end"), LEAST_BYTES + 3) for number in range(9)]
    found = [files.of(body) for body in bodies * 2]
    assert found[:9] == found[9:]
    assert open_files() - before == 9
    for body, file in zip(bodies, found, strict=False):
        assert file is not None
        assert os.pread(file, 2 * LEAST_BYTES, 0) == b"".join(body.parts)
    assert files.of(Body((b"short",), 5)) is None
    files.close()
    assert open_files() == before
