"""Clients whose requests came while the event loop was blocked for longer than their deadline."""

import asyncio
import time
from typing import Any

import pytest

from api.connections import protocol
from api.connections.protocol import ServingProtocol
from tests.fixtures.api import ServedApi

HEAD = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
DEADLINE_S = 1.0  # for a head, of the API under test


def block_after(monkeypatch: pytest.MonkeyPatch, name: str, seconds: float) -> None:
    """Blocks the event loop each time after the protocol's method of this name."""
    method = getattr(ServingProtocol, name)

    def blocking(self: ServingProtocol, *given: Any) -> None:
        method(self, *given)
        time.sleep(seconds)

    monkeypatch.setattr(ServingProtocol, name, blocking)


async def test_a_connection_opened_before_is_read_and_answered(
    native_api: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    block_after(monkeypatch, "connection_made", 1.1 * DEADLINE_S)
    status, _, body = await native_api.raw(HEAD + b"\r\n")
    assert (status, body[:1]) == (200, b"{")


async def test_a_refusal_is_told_before_the_connection_ends(
    native_api: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "_LINGER_S", DEADLINE_S)
    block_after(monkeypatch, "_refuse", 1.1 * DEADLINE_S)
    # More than the kernel takes at once: a reset discards the answer.
    too_large = HEAD + b"A: " + b"b" * 2**24
    status, _, _ = await native_api.raw(too_large)
    assert status == 431


@pytest.mark.parametrize("sent", [b"", HEAD])
async def test_without_that_a_head_has_its_deadline(native_api: ServedApi, sent: bytes) -> None:
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", native_api.port)
    began = loop.time()
    writer.write(sent)
    try:
        async with asyncio.timeout(20 * DEADLINE_S):
            assert await reader.read() == b""
    except ConnectionResetError:
        pass
    finally:
        writer.close()
    assert loop.time() - began > 0.9 * DEADLINE_S
