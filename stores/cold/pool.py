"""The PostgreSQL connection pool: deadlines, reconnects, pending migrations and one error type.

Connections are opened when first needed and again after they were lost.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import asyncpg
import structlog

from addresses.database_url import parse_database_url
from stores.cold.listening import listening_on
from stores.cold.migrate import MigrationError, migrate, pending_migrations, read_migrations
from stores.cold.rights import lacking_rights
from texts.foreign import foreign_text
from texts.redaction import Redactor

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
_Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
_T = TypeVar("_T")

_CONNECT_S: Final = 4.0  # unless DATABASE_URL has connect_timeout
_CLOSE_S: Final = 4.0
_CHECK_S: Final = 1.0  # after the connection was opened
_MIGRATE_S: Final = 60.0
_CONNECTIONS: Final = 4
_SET_PATH: Final = "SELECT set_config('search_path', $1, true)"
_LONGEST_ERROR: Final = 5000  # characters read of the server's text; fewer are told
_CONNECTION_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    # asyncpg raises it when the server ends in the middle of an answer.
    asyncpg.InternalClientError,
    ConnectionError,
)
# The server is there, but keeps nothing: a full disk, a replica.
_NO_WRITES: Final = (asyncpg.DiskFullError, asyncpg.ReadOnlySQLTransactionError)
DATABASE_TEXT: Final = "the database "
_NO_WRITES_TEXT: Final = "the database takes no writes"
DENIED_TEXT: Final = "the database denies its user"
# Reasons that last until somebody acts, whatever else works.
LASTING_TEXTS: Final = (_NO_WRITES_TEXT, DENIED_TEXT)
# Values that no column holds: they will be refused again. A parameter of the server's own is none.
_REFUSED: Final = (asyncpg.DataError, asyncpg.ProgramLimitExceededError)
_NO_VALUE: Final = asyncpg.InvalidParameterValueError
_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)

_log = structlog.get_logger(__name__)


class DatabaseUnavailable(Exception):
    """The cold store failed or gave no timely answer; the message says why, without passwords.

    It begins with DATABASE_TEXT, except for a DATABASE_URL that cannot be used, and with one of
    LASTING_TEXTS if the server refused for a reason that lasts."""


class DatabaseHangs(DatabaseUnavailable):
    """There was no answer within the deadline, or no connection."""


class DatabaseRefuses(DatabaseUnavailable):
    """It is there, and does not take these values, whenever they are brought."""


class Session(Protocol):
    """One connection of the pool in a transaction that only reads, and sees one state."""

    async def read(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        """Returns what `work` returns. Raises DatabaseUnavailable."""


class Pool(Protocol):
    """What the repositories use. All methods raise DatabaseUnavailable."""

    async def read(self, work: Callable[[Connection], Awaitable[_T]]) -> _T: ...

    async def write(self, work: Callable[[Connection], Awaitable[_T]]) -> _T: ...

    def session(self) -> AbstractAsyncContextManager[Session]: ...


class PoolOfOneRun:
    """A pool for one run: once a deadline has passed, its other calls fail at once, because each
    would wait as long again."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._hangs: str | None = None

    async def read(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        return await self._unless_it_hangs(self._pool.read, work)

    async def write(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        return await self._unless_it_hangs(self._pool.write, work)

    def session(self) -> AbstractAsyncContextManager[Session]:
        return self._pool.session()

    async def _unless_it_hangs(
        self,
        call: Callable[[Callable[[Connection], Awaitable[_T]]], Awaitable[_T]],
        work: Callable[[Connection], Awaitable[_T]],
    ) -> _T:
        if self._hangs is not None:
            raise DatabaseHangs(self._hangs)
        try:
            return await call(work)
        except DatabaseHangs as error:
            self._hangs = str(error)
            raise


class DatabasePool:
    """Up to _CONNECTIONS connections to `dsn`. All methods raise DatabaseUnavailable.

    `read_s` and `write_s` limit one piece of work; connecting is limited separately. `migrates`:
    False for a server that others migrate. Raises ValueError for an invalid `dsn`, without any part
    of it.
    """

    def __init__(
        self,
        dsn: str,
        migrations: Path,
        *,
        read_s: float,
        write_s: float,
        migrates: bool = True,
    ) -> None:
        self._migrates = migrates
        self._address = parse_database_url(dsn)
        self._connect_s = self._address.connect_s or _CONNECT_S
        self._redactor = Redactor(self._address.secrets)
        self._migrations = migrations
        self._read_s = read_s
        self._write_s = write_s
        self._pool: _Pool | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Connects and applies pending migrations."""
        await self._get_pool()

    async def aclose(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(_CLOSE_S):
                    await pool.close()
            except _ERRORS:
                pool.terminate()

    async def read(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        """Returns what `work` returns; if the connection is lost, `work` is called again."""
        return await self._run(work, self._read_s)

    async def write(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        """As `read`, with the deadline for writes; `work` must be safe to run twice."""
        return await self._run(work, self._write_s)

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A connection of its own until the context ends; what is raised within it is raised."""
        pool = await self._get_pool()
        with self._translated_errors():
            async with asyncio.timeout(self._read_s):
                try:
                    held = await self._begin(pool)
                except _CONNECTION_LOST as error:
                    _log.info("database_connection_lost", error=self._without_password(error))
                    await pool.expire_connections()
                    held = await self._begin(pool)
        try:
            yield held
        finally:
            await held.end()

    @contextlib.asynccontextmanager
    async def listening(
        self, channel: str, heard: Callable[[str], None]
    ) -> AsyncIterator[asyncio.Event]:
        """Calls `heard` with each notice of a channel, on a connection of its own. Yields an event
        that is set when the connection is lost."""
        await self._get_pool()
        with self._translated_errors():
            async with asyncio.timeout(self._connect_s):
                connection = await asyncpg.connect(**self._options())
            try:
                async with listening_on(connection, channel, heard, self._connect_s) as lost:
                    yield lost
            finally:
                connection.terminate()

    async def _begin(self, pool: _Pool) -> "_HeldConnection":
        connection = await pool.acquire(timeout=self._connect_s)
        held = _HeldConnection(pool, connection, self._translated_errors, self._read_s)
        try:
            await held.begin(self._address.search_path)
        except BaseException:
            _terminate(connection)  # it may not answer to an end either
            await held.end()
            raise
        return held

    async def _run(self, work: Callable[[Connection], Awaitable[_T]], deadline_s: float) -> _T:
        pool = await self._get_pool()
        with self._translated_errors():
            async with asyncio.timeout(deadline_s):
                try:
                    return await self._with_connection(pool, work)
                except _CONNECTION_LOST as error:
                    # It probably died while idle, as all the others did.
                    _log.info("database_connection_lost", error=self._without_password(error))
                    await pool.expire_connections()
                    return await self._with_connection(pool, work)

    async def _get_pool(self) -> _Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await self._open_pool()
            return self._pool

    async def _open_pool(self) -> _Pool:
        with self._translated_errors():
            migrations = await asyncio.to_thread(read_migrations, self._migrations)
            most = min(self._address.connections or _CONNECTIONS, _CONNECTIONS)
            pool: _Pool = await asyncpg.create_pool(min_size=0, max_size=most, **self._options())
            try:
                async with asyncio.timeout(self._connect_s + _CHECK_S):
                    await self._connect(pool)
                    pending = await self._with_connection(
                        pool, lambda connection: pending_migrations(connection, migrations)
                    )
                if pending and not self._migrates:
                    raise DatabaseUnavailable(
                        f"{DATABASE_TEXT}lacks the migration {pending[0].name} as yet"
                    )
                if pending:
                    async with asyncio.timeout(_MIGRATE_S):
                        await self._with_connection(
                            pool, lambda connection: migrate(connection, migrations)
                        )
            except BaseException:
                pool.terminate()
                raise
        return pool

    def _options(self) -> dict[str, Any]:
        """How a connection is opened, alone or in the pool."""
        address = self._address
        return {
            "dsn": address.dsn,
            "timeout": self._connect_s,
            # Prepared statements fail behind a transaction pooler (pgbouncer).
            "statement_cache_size": 0,
            "server_settings": {"application_name": "perpcache", **address.server_settings},
            # True checks certificate and name against this machine's authorities.
            "ssl": True if address.system_roots else None,
        }

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise DatabaseHangs("the database did not answer in time") from error
        except MigrationError as error:
            raise DatabaseUnavailable(f"the database cannot be migrated: {error}") from error
        except _NO_WRITES as error:
            raise DatabaseUnavailable(
                f"{_NO_WRITES_TEXT}: {self._without_password(error)}"
            ) from error
        except asyncpg.InsufficientPrivilegeError as error:
            raise DatabaseUnavailable(
                f"{DENIED_TEXT} a right: {self._without_password(error)}"
            ) from error
        except _ERRORS as error:
            refused = isinstance(error, _REFUSED) and not isinstance(error, _NO_VALUE)
            kind = DatabaseRefuses if refused else DatabaseUnavailable
            raise kind(f"the database failed: {self._without_password(error)}") from error

    def _without_password(self, error: BaseException) -> str:
        # What is told is cut after the password was hidden, so that no half of it is left.
        text = (str(error) or type(error).__name__)[:_LONGEST_ERROR]
        return foreign_text(self._redactor.clean(text))

    async def _connect(self, pool: _Pool) -> None:
        """Opens the first connection. Reports what asyncpg cannot use of DATABASE_URL or of the
        variables PG..., and a schema that does not exist."""
        path = self._address.search_path
        found: str | None = "not asked"
        try:
            async with pool.acquire(timeout=self._connect_s) as connection:
                if path is not None:
                    found = await _in_schema(connection, path, _current_schema)
        except ValueError:
            # asyncpg's message may quote any part of the address.
            raise DatabaseUnavailable(
                "DATABASE_URL, or one of the variables PGPORT, PGSSLMODE and so on, has a value"
                " that the database's driver does not accept"
            ) from None
        except (AttributeError, LookupError, TypeError) as error:
            # asyncpg relies on what every PostgreSQL says when a connection opens.
            raise DatabaseUnavailable(
                "the database failed: its first answers are not those of PostgreSQL"
            ) from error
        if found is None:
            raise DatabaseUnavailable(f"no schema of DATABASE_URL exists: create {path}")

    async def _with_connection(
        self, pool: _Pool, work: Callable[[Connection], Awaitable[_T]]
    ) -> _T:
        async with pool.acquire(timeout=self._connect_s) as connection:
            try:
                try:
                    return await self._in_path(connection, work)
                except asyncpg.InsufficientPrivilegeError as error:
                    if lacking := await self._in_path(connection, lacking_rights):
                        raise DatabaseUnavailable(
                            f"{DENIED_TEXT} {lacking}: grant these rights"
                        ) from error
                    raise
            except asyncpg.InternalClientError:
                _terminate(connection)
                raise
            except asyncio.CancelledError:
                # At the deadline: a cancel request to a stalled server would take as long again.
                _terminate(connection)
                raise

    async def _in_path(
        self, connection: Connection, work: Callable[[Connection], Awaitable[_T]]
    ) -> _T:
        path = self._address.search_path
        return await (work(connection) if path is None else _in_schema(connection, path, work))


class _HeldConnection:
    """The connection of a session. Errors of the database end it for good."""

    def __init__(
        self,
        pool: _Pool,
        connection: Connection,
        translated: Callable[[], contextlib.AbstractContextManager[None]],
        read_s: float,
    ) -> None:
        self._pool = pool
        self._connection = connection
        self._transaction = connection.transaction(isolation="repeatable_read", readonly=True)
        self._translated = translated
        self._read_s = read_s

    async def begin(self, path: str | None) -> None:
        await self._transaction.start()
        await set_path(self._connection, path)

    async def read(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        with self._translated():
            async with asyncio.timeout(self._read_s):
                try:
                    return await work(self._connection)
                except BaseException:
                    _terminate(self._connection)
                    raise

    async def end(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._transaction.rollback()
        except (*_ERRORS, TimeoutError):
            _terminate(self._connection)
        except BaseException:
            _terminate(self._connection)
            raise
        finally:
            await self._pool.release(self._connection)


def _terminate(connection: Connection) -> None:
    """Ends a connection. One that died before has gone back to the pool: its error would take the
    place of the one that is being raised, and whoever was cancelled would go on."""
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


async def _in_schema(
    connection: Connection, path: str, work: Callable[[Connection], Awaitable[_T]]
) -> _T:
    """Runs `work` in a transaction with its search_path: a transaction pooler (pgbouncer) refuses
    it when a connection opens, and hands a session's to other clients."""
    async with connection.transaction():
        await set_path(connection, path)
        return await work(connection)


async def set_path(connection: Connection, path: str | None) -> None:
    """Sets the search_path until the transaction ends; None leaves it as it is."""
    if path is not None:
        await connection.execute(_SET_PATH, path)


async def _current_schema(connection: Connection) -> str | None:
    found: str | None = await connection.fetchval("SELECT current_schema()")
    return found
