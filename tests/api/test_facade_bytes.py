"""The exchanges' own addresses before servers that answer with bytes of the test's own."""

import asyncio

import orjson

from tests.api.test_facade import DEPTH, KLINES, ours
from tests.fixtures.api import StartApi, get
from tests.fixtures.proxies import serving


async def test_a_header_of_a_caller_goes_no_further(start_api: StartApi, redis_url: str) -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nVia: x\r\nContent-Length: 2\r\n\r\n[]")
        await writer.drain()

    async with serving(answer) as port:
        base = {"binance_base_url": f"http://127.0.0.1:{port}"}
        api = await start_api(redis_url=redis_url, facade="on", exchanges="binance", **base)
        own = {"X-Own": "mine", "Referer": "http://mine", "X-Forwarded-For": "9.9.9.9"}
        status, headers, body = await get(api, ours(KLINES), **own, User_Agent="mine/1")
        assert (status, body) == (200, b"[]")
        assert not {"set-cookie", "via"} & headers.keys()
    (head,) = heads
    assert head.startswith(f"GET {KLINES} HTTP/1.1\r\n".encode())
    assert b"mine" not in head
    assert b"9.9.9.9" not in head


async def test_a_page_before_the_exchange_is_told_without_our_address(
    start_api: StartApi, redis_url: str
) -> None:
    page = b"<html>denied: 203.0.113.9, 2001:db8::7</html>"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        length = b"Content-Length: %d" % len(page)
        head = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n" + length
        writer.write(head + b"\r\n\r\n" + page)
        await writer.drain()

    async with serving(answer) as port:
        base = {"binance_base_url": f"http://127.0.0.1:{port}"}
        api = await start_api(redis_url=redis_url, facade="on", exchanges="binance", **base)
        status, _, body = await get(api, ours(DEPTH))
    assert (status, body) == (403, b"<html>denied: (address), (address)</html>")


async def test_a_short_ban_is_told_to_others_as_to_the_first(
    start_api: StartApi, redis_url: str
) -> None:
    """The exchange says with its status alone that it is one."""
    asked_for: list[bytes] = []
    body = b'{"code":-1003,"msg":"Too much."}'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked_for.append(await reader.readuntil(b"\r\n\r\n"))
        head = b"HTTP/1.1 418 I'm a teapot\r\nRetry-After: 30\r\nContent-Length: %d" % len(body)
        writer.write(head + b"\r\n\r\n" + body)
        await writer.drain()

    async with serving(answer) as port:
        base = {"binance_base_url": f"http://127.0.0.1:{port}"}
        api = await start_api(redis_url=redis_url, facade="on", exchanges="binance", **base)
        for path in (KLINES, DEPTH, DEPTH):
            status, headers, told = await get(api, ours(path))
            assert (status, orjson.loads(told)["code"]) == (418, -1003)
            assert 1 <= int(headers["retry-after"]) <= 30
    assert len(asked_for) == 1
