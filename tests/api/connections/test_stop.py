"""Requests that wait for a store while the service stops."""

import asyncio
import signal
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.fixtures.service import StartService

# Of a store that takes connections and never says a word.
_STORE_S = 2.0


@pytest.fixture
async def silent_store() -> AsyncIterator[str]:
    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    yield f"redis://127.0.0.1:{port}"
    server.close()


async def test_they_are_told_why_they_are_not_answered(
    start_service: StartService, silent_store: str
) -> None:
    service = await start_service(
        "api", REDIS_URL=silent_store, DATABASE_URL="postgresql://nobody@127.0.0.1:9/none"
    )
    paths = ("/cache/4h", "/cache/1h?wait=20", "/jobs", "/ready")

    async def ask(client: aiohttp.ClientSession, path: str) -> tuple[int, str]:
        async with client.get(service.address + path) as answer:
            return answer.status, (await answer.json())["detail"]

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as client:
        # Asked so late that the server's patience ends before the store's deadline.
        asked = [asyncio.create_task(ask(client, path)) for path in paths]
        await asyncio.sleep(_STORE_S / 8)
        assert not any(task.done() for task in asked)
        service.process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*asked)
    assert [status for status, _ in answers] == [503] * len(paths), answers
    assert "stopping" in answers[0][1]
    assert "stopping" in answers[2][1]
    # Not told a second time, which would end what is about to end at once.
    assert await asyncio.wait_for(service.process.wait(), 60) == 0
    await service.stop()
    assert not any("Traceback" in line for line in service.lines)
