"""Requests that wait for a store while the service stops."""

import asyncio
import signal
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.fixtures.service import StartService

_TRIES = 5
_PATHS = ("/cache/4h", "/cache/1h?wait=20", "/jobs", "/ready")


class SilentStore:
    """Takes connections and never says a word."""

    def __init__(self) -> None:
        self.url = ""
        self.was_asked = asyncio.Event()

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        self.was_asked.set()
        await reader.read()
        writer.close()


@pytest.fixture
async def silent_store() -> AsyncIterator[SilentStore]:
    store = SilentStore()
    server = await asyncio.start_server(store.listen, "127.0.0.1")
    store.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield store
    server.close()


async def answers_at_the_end(
    start_service: StartService, store: SilentStore
) -> list[tuple[int, str]]:
    """What those are told who wait for the store when the service is ended."""
    service = await start_service(
        "api", REDIS_URL=store.url, DATABASE_URL="postgresql://nobody@127.0.0.1:9/none"
    )

    async def ask(client: aiohttp.ClientSession, path: str) -> tuple[int, str]:
        async with client.get(service.address + path) as answer:
            return answer.status, (await answer.json())["detail"]

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as client:
        store.was_asked.clear()
        asked = [asyncio.create_task(ask(client, path)) for path in _PATHS]
        await asyncio.wait_for(store.was_asked.wait(), 20)
        service.process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*asked)
    # Not told a second time, which would end what is about to end at once.
    assert await asyncio.wait_for(service.process.wait(), 60) == 0
    await service.stop()
    assert not any("Traceback" in line for line in service.lines)
    return answers


async def test_they_are_told_why_they_are_not_answered(
    start_service: StartService, silent_store: SilentStore
) -> None:
    """The server's patience ends half a second before the store's deadline: on a busy machine, the
    other cause may be told now and then, and it is true as well."""
    for _ in range(_TRIES):
        answers = await answers_at_the_end(start_service, silent_store)
        assert [status for status, _ in answers] == [503] * len(_PATHS), answers
        if "stopping" in answers[0][1] and "stopping" in answers[2][1]:
            return
    raise AssertionError(f"in {_TRIES} stops it was not told that the service stops: {answers}")
