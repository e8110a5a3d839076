"""A replica of the cold store, for reads that may be a little behind: its pool, and how far it is.

It may be any server that has the same tables: a streaming or logical replica, or a pooler before
several. Nothing is migrated through it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from stores.cold.pool import (
    DATABASE_TEXT,
    Connection,
    DatabasePool,
    DatabaseUnavailable,
    Pool,
    Session,
)

REPLICA_TEXT: Final = f"{DATABASE_TEXT}of HISTORY_DATABASE_URL "
_T = TypeVar("_T")

# Of each document: the version that is stored, and when it was.
StoredVersions = dict[str, tuple[int, int]]


class ReplicaPool:
    """Connections to a replica; its errors name it. All methods raise DatabaseUnavailable."""

    def __init__(self, dsn: str, migrations: Path, *, read_s: float, write_s: float) -> None:
        self._pool = DatabasePool(dsn, migrations, read_s=read_s, write_s=write_s, migrates=False)

    async def read(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        with _named():
            return await self._pool.read(work)

    async def write(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        raise DatabaseUnavailable(f"{REPLICA_TEXT}is only read")

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        with _named():
            async with self._pool.session() as session:
                yield session

    async def aclose(self) -> None:
        await self._pool.aclose()


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except DatabaseUnavailable as error:
        told = str(error)
        if told.startswith(REPLICA_TEXT):
            raise
        raise type(error)(REPLICA_TEXT + told.removeprefix(DATABASE_TEXT)) from error


async def stored_versions(pool: Pool) -> StoredVersions:
    """What history has stored last of each document."""

    async def read(connection: Connection) -> StoredVersions:
        rows = await connection.fetch("SELECT document, version, stored_at FROM history_stored")
        return {row["document"]: (row["version"], row["stored_at"]) for row in rows}

    return await pool.read(read)


def lag_s(of_database: StoredVersions, of_replica: StoredVersions, now_ms: int) -> float:
    """For how long something that the database has stored has been lacking in the replica.

    0.0 for a replica that has all. Of several versions of one document that it lacks the newest
    counts: the time is never too long.
    """
    lacking = [
        stored_ms
        for document, (version, stored_ms) in of_database.items()
        if of_replica.get(document, (0, 0))[0] < version
    ]
    return max(0, now_ms - min(lacking)) / 1000 if lacking else 0.0
