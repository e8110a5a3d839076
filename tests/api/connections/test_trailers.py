"""Trailer fields are no headers (RFC 9110, 6.5.1), and their size is limited."""

import asyncio
import contextlib

import pytest

from api.connections.limits import LARGEST_TRAILER
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.documents import AS_OF_MS, document

CHUNKED = b"Host: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"


def post(trailer: bytes, head: bytes = b"") -> bytes:
    body = b'12\r\n{"timeframe":"4h"}\r\n0\r\n' + trailer + b"\r\n"
    start = b"POST /get-market-data HTTP/1.1\r\nContent-Type: application/json\r\n"
    return start + CHUNKED + head + b"\r\n" + body


async def test_a_token_counts_in_the_head_alone(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url, api_token="t0ken")
    token = b"Authorization: Bearer t0ken\r\n"
    assert (await api.raw(post(token)))[0] == 401
    assert (await api.raw(post(b"", token)))[0] == 202
    # A second one in the trailer does not spoil the first.
    assert (await api.raw(post(b"Authorization: Bearer wrong\r\n", token)))[0] == 202


@pytest.mark.parametrize(
    "trailer",
    [
        b"If-None-Match: *\r\n",
        b"Host: evil.example\r\n",
        b"Host: x\r\n",
        b"Accept-Encoding: gzip\r\n",
    ],
)
async def test_no_trailer_selects_an_answer(native_published: ServedApi, trailer: bytes) -> None:
    request = b"GET /cache/4h HTTP/1.1\r\n" + CHUNKED + b"\r\n0\r\n" + trailer + b"\r\n"
    status, headers, body = await native_published.raw(request)
    assert (status, "content-encoding" in headers) == (200, False)
    assert body == document()


async def test_an_address_in_a_trailer_is_nobodys(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url, max_waits_per_client=1)
    held = b"GET /cache/4h?wait=30 HTTP/1.1\r\nX-Forwarded-For: 203.0.113.7\r\n"
    ended = [asyncio.create_task(api.raw(held + CHUNKED + b"\r\n0\r\n\r\n"))]
    await api.held.until(1)
    trailer = b"X-Forwarded-For: 198.51.100.1\r\n"
    assert (await api.raw(held + CHUNKED + b"\r\n0\r\n" + trailer + b"\r\n"))[0] == 429
    await api.publish("4h", document(), AS_OF_MS)
    assert (await ended[0])[0] == 200


async def test_trailers_are_limited(native_api: ServedApi) -> None:
    fits = b"".join(b"A%d: %b\r\n" % (n, b"b" * 900) for n in range(30))
    assert len(fits) < LARGEST_TRAILER
    assert (await native_api.raw(post(fits)))[0] == 202
    for piece in (b"a: " + b"b" * 1000 + b"\r\n", b"b" * 1000):  # many, and one that never ends
        reader, writer = await asyncio.open_connection("127.0.0.1", native_api.port)
        writer.write(post(b"c: ")[:-2])
        async with asyncio.timeout(20):
            answer = asyncio.create_task(reader.read())
            sent = 0
            while not answer.done() and sent < 100 * LARGEST_TRAILER:
                writer.write(piece)
                sent += len(piece)
                await asyncio.sleep(0)
            status = (await answer)[9:12]
        writer.close()
        assert status in (b"431", b""), sent  # reset, if more of it came than the answer waited for


async def test_a_body_in_many_chunks_is_no_trailer(native_api: ServedApi) -> None:
    chunks = b"400\r\n" + b" " * 1024 + b"\r\n"
    request = post(b"").replace(b"12\r\n", chunks * 60 + b"12\r\n")
    assert len(request) > LARGEST_TRAILER
    assert (await native_api.raw(request))[0] == 202


async def test_heads_that_wait_are_limited(native_api: ServedApi) -> None:
    """A pipeline of large heads behind an answer that does not come."""
    head = b"GET /health HTTP/1.1\r\nHost: x\r\nA: %b\r\n\r\n"
    held = b"GET /cache/4h?wait=60 HTTP/1.1\r\nHost: x\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", native_api.port)
    writer.write(held)
    await native_api.held.until(1)
    writer.write(head % (b"a" * 20_000) * 2)
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(20):
            assert await reader.read() == b""  # cut: the answer in progress is another one's
    writer.close()
    await native_api.held.until(0)
    reader, writer = await asyncio.open_connection("127.0.0.1", native_api.port)
    writer.write(held)
    await native_api.held.until(1)
    writer.write(head % b"" * 9 + head % (b"a" * 20_000))
    await native_api.publish("4h", document(), AS_OF_MS)
    async with asyncio.timeout(20):
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        for _ in range(10):
            await reader.readuntil(b'{"status":"ok"}')
    writer.close()
