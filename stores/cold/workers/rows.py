"""The table worker: what runs when, as code declares it and an operator overrides it."""

import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

import asyncpg

from stores.cold.pool import Connection, Pool
from stores.cold.workers.partitions import drop_months

_T = TypeVar("_T")

# What an operator may override, each with a column of its own.
OVERRIDABLE: Final = (
    *("cron", "every_s", "offset_s", "tz", "queue", "egress", "timeout_s", "max_attempts"),
    *("on_missed", "enabled"),
)
_ANY_EGRESS: Final = "any"
# What waits within a transaction for longer than this is ended by the server, so that a host that
# froze there holds no other up.
_IDLE_S: Final = 5
_LOCK_S: Final = 10
# An arbitrary number that other programs are unlikely to use in the same database.
_ALL: Final = 0x50657270_726F7773


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A worker as it is in effect: `declared` by its code with an operator's `overrides` over it.

    `declared` has the fields of WorkerDefinition that can be told, `overrides` a value for each
    column that was set. `next_run_ms` is None for what no schedule fires. Times are UTC ms.
    """

    name: str
    kind: str
    origin: str
    cron: str | None
    every_s: int | None
    offset_s: int
    tz: str
    queue: str
    egress: str
    timeout_s: float
    max_attempts: int
    on_missed: str
    enabled: bool
    next_run_ms: int | None
    declared: Mapping[str, Any]
    overrides: Mapping[str, Any]
    changed_at_ms: int
    changed_by: str

    @property
    def refreshes(self) -> tuple[str, ...]:
        """The ids of the jobs that it asks for."""
        return tuple(self.declared.get("refreshes") or ())

    @property
    def runs_on(self) -> str:
        """The queue of its runs: that of its egress, where it has one."""
        return self.queue if self.egress == _ANY_EGRESS else f"egress:{self.egress}"


class WorkerRows:
    """Reads and writes the rows. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def all(self) -> list[WorkerRow]:
        """All rows, by name."""
        return await self._pool.read(rows_of)

    async def one(self, name: str) -> WorkerRow | None:
        async def read(connection: Connection) -> WorkerRow | None:
            row = await connection.fetchrow(f"{_SELECT} WHERE name = $1", name)
            return None if row is None else _row(row)

        return await self._pool.read(read)

    async def drop_months(self, table: str, keep_days: int) -> list[str]:
        """Drops the partitions of worker_run or execution_log that ended so long ago; see
        partitions.py."""
        return await drop_months(self._pool, table, keep_days, await self._pool.read(now_of))

    async def in_transaction(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        """What `work` returns, in a transaction that the server ends where it stands still. `work`
        is called again if the connection was lost, and must be safe to run twice."""

        async def write(connection: Connection) -> _T:
            async with connection.transaction():
                await connection.execute(_LIMITS)
                return await work(connection)

        return await self._pool.write(write)


async def rows_of(connection: Connection) -> list[WorkerRow]:
    """All rows, by name."""
    return [_row(row) for row in await connection.fetch(f"{_SELECT} ORDER BY name")]


async def lock_row(connection: Connection, name: str) -> WorkerRow | None:
    """The row, which nobody else changes until the transaction ends."""
    row = await connection.fetchrow(f"{_SELECT} WHERE name = $1 FOR UPDATE", name)
    return None if row is None else _row(row)


async def lock_rows(connection: Connection, names: Collection[str]) -> list[WorkerRow]:
    """These rows, locked one after another by name."""
    rows = await connection.fetch(
        f"{_SELECT} WHERE name = ANY($1) ORDER BY name FOR UPDATE", list(names)
    )
    return [_row(row) for row in rows]


async def lock_all(connection: Connection) -> list[WorkerRow]:
    """All rows, by name, locked; nobody else who asks so gets them, or adds any, meanwhile."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _ALL)
    return [_row(row) for row in await connection.fetch(f"{_SELECT} ORDER BY name FOR UPDATE")]


async def lock_due(
    connection: Connection, names: Sequence[str], now_ms: int | None
) -> tuple[WorkerRow, int] | None:
    """The schedule of these names that has been due for longest, and the time now; None if none is,
    or others have them in hand. `now_ms` None: by the database's clock."""
    row = await connection.fetchrow(_LOCK_DUE, list(names), now_ms)
    return None if row is None else (_row(row), row["now_ms"])


async def earliest(
    connection: Connection, names: Sequence[str], now_ms: int | None
) -> tuple[int | None, int]:
    """When the first of these schedules is due, and the time now."""
    row = await connection.fetchrow(_EARLIEST, list(names), now_ms)
    assert row is not None  # noqa: S101 - an aggregate always has one row
    return row["next_run"], row["now_ms"]


async def set_next_run(connection: Connection, name: str, next_run_ms: int | None) -> None:
    await connection.execute("UPDATE worker SET next_run = $2 WHERE name = $1", name, next_run_ms)


async def save_row(connection: Connection, row: WorkerRow) -> None:
    """Inserts the row, or puts it in place of the one of that name."""
    values = [getattr(row, field) for field in _FIELDS]
    values[_FIELDS.index("declared")] = json.dumps(dict(row.declared))
    values[_FIELDS.index("overrides")] = json.dumps(dict(row.overrides))
    await connection.execute(_SAVE, *values)


async def now_of(connection: Connection) -> int:
    """The database's time, UTC ms."""
    now_ms: int = await connection.fetchval(f"SELECT {NOW_MS}")
    return now_ms


def _row(row: asyncpg.Record) -> WorkerRow:
    found = {field: row[column] for field, column in zip(_FIELDS, _COLUMNS, strict=True)}
    found["declared"] = json.loads(found["declared"])
    found["overrides"] = json.loads(found["overrides"])
    return WorkerRow(**found)


# Of the moment, not of the transaction's beginning.
NOW_MS: Final = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_FIELDS: Final = tuple(field.name for field in fields(WorkerRow))
_COLUMNS: Final = tuple(
    {"next_run_ms": "next_run", "changed_at_ms": "changed_at"}.get(field, field)
    for field in _FIELDS
)
_LIMITS: Final = (
    f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_S}s';"
    f" SET LOCAL lock_timeout = '{_LOCK_S}s'"
)
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM worker"  # noqa: S608 - our own columns
_DUE: Final = "kind = 'schedule' AND enabled AND name = ANY($1)"
_TIME: Final = f"coalesce($2::bigint, {NOW_MS})"
_LOCK_DUE: Final = f"""
    SELECT {", ".join(_COLUMNS)}, {_TIME} AS now_ms FROM worker
    WHERE {_DUE} AND next_run <= {_TIME}
    ORDER BY next_run, name LIMIT 1 FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - our own constants
_EARLIEST: Final = f"""
    SELECT min(next_run) AS next_run, {_TIME} AS now_ms FROM worker WHERE {_DUE}
"""  # noqa: S608 - our own constants
_SAVE: Final = f"""
    INSERT INTO worker ({", ".join(_COLUMNS)})
    VALUES ({", ".join(f"${place}" for place in range(1, len(_COLUMNS) + 1))})
    ON CONFLICT (name) DO UPDATE SET
        {", ".join(f"{column} = excluded.{column}" for column in _COLUMNS[1:])}
"""  # noqa: S608 - our own columns
