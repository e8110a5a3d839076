"""The table execution_log: lines of workers, written in batches and read page by page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import asyncpg

from stores.cold.pool import Connection, Pool
from stores.cold.workers.partitions import ensure_months

TABLE: Final = "execution_log"
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
MOST_LINES: Final = 1001  # of one read: a page, and one more to know whether another follows
_NOT_HELD: Final = (asyncpg.UntranslatableCharacterError, asyncpg.CharacterNotInRepertoireError)
_COLUMNS: Final = ("at", "worker", "run", "host", "level", "event", "fields")


class NewLine(NamedTuple):
    """A line to write. `at_ms`: UTC; `run`: None for lines that belong to no run; `fields`: the
    text of a JSON object, in ASCII."""

    at_ms: int
    worker: str
    run: int | None
    host: str
    level: str
    event: str
    fields: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """A stored line. `id` is unique; lines of one millisecond are in its order."""

    id: int
    at_ms: int
    worker: str
    run: int | None
    host: str
    level: str
    event: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cursor(self) -> tuple[int, int]:
        return self.at_ms, self.id


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines are wanted; None: any. `level`: the lowest. `from_ms` is the first millisecond,
    `to_ms` the one after the last, UTC."""

    worker: str | None = None
    run: int | None = None
    level: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None


class ExecutionLog:
    """Writes and reads lines. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def write(self, lines: Sequence[NewLine]) -> None:
        """Stores lines, all or none; the months that they need are made."""
        if not lines:
            return

        async def write(connection: Connection) -> None:
            rows = lines
            for _ in range(2):
                try:
                    await _copy(connection, rows)
                except asyncpg.CheckViolationError:  # a month without a partition
                    await ensure_months(connection, TABLE, {line.at_ms for line in lines})
                except _NOT_HELD:
                    rows = [_in_ascii(line) for line in lines]
                else:
                    return
            await _copy(connection, rows)

        await self._pool.write(write)

    async def listed(
        self,
        wanted: LogFilter,
        *,
        limit: int = 100,
        newest: bool = False,
        after: tuple[int, int] | None = None,
    ) -> list[LogLine]:
        """Up to `limit` lines, the oldest first; the newest first where `newest`. `after`: the
        cursor of the last line that was read before, in the same order."""
        levels = None if wanted.level is None else LEVELS[LEVELS.index(wanted.level) :]
        tests = {
            "worker = ": wanted.worker,
            "run = ": wanted.run,
            "level = ANY": None if levels is None else list(levels),
            "at >= ": wanted.from_ms,
            "at < ": wanted.to_ms,
        }
        given = [(text, value) for text, value in tests.items() if value is not None]
        parts = [_test(text, place) for place, (text, _) in enumerate(given, start=1)]
        values: list[Any] = [value for _, value in given]
        if after is not None:
            sign = "<" if newest else ">"
            parts.append(
                f"(at, id) {sign} (${len(values) + 1}::bigint, ${len(values) + 2}::bigint)"
            )
            values += after
        order = "DESC" if newest else "ASC"
        statement = (
            "SELECT id, at, worker, run, host, level, event, fields::text AS fields"  # noqa: S608
            f" FROM execution_log WHERE {' AND '.join(parts) or 'true'}"
            f" ORDER BY at {order}, id {order} LIMIT {min(max(limit, 1), MOST_LINES):d}"
        )

        async def read(connection: Connection) -> list[LogLine]:
            return [_line(row) for row in await connection.fetch(statement, *values)]

        return await self._pool.read(read)


async def _copy(connection: Connection, lines: Sequence[NewLine]) -> None:
    async with connection.transaction():
        await connection.copy_records_to_table(TABLE, records=lines, columns=_COLUMNS)


def _test(text: str, place: int) -> str:
    return f"{text}(${place}::text[])" if text.endswith("ANY") else f"{text}${place}"


def _in_ascii(line: NewLine) -> NewLine:
    """The line as a database of any encoding holds it."""
    return line._replace(
        worker=_escaped(line.worker), host=_escaped(line.host), event=_escaped(line.event)
    )


def _escaped(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def _line(row: asyncpg.Record) -> LogLine:
    return LogLine(
        id=row["id"],
        at_ms=row["at"],
        worker=row["worker"],
        run=row["run"],
        host=row["host"],
        level=row["level"],
        event=row["event"],
        fields=json.loads(row["fields"]),
    )
