"""The table worker_run as others see it: runs are added to it, and told; runs.py carries them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import asyncpg

from stores.cold.pool import Connection, Pool
from stores.cold.workers.partitions import ensure_months
from stores.cold.workers.rows import NOW_MS, now_of

OPEN_STATES: Final = ("queued", "running")
RUN_STATES: Final = (*OPEN_STATES, "complete", "failed", "aborted", "coalesced")
REASONS: Final = ("schedule", "force", "retry", "part")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run. `slot_ms`: the instant that it stands for; times are UTC ms. A run that is `coalesced`
    joined one of the same worker that was queued or running; `result` tells which."""

    id: int
    worker: str
    slot_ms: int
    why: str
    state: str
    queue: str
    input: Mapping[str, Any] | None
    job_id: int | None
    attempts: int
    host: str | None
    egress: str | None
    queued_at_ms: int
    started_at_ms: int | None
    finished_at_ms: int | None
    error: str | None
    result: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are asked for; None is any."""

    worker: str | None = None
    states: Sequence[str] | None = None
    why: Sequence[str] | None = None
    from_ms: int | None = None  # of their slots, inclusive
    to_ms: int | None = None  # exclusive


class RunRows:
    """Reads runs. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def one(self, run_id: int) -> RunRow | None:
        async def read(connection: Connection) -> RunRow | None:
            return await run_of(connection, run_id)

        return await self._pool.read(read)

    async def listed(
        self, which: RunFilter, before: tuple[int, int] | None, limit: int
    ) -> list[RunRow]:
        """Runs, the newest first; `before`: slot and id of the last one of the page before."""

        async def read(connection: Connection) -> list[RunRow]:
            slot_ms, run_id = before or (None, None)
            rows = await connection.fetch(
                _LISTED, which.worker, which.states, which.why, which.from_ms, which.to_ms,
                slot_ms, run_id, limit,
            )  # fmt: skip
            return [_run(row) for row in rows]

        return await self._pool.read(read)

    async def latest(self, workers: Sequence[str]) -> dict[str, RunRow]:
        """The newest run of each worker that was not coalesced."""

        async def read(connection: Connection) -> dict[str, RunRow]:
            rows = await connection.fetch(_LATEST, list(workers))
            return {row["worker"]: _run(row) for row in rows}

        return await self._pool.read(read)


async def run_of(connection: Connection, run_id: int) -> RunRow | None:
    row = await connection.fetchrow(f"{_SELECT} WHERE id = $1", run_id)
    return None if row is None else _run(row)


async def lock_run(connection: Connection, run_id: int) -> RunRow | None:
    """The run, which nobody else changes until the transaction ends."""
    row = await connection.fetchrow(f"{_SELECT} WHERE id = $1 FOR UPDATE", run_id)
    return None if row is None else _run(row)


async def add_run(
    connection: Connection,
    *,
    worker: str,
    slot_ms: int,
    why: str,
    queue: str,
    input: Mapping[str, Any] | None = None,
    alone: bool = True,
) -> RunRow | None:
    """Adds a run of this slot, in the transaction of `connection`; None if the slot has one.

    With `alone`, it is coalesced where another run of the worker is queued or running: then it is
    not to be given to the engine. The caller holds the lock of the worker's row.
    """
    return await _add(connection, worker, slot_ms, why, queue, input, alone)


async def add_run_now(
    connection: Connection,
    *,
    worker: str,
    why: str,
    queue: str,
    input: Mapping[str, Any] | None = None,
    alone: bool = True,
) -> RunRow:
    """As `add_run`, with the first free slot from now on, which is none that a schedule fires."""
    while True:
        added = await _add(connection, worker, None, why, queue, input, alone)
        if added is not None:  # else somebody else took the slot meanwhile
            return added


async def _add(
    connection: Connection,
    worker: str,
    slot_ms: int | None,
    why: str,
    queue: str,
    input: Mapping[str, Any] | None,
    alone: bool,
) -> RunRow | None:
    text = None if input is None else json.dumps(dict(input))
    values = (worker, slot_ms, why, queue, text, alone)
    row = await connection.fetchrow(_ADD, *values)
    if row is None:
        moment_ms = await now_of(connection) if slot_ms is None else slot_ms
        if await ensure_months(connection, "worker_run", [moment_ms, moment_ms + 1000]):
            row = await connection.fetchrow(_ADD, *values)
    return None if row is None else _run(row)


async def set_job(connection: Connection, run: RunRow, job_id: int) -> None:
    """Notes the engine's job of the run."""
    await connection.execute(_SET_JOB, run.worker, run.slot_ms, job_id)


