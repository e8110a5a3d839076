"""What is wanted of WebSocket workers, and how each worker's last run went, for the hot store."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from stores.cold.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class StreamWish:
    """A row of a WebSocket worker: whether it is to run, on hosts of which egress (`any`, or an
    EGRESS_ID), and when it or its configuration was changed last, UTC ms."""

    name: str
    enabled: bool
    egress: str
    changed_at_ms: int


@dataclass(frozen=True, slots=True)
class LastRunRow:
    """The last run of a worker. `result`: decoded JSON."""

    worker: str
    run: int
    state: str
    started_at_ms: int | None
    result: Any
    error: str | None
    host: str | None


class WorkerStreams:
    """Reads of the tables worker and worker_run. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def wishes(self, names: Sequence[str]) -> list[StreamWish]:
        """The rows of the WebSocket workers among `names`."""

        async def read(connection: Connection) -> list[StreamWish]:
            rows = await connection.fetch(_WISHES, list(names))
            return [StreamWish(*row) for row in rows]

        return await self._pool.read(read)

    async def last_runs(self) -> list[LastRunRow]:
        """The last run of each worker that ever had one."""

        async def read(connection: Connection) -> list[LastRunRow]:
            rows = await connection.fetch(_LAST_RUNS)
            return [
                LastRunRow(
                    row["worker"], row["id"], row["state"], row["started_at"],
                    None if row["result"] is None else json.loads(row["result"]),
                    row["error"], row["host"],
                )
                for row in rows
            ]  # fmt: skip

        return await self._pool.read(read)


_WISHES: Final = """
    SELECT name, enabled, egress, greatest(changed_at, (
        SELECT max(c.changed_at) FROM worker_config AS c
        WHERE c.worker IS NULL OR c.worker = worker.name
    )) FROM worker
    WHERE kind = 'websocket' AND name = ANY($1)
"""
# One look into the primary key for each worker and partition.
_LAST_RUNS: Final = """
    SELECT run.* FROM worker CROSS JOIN LATERAL (
        SELECT worker, id, state, started_at, result, error, host FROM worker_run
        WHERE worker_run.worker = worker.name AND state <> 'coalesced'
        ORDER BY slot DESC LIMIT 1
    ) AS run
"""
