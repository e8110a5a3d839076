"""How providers did: the tables providers (switches), connection_attempts and rate_limit_usage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stores.cold.names import encoding_of, storable
from stores.cold.pool import Connection, Pool
from stores.cold.providers.inserting import insert_new

_ATTEMPTS: Final = {
    "resource": "text",
    "at": "bigint",
    "outcome": "text",
    "status": "integer",
    "ms": "integer",
    "message": "text",
    "host": "text",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """A call of a resource. `outcome`: ok, or the class of the error; `message` has no secret."""

    resource: str
    at_ms: int
    outcome: str
    status: int | None
    ms: int
    message: str | None
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """What was used of a limit within one window. `key`: the key's fingerprint, or none."""

    provider: str
    key: str
    window_s: int
    window_start_ms: int
    used: int
    quantity: int
    changed_at_ms: int


class ProviderConduct:
    """All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def switch(self, resource: str, enabled: bool | None, *, at_ms: int, by: str) -> None:
        """Keeps whether an operator wants the resource to be asked; None: as the registry says."""

        async def write(connection: Connection) -> None:
            encoding = await encoding_of(connection)
            await connection.execute(_SWITCH, resource, enabled, at_ms, storable(by, encoding))

        await self._pool.write(write)

    async def turn_on(self, resource: str, *, at_ms: int, by: str) -> bool:
        """Keeps that the resource is asked, unless an operator has disabled it; whether it is."""

        async def write(connection: Connection) -> bool:
            encoding = await encoding_of(connection)
            row = await connection.fetchrow(_TURN_ON, resource, at_ms, storable(by, encoding))
            return row is not None

        return await self._pool.write(write)

    async def switches(self) -> dict[str, bool]:
        """What operators have set, by the resource's id."""

        async def read(connection: Connection) -> dict[str, bool]:
            rows = await connection.fetch(
                "SELECT id, enabled FROM providers WHERE enabled IS NOT NULL"
            )
            return {row["id"]: row["enabled"] for row in rows}

        return await self._pool.read(read)

    async def add_attempts(self, rows: Sequence[AttemptRow]) -> int:
        """Stores attempts, and when each resource answered last or why it did not; how many."""

        async def write(connection: Connection) -> int:
            encoding = await encoding_of(connection)
            values = [
                (row.resource, row.at_ms, row.outcome, row.status, row.ms, row.message, row.host)
                for row in rows
            ]
            async with connection.transaction():
                for row in sorted(_last_of_each(rows), key=lambda row: row.resource):
                    message = row.message and storable(row.message, encoding)
                    answered = row.at_ms if row.outcome == "ok" else None
                    await connection.execute(_DID, row.resource, answered, message, row.at_ms)
                return await insert_new(
                    connection, "connection_attempts", _ATTEMPTS, values, encoding=encoding
                )

        return await self._pool.write(write) if rows else 0

    async def put_usage(self, rows: Sequence[UsageRow]) -> None:
        """Keeps the counters as they are now; one never goes back within its window."""

        async def write(connection: Connection) -> None:
            await connection.executemany(
                _USAGE,
                [
                    (
                        *(row.provider, row.key, row.window_s, row.window_start_ms),
                        *(row.used, row.quantity, row.changed_at_ms),
                    )
                    for row in sorted(rows, key=lambda row: (row.provider, row.key, row.window_s))
                ],
            )

        if rows:
            await self._pool.write(write)


def _last_of_each(rows: Sequence[AttemptRow]) -> list[AttemptRow]:
    return list({row.resource: row for row in sorted(rows, key=lambda row: row.at_ms)}.values())


_SWITCH: Final = """
    INSERT INTO providers (id, enabled, changed_at, changed_by) VALUES ($1, $2, $3, $4)
    ON CONFLICT (id) DO UPDATE SET
        enabled = excluded.enabled, changed_at = excluded.changed_at,
        changed_by = excluded.changed_by
"""
_TURN_ON: Final = """
    INSERT INTO providers AS old (id, enabled, changed_at, changed_by) VALUES ($1, true, $2, $3)
    ON CONFLICT (id) DO UPDATE SET
        enabled = true, changed_at = excluded.changed_at, changed_by = excluded.changed_by
    WHERE old.enabled IS NOT FALSE
    RETURNING id
"""
_DID: Final = """
    INSERT INTO providers AS old (id, last_answer_at, last_error, changed_at, changed_by)
    VALUES ($1, $2, $3, $4, 'attempts')
    ON CONFLICT (id) DO UPDATE SET
        last_answer_at = greatest(old.last_answer_at, excluded.last_answer_at),
        last_error = coalesce(excluded.last_error, old.last_error)
"""
_USAGE: Final = """
    INSERT INTO rate_limit_usage AS old
        (provider, key, window_s, window_start, used, quantity, changed_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (provider, key, window_s, window_start) DO UPDATE SET
        used = greatest(old.used, excluded.used), quantity = excluded.quantity,
        changed_at = excluded.changed_at
"""
