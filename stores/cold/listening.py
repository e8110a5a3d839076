"""A connection that hears the notices of a channel (LISTEN), and notices when it is lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import asyncpg

# A host that vanished closes no connection: it is asked from time to time.
_ASK_EVERY_S: Final = 30.0


@contextlib.asynccontextmanager
async def listening_on(
    connection: "asyncpg.Connection[asyncpg.Record]",
    channel: str,
    heard: Callable[[str], None],
    deadline_s: float,
) -> AsyncIterator[asyncio.Event]:
    """Calls `heard` with the text of each notice. Yields an event that is set when the connection
    is lost. Raises errors of asyncpg, and TimeoutError."""
    lost = asyncio.Event()

    def on_notice(_connection: Any, _pid: int, _channel: str, text: Any) -> None:
        heard(str(text))

    def on_end(_connection: Any) -> None:
        lost.set()

    connection.add_termination_listener(on_end)
    async with asyncio.timeout(deadline_s):
        await connection.add_listener(channel, on_notice)
    asking = asyncio.create_task(_ask(connection, lost, deadline_s))
    try:
        yield lost
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        connection.remove_termination_listener(on_end)
        # What it hears while it is closed concerns nobody, and is no reason for a warning.
        connection.terminate()


async def _ask(
    connection: "asyncpg.Connection[asyncpg.Record]", lost: asyncio.Event, deadline_s: float
) -> None:
    while not lost.is_set():
        await asyncio.sleep(_ASK_EVERY_S)
        try:
            async with asyncio.timeout(deadline_s):
                await connection.execute("SELECT 1")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            lost.set()
