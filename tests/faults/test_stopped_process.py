"""An API process that stood still: who asked meanwhile is answered, not taken for a slow client."""

import asyncio
import signal

import psutil

from api.connections.limits import HEAD_DEADLINE_S
from tests.faults.test_clients import HEAD, alone, port_of
from tests.fixtures.service import StartService
from tests.fixtures.signals import until_true

__all__ = ["alone"]


async def test_requests_that_came_while_the_process_stood_still_are_answered(
    start_service: StartService, alone: dict[str, str]
) -> None:
    service = await start_service("api", **alone)
    opened = [await asyncio.open_connection("127.0.0.1", port_of(service)) for _ in range(20)]
    # Served after all of them, so the process has taken them.
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
        writer.write(HEAD + b"Connection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    process = psutil.Process(service.process.pid)
    await asyncio.sleep(0.5)  # until it does nothing but wait for the next request
    service.process.send_signal(signal.SIGSTOP)
    try:
        await until_true(lambda: process.status() == psutil.STATUS_STOPPED)
        for _, writer in opened:
            writer.write(HEAD + b"Connection: close\r\n\r\n")
        await asyncio.sleep(HEAD_DEADLINE_S + 0.5)  # the time is what it is about
    finally:
        service.process.send_signal(signal.SIGCONT)
    async with asyncio.timeout(20):
        for reader, writer in opened:
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()
