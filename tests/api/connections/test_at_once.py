"""Small answers that are written in one piece: the same bytes as in uvicorn's own way."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.answers import Answer, Body, Receive, Scope, Send, send_answer, sent_at_once
from api.connections.protocol import ServingProtocol
from tests.fixtures.api import ServedApi
from tests.fixtures.documents import AS_OF_MS, document

LENGTH = (b"content-length", b"3")


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each answer that may go at once, whether it did."""
    found: list[bool] = []
    write = ServingProtocol.write_answer

    def note(self: ServingProtocol, *words: object) -> bool:
        found.append(write(self, *words))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(ServingProtocol, "write_answer", note)
    return found


@pytest.fixture
async def published(native_api: ServedApi) -> ServedApi:
    await native_api.publish("4h", document(), AS_OF_MS)
    return native_api


@pytest.fixture
async def opened(
    published: ServedApi,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", published.port)
    yield reader, writer
    writer.close()


async def taken(reader: asyncio.StreamReader, method: str) -> tuple[list[str], bytes]:
    async with asyncio.timeout(20):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")
        found = dict(line.split(": ", 1) for line in lines[1:] if line)
        has_body = method != "HEAD" and not lines[0].endswith("304 Not Modified")
        return lines, await reader.readexactly(int(found["content-length"]) if has_body else 0)


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        *(("GET", "/cache/4h", ""), ("HEAD", "/cache/4h", ""), ("GET", "/cache/4h?limit=1", "")),
        *(("GET", "/cache/none", ""), ("GET", "/cache/4h?limit=0", "")),
        ("GET", "/cache/4h", "If-None-Match: *\r\n"),
        ("GET", "/cache/4h?symbol=BTCUSDT,NONEUSDT", ""),
    ],
)
async def test_an_answer_is_the_same_in_both_ways(
    opened: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    published: ServedApi,
    ways: list[bool],
    method: str,
    path: str,
    fields: str,
) -> None:
    """The client that ends its connection is answered by uvicorn."""
    reader, writer = opened
    request = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}"
    writer.write(f"{request}\r\n".encode())
    lines, body = await taken(reader, method)
    ended, theirs = await asyncio.open_connection("127.0.0.1", published.port)
    theirs.write(f"{request}Connection: close\r\n\r\n".encode())
    others, other_body = await taken(ended, method)
    assert await ended.read() == b""
    theirs.close()
    assert ways == [True, False]
    assert body == other_body
    steady, others_steady = (
        [line for line in each if not line.startswith(("date: ", "age: "))]
        for each in (lines, others)
    )
    others_steady.remove("connection: close")
    assert steady == others_steady


async def test_requests_that_wait_are_answered_in_order(
    opened: tuple[asyncio.StreamReader, asyncio.StreamWriter], ways: list[bool]
) -> None:
    reader, writer = opened
    paths = ("/cache/4h?limit=1", "/health", "/cache/4h?limit=2", "/cache/none")
    writer.write(b"".join(f"GET {each} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for each in paths))
    answers = [await taken(reader, "GET") for _ in paths]
    assert [lines[0].split(" ")[1] for lines, _ in answers] == ["200", "200", "200", "422"]
    assert len({body for _, body in answers}) == len(paths)
    assert ways == [True] * 3


@pytest.mark.parametrize(
    "header",
    [(b"x-told", b"a\r\nx-mine: b"), (b"x-told", b"a\nb"), (b"connection", b"close")],
)
async def test_what_only_uvicorn_knows_to_send_is_left_to_it(
    native_api: ServedApi,
    opened: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ways: list[bool],
    header: tuple[bytes, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        made = Answer(200, [LENGTH, header], Body((b"abc",), 3))
        if not sent_at_once(scope, made):
            await send_answer(scope, send, made)

    monkeypatch.setattr(native_api.app, "_http", answer)
    reader, writer = opened
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(20):
        told = await reader.read()  # to the end
    assert ways == [False]
    assert b"x-mine" not in told
    assert (b"connection: close" in told) == (header[0] == b"connection")
