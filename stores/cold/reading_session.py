"""A read-only session of the cold store: runs one statement, streams its rows, and changes nothing.

Each statement runs alone in a transaction that is READ ONLY and has its first snapshot, after which
PostgreSQL lets nothing in it, functions and DO blocks included, become a writer again.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from addresses.database_url import DatabaseAddress, parse_database_url
from stores.cold.pool import DatabaseUnavailable
from texts.foreign import foreign_text
from texts.redaction import Redactor

_CONNECT_S: Final = 10.0  # unless DATABASE_URL has connect_timeout
_CLOSE_S: Final = 4.0
ROWS_AT_ONCE: Final = 1000
_LONGEST_TOLD: Final = 2000
_COPY: Final = "rows of COPY are not told here: give its query alone, and --format csv"


class StatementFailed(Exception):
    """The server refused the statement or gave it up; the message is for its author.

    `state`: the SQLSTATE.
    """

    def __init__(self, message: str, state: str) -> None:
        super().__init__(message)
        self.state = state


@dataclass(frozen=True, slots=True)
class Batch:
    """Up to ROWS_AT_ONCE rows of an answer. `columns`: their names, also where no rows are."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


class ReadingSession:
    """One connection. Raises DatabaseUnavailable when it cannot be opened or is lost."""

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record]", redactor: Redactor
    ) -> None:
        self._connection = connection
        self._redactor = redactor

    async def batches(self, statement: str, *, timeout_s: float) -> AsyncGenerator[Batch, None]:
        """The rows of one statement, at least one batch of them, in bounded memory.

        `timeout_s`: how long the server may take for each batch. Raises StatementFailed.
        """
        limit = max(round(timeout_s * 1000), 1)
        try:
            async with self._connection.transaction(isolation="repeatable_read", readonly=True):
                await self._connection.execute(f"SET LOCAL statement_timeout = {limit}")
                await self._connection.fetchval("SELECT 1")  # the snapshot
                prepared = await self._connection.prepare(statement)
                columns = tuple(attribute.name for attribute in prepared.get_attributes())
                cursor = await prepared.cursor() if columns else None
                rows = await cursor.fetch(ROWS_AT_ONCE) if cursor else await prepared.fetch()
                if not cursor and (prepared.get_statusmsg() or "").startswith("COPY"):
                    raise StatementFailed(_COPY, "0A000")  # its rows are not among these
                yield Batch(columns, [tuple(row) for row in rows])
                while cursor and len(rows) == ROWS_AT_ONCE:
                    rows = await cursor.fetch(ROWS_AT_ONCE)
                    yield Batch(columns, [tuple(row) for row in rows])
        except asyncpg.PostgresConnectionError as error:
            raise DatabaseUnavailable(f"the database failed: {self._told(error)}") from error
        except asyncpg.PostgresError as error:
            raise StatementFailed(self._explained(error), error.sqlstate or "") from error
        except (asyncpg.InterfaceError, OSError) as error:
            raise DatabaseUnavailable(f"the database failed: {self._told(error)}") from error

    def _explained(self, error: asyncpg.PostgresError) -> str:
        """The server's message with its detail, its hint and the place in the statement."""
        told = error.as_dict()
        lines = [str(told.get("message") or error)]
        if told.get("position"):
            lines[0] += f" (at character {told['position']})"
        lines += [str(told[name]) for name in ("detail", "hint") if told.get(name)]
        return "\n".join(self._cleaned(line) for line in lines)

    def _told(self, error: BaseException) -> str:
        return self._cleaned(str(error) or type(error).__name__)

    def _cleaned(self, text: str) -> str:
        return foreign_text(self._redactor.clean(text[:_LONGEST_TOLD]))


@contextlib.asynccontextmanager
async def reading_session(url: str) -> AsyncIterator[ReadingSession]:
    """Opens a session. Raises DatabaseUnavailable, or ValueError for an invalid `url`."""
    address = parse_database_url(url)
    redactor = Redactor(address.secrets)
    connection = await _connect(address, redactor)
    try:
        if address.search_path is not None:
            await connection.execute(
                "SELECT set_config('search_path', $1, false)", address.search_path
            )
        yield ReadingSession(connection, redactor)
    finally:
        with contextlib.suppress(OSError, TimeoutError, asyncpg.InterfaceError):
            await connection.close(timeout=_CLOSE_S)


async def _connect(
    address: DatabaseAddress, redactor: Redactor
) -> "asyncpg.Connection[asyncpg.Record]":
    try:
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
            address.dsn,
            timeout=address.connect_s or _CONNECT_S,
            statement_cache_size=0,  # as in pool.py: poolers
            server_settings={"application_name": "perpcache-sql", **address.server_settings},
            ssl=True if address.system_roots else None,
        )
    except TimeoutError as error:
        raise DatabaseUnavailable("the database did not answer in time") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        told = foreign_text(redactor.clean(str(error) or type(error).__name__))
        raise DatabaseUnavailable(f"the database failed: {told}") from error
    return connection
