"""Drivers of the engine: how its statements reach PostgreSQL, over outages and in transactions."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, Self, TypeVar

import asyncpg

from stores.cold.lone_connection import LoneConnection
from stores.cold.pool import Connection, DatabaseUnavailable, Pool, set_path

_T = TypeVar("_T")
_TRY_AGAIN_S: Final = 0.2
# Errors of one statement that the engine expects, and answers with another try.
_EXPECTED: Final = (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError)


class EngineDriver:
    """What the engine's queries ask of a driver: a port of PgQueuer, and a little more."""

    search_path: str | None = None  # where our own tables are; None: where the connection looks

    def __init__(self) -> None:
        self.shutdown = asyncio.Event()

    async def call(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        """Returns what `work` returns, called with a connection."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def in_our_path(self, connection: Connection) -> AsyncIterator[None]:
        """Within it, statements on `connection` find our own tables."""
        if self.search_path is None:
            yield
            return
        async with connection.transaction():
            await set_path(connection, self.search_path)
            yield

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        return [dict(row) for row in await self.call(lambda found: found.fetch(query, *args))]

    async def execute(self, query: str, *args: object) -> str:
        return await self.call(lambda found: found.execute(query, *args))

    async def notify(self, channel: str, payload: str) -> None:
        await self.execute("SELECT pg_notify($1, $2)", channel, payload)

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None:
        raise NotImplementedError

    def forgiven_s(self) -> float:
        """For how long hosts could give no sign of life just now."""
        return 0.0

    def wake(self) -> None:
        """Has the manager look for jobs now."""

    @property
    def tm(self) -> Any:
        raise NotImplementedError  # only the engine's own drivers have tasks

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class OnConnection(EngineDriver):
    """Statements on the caller's connection, and inside its transaction."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    async def call(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        return await work(self._connection)


class OnPool(EngineDriver):
    """Statements on any connection of the cold store's pool. Raises DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self._pool = pool

    async def call(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        return await self._pool.write(work)


class OnLoneConnection(EngineDriver):
    """Statements on the host's own connection, which wait for the next one when it was lost, unless
    the host is to stop: what a manager has left to write would keep it from ending.

    `broken` gets the error of a statement that PostgreSQL refuses for another reason, such as
    tables that are not there.
    """

    broken: "asyncio.Future[Exception]"

    def __init__(
        self, connection: LoneConnection, channel: str, lease_s: float, stop: asyncio.Event
    ) -> None:
        """`lease_s`: within which each host gives a sign of life, once there is a connection."""
        super().__init__()
        self._connection = connection
        self._stop = stop
        self.search_path = connection.search_path
        self._channel = channel
        self._lease_s = lease_s
        self._heard: Callable[[str], None] | None = None
        self._away_since_s: float | None = None
        self._away: tuple[float, float] = (0.0, 0.0)  # when an outage was over, and its length
        connection.hear(channel, self._hear)
        connection.opened(self._opened)

    def begin(self) -> None:
        """Forgets what broke, and who listened."""
        self._heard = None
        self.broken = asyncio.get_running_loop().create_future()

    async def call(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        while True:
            try:
                return await self._connection.call(work)
            except DatabaseUnavailable:
                if self._stop.is_set():
                    raise
                if self._away_since_s is None:
                    self._away_since_s = time.monotonic()
                await self._connection.wait_until_open(_TRY_AGAIN_S)
                await asyncio.sleep(0.01)  # where it is open, and fails at once
            except _EXPECTED:
                raise
            except asyncpg.PostgresError as error:
                if not self.broken.done():
                    self.broken.set_result(error)
                raise

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None:
        self._heard = callback

    def forgiven_s(self) -> float:
        over_s, length_s = self._away
        return length_s if time.monotonic() - over_s < self._lease_s else 0.0

    def wake(self) -> None:
        self._hear(changed(self._channel))

    def _hear(self, payload: str) -> None:
        if self._heard is not None:
            self._heard(payload)

    def _opened(self) -> None:
        if self._away_since_s is not None:
            self._away = time.monotonic(), time.monotonic() - self._away_since_s
            self._away_since_s = None
        self.wake()


def changed(channel: str) -> str:
    """The notification that jobs have changed, as the engine's trigger sends it."""
    return json.dumps(
        {
            "channel": channel,
            "operation": "insert",
            "sent_at": datetime.now(UTC).isoformat(),
            "table": "pgqueuer",
            "type": "table_changed_event",
        }
    )
