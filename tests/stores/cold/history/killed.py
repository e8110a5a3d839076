"""A pool whose connection ends before the n-th statement, or after the commit, unheard."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from stores.cold.pool import Connection, DatabasePool, Session

_T = TypeVar("_T")


class KillingPool:
    """As the pool that it stands before. `kill_at`: before which statement of the coming writes
    the connection ends, 0 for none; `killed`: whether it has."""

    def __init__(self, pool: DatabasePool) -> None:
        self._pool = pool
        self.kill_at = 0
        self.killed = False

    async def read(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        return await self._pool.read(work)

    async def write(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        async def watched(connection: Connection) -> _T:
            found: Any = _Watched(connection, self)
            return await work(found)

        return await self._pool.write(watched)

    def session(self) -> AbstractAsyncContextManager[Session]:
        return self._pool.session()

    def count(self, connection: Connection) -> None:
        self.kill_at -= 1
        if self.kill_at == 0:
            self.killed = True
            connection.terminate()
            raise asyncpg.ConnectionDoesNotExistError("ended by the test")


class _Watched:
    """A connection whose statements are counted."""

    def __init__(self, connection: Connection, kill: KillingPool) -> None:
        self._connection = connection
        self._kill = kill

    def __getattr__(self, name: str) -> Any:
        async def counted(*arguments: Any, **named: Any) -> Any:
            self._kill.count(self._connection)
            return await getattr(self._connection, name)(*arguments, **named)

        return counted

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._connection.transaction():
            yield
            self._kill.count(self._connection)
        self._kill.count(self._connection)
