"""The tables worker_config and worker_secret: values of configuration keys, own ones and shared.

The value of a secret key lies in worker_secret, and worker_config has HIDDEN_VALUE in its place.
Values are stored as ASCII JSON, so that a database of any encoding holds them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from stores.cold.pool import Connection, Pool
from stores.cold.workers.notices import notify

HIDDEN_VALUE: Final = "***"


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """The value of a key: of one worker, or shared where `worker` is None. `changed_ms`: UTC."""

    worker: str | None
    key: str
    value: Any = field(repr=False)
    secret: bool
    changed_ms: int
    changed_by: str


class WorkerConfig:
    """Reads and writes the rows. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def rows(self) -> list[ConfigRow]:
        """All of them, with secret values: shared ones first, then by worker and key."""

        async def read(connection: Connection) -> list[ConfigRow]:
            return [_row(row) for row in await connection.fetch(_READ)]

        return await self._pool.read(read)

    async def schemas(self) -> Mapping[str, Mapping[str, Any] | None]:
        """The JSON schema of the configuration that each worker's code has declared, by worker;
        None where it declares none."""

        async def read(connection: Connection) -> Sequence[asyncpg.Record]:
            return await connection.fetch(_SCHEMAS)

        rows = await self._pool.read(read)
        found = {row["name"]: json.loads(row["config"]) for row in rows}
        return {
            name: schema if isinstance(schema, dict) else None for name, schema in found.items()
        }

    async def put(self, worker: str | None, key: str, value: Any, *, secret: bool, by: str) -> None:
        """Sets the value of a key. `value` is what JSON can say."""
        text = json.dumps(value, allow_nan=False)
        shown = json.dumps(HIDDEN_VALUE) if secret else text

        async def write(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute(_LOCK_KEY, f"{worker or ''}/{key}")
                await connection.execute(_FORGET_HIDDEN, worker, key)
                if secret:
                    await connection.execute(_PUT_HIDDEN, worker, key, text)
                await connection.execute(_PUT, worker, key, shown, by)
                await notify(connection, "config")

        await self._pool.write(write)

    async def delete(self, worker: str | None, key: str) -> bool:
        """Deletes a row; whether there was one."""

        async def write(connection: Connection) -> bool:
            async with connection.transaction():
                await connection.execute(_FORGET_HIDDEN, worker, key)
                found = await connection.fetchval(_DELETE, worker, key)
                await notify(connection, "config")
                return found is not None

        return await self._pool.write(write)

    async def hide(self, keys: Mapping[str, Sequence[str]]) -> None:
        """Moves values that were stored before their keys were declared secret: `keys` are those
        that each worker declares secret. Shared values of such a key are moved too."""
        pairs = [(worker, key) for worker, names in keys.items() for key in names]
        if not pairs:
            return
        columns = list(map(list, zip(*pairs, strict=True)))

        async def write(connection: Connection) -> None:
            async with connection.transaction():
                for row in await connection.fetch(_LOCK_SHOWN, *columns):
                    await connection.execute(_FORGET_HIDDEN, row["worker"], row["key"])
                    await connection.execute(_PUT_HIDDEN, row["worker"], row["key"], row["value"])
                    await connection.execute(_SHOW_HIDDEN, row["worker"], row["key"])

        await self._pool.write(write)


def _row(row: asyncpg.Record) -> ConfigRow:
    return ConfigRow(
        worker=row["worker"],
        key=row["key"],
        value=json.loads(row["value"]),
        secret=row["secret"],
        changed_ms=row["changed_at"],
        changed_by=row["changed_by"],
    )


_NOW_MS: Final = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

# A value that somebody wrote into worker_config by SQL counts, whatever was hidden before.
_READ: Final = """
    SELECT c.worker, c.key, c.changed_at, c.changed_by,
        (s.key IS NOT NULL) AS secret, coalesce(s.value, c.value)::text AS value
    FROM worker_config AS c LEFT JOIN worker_secret AS s ON s.key = c.key
        AND s.worker IS NOT DISTINCT FROM c.worker AND c.value::text = '"***"'
    ORDER BY c.worker NULLS FIRST, c.key
"""

_SCHEMAS: Final = """
    SELECT name, coalesce(declared -> 'config', 'null')::text AS config FROM worker ORDER BY name
"""

# Two that set one key at once would each insert its secret.
_LOCK_KEY: Final = "SELECT pg_advisory_xact_lock(hashtextextended('worker_config/' || $1, 0))"
_FORGET_HIDDEN: Final = (
    "DELETE FROM worker_secret WHERE worker IS NOT DISTINCT FROM $1::text AND key = $2"
)
_PUT_HIDDEN: Final = (
    "INSERT INTO worker_secret (worker, key, value) VALUES ($1::text, $2, $3::json)"
)
_PUT: Final = f"""
    INSERT INTO worker_config (worker, key, value, changed_at, changed_by)
    VALUES ($1::text, $2, $3::json, {_NOW_MS}, $4)
    ON CONFLICT (coalesce(worker, ''), key) DO UPDATE SET value = excluded.value,
        changed_at = excluded.changed_at, changed_by = excluded.changed_by
"""  # noqa: S608 - made of our own constants
_DELETE: Final = """
    DELETE FROM worker_config WHERE worker IS NOT DISTINCT FROM $1::text AND key = $2 RETURNING key
"""
_LOCK_SHOWN: Final = """
    SELECT c.worker, c.key, c.value::text AS value FROM worker_config AS c
    WHERE c.value::text <> '"***"' AND EXISTS (
        SELECT FROM unnest($1::text[], $2::text[]) AS k(worker, key)
        WHERE c.key = k.key AND (c.worker = k.worker OR c.worker IS NULL)
    ) FOR UPDATE
"""
_SHOW_HIDDEN: Final = """
    UPDATE worker_config SET value = '"***"'
    WHERE worker IS NOT DISTINCT FROM $1::text AND key = $2
"""
