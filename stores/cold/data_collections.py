"""The table data_collections: which runs of jobs brought what, from when to when, by which host."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import asyncpg

from stores.cold.failure_logs import FailureLog, write_failures
from stores.cold.names import encoding_of, storable
from stores.cold.pool import Connection, Pool

CollectionState = Literal["complete", "failed"]
_COLUMNS: Final = (
    "kind, subject, run, worker_run, started_at, finished_at, state, records, requests, host"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCollection:
    """A run of a job that ended. Times are UTC ms.

    `kind`: of the job, such as collect; `subject`: its id, such as collect:5m; `run`: its number;
    `worker_run`: the run of the worker that asked for it, None where none did. `records`: the rows
    that it saved; `requests`: those that it sent to exchanges. `details`: the rest of its result,
    plain data for JSON. `id`: None until it is stored.
    """

    kind: str
    subject: str
    run: int
    started_at_ms: int
    finished_at_ms: int
    state: CollectionState
    records: int
    requests: int
    host: str
    worker_run: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionFilter:
    """Which collections: None stands for all. `from_ms`, `to_ms`: those that finished then, the
    latter exclusive; UTC ms."""

    kinds: Sequence[str] | None = None
    subjects: Sequence[str] | None = None
    states: Sequence[str] | None = None
    hosts: Sequence[str] | None = None
    from_ms: int | None = None
    to_ms: int | None = None


class DataCollections:
    """All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, ended: Sequence[tuple[DataCollection, Sequence[FailureLog]]]) -> None:
        """Stores these, each with what failed in it. One that is stored already, of the same run
        and end, stays as it is: what was written in vain may be written again."""
        if not ended:
            return

        async def write(connection: Connection) -> None:
            encoding = await encoding_of(connection)
            async with connection.transaction():
                for collection, failures in ended:
                    if await connection.fetchval(_ADD, *_columns(collection, encoding)) is not None:
                        await write_failures(connection, failures, encoding)

        await self._pool.write(write)

    async def listed(
        self, which: CollectionFilter, *, before: tuple[int, int] | None = None, limit: int = 100
    ) -> list[DataCollection]:
        """Newest first, at most `limit`. `before`: (finished_at_ms, id) of the last one of the page
        before."""
        before_ms, before_id = before or (None, None)

        async def read(connection: Connection) -> list[DataCollection]:
            rows = await connection.fetch(
                _LISTED,
                *(which.kinds, which.subjects, which.states, which.hosts),
                *(which.from_ms, which.to_ms, before_ms, before_id, limit),
            )
            return [_collection(row) for row in rows]

        return await self._pool.read(read)

    async def records(self) -> int:
        """How many rows the complete ones have saved, as far back as they are kept."""

        async def read(connection: Connection) -> int:
            return int(await connection.fetchval(_RECORDS))

        return await self._pool.read(read)

    async def forget(self, before_ms: int) -> int:
        """Removes those that finished before that time (UTC ms); how many."""

        async def write(connection: Connection) -> int:
            done: str = await connection.execute(
                "DELETE FROM data_collections WHERE finished_at < $1", before_ms
            )
            return int(done.split()[-1])

        return await self._pool.write(write)


def _columns(each: DataCollection, encoding: str) -> tuple[object, ...]:
    return (
        storable(each.kind, encoding),
        storable(each.subject, encoding),
        each.run,
        each.worker_run,
        each.started_at_ms,
        each.finished_at_ms,
        each.state,
        each.records,
        each.requests,
        storable(each.host, encoding),
        json.dumps(dict(each.details)),
    )


def _collection(row: asyncpg.Record) -> DataCollection:
    return DataCollection(
        kind=row["kind"],
        subject=row["subject"],
        run=row["run"],
        worker_run=row["worker_run"],
        started_at_ms=row["started_at"],
        finished_at_ms=row["finished_at"],
        state=row["state"],
        records=row["records"],
        requests=row["requests"],
        host=row["host"],
        details=json.loads(row["details"]),
        id=row["id"],
    )


_ADD: Final = f"""
    INSERT INTO data_collections ({_COLUMNS}, details)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::json)
    ON CONFLICT (subject, run, finished_at) DO NOTHING RETURNING id
"""  # noqa: S608 - made of our own constants

_RECORDS: Final = """
    SELECT coalesce(sum(records), 0) FROM data_collections WHERE state = 'complete'
"""
_LISTED: Final = f"""
    SELECT id, {_COLUMNS}, details::text FROM data_collections
    WHERE ($1::text[] IS NULL OR kind = ANY($1)) AND ($2::text[] IS NULL OR subject = ANY($2))
        AND ($3::text[] IS NULL OR state = ANY($3)) AND ($4::text[] IS NULL OR host = ANY($4))
        AND ($5::bigint IS NULL OR finished_at >= $5) AND ($6::bigint IS NULL OR finished_at < $6)
        AND ($7::bigint IS NULL OR (finished_at, id) < ($7, $8::bigint))
    ORDER BY finished_at DESC, id DESC LIMIT $9
"""  # noqa: S608 - made of our own constants
