"""Reads of worker_run what the rounds of the agent have done: how often, and what they saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stores.cold.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class RoundStats:
    """Of one worker, as far back as its runs are kept: complete and failed runs, the rows that the
    complete ones say they saved, and the first slot of both (UTC ms)."""

    complete: int
    failed: int
    rows: int
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
                row["worker"]: RoundStats(
                    row["complete"], row["failed"], int(row["rows"]), row["since"]
                )
                for row in rows
            }

        return await self._pool.read(read)


# A worker of this name may be a user's, whose result is any JSON.
_STATS: Final = """
    SELECT worker, count(*) FILTER (WHERE state = 'complete') AS complete,
        count(*) FILTER (WHERE state = 'failed') AS failed,
        coalesce(sum((result ->> 'rows')::numeric) FILTER (
            WHERE state = 'complete' AND json_typeof(result) = 'object'
                AND json_typeof(result -> 'rows') = 'number'
        ), 0) AS rows,
        min(slot) AS since
    FROM worker_run WHERE worker = ANY($1) AND state IN ('complete', 'failed')
    GROUP BY worker
"""
