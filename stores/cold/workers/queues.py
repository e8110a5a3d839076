"""The table worker_queue: how many runs of a queue may run at once, and until when it is paused."""

from dataclasses import dataclass
from typing import Final

import asyncpg

from stores.cold.pool import Connection, Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """A queue. `concurrency`: runs at once over all hosts, None: no limit. `paused_until_ms`: UTC
    ms, None if it is not paused; FOR_EVER until it is resumed. `queued` and `running` runs."""

    name: str
    concurrency: int | None
    paused_until_ms: int | None
    queued: int
    running: int


FOR_EVER: Final = 2**63 - 1


class QueueRows:
    """Reads the queues. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def all(self) -> list[QueueRow]:
        """The queues that a worker, a run or a limit names, by name."""
        return await self._pool.read(queues_of)


async def queues_of(connection: Connection) -> list[QueueRow]:
    return [_queue(row) for row in await connection.fetch(_QUEUES)]


async def set_pause(connection: Connection, name: str, until_ms: int | None) -> None:
    await connection.execute(_PAUSE, name, until_ms)


async def set_concurrency(connection: Connection, name: str, concurrency: int | None) -> None:
    await connection.execute(_LIMIT, name, concurrency)


def _queue(row: asyncpg.Record) -> QueueRow:
    return QueueRow(
        name=row["name"],
        concurrency=row["concurrency"],
        paused_until_ms=row["paused_until"],
        queued=row["queued"],
        running=row["running"],
    )


_QUEUES: Final = """
    WITH open AS (
        SELECT queue, count(*) FILTER (WHERE state = 'queued') AS queued,
            count(*) FILTER (WHERE state = 'running') AS running
        FROM worker_run WHERE state IN ('queued', 'running') GROUP BY queue
    ), named AS (
        SELECT name FROM worker_queue
        UNION SELECT queue FROM open
        UNION SELECT CASE WHEN egress = 'any' THEN queue ELSE 'egress:' || egress END FROM worker
        UNION SELECT 'default'
    )
    SELECT n.name, q.concurrency,
        CASE WHEN q.paused_until > extract(epoch FROM clock_timestamp()) * 1000
            THEN q.paused_until END AS paused_until,
        coalesce(o.queued, 0) AS queued, coalesce(o.running, 0) AS running
    FROM named AS n
    LEFT JOIN worker_queue AS q ON q.name = n.name
    LEFT JOIN open AS o ON o.queue = n.name
    ORDER BY n.name
"""
_PAUSE: Final = """
    INSERT INTO worker_queue (name, paused_until) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET paused_until = excluded.paused_until
"""
_LIMIT: Final = """
    INSERT INTO worker_queue (name, concurrency) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET concurrency = excluded.concurrency
"""
