"""The monthly partitions of worker_run and execution_log: made ahead or when needed, and dropped.

A partition is attached to its table, which stops neither readers nor writers. Dropping one does for
a moment; where somebody uses the table for long, it waits no more than _LOCK_MS and is tried again
later. Months are of UTC; several hosts may do this at once.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg

from stores.cold.pool import DENIED_TEXT, Connection, DatabaseUnavailable, Pool

# The tables, and the columns of time by which they are partitioned.
PARTITIONED: Final = ("worker_run", "execution_log")
_AHEAD: Final = 1  # months after this one
_LOCK_MS: Final = 1000
_DAY_MS: Final = 86_400_000
# An arbitrary number that other programs are unlikely to use in the same database.
_MAKING: Final = 0x50657270_776F726B
_NAME: Final = re.compile(r"(worker_run|execution_log)_(\d{4})(\d\d)")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


async def ensure_months(connection: Connection, table: str, moments_ms: Iterable[int]) -> bool:
    """Makes the partitions of these moments (UTC ms) that are missing, in the transaction of
    `connection`, if there is one. Returns whether any were."""
    wanted = {_name_of(table, moment_ms): moment_ms for moment_ms in moments_ms}
    missing = await connection.fetch(_MISSING, list(wanted))
    if not missing:
        return False
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _MAKING)
            for row in await connection.fetch(_MISSING, sorted(wanted)):
                await _make(connection, table, row["name"], wanted[row["name"]])
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseUnavailable(_RIGHTS) from error
    return True


async def make_ahead(connection: Connection, now_ms: int) -> None:
    """Makes the partitions of this month and the next ones."""
    months = [_month_start(now_ms, ahead) for ahead in range(_AHEAD + 1)]
    for table in PARTITIONED:
        await ensure_months(connection, table, months)


async def drop_months(pool: Pool, table: str, keep_days: int, now_ms: int) -> list[str]:
    """Drops the partitions that ended `keep_days` ago or earlier, each in a transaction of its own;
    0 keeps all.

    Returns the names of those that somebody's use of the table kept from being dropped. Raises
    DatabaseUnavailable.
    """
    if keep_days == 0:
        return []
    kept_from_ms = now_ms - keep_days * _DAY_MS

    async def read(connection: Connection) -> list[str]:
        rows = await connection.fetch(_PARTITIONS, table)
        return [row["name"] for row in rows if _is_before(table, row["name"], kept_from_ms)]

    in_use = []
    for name in await pool.read(read):

        async def drop(connection: Connection, name: str = name) -> bool:
            return await _drop(connection, name)

        if not await pool.write(drop):
            in_use.append(name)
    return in_use


async def _make(connection: Connection, table: str, name: str, moment_ms: int) -> None:
    # As a table of its own first: CREATE TABLE ... PARTITION OF would wait for every reader, and
    # every writer for it.
    start_ms, end_ms = _month_start(moment_ms, 0), _month_start(moment_ms, 1)
    await connection.execute(
        f"CREATE TABLE IF NOT EXISTS {name} (LIKE {table} INCLUDING DEFAULTS);"
        f" ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({start_ms}) TO ({end_ms})"
    )


async def _drop(connection: Connection, name: str) -> bool:
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MS}")
            await connection.execute(f"DROP TABLE IF EXISTS {name}")
    except asyncpg.LockNotAvailableError:
        return False
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseUnavailable(_RIGHTS) from error
    return True


def _name_of(table: str, moment_ms: int) -> str:
    return f"{table}_{_EPOCH + moment_ms * _MS:%Y%m}"


def _is_before(table: str, name: str, kept_from_ms: int) -> bool:
    """Whether a partition is ours and ended before that time."""
    found = _NAME.fullmatch(name)
    if found is None or found[1] != table:
        return False
    begins = datetime(int(found[2]), int(found[3]), 1, tzinfo=UTC)
    return _month_start((begins - _EPOCH) // _MS, 1) <= kept_from_ms


def _month_start(moment_ms: int, ahead: int) -> int:
    """When the month of this moment, or one so many months later, begins; UTC ms."""
    moment = _EPOCH + moment_ms * _MS
    months = moment.year * 12 + moment.month - 1 + ahead
    return (datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC) - _EPOCH) // _MS


_RIGHTS: Final = (
    f"{DENIED_TEXT} the monthly partitions: it must own {', '.join(PARTITIONED)}, and needs CREATE"
    " on their schema"
)
# A partition that was made but not attached, by someone else, is not one.
_MISSING: Final = """
    SELECT name FROM unnest($1::text[]) AS name
    WHERE NOT EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = to_regclass(name))
    ORDER BY name
"""
_PARTITIONS: Final = """
    SELECT c.relname AS name FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass($1) ORDER BY c.relname
"""
