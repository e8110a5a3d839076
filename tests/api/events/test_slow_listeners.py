"""Listeners that do not read: bounded memory, and they go on where they were cut."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator

import pytest

from api.events import broadcast
from documents.changes import Changes, MarketChange, encode_change, encode_changes
from tests.api.events.streams import listening
from tests.api.events.test_stream import ROW, publish
from tests.fixtures.api import ServedApi, StartApi

VERSIONS = 30
LINES = 400  # of a version: about 20 KB
QUERY = "event=candles&timeframe=5m"


def large(version: int) -> Changes:
    rows = [(ROW[0] + i, *ROW[1:]) for i in range(LINES)]
    change = encode_change(MarketChange("binance", "BTCUSDT", rows))
    return Changes(version - 1, LINES, 0, encode_changes([change], [], [], [], {"binance": 1}))


@contextlib.asynccontextmanager
async def not_reading(api: ServedApi) -> AsyncIterator[asyncio.StreamReader]:
    """A listener that has joined, and reads no further."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", api.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1024)
    try:
        writer.write(f"GET /events?{QUERY} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"retry: 2000\n")
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize("bound", ["of each", "of all"])
async def test_who_does_not_read_is_cut_and_goes_on(
    start_api: StartApi, redis_url: str, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    most_bytes = 10**9
    if bound == "of each":
        monkeypatch.setattr(broadcast, "MOST_UNREAD", 100_000)
    else:
        most_bytes = 1_000_000
    api = await start_api(redis_url=redis_url, send_buffer=4096, max_bytes_in_flight=most_bytes)
    await publish(api, 1, None)
    async with listening(api.port, QUERY) as fast, not_reading(api) as slow:
        for version in range(2, 2 + VERSIONS):
            await publish(api, version, large(version))
            assert (await fast.next()).data["version"] == version
            assert api.app.in_flight.total <= 125_000
        await api.limits.connections.until(1)
        body = b""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while piece := await slow.read(65_536):
                body += piece
        # A browser takes an event when it is whole, and remembers its id then.
        ids = re.findall(rb"id: (\S+)\ndata: .*\n\n", body)
        got = len(ids)
        assert got < VERSIONS
        last_id = ids[-1].decode() if ids else re.findall(rb"\nid: (\S+)", body)[0].decode()
        async with listening(api.port, QUERY, last_id) as back:
            rest = await back.take(VERSIONS - got)
            assert [e.data["version"] for e in rest] == [*range(2 + got, 2 + VERSIONS)]
            assert all(len(e.data["markets"][0]["rows"]) == LINES for e in rest)


async def test_who_comes_back_slowly_holds_little(start_api: StartApi, redis_url: str) -> None:
    """What it has missed is sent as fast as it reads."""
    api = await start_api(redis_url=redis_url, send_buffer=4096)
    await publish(api, 1, None)
    async with listening(api.port, QUERY) as stream:
        place = stream.last_id
        for version in range(2, 2 + VERSIONS):
            await publish(api, version, large(version))
        await stream.take(VERSIONS)
        held = []
        async with listening(api.port, QUERY, place) as back:
            for version in range(2, 2 + VERSIONS):
                assert (await back.next()).data["version"] == version
                held.append(max(c.unsent_bytes() for c in api.limits.connections))
    assert max(held) < 200_000
