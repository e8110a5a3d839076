"""SessionLock: a lock in the database that one process of all holds, until it ends or lets go."""

import asyncio
from typing import Final

import asyncpg
import structlog

from stores.cold.lone_connection import LoneConnection
from stores.cold.pool import Connection, DatabaseUnavailable

_OPEN_S: Final = 2.0
_CALL_S: Final = 2.0
_TAKE: Final = """
    SELECT pg_try_advisory_lock(hashtextextended('perpcache/' || $1 || '/' || $2, 0))
"""

log = structlog.get_logger(__name__)


class SessionLock:
    """Behind a pooler that shares sessions it may stay taken: then nobody else gets it."""

    def __init__(self, connection: LoneConnection, name: str) -> None:
        """`connection` is this lock's alone; it is opened when the lock is first asked for."""
        self._connection = connection
        self._name = name
        self._stop = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    async def take(self) -> bool:
        """Takes it if it is free; returns whether this process holds it. False, too, where the
        database does not answer."""
        if self._keeping is None:
            self._stop.clear()
            self._keeping = asyncio.create_task(self._connection.keep(self._stop), name="lock")
            await self._connection.wait_until_open(_OPEN_S)
        try:
            async with asyncio.timeout(_CALL_S):
                return await self._connection.call(self._try)
        except (DatabaseUnavailable, TimeoutError, asyncpg.PostgresError) as error:
            log.debug("session_lock_not_asked", name=self._name, error=str(error))
            return False

    async def release(self) -> None:
        """Lets go, if it was taken."""
        if self._keeping is not None:
            self._stop.set()
            keeping, self._keeping = self._keeping, None
            await asyncio.gather(keeping, return_exceptions=True)

    async def _try(self, connection: Connection) -> bool:
        place = self._connection.search_path or ""
        return bool(await connection.fetchval(_TAKE, place, self._name))
