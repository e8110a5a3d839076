"""StreamConnection: limits, pings, hostile peers, proxies, and secrets that stay ours."""

import asyncio
import base64
import hashlib

import pytest
from aiohttp import web

from addresses.proxy import parse_proxy
from tests.fixtures.proxies import SocksProxy
from tests.fixtures.proxies import serving as serving_proxy
from tests.fixtures.signals import until_true
from tests.workers.streams.source import Source
from workers.streams import connection as module
from workers.streams.connection import StreamAddress, StreamBroken, StreamConnection
from workers.streams.options import StreamOptions


def address(url: str, proxy: str | None = None, **headers: str) -> StreamAddress:
    return StreamAddress(url, None if proxy is None else parse_proxy(proxy), headers)


async def opened(source: Source, **options: object) -> StreamConnection:
    return await StreamConnection.open(address(f"{source.url}/x"), StreamOptions.of(options))


async def how_it_ends(connection: StreamConnection) -> str:
    with pytest.raises(StreamBroken) as broken:
        while await asyncio.wait_for(connection.take(), 60) is not None:
            pass
    await connection.close()
    return str(broken.value)


async def test_what_came_before_the_end_is_taken_first(source: Source) -> None:
    connection = await opened(source)
    await source.until_open()
    await source.tell("one")
    await source.tell(b"two")
    await source.cut()
    taken = [await connection.take(), await connection.take()]
    assert [message for _, message in filter(None, taken)] == ["one", b"two"]
    assert await how_it_ends(connection) == "closed by the source (1012): restarting"


async def test_a_function_slower_than_its_source_is_a_failure(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that memory is bounded; what waits is handed on."""
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    connection = await opened(source)
    await source.until_open()
    for number in range(5):
        await source.tell(str(number))
    await until_true(lambda: connection.waiting == 3)
    told = [(await connection.take() or (0, ""))[1] for _ in range(3)]
    assert told == ["0", "1", "2"]
    assert (await how_it_ends(connection)).startswith("3 messages of 3 bytes wait: the worker is")


async def test_a_message_that_is_too_large(source: Source) -> None:
    connection = await opened(source, largest_message=100)
    await source.until_open()
    await source.tell("x" * 101)
    assert await how_it_ends(connection) == "a message is larger than 100 bytes, its limit"


async def test_a_server_that_answers_no_ping() -> None:
    """It completes the handshake and reads nothing more."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(
            line.partition(": ")[2]
            for line in head.split("\r\n")
            if line.lower().startswith("sec-websocket-key")
        )
        guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
        digest = hashlib.sha1(f"{key}{guid}".encode()).digest()  # noqa: S324 - the protocol's
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
        await asyncio.Event().wait()

    async with serving_proxy(talk) as port:
        connection = await StreamConnection.open(
            address(f"ws://127.0.0.1:{port}/"), StreamOptions.of({"heartbeat_s": 0.2})
        )
        assert await how_it_ends(connection) == "no answer to a ping within 0.1 s"


async def test_a_server_that_never_answers() -> None:
    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with serving_proxy(talk) as port:
        with pytest.raises(StreamBroken, match=r"^cannot open: no WebSocket within 0.2 s$"):
            await StreamConnection.open(
                address(f"ws://127.0.0.1:{port}/"), StreamOptions.of({"open_s": 0.2})
            )


async def test_a_redirect_leads_nowhere(source: Source) -> None:
    """It would take the headers to another server."""

    async def redirect(_: web.Request) -> web.Response:
        raise web.HTTPFound(f"{source.url.replace('ws:', 'http:')}/other")

    application = web.Application()
    application.router.add_get("/{any:.*}", redirect)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"ws://127.0.0.1:{runner.addresses[0][1]}/"
    with pytest.raises(StreamBroken, match="HTTP 302 a redirect"):
        await StreamConnection.open(address(url, Authorization="s3cret-key"), StreamOptions())
    await runner.cleanup()
    assert source.opened == []


async def test_headers_and_passwords_go_to_the_server_and_into_no_error(source: Source) -> None:
    place = source.url.removeprefix("ws://")
    with_secret = address(f"ws://user:p4ssword@{place}/x?token=t0ken", Key="s3cret-key")
    connection = await StreamConnection.open(with_secret, StreamOptions())
    await source.until_open()
    assert source.headers[0]["Key"] == "s3cret-key"
    assert source.headers[0]["Authorization"].startswith("Basic ")
    await connection.close()
    source.refuse = True
    with pytest.raises(StreamBroken) as broken:
        await StreamConnection.open(with_secret, StreamOptions())
    told = str(broken.value)
    assert "503" in told
    assert not any(word in told for word in ("p4ssword", "t0ken", "s3cret", "127.0.0.1"))


async def test_a_proxy_is_asked_in_its_place(source: Source) -> None:
    pytest.importorskip("aiohttp_socks")
    port = int(source.url.rpartition(":")[2])
    proxy = SocksProxy({"prices.example": port}, credentials=("ops", "s3cret"))
    async with serving_proxy(proxy.talk) as proxy_port:
        through = address(
            f"ws://prices.example:{port}/x", f"socks5h://ops:s3cret@127.0.0.1:{proxy_port}"
        )
        connection = await StreamConnection.open(through, StreamOptions())
        await source.until_open()
        await source.tell("through")
        assert (await connection.take() or (0, ""))[1] == "through"
        await connection.close()
        proxy.refuses = True
        with pytest.raises(StreamBroken, match="the proxy opens no connection"):
            await StreamConnection.open(through, StreamOptions())
    assert proxy.asked == ["prices.example", "prices.example"]
