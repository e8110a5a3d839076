"""The table failure_logs: what failed, of which market, why and how often."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from stores.cold.names import encoding_of, storable
from stores.cold.pool import Connection, Pool

_COLUMNS: Final = "at, source, subject, market, cause, count"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureLog:
    """Something that failed, `count` times in the same way in the same run.

    `source`: where it failed: an exchange, a provider, a worker, `database`, `store` or, where none
    of them did, `job`. `subject`: the job, worker or endpoint that met it. `market`:
    exchange:SYMBOL where it is one market's. `at_ms`: UTC ms. `id`: None until it is stored.
    """

    at_ms: int
    source: str
    subject: str
    cause: str
    market: str | None = None
    count: int = 1
    id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureFilter:
    """Which failures: None stands for all. `to_ms` is exclusive; UTC ms."""

    sources: Sequence[str] | None = None
    subjects: Sequence[str] | None = None
    markets: Sequence[str] | None = None
    from_ms: int | None = None
    to_ms: int | None = None


class FailureLogs:
    """All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, failures: Sequence[FailureLog]) -> None:
        """Stores these."""
        if not failures:
            return

        async def write(connection: Connection) -> None:
            await write_failures(connection, failures, await encoding_of(connection))

        await self._pool.write(write)

    async def listed(
        self, which: FailureFilter, *, before: tuple[int, int] | None = None, limit: int = 100
    ) -> list[FailureLog]:
        """Newest first, at most `limit`. `before`: (at_ms, id) of the last one of the page
        before."""
        before_ms, before_id = before or (None, None)

        async def read(connection: Connection) -> list[FailureLog]:
            rows = await connection.fetch(
                _LISTED,
                *(which.sources, which.subjects, which.markets),
                *(which.from_ms, which.to_ms, before_ms, before_id, limit),
            )
            return [_failure(row) for row in rows]

        return await self._pool.read(read)

    async def forget(self, before_ms: int) -> int:
        """Removes those from before that time (UTC ms); how many."""

        async def write(connection: Connection) -> int:
            done: str = await connection.execute(
                "DELETE FROM failure_logs WHERE at < $1", before_ms
            )
            return int(done.split()[-1])

        return await self._pool.write(write)


async def write_failures(
    connection: Connection, failures: Sequence[FailureLog], encoding: str
) -> None:
    """Stores these, in the transaction of the connection, if it is in one. `encoding`: of the
    database (names.encoding_of)."""
    await connection.executemany(
        _ADD,
        [
            (
                each.at_ms,
                storable(each.source, encoding),
                storable(each.subject, encoding),
                None if each.market is None else storable(each.market, encoding),
                storable(each.cause, encoding),
                each.count,
            )
            for each in failures
        ],
    )


def _failure(row: asyncpg.Record) -> FailureLog:
    return FailureLog(
        at_ms=row["at"],
        source=row["source"],
        subject=row["subject"],
        market=row["market"],
        cause=row["cause"],
        count=row["count"],
        id=row["id"],
    )


_FORGET: Final = "DELETE FROM failure_logs WHERE at < $1"

_ADD: Final = f"INSERT INTO failure_logs ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)"  # noqa: S608

_LISTED: Final = f"""
    SELECT id, {_COLUMNS} FROM failure_logs
    WHERE ($1::text[] IS NULL OR source = ANY($1)) AND ($2::text[] IS NULL OR subject = ANY($2))
        AND ($3::text[] IS NULL OR market = ANY($3))
        AND ($4::bigint IS NULL OR at >= $4) AND ($5::bigint IS NULL OR at < $5)
        AND ($6::bigint IS NULL OR (at, id) < ($6, $7::bigint))
    ORDER BY at DESC, id DESC LIMIT $8
"""  # noqa: S608 - made of our own constants
