"""The daily partitions of the live tables: made ahead, and dropped when they are old.

A partition is attached to its table, which stops neither readers nor writers. Dropping one does for
a moment; where somebody reads the table for long, it waits no more than _LOCK_MS and is tried again
later. Several hosts may do this at once. What is old is judged by the database's clock.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Final

import asyncpg

from stores.cold.pool import DENIED_TEXT, Connection, DatabaseUnavailable, Pool

LIVE_TABLES: Final = ("live_trades", "live_tickers", "live_books")
_AHEAD: Final = 2  # days after today
_BEHIND: Final = 1  # days before today of which rows are taken
_LOCK_MS: Final = 1000
# An arbitrary number that other programs are unlikely to use in the same database.
_MAKING: Final = 0x50657270_6C697665
_DAY: Final = timedelta(days=1)
_NAME: Final = re.compile(r"(live_[a-z]+)_(\d{4})(\d\d)(\d\d)")


async def make_partitions(connection: Connection, days: Iterable[date] | None = None) -> None:
    """Makes what is missing of these days, or of today and the next ones. Days that are not near
    today have no partition."""
    with _told_rights():
        await _make_partitions(connection, days)


async def _make_partitions(connection: Connection, days: Iterable[date] | None) -> None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MS}")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MAKING)
        today: date = await connection.fetchval(_TODAY)
        near = {today + offset * _DAY for offset in range(-_BEHIND, _AHEAD + 1)}
        wanted = near & set(days) if days is not None else near - {today - _DAY}
        there = set(await _partitions(connection))
        for day in sorted(wanted):
            for table in LIVE_TABLES:
                name = f"{table}_{day:%Y%m%d}"
                if name not in there:
                    await _make(connection, table, name, day)


async def drop_partitions(pool: Pool, keep_days: int) -> list[str]:
    """Drops the partitions that ended `keep_days` ago or earlier, each in a transaction of its own.

    Returns the names of those that somebody's use of the table kept from being dropped. Raises
    DatabaseUnavailable.
    """

    async def read(connection: Connection) -> Sequence[str]:
        last = await connection.fetchval(_TODAY) - (keep_days + 1) * _DAY
        return [name for name in await _partitions(connection) if _day_of(name) <= last]

    in_use = []
    for name in await pool.read(read):

        async def drop(connection: Connection, name: str = name) -> bool:
            with _told_rights():
                return await _drop(connection, name)

        if not await pool.write(drop):
            in_use.append(name)
    return in_use


async def _drop(connection: Connection, name: str) -> bool:
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MS}")
            await connection.execute(f"DROP TABLE IF EXISTS {name}")
    except asyncpg.LockNotAvailableError:
        return False
    return True


@contextlib.contextmanager
def _told_rights() -> Iterator[None]:
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseUnavailable(
            f"{DENIED_TEXT} the daily partitions: it must own {', '.join(LIVE_TABLES)}, and needs"
            " CREATE on their schema"
        ) from error


async def _make(connection: Connection, table: str, name: str, day: date) -> None:
    # As a table of its own first: CREATE TABLE ... PARTITION OF would wait for every reader, and
    # every writer for it.
    await connection.execute(
        f"CREATE TABLE IF NOT EXISTS {name} (LIKE {table} INCLUDING DEFAULTS);"
        f" ALTER TABLE {table} ATTACH PARTITION {name}"
        f" FOR VALUES FROM ('{day} 00:00:00+00') TO ('{day + _DAY} 00:00:00+00')"
    )


async def _partitions(connection: Connection) -> list[str]:
    """The names of the partitions that are ours: others keep theirs."""
    rows = await connection.fetch(_PARTITIONS, list(LIVE_TABLES))
    names = [(row["parent"], row["name"]) for row in rows]
    return [name for parent, name in names if _NAME.fullmatch(name) and name.startswith(parent)]


def _day_of(name: str) -> date:
    found = _NAME.fullmatch(name)
    assert found is not None  # noqa: S101 - of _partitions
    return date(*map(int, found.groups()[1:]))


_TODAY: Final = "SELECT (now() AT TIME ZONE 'UTC')::date"
_PARTITIONS: Final = """
    SELECT t.parent, c.relname AS name FROM unnest($1::text[]) AS t(parent)
    JOIN pg_inherits AS i ON i.inhparent = to_regclass(t.parent)
    JOIN pg_class AS c ON c.oid = i.inhrelid
    ORDER BY c.relname
"""
