"""Connections to the cold store: deadlines, one error for all that fails, pending migrations.

It knows no table. Connections are made when first needed and again when they were lost.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

import asyncpg
import structlog

from stores.cold.migrate import MigrationError, migrate, pending_migrations, read_migrations

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
_Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
_T = TypeVar("_T")

_CONNECT_S: Final = 4.0
_CHECK_S: Final = 5.0
_MIGRATE_S: Final = 60.0
_CONNECTIONS: Final = 4
_CONNECTION_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    # A server that ended in the middle of an answer: the client's own state is beyond repair.
    asyncpg.InternalClientError,
    ConnectionError,
)
_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)

_log = structlog.get_logger(__name__)


class DatabaseUnavailable(Exception):
    """The cold store gave no (timely, good) answer; the message says why, without a secret."""


class DatabasePool:
    """A few connections to `dsn`. All methods raise DatabaseUnavailable.

    `read_s` and `write_s`: how long one piece of work may take once the connection stands.
    """

    def __init__(self, dsn: str, migrations: Path, *, read_s: float, write_s: float) -> None:
        self._dsn = dsn
        self._migrations = migrations
        self._read_s = read_s
        self._write_s = write_s
        self._pool: _Pool | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Connects and brings the tables to what this version expects."""
        await self._opened()

    async def aclose(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    await pool.close()
            except _ERRORS:
                pool.terminate()

    async def read(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        """What `work` returns on a connection; it must be harmless when done twice."""
        return await self._run(work, self._read_s)

    async def write(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        """What `work` returns on a connection; it must be harmless when done twice."""
        return await self._run(work, self._write_s)

    async def _run(self, work: Callable[[Connection], Awaitable[_T]], deadline_s: float) -> _T:
        pool = await self._opened()
        with self._plain_errors():
            async with asyncio.timeout(deadline_s):
                try:
                    return await _with_connection(pool, work)
                except _CONNECTION_LOST as error:
                    # Most likely a connection that died while idle, and then all of them did.
                    _log.info("database_connection_lost", error=self._scrubbed(error))
                    await pool.expire_connections()
                    return await _with_connection(pool, work)

    async def _opened(self) -> _Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await self._open()
            return self._pool

    async def _open(self) -> _Pool:
        with self._plain_errors():
            migrations = await asyncio.to_thread(read_migrations, self._migrations)
            pool: _Pool = await asyncpg.create_pool(
                self._dsn,
                min_size=0,
                max_size=_CONNECTIONS,
                timeout=_CONNECT_S,
                # Prepared statements do not survive a pooler of transactions (pgbouncer).
                statement_cache_size=0,
                server_settings={"application_name": "perpcache"},
            )
            try:
                async with asyncio.timeout(_CHECK_S):
                    await _connect(pool)
                    pending = await _with_connection(
                        pool, lambda connection: pending_migrations(connection, migrations)
                    )
                if pending:
                    async with asyncio.timeout(_MIGRATE_S):
                        await _with_connection(
                            pool, lambda connection: migrate(connection, migrations)
                        )
            except BaseException:
                pool.terminate()
                raise
        return pool

    @contextlib.contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise DatabaseUnavailable("the database did not answer in time") from error
        except MigrationError as error:
            raise DatabaseUnavailable(f"the database's tables: {error}") from error
        except _ERRORS as error:
            raise DatabaseUnavailable(f"the database failed: {self._scrubbed(error)}") from error

    def _scrubbed(self, error: BaseException) -> str:
        text = str(error) or type(error).__name__
        password = urlsplit(self._dsn).password or ""
        for secret in {password, unquote(password)} - {""}:
            text = text.replace(secret, "***")
        return text


async def _connect(pool: _Pool) -> None:
    """The first connection, which also shows whether the address is one."""
    try:
        async with pool.acquire(timeout=_CONNECT_S):
            return
    except ValueError:
        # asyncpg's message may quote any part of the address.
        raise DatabaseUnavailable(
            "DATABASE_URL is no usable address; special characters of the password must be"
            " percent-encoded"
        ) from None


async def _with_connection(pool: _Pool, work: Callable[[Connection], Awaitable[_T]]) -> _T:
    async with pool.acquire(timeout=_CONNECT_S) as connection:
        try:
            return await work(connection)
        except asyncpg.InternalClientError:
            connection.terminate()
            raise
        except asyncio.CancelledError:
            # The deadline: asking a server that does not answer to cancel would take as long again.
            connection.terminate()
            raise
