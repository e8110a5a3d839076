"""OpenDatabase: SQLAlchemy's engine of one database: its driver, a bounded pool, and deadlines.

The only module that knows how SQLAlchemy opens connections.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeVar

from addresses.user_database import UserDatabaseAddress
from logging_setup import cleaned_lines
from texts.foreign import foreign_text
from texts.redaction import Redactor
from workers.databases.declaration import DatabaseDefinition
from workers.databases.errors import UserDatabaseUnavailable

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

_T = TypeVar("_T")
PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "postgresql": ("sqlalchemy", "greenlet", "asyncpg"),
    "mysql": ("sqlalchemy", "greenlet", "asyncmy"),
    "sqlite": ("sqlalchemy", "greenlet", "aiosqlite"),
}
_CONNECT_S: Final = 10.0
_CLOSE_S: Final = 4.0
_RECYCLE_S: Final = 1800  # MySQL ends connections that were idle for hours
_SET_PATH: Final = "SELECT set_config('search_path', :path, true)"
_NO_PATH: Final = "SELECT 1"
_DDL: Final = re.compile(r"(\s|--.*|/\*(?s:.*?)\*/)*+(CREATE|ALTER|DROP)\b", re.IGNORECASE)


def lacks_packages(address: UserDatabaseAddress) -> bool:
    """Whether packages of requirements-databases.txt are missing for this kind of database."""
    return any(find_spec(name) is None for name in PACKAGES[address.dialect])


class OpenDatabase:
    """One database of this process, used by the event loop `loop`. `is_core`: it is the one that
    has the runs of workers."""

    def __init__(
        self,
        definition: DatabaseDefinition,
        address: UserDatabaseAddress,
        loop: asyncio.AbstractEventLoop,
        *,
        is_core: bool,
    ) -> None:
        """Opens no connection yet."""
        from sqlalchemy.ext.asyncio import async_sessionmaker

        self.name = definition.name
        self.deadline_s = definition.deadline_s
        self.is_core = is_core
        self.loop = loop
        self._redactor = Redactor(address.secrets)
        self._postgres = address.postgres
        self.engine = _engine(definition, address)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    async def aclose(self) -> None:
        """Ends all connections, within seconds."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(_CLOSE_S):
                await self.engine.dispose()

    @contextlib.asynccontextmanager
    async def session(self) -> "AsyncIterator[AsyncSession]":
        """A session whose connection is there, and whose transaction has begun.

        Raises UserDatabaseUnavailable.
        """
        session = self._sessions()
        try:
            await self.in_time(self._begin(session))
            yield session
        finally:
            await self._close(session)

    async def execute_sql(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """The rows of one statement, in a transaction of its own."""
        from sqlalchemy import text

        async with self.session() as session:
            result: Any = await self.in_time(session.execute(text(sql), dict(parameters or {})))
            rows = [dict(row) for row in result.mappings()] if result.returns_rows else []
            await self.in_time(session.commit())
        return rows

    async def in_time(self, call: Awaitable[_T]) -> _T:
        """What a call of the database returns. Raises UserDatabaseUnavailable, and SQLAlchemy's
        errors of statements."""
        from sqlalchemy.exc import DBAPIError
        from sqlalchemy.exc import TimeoutError as NoConnection

        try:
            async with asyncio.timeout(self.deadline_s):
                return await call
        except TimeoutError:
            raise self._unavailable(f"gave no answer within {self.deadline_s:g} s") from None
        except NoConnection:
            raise self._unavailable("has all its connections in use") from None
        except DBAPIError as error:
            driver = getattr(error.orig, "__cause__", None)  # of asyncpg's adapter
            if error.connection_invalidated or _is_connecting(error.orig) or _is_connecting(driver):
                raise self._unavailable(f"failed: {self._told(error.orig)}") from error
            raise
        except Exception as error:
            if _is_connecting(error):
                raise self._unavailable(f"failed: {self._told(error)}") from error
            raise

    def awaited_or_waited(self, call: Coroutine[Any, Any, _T]) -> Any:
        """The call itself, for `await`; in another thread than the event loop's what it returns."""
        return call if _on_loop() else self.waited(call)

    def check_thread(self) -> None:
        """Raises RuntimeError on an event loop's thread, which must not wait."""
        if _on_loop():
            raise RuntimeError("a unit of work needs `async with` in an async worker")

    def waited(self, call: Coroutine[Any, Any, _T]) -> _T:
        """In another thread than the event loop's: waits for the call. It ends by its deadlines."""
        return asyncio.run_coroutine_threadsafe(call, self.loop).result()

    async def _begin(self, session: "AsyncSession") -> None:
        from sqlalchemy import text

        path = self._postgres.search_path if self._postgres else None
        if path is None:
            await session.execute(text(_NO_PATH))
        else:
            await session.execute(text(_SET_PATH), {"path": path})

    async def _close(self, session: "AsyncSession") -> None:
        """Rolls back what was not committed. What goes wrong then was told, or does no harm."""
        from sqlalchemy.exc import SQLAlchemyError

        with contextlib.suppress(TimeoutError, OSError, SQLAlchemyError):
            async with asyncio.timeout(_CLOSE_S):
                await session.close()

    def _unavailable(self, what: str) -> UserDatabaseUnavailable:
        return UserDatabaseUnavailable(f"database {self.name} {what}")

    def _told(self, error: BaseException | None) -> str:
        return foreign_text(cleaned_lines(self._redactor.clean(str(error) or type(error).__name__)))


def _on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _engine(definition: DatabaseDefinition, address: UserDatabaseAddress) -> "AsyncEngine":
    from sqlalchemy.ext.asyncio import create_async_engine

    options: dict[str, Any] = {"hide_parameters": True}
    if address.path != ":memory:":
        options |= {
            "pool_size": definition.connections,
            "max_overflow": 0,
            "pool_timeout": min(definition.deadline_s, _CONNECT_S),
            "pool_pre_ping": True,
            "pool_recycle": _RECYCLE_S,
        }
    if address.dialect == "postgresql":
        return create_async_engine(
            "postgresql+asyncpg://", async_creator=_postgres_creator(address), **options
        )
    return _other_engine(address, options)


def _postgres_creator(address: UserDatabaseAddress) -> Callable[[], Awaitable[Any]]:
    """Connects as the core's pool does: with the same options of an address."""
    postgres = address.postgres
    assert postgres is not None  # noqa: S101 - of this dialect

    async def connect() -> Any:
        import asyncpg

        return await asyncpg.connect(
            postgres.dsn,
            timeout=postgres.connect_s or _CONNECT_S,
            statement_cache_size=0,
            server_settings={"application_name": "perpcache-worker", **postgres.server_settings},
            ssl=True if postgres.system_roots else None,
        )

    return connect


def _other_engine(address: UserDatabaseAddress, options: dict[str, Any]) -> "AsyncEngine":
    from sqlalchemy import URL, event
    from sqlalchemy.ext.asyncio import create_async_engine

    if address.dialect == "mysql":
        url = URL.create(
            "mysql+asyncmy",
            username=address.user,
            password=address.password,
            host=address.host,
            port=address.port,
            database=address.name,
            query={"charset": address.charset},
        )
        connect_s = int(address.connect_s or _CONNECT_S)
        return create_async_engine(url, connect_args={"connect_timeout": connect_s}, **options)
    url = URL.create("sqlite+aiosqlite", database=address.path)
    engine = create_async_engine(url, connect_args={"timeout": _CONNECT_S}, **options)

    def prepare(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    def begin(connection: Any, _: object, statement: str, *__: object) -> None:
        # Python's driver begins before INSERT, UPDATE and DELETE alone.
        driver = connection.connection.driver_connection
        if _DDL.match(statement) and not driver.in_transaction and driver.isolation_level == "":
            connection.exec_driver_sql("BEGIN")

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "before_cursor_execute", begin)
    return engine


def _is_connecting(error: BaseException | None) -> bool:
    """Whether the error is of a connection, not of a statement."""
    if isinstance(error, OSError):
        return True
    name = type(error).__name__
    return name in _CONNECTION_ERRORS or (name == "OperationalError" and _lost(error))


def _lost(error: BaseException | None) -> bool:
    """Errors of MySQL's client that mean the connection, by their number; SQLite's of its file."""
    arguments = getattr(error, "args", ())
    first = arguments[0] if arguments else None
    if isinstance(first, int):
        return first in _MYSQL_CONNECTION
    return "unable to open database file" in str(first) or "database is locked" in str(first)


_MYSQL_CONNECTION: Final = (1040, 1044, 1045, 1049, 1053, 1130, 2002, 2003, 2005, 2006, 2013)
# asyncpg's, which its adapter in SQLAlchemy does not wrap while a connection is opened.
_CONNECTION_ERRORS: Final = frozenset(
    (
        *("InvalidPasswordError", "InvalidAuthorizationSpecificationError"),
        *("InvalidCatalogNameError", "CannotConnectNowError", "TooManyConnectionsError"),
        *("PostgresConnectionError", "ConnectionDoesNotExistError", "ConnectionFailureError"),
        *("AdminShutdownError", "CrashShutdownError"),
    )
)
