"""The table worker_run as hosts change it: attempts begin, end, are put back, and are checked."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

import asyncpg

from stores.cold.pool import Connection, Pool
from stores.cold.workers.engine_jobs import KEY_PREFIX

EndState = Literal["complete", "failed", "aborted", "queued"]


@dataclass(frozen=True, slots=True)
class Known:
    """What a host knows of a worker by its code; the table `worker`, where it has a row, wins."""

    max_attempts: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Start:
    """An attempt that a host wants to begin, under a new claim."""

    run_id: int
    claim: UUID


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that has begun. `slot_ms`, `started_at_ms`: UTC ms; `attempt` counts from 1."""

    run_id: int
    worker: str
    slot_ms: int
    why: str
    attempt: int
    max_attempts: int
    timeout_s: float
    input: Mapping[str, Any] | None
    started_at_ms: int


@dataclass(frozen=True, slots=True)
class NotBegun:
    """A run of which no attempt began. `state`: as it is now, or `exhausted`, where this ended it
    because its last attempt's host has died; None where there is no such run."""

    run_id: int
    worker: str | None
    state: str | None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """The end of an attempt, if it still holds `claim`. `queued`: it is put back, and `counted` as
    an attempt or not. `result` is JSON text."""

    run_id: int
    claim: UUID
    state: EndState
    error: str | None = None
    result: str | None = None
    counted: bool = True


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that waits or runs. `state`: queued, running."""

    run_id: int
    queue: str
    state: str


class WorkerRuns:
    """Begins, ends and checks attempts. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin(
        self, starts: Sequence[Start], known: Mapping[str, Known], *, host: str, egress: str
    ) -> dict[int, Attempt | NotBegun]:
        """Begins an attempt of each run that waits, or that another host runs no more, if its
        worker is among `known` and has attempts left; by run id. A run without any left is ended as
        failed: its host has died in the last. The same claim twice is one attempt."""

        async def write(connection: Connection) -> dict[int, Attempt | NotBegun]:
            ids, claims = [start.run_id for start in starts], [start.claim for start in starts]
            async with connection.transaction():
                rows = await connection.fetch(
                    *(_BEGIN, ids, claims, host, egress),
                    *([*known], [worker.max_attempts for worker in known.values()]),
                    [worker.timeout_s for worker in known.values()],
                )
                found: dict[int, Attempt | NotBegun] = {row["id"]: _attempt(row) for row in rows}
                lacking = [run_id for run_id in ids if run_id not in found]
                if lacking:
                    found |= await _not_begun(connection, lacking, known)
            return found

        return await self._pool.write(write)

    async def end(self, ends: Sequence[End]) -> set[int]:
        """Ends attempts, or puts their runs back; the ids of those that held their claims."""

        async def write(connection: Connection) -> set[int]:
            columns = zip(
                *((e.run_id, e.claim, e.state, e.error, e.result, e.counted) for e in ends),
                strict=True,
            )
            return {row["id"] for row in await connection.fetch(_END, *map(list, columns))}

        return await self._pool.write(write) if ends else set()

    async def held(self, claims: Mapping[int, UUID]) -> set[int]:
        """Of the runs with these claims, those that still run under them."""

        async def read(connection: Connection) -> set[int]:
            return {run.run_id for run in await held_runs(connection, claims)}

        return await self._pool.read(read) if claims else set()

    async def without_job(self, jobs: str) -> list[OpenRun]:
        """The open runs that the engine has no job for, in its table `jobs`, in order of their ids.
        A job is a run's by its key: in tables made anew another run's has the number of a lost
        one."""

        async def read(connection: Connection) -> list[OpenRun]:
            rows = await connection.fetch(_WITHOUT_JOB.format(jobs=jobs))
            return [OpenRun(row["id"], row["queue"], row["state"]) for row in rows]

        return await self._pool.read(read)


async def holds(connection: Connection, worker: str, slot_ms: int, claim: UUID) -> bool:
    """Whether the run of this worker and slot runs under `claim`. Its row is locked then, so that
    it stays so until the caller's transaction ends."""
    return bool(await connection.fetchval(_HOLDS, worker, slot_ms, claim))


async def held_runs(connection: Connection, claims: Mapping[int, UUID]) -> list[OpenRun]:
    """Of the runs with these claims, those that still run under them."""
    rows = await connection.fetch(_HELD, [*claims], [*claims.values()])
    return [OpenRun(row["id"], row["queue"], "running") for row in rows]


async def note_jobs(connection: Connection, jobs: str, runs: Iterable[int]) -> None:
    """Notes the numbers of the jobs that these open runs have in the engine's table `jobs`."""
    await connection.execute(_NOTE_JOBS.format(jobs=jobs), list(runs))


async def jobs_aborted(connection: Connection, jobs: str, ids: Collection[int]) -> None:
    """Ends the open runs of these jobs of the engine, in its table `jobs`, as aborted."""
    await connection.execute(_JOBS_ABORTED.format(jobs=jobs), list(ids))


async def _not_begun(
    connection: Connection, ids: Sequence[int], known: Mapping[str, Known]
) -> dict[int, Attempt | NotBegun]:
    most = [worker.max_attempts for worker in known.values()]
    rows = await connection.fetch(_EXHAUST, ids, [*known], most)
    rows += await connection.fetch(_STATES, ids)
    found: dict[int, Attempt | NotBegun] = {run_id: NotBegun(run_id, None, None) for run_id in ids}
    for row in reversed(rows):  # an exhausted one is among the failed, too
        found[row["id"]] = NotBegun(row["id"], row["worker"], row["state"], row["attempts"])
    return found


