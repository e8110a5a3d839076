"""Clients that misbehave on plain sockets; each returns the wrong answers that it got."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

_LONGEST_S: Final = 5.0
_OTHERS: Final = (b"503", b"505")  # an outage; an unsupported version of HTTP
_GET: Final = "GET {path} HTTP/1.1\r\nHost: perpcache\r\n\r\n"
_POST: Final = (
    "POST {path} HTTP/1.1\r\nHost: perpcache\r\nContent-Type: application/json\r\n"
    "Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
)
_JUNK: Final = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 64,
    b"GET /\r\n\r\n",
    b"\r\n" * 200,
    b"BREW /cache/4h HTTP/1.1\r\nHost: perpcache\r\nConnection: close\r\n\r\n",
    b"GET /cache/4h HTTP/1.1\r\nHost: perpcache\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: perpcache\r\n\r\n",
    _GET.format(path="/cache/9h").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").encode(),
    _GET.format(path="/cache/4h?limit=-1&since=%00&exchange=%F0%9F")
    .replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
    .encode(),
    _POST.format(path="/get-market-data", length=9, body='{"a":[[[[').encode(),
    _POST.format(path="/get-market-data", length=22, body='{"timeframe":"\\u0000"}').encode(),
    _POST.format(path="/api/v1/internal/update-fr", length=0, body="").encode(),
    _POST.format(path="/jobs/collect:4h%0d%0aX", length=2, body="{}").encode(),
)


def _place(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    return str(parts.hostname), int(parts.port or 80)


async def aborted(address: str, count: int, lasts_s: float) -> list[str]:
    """Resets connections in the middle of a download."""

    async def one() -> None:
        reader, writer = await asyncio.open_connection(*_place(address), limit=1024)
        try:
            writer.write(_GET.format(path="/cache/4h").encode())
            await reader.read(400)
            linger = struct.pack("ii", 1, 0)  # close with a reset
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        finally:
            writer.close()

    async def later(index: int) -> None:
        await asyncio.sleep(index * lasts_s / count)
        await _bounded(one())

    await asyncio.gather(*map(later, range(count)))
    return []


async def slow_readers(address: str, count: int, lasts_s: float) -> list[str]:
    """Requests large answers and reads them a few bytes at a time."""
    loop = asyncio.get_running_loop()

    async def one() -> None:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.setblocking(False)
            await asyncio.wait_for(loop.sock_connect(client, _place(address)), _LONGEST_S)
            await loop.sock_sendall(client, _GET.format(path="/cache/1h").encode() * 20)
            deadline = loop.time() + lasts_s
            while loop.time() < deadline:
                await asyncio.wait_for(loop.sock_recv(client, 64), _LONGEST_S)
                await asyncio.sleep(0.1)

    await asyncio.gather(*(_bounded(one(), lasts_s + _LONGEST_S) for _ in range(count)))
    return []


async def half_open(address: str, count: int, lasts_s: float) -> list[str]:
    """Begins requests and does not complete them."""
    return await _held(address, count, lasts_s, b"GET /cache/4h HTTP/1.1\r\nHost: perp")


async def idle(address: str, count: int, lasts_s: float) -> list[str]:
    """Connects and sends nothing."""
    return await _held(address, count, lasts_s, b"")


async def _held(address: str, count: int, lasts_s: float, begin: bytes) -> list[str]:
    async def one() -> None:
        _, writer = await asyncio.open_connection(*_place(address))
        try:
            writer.write(begin)
            await asyncio.sleep(lasts_s)
        finally:
            writer.close()

    await asyncio.gather(*(_bounded(one(), lasts_s + _LONGEST_S) for _ in range(count)))
    return []


async def junk(address: str, count: int, lasts_s: float) -> list[str]:
    """Sends malformed requests: each must get a 4xx or a closed connection, never a 5xx."""
    problems: list[str] = []

    async def one(words: bytes) -> None:
        reader, writer = await asyncio.open_connection(*_place(address))
        try:
            writer.write(words)
            status = (await asyncio.wait_for(reader.readline(), _LONGEST_S)).split(b" ")[1:2]
            if status and not status[0].startswith(b"4") and status[0] not in _OTHERS:
                problems.append(f"{words[:60]!r} was answered {status[0]!r}")
        finally:
            writer.close()

    async def later(index: int) -> None:
        await asyncio.sleep(index * lasts_s / count)
        await _bounded(one(_JUNK[index % len(_JUNK)]))

    await asyncio.gather(*map(later, range(count)))
    return problems


async def _bounded(one: Awaitable[None], seconds: float = _LONGEST_S) -> None:
    """Ignores errors and timeouts: the API may be down, or disconnect such a client."""
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
        await asyncio.wait_for(one, seconds)


KINDS: Final[Mapping[str, Callable[[str, int, float], Awaitable[list[str]]]]] = {
    "aborted": aborted,
    "slow_readers": slow_readers,
    "half_open": half_open,
    "idle": idle,
    "junk": junk,
}
