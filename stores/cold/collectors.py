"""The tables live_collector_files and live_collectors: what files say of collectors, and wishes."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from stores.cold.pool import Connection, Pool

# A file that no process has had for so long counts no more.
FORGOTTEN_AFTER_MS: Final = 7 * 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class CollectorWish:
    """What was asked for of one collector, beside what its file says.

    `enabled`: None is what the file says. `running`: False once it was stopped, until it is
    started. `added`: symbols as they were written, with the exchange's names; `removed`: the
    exchange's names. `restarts`: how often one was asked for. `changed_ms`: UTC ms, None if nothing
    was ever asked for.
    """

    enabled: bool | None = None
    running: bool = True
    added: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    restarts: int = 0
    changed_ms: int | None = None


class LiveCollectors:
    """Reads and writes what is wanted of collectors. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self) -> str:
        """All that is known, as one JSON text: `files`, each with path, modified_ms and collectors,
        but for those that no process has had for a week; and `wishes`, each with its name."""

        async def read(connection: Connection) -> str:
            found: str = await connection.fetchval(_READ, FORGOTTEN_AFTER_MS)
            return found

        return await self._pool.read(read)

    async def take_file(self, path: str, modified_ms: int, collectors: str) -> int:
        """Stores what a copy of a file says, as a JSON list, unless a newer copy is known; when the
        newest one was changed."""

        async def write(connection: Connection) -> int:
            newest_ms: int = await connection.fetchval(_TAKE_FILE, path, modified_ms, collectors)
            return newest_ms

        return await self._pool.write(write)

    async def still_read(self, path: str) -> None:
        """Tells that a process has this file."""

        async def write(connection: Connection) -> None:
            await connection.execute(_STILL_READ, path)

        await self._pool.write(write)

    async def change(
        self, name: str, change: Callable[[CollectorWish], CollectorWish]
    ) -> CollectorWish:
        """Replaces the wish of a collector by what `change` makes of it, one after another.

        `change` may be called twice, and what it raises leaves all as it was.
        """

        async def write(connection: Connection) -> CollectorWish:
            async with connection.transaction():
                await connection.execute(_BEGIN_WISH, name)
                [row] = await connection.fetch(_LOCK_WISH, name)
                before = _wish(row)
                after = change(before)
                if after == before:
                    return before
                [row] = await connection.fetch(
                    _SAVE_WISH,
                    *(name, after.enabled, after.running),
                    *(json.dumps(dict(after.added)), json.dumps(list(after.removed))),
                    after.restarts,
                )
                return _wish(row)

        return await self._pool.write(write)


def _wish(row: asyncpg.Record) -> CollectorWish:
    return CollectorWish(
        enabled=row["enabled"],
        running=row["running"],
        added=json.loads(row["added"]),
        removed=tuple(json.loads(row["removed"])),
        restarts=row["restarts"],
        changed_ms=row["changed_ms"] or None,
    )


_NOW_MS: Final = "(extract(epoch FROM now()) * 1000)::bigint"

_READ: Final = f"""
    SELECT json_build_object(
        'files', coalesce((
            SELECT json_agg(json_build_object(
                'path', path, 'modified_ms', modified_ms, 'collectors', collectors) ORDER BY path)
            FROM live_collector_files WHERE read_ms > {_NOW_MS} - $1
        ), '[]'),
        'wishes', coalesce((
            SELECT json_agg(json_build_object(
                'name', name, 'enabled', enabled, 'running', running, 'added', added,
                'removed', removed, 'restarts', restarts, 'changed_ms', changed_ms) ORDER BY name)
            FROM live_collectors
        ), '[]')
    )::text
"""  # noqa: S608 - made of our own constants

_TAKE_FILE: Final = f"""
    INSERT INTO live_collector_files AS f (path, modified_ms, collectors, read_ms)
    VALUES ($1, $2, $3, {_NOW_MS})
    ON CONFLICT (path) DO UPDATE SET
        read_ms = excluded.read_ms,
        modified_ms = greatest(f.modified_ms, excluded.modified_ms),
        collectors = CASE WHEN excluded.modified_ms >= f.modified_ms
            THEN excluded.collectors ELSE f.collectors END
    RETURNING modified_ms
"""  # noqa: S608 - made of our own constants

_STILL_READ: Final = f"UPDATE live_collector_files SET read_ms = {_NOW_MS} WHERE path = $1"  # noqa: S608

_BEGIN_WISH: Final = """
    INSERT INTO live_collectors (name, changed_ms) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING
"""

_COLUMNS: Final = "enabled, running, added::text, removed::text, restarts, changed_ms"
_LOCK_WISH: Final = f"SELECT {_COLUMNS} FROM live_collectors WHERE name = $1 FOR UPDATE"  # noqa: S608

_SAVE_WISH: Final = f"""
    UPDATE live_collectors
    SET (enabled, running, added, removed, restarts, changed_ms)
        = ($2, $3, $4::json, $5::json, $6, {_NOW_MS})
    WHERE name = $1 RETURNING {_COLUMNS}
"""  # noqa: S608 - made of our own constants