def _attempt(row: asyncpg.Record) -> Attempt:
    given = row["input"]
    return Attempt(
        row["id"],
        row["worker"],
        row["slot"],
        row["why"],
        row["attempts"],
        row["max_attempts"],
        row["timeout_s"],
        None if given is None else json.loads(given),
        row["started_at"],
    )


_NOW_MS: Final = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

# The same claim again: the answer to the first asking was lost. It is the same attempt.
_BEGIN: Final = f"""
UPDATE worker_run AS run SET
    state = 'running',
    attempts = run.attempts + CASE WHEN run.claim = wanted.claim THEN 0 ELSE 1 END,
    claim = wanted.claim,
    host = $3,
    egress = $4,
    started_at = coalesce(run.started_at, {_NOW_MS})
FROM unnest($1::bigint[], $2::uuid[]) AS wanted(id, claim),
    unnest($5::text[], $6::integer[], $7::double precision[])
        AS known(worker, max_attempts, timeout_s)
    LEFT JOIN worker ON worker.name = known.worker
WHERE run.id = wanted.id AND run.worker = known.worker AND run.state IN ('queued', 'running')
    AND (run.claim = wanted.claim
        OR run.attempts < coalesce(worker.max_attempts, known.max_attempts))
RETURNING run.id, run.worker, run.slot, run.why, run.attempts, run.input, run.started_at,
    coalesce(worker.max_attempts, known.max_attempts) AS max_attempts,
    coalesce(worker.timeout_s, known.timeout_s) AS timeout_s
"""  # noqa: S608 - of constants

_EXHAUST: Final = f"""
UPDATE worker_run AS run SET
    state = 'failed', claim = NULL, finished_at = {_NOW_MS},
    error = CASE
        WHEN run.state = 'queued' THEN 'all of its ' || run.attempts || ' attempts are used up'
        WHEN run.error IS NULL THEN 'the host died in each of ' || run.attempts || ' attempts'
        ELSE 'the host died in the last of ' || run.attempts || ' attempts'
    END || coalesce(', last on ' || run.host, '') || coalesce('; before that: ' || run.error, '')
FROM unnest($2::text[], $3::integer[]) AS known(worker, max_attempts)
    LEFT JOIN worker ON worker.name = known.worker
WHERE run.id = ANY ($1) AND run.worker = known.worker AND run.state IN ('queued', 'running')
    AND run.attempts >= coalesce(worker.max_attempts, known.max_attempts)
RETURNING run.id, run.worker, 'exhausted' AS state, run.attempts
"""  # noqa: S608 - of constants

_STATES: Final = "SELECT id, worker, state, attempts FROM worker_run WHERE id = ANY ($1)"

_END: Final = f"""
UPDATE worker_run AS run SET
    state = ended.state,
    claim = NULL,
    attempts = run.attempts - CASE WHEN ended.counted THEN 0 ELSE 1 END,
    finished_at = CASE WHEN ended.state = 'queued' THEN NULL ELSE {_NOW_MS} END,
    error = CASE WHEN ended.counted THEN ended.error ELSE run.error END,
    result = ended.result::json
FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::boolean[])
    AS ended(id, claim, state, error, result, counted)
WHERE run.id = ended.id AND run.claim = ended.claim AND run.state = 'running'
RETURNING run.id
"""  # noqa: S608 - of constants

_HELD: Final = """
SELECT run.id, run.queue FROM worker_run AS run
JOIN unnest($1::bigint[], $2::uuid[]) AS wanted(id, claim)
    ON run.id = wanted.id AND run.claim = wanted.claim
WHERE run.state = 'running'
"""

_HOLDS: Final = """
SELECT true FROM worker_run
WHERE worker = $1 AND slot = $2 AND claim = $3 AND state = 'running' FOR SHARE
"""

_WITHOUT_JOB: Final = f"""
SELECT run.id, run.queue, run.state FROM worker_run AS run
WHERE run.state IN ('queued', 'running')
    AND NOT EXISTS (
        SELECT FROM {{jobs}} AS job
        WHERE job.id = run.job_id AND job.dedupe_key = '{KEY_PREFIX}' || run.id
    )
ORDER BY run.id
"""  # noqa: S608 - of constants

_NOTE_JOBS: Final = f"""
UPDATE worker_run AS run SET job_id = job.id
FROM {{jobs}} AS job
WHERE run.id = ANY ($1::bigint[]) AND job.dedupe_key = '{KEY_PREFIX}' || run.id
    AND job.status IN ('queued', 'picked') AND run.state IN ('queued', 'running')
"""  # noqa: S608 - of constants

_JOBS_ABORTED: Final = f"""
UPDATE worker_run AS run SET state = 'aborted', claim = NULL, finished_at = {_NOW_MS},
    error = 'cancelled in the console of the engine'
FROM {{jobs}} AS job
WHERE job.id = ANY ($1) AND job.dedupe_key = '{KEY_PREFIX}' || run.id
    AND run.id = convert_from(job.payload, 'UTF8')::bigint AND run.state IN ('queued', 'running')
"""  # noqa: S608 - of constants
