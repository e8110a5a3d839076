"""Reads of worker_run what the rounds of the agent have done: how often, and what they saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stores.cold.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class RoundStats:
    """Of one worker, as far back as its runs are kept: complete and failed runs, and the first slot
    of both (UTC ms)."""

    complete: int
    failed: int
    since_ms: int


class WorkerRounds:
    """All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def stats(self, workers: Sequence[str]) -> dict[str, RoundStats]:
        """Of those of these workers that have runs which are over."""

        async def read(connection: Connection) -> dict[str, RoundStats]:
            rows = await connection.fetch(_STATS, list(workers))
            return {
                row["worker"]: RoundStats(row["complete"], row["failed"], row["since"])
                for row in rows
            }

        return await self._pool.read(read)


_STATS: Final = """
    SELECT worker, count(*) FILTER (WHERE state = 'complete') AS complete,
        count(*) FILTER (WHERE state = 'failed') AS failed, min(slot) AS since
    FROM worker_run WHERE worker = ANY($1) AND state IN ('complete', 'failed')
    GROUP BY worker
"""