async def end_as_aborted(connection: Connection, run: RunRow, reason: str) -> RunRow | None:
    """Ends an open run, whose attempt may write no more; None if it is over."""
    row = await connection.fetchrow(_ABORT, run.worker, run.slot_ms, reason, list(OPEN_STATES))
    return None if row is None else _run(row)


async def old_parts(connection: Connection, age_ms: int) -> list[int]:
    """The open runs of parts that were asked for so long ago."""
    rows = await connection.fetch(_OLD_PARTS, list(OPEN_STATES), age_ms)
    return [row["id"] for row in rows]


def _run(row: asyncpg.Record) -> RunRow:
    found = {field: row[column] for field, column in zip(_FIELDS, _COLUMNS, strict=True)}
    for field in ("input", "result"):
        found[field] = None if found[field] is None else json.loads(found[field])
    return RunRow(**found)


_FIELDS: Final = tuple(field.name for field in fields(RunRow))
_RENAMED: Final = {
    **{"slot_ms": "slot", "queued_at_ms": "queued_at", "started_at_ms": "started_at"},
    "finished_at_ms": "finished_at",
}
_COLUMNS: Final = tuple(_RENAMED.get(field, field) for field in _FIELDS)
_TOLD: Final = ", ".join(_COLUMNS)
_SELECT: Final = f"SELECT {_TOLD} FROM worker_run"  # noqa: S608 - our own columns
_LISTED: Final = f"""
    {_SELECT}
    WHERE ($1::text IS NULL OR worker = $1)
        AND ($2::text[] IS NULL OR state = ANY($2))
        AND ($3::text[] IS NULL OR why = ANY($3))
        AND ($4::bigint IS NULL OR slot >= $4)
        AND ($5::bigint IS NULL OR slot < $5)
        AND ($6::bigint IS NULL OR (slot, id) < ($6, $7::bigint))
    ORDER BY slot DESC, id DESC LIMIT $8
"""
_LATEST: Final = f"""
    SELECT r.* FROM unnest($1::text[]) AS w(name)
    CROSS JOIN LATERAL (
        {_SELECT} WHERE worker = w.name AND state <> 'coalesced' ORDER BY slot DESC LIMIT 1
    ) AS r
"""  # noqa: S608 - our own columns
# Without a partition nothing is inserted. Schedules fire at whole seconds, which others leave free.
_ADD: Final = f"""
    WITH clock AS MATERIALIZED (SELECT {NOW_MS} AS now_ms),
    free AS (
        SELECT now_ms, greatest(now_ms, (
            SELECT max(slot) + 1 FROM worker_run WHERE worker = $1 AND slot >= now_ms
        )) AS slot FROM clock
    ),
    taken AS (
        SELECT now_ms, coalesce($2::bigint, slot + (slot % 1000 = 0)::integer) AS slot FROM free
    )
    INSERT INTO worker_run (worker, slot, why, state, queue, input, queued_at, finished_at, result)
    SELECT $1, t.slot, $3, CASE WHEN o.id IS NULL THEN 'queued' ELSE 'coalesced' END, $4, $5::json,
        t.now_ms, CASE WHEN o.id IS NOT NULL THEN t.now_ms END,
        CASE WHEN o.id IS NOT NULL THEN json_build_object('joined', o.id) END
    FROM taken AS t
    LEFT JOIN LATERAL (
        SELECT id FROM worker_run
        WHERE $6 AND worker = $1 AND state IN ('queued', 'running') LIMIT 1
    ) AS o ON true
    WHERE EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = to_regclass(
        'worker_run_' || to_char(to_timestamp(t.slot / 1000) AT TIME ZONE 'UTC', 'YYYYMM')))
    ON CONFLICT (worker, slot) DO NOTHING
    RETURNING {_TOLD}
"""  # noqa: S608 - our own columns
_SET_JOB: Final = "UPDATE worker_run SET job_id = $3 WHERE worker = $1 AND slot = $2"
_ABORT: Final = f"""
    UPDATE worker_run
    SET (state, claim, error, finished_at) = ('aborted', NULL, $3, {NOW_MS})
    WHERE worker = $1 AND slot = $2 AND state = ANY($4)
    RETURNING {_TOLD}
"""  # noqa: S608 - our own columns
_OLD_PARTS: Final = f"""
    SELECT id FROM worker_run
    WHERE why = 'part' AND state = ANY($1) AND queued_at < {NOW_MS} - $2::bigint
"""  # noqa: S608 - our own columns
