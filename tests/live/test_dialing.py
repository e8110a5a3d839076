"""Opening and closing WebSockets: TLS, proxies, deadlines, and peers that do not behave."""

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from config import load_live_settings
from live.dialing import CannotOpen, Dialer
from live.pacing import SharedPace
from live.stream_address import stream_address
from tests.fixtures.proxies import HttpProxy, SocksProxy, certificate, relay, serving
from tests.live.scripted_streams import ScriptedExchange, Session, scripted_exchange
from timing.clock import SystemClock

HOST = "ws.exchange.test"
NEEDS_OPENSSL = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="makes its certificate with openssl"
)


@contextlib.asynccontextmanager
async def dialer(
    url: str, proxy: str | None = None, *, open_s: float = 10.0, send_s: float = 10.0
) -> AsyncIterator[Dialer]:
    settings = load_live_settings(okx_ws_url=url, okx_proxy=proxy)
    address = stream_address(settings, "okx", url)
    async with Dialer(
        "okx", address, SharedPace(100, 1.0), SystemClock(),
        open_s=open_s, send_s=send_s, close_s=0.2,
    ) as opened:  # fmt: skip
        yield opened


@contextlib.asynccontextmanager
async def behind_tls(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[
    tuple[ScriptedExchange, int, list[bytes]]
]:  # fmt: skip
    """An exchange behind TLS, its port, and the heads of the requests that reach it."""
    server, trusting = certificate(folder, HOST)
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)
    heads: list[bytes] = []
    async with scripted_exchange() as exchange:

        async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await relay(reader, writer, exchange.port, heads[-1])

        async with serving(end, server) as port:
            yield exchange, port, heads


@NEEDS_OPENSSL
async def test_a_tunnel_keeps_the_proxys_secret_from_the_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with behind_tls(tmp_path, monkeypatch) as (exchange, tls_port, heads):
        proxy = HttpProxy({HOST: tls_port})
        async with (
            serving(proxy.talk) as port,
            dialer(f"wss://u:pw@{HOST}/base", f"http://ops:s3cret@127.0.0.1:{port}") as opened,
        ):
            websocket = await opened.open("/market")
            await opened.send(websocket, "ping")
            assert (await websocket.receive(5)).data == b"pong"
            await opened.close(websocket)
        assert exchange.sessions[0].path == "/base/market"
    assert proxy.heads[0].startswith(f"CONNECT {HOST}:443 ".encode())
    assert b"b3BzOnMzY3JldA==" in proxy.heads[0]
    assert b"dTpwdw==" in heads[0]
    assert b"b3BzOnMzY3JldA==" not in heads[0] and b"dTpwdw==" not in proxy.heads[0]
    assert b"permessage-deflate" not in heads[0]


@NEEDS_OPENSSL
async def test_a_certificate_that_nobody_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with behind_tls(tmp_path, monkeypatch) as (exchange, tls_port, _):
        async with dialer(f"wss://127.0.0.1:{tls_port}") as opened:  # another name
            with pytest.raises(CannotOpen, match="the certificate is refused"):
                await opened.open("/")
        monkeypatch.undo()
        async with dialer(f"wss://localhost:{tls_port}") as opened:  # unknown authority
            with pytest.raises(CannotOpen, match="the certificate is refused"):
                await opened.open("/")
        assert exchange.attempts == 0


async def test_a_proxy_that_refuses() -> None:
    proxy = HttpProxy({}, b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
    async with (
        serving(proxy.talk) as port,
        dialer(f"wss://{HOST}", f"http://ops:s3cret@127.0.0.1:{port}") as opened,
    ):
        with pytest.raises(CannotOpen, match="the proxy answers HTTP 407") as caught:
            await opened.open("/")
    assert "s3cret" not in str(caught.value)


async def test_no_proxy_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with dialer(f"wss://{HOST}", f"http://127.0.0.1:{port}") as opened:
        with pytest.raises(CannotOpen, match="cannot connect to the proxy"):
            await opened.open("/")


async def test_socks() -> None:
    pytest.importorskip("aiohttp_socks")
    async with scripted_exchange() as exchange:
        proxy = SocksProxy({HOST: exchange.port}, credentials=("ops", "s3cret"))
        async with (
            serving(proxy.talk) as port,
            dialer(f"ws://{HOST}", f"socks5h://ops:s3cret@127.0.0.1:{port}") as opened,
        ):
            websocket = await opened.open("/market")
            await opened.close(websocket)
        assert proxy.asked == [HOST]
        assert exchange.attempts == 1


async def test_an_exchange_that_never_answers() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with serving(silent) as port, dialer(f"ws://127.0.0.1:{port}", open_s=0.1) as opened:
        with pytest.raises(CannotOpen, match=r"no WebSocket within 0\.1 s") as caught:
            await opened.open("/")
    assert caught.value.exchange == "okx"


@pytest.mark.parametrize(
    ("head", "cause"),
    [
        (b"302 Found\r\nLocation: ws://127.0.0.1:1/", "HTTP 302 a redirect"),
        (b"200 OK", "HTTP 200"),
        (b"451 Unavailable", "HTTP 451"),
        (b"101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade", "Invalid challenge"),
    ],
)
async def test_an_answer_that_is_no_websocket(head: bytes, cause: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + head + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with serving(answer) as port, dialer(f"ws://127.0.0.1:{port}") as opened:
        with pytest.raises(CannotOpen, match=cause):
            await opened.open("/")


async def test_a_peer_that_neither_reads_nor_closes_holds_nothing_up() -> None:
    async with scripted_exchange() as exchange:
        stuck = asyncio.Event()

        async def stop_reading(session: Session) -> None:
            await stuck.wait()
            session.cut()

        exchange.on_open = stop_reading
        async with dialer(exchange.url, send_s=0.2) as opened:
            websocket = await opened.open("/")
            with pytest.raises(TimeoutError):  # once all buffers on the way are full
                for _ in range(100):
                    await opened.send(websocket, "x" * 1_000_000)
            async with asyncio.timeout(10):
                await opened.close(websocket)
            assert websocket.closed
        stuck.set()


async def test_closing_twice_and_after_the_end() -> None:
    async with scripted_exchange() as exchange, dialer(exchange.url) as opened:
        websocket = await opened.open("/")
        (await exchange.session(0)).cut()
        message = await websocket.receive(5)
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        await opened.close(websocket)
        await opened.close(websocket)
