"""Which of the engine's (PgQueuer's) jobs a host takes, by what holds for queues just then.

One statement reads the rules of the queues and takes jobs, so that both are of one snapshot: a job
that was made after a change of a limit or a pause is never taken by the rule before. It ends on the
server, whatever becomes of its host meanwhile.

What takes up a place of a limited queue: each run that runs by worker_run, and each job that is
taken, whichever of both ends later. So a place stays taken while the host of a run is dead or its
job is lost; the run then goes on in its place, however full the queue is.

Hosts that take at the same instant do not see each other. So each job that is taken within a limit
also gets a seat, the lowest free ones from 0 on, unique in its queue as long as the job is taken
(the engine has an index for it): the second host fails, and looks again. Runs without a seat, begun
before there was a limit, and those on seats above a limit that was lowered, only become fewer. So
the seats that one host may choose are below the limit less their number, whatever it sees late.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg

from stores.cold.pool import Connection
from stores.cold.workers.engine_jobs import KEY_PREFIX

_LONGEST_WAIT_S: Final = 3600


@dataclass(frozen=True, slots=True)
class EngineTables:
    """The engine's tables, as SQL names them: of its jobs, and of what became of them."""

    jobs: str
    log: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for a host. `takeable`: jobs that it may take now. `next_s`: in how many seconds
    the next job is due or the next pause ends; None: neither is known, or it is over an hour."""

    takeable: bool
    next_s: float | None


async def take_unruled(
    connection: Connection,
    tables: EngineTables,
    queues: Mapping[str, str],
    owner: UUID,
    *,
    batch: int,
    most: int,
    lease: timedelta,
) -> tuple[list[asyncpg.Record], bool]:
    """As `take`, of those of the queues that are neither limited nor paused; and whether there are
    others. It is planned in a third of the time, which counts where runs are short and many."""
    rows = await connection.fetch(
        _TAKE_UNRULED.format(jobs=tables.jobs, log=tables.log),
        *([*queues], [*queues.values()], batch, owner, most, lease),
    )
    return [row for row in rows if row["id"] is not None], rows[0]["ruled"]


async def take(
    connection: Connection,
    tables: EngineTables,
    queues: Mapping[str, str],
    owner: UUID,
    *,
    batch: int,
    most: int,
    lease: timedelta,
) -> list[asyncpg.Record]:
    """Has the manager `owner` take the oldest jobs of these queues (by name, with the engine's
    names), and those whose host has given no sign for `lease`: at most `batch`, and so many that it
    has at most `most`. Raises asyncpg's UniqueViolationError or DeadlockDetectedError where another
    host has taken a place at the same instant: nothing is taken then."""
    return await connection.fetch(
        (_ROOM + _TAKE).format(jobs=tables.jobs, log=tables.log),
        *([*queues], [*queues.values()], batch, owner, most, lease),
    )


async def waiting(
    connection: Connection, tables: EngineTables, queues: Mapping[str, str]
) -> Waiting:
    """What waits in these queues, as in `take`. A full queue has nothing: when a place becomes
    free, or more are allowed, all hosts are told."""
    query = (_ROOM + _WAITING).format(jobs=tables.jobs)
    row = await connection.fetchrow(query, [*queues], [*queues.values()], 1)
    assert row is not None  # noqa: S101 - it has one row always
    return Waiting(row["takeable"], row["next_s"])


_NOW_MS: Final = "(extract(epoch FROM now()) * 1000)::bigint"

# $1, $2: names of queues, and the engine's; $3: the most jobs that may be taken of one.
_ROOM: Final = f"""
WITH served AS (
    SELECT asked.queue, asked.entrypoint, rule.concurrency, rule.paused_until > {_NOW_MS} AS paused,
        rule.paused_until
    FROM unnest($1::text[], $2::text[]) AS asked(queue, entrypoint)
    LEFT JOIN worker_queue AS rule ON rule.name = asked.queue
), running AS (
    SELECT served.entrypoint, '{KEY_PREFIX}' || run.id AS key
    FROM served JOIN worker_run AS run ON run.queue = served.queue
    WHERE served.concurrency IS NOT NULL AND run.state = 'running'
), held AS (
    SELECT entrypoint, count(*) AS runs
    FROM (
        SELECT entrypoint, key FROM running
        UNION
        SELECT job.entrypoint, job.dedupe_key FROM {{jobs}} AS job
        JOIN served ON served.entrypoint = job.entrypoint
        WHERE served.concurrency IS NOT NULL AND job.status = 'picked'
    ) AS places
    GROUP BY entrypoint
), room AS (
    SELECT served.entrypoint, served.concurrency IS NOT NULL AS limited,
        coalesce(held.runs, 0) AS held,
        least($3::bigint, served.concurrency - coalesce(held.runs, 0)) AS jobs
    FROM served LEFT JOIN held ON held.entrypoint = served.entrypoint
    WHERE served.paused IS NOT true
)"""  # noqa: S608 - of constants

# $4: the owner; $5: the most jobs that it may have; $6: the lease.
# Which jobs of a limited queue may be taken is settled before they are locked: who skipped locked
# ones would go on to the next, and meet the other host at its seats. LIMIT $3, which the planner
# knows, has it read an index in order rather than sort all that waits.
_TAKE: Final = """, own AS (
    SELECT greatest(least($3::bigint, $5::bigint - count(*)), 0) AS jobs
    FROM {jobs} WHERE queue_manager_id = $4 AND status = 'picked'
), unlimited AS (
    SELECT job.id, job.priority, room.entrypoint FROM room CROSS JOIN LATERAL (
        SELECT queued.id, queued.priority FROM {jobs} AS queued
        WHERE queued.entrypoint = room.entrypoint AND queued.status = 'queued'
            AND queued.execute_after < now()
        ORDER BY queued.priority DESC, queued.id LIMIT $3
        FOR UPDATE SKIP LOCKED
    ) AS job
    WHERE NOT room.limited
), limited AS (
    SELECT job.id, job.priority, room.entrypoint FROM room CROSS JOIN LATERAL (
        SELECT first.id FROM (
            SELECT queued.id, queued.priority FROM {jobs} AS queued
            WHERE queued.entrypoint = room.entrypoint AND queued.status = 'queued'
                AND queued.execute_after < now()
                AND NOT EXISTS (SELECT FROM running WHERE running.key = queued.dedupe_key)
            ORDER BY queued.priority DESC, queued.id LIMIT $3
        ) AS first
        ORDER BY first.priority DESC, first.id LIMIT greatest(room.jobs, 0)
    ) AS oldest
    CROSS JOIN LATERAL (
        SELECT queued.id, queued.priority FROM {jobs} AS queued
        WHERE queued.id = oldest.id AND queued.status = 'queued' AND queued.execute_after < now()
        FOR UPDATE SKIP LOCKED
    ) AS job
    WHERE room.limited
), lost AS (
    SELECT job.id, job.priority, room.entrypoint
    FROM {jobs} AS job JOIN room ON room.entrypoint = job.entrypoint
    WHERE job.status = 'picked' AND job.heartbeat < now() - $6::interval
    ORDER BY job.priority DESC, job.id LIMIT $3
    FOR UPDATE OF job SKIP LOCKED
), lost_and_made_anew AS (
    SELECT job.id, job.priority, room.entrypoint
    FROM running JOIN room ON room.entrypoint = running.entrypoint
    JOIN {jobs} AS job ON job.dedupe_key = running.key
    WHERE job.status = 'queued' AND job.execute_after < now()
    ORDER BY job.priority DESC, job.id LIMIT $3
    FOR UPDATE OF job SKIP LOCKED
), chosen AS (
    SELECT found.*, row_number() OVER (
        PARTITION BY entrypoint, needs_seat ORDER BY priority DESC, id
    ) AS place
    FROM (
        SELECT id, priority, entrypoint, false AS needs_seat FROM lost
        UNION ALL SELECT id, priority, entrypoint, false FROM lost_and_made_anew
        UNION ALL SELECT id, priority, entrypoint, false FROM unlimited
        UNION ALL SELECT id, priority, entrypoint, true FROM limited
        ORDER BY priority DESC, id LIMIT (SELECT jobs FROM own)
    ) AS found
), free AS (
    SELECT room.entrypoint, seat, row_number() OVER (
        PARTITION BY room.entrypoint ORDER BY seat
    ) AS place
    FROM room CROSS JOIN generate_series(0, room.held + room.jobs - 1) AS seat
    WHERE room.limited AND room.jobs > 0 AND NOT EXISTS (
        SELECT FROM {jobs} AS taken
        WHERE taken.entrypoint = room.entrypoint AND taken.status = 'picked' AND taken.slot = seat
    )
), taken AS (
    UPDATE {jobs} AS job
    SET status = 'picked', queue_manager_id = $4, heartbeat = now(), updated = now(),
        slot = CASE WHEN job.status = 'picked' THEN job.slot ELSE free.seat END
    FROM chosen LEFT JOIN free
        ON chosen.needs_seat AND free.entrypoint = chosen.entrypoint AND free.place = chosen.place
    WHERE job.id = chosen.id
    RETURNING job.*
), noted AS (
    INSERT INTO {log} (job_id, status, entrypoint, priority)
    SELECT id, status, entrypoint, priority FROM taken
)
SELECT * FROM taken ORDER BY priority DESC, id
"""

# Parameters as in _TAKE. One row without a job where none is taken.
_TAKE_UNRULED: Final = f"""
WITH served AS (
    SELECT asked.entrypoint,
        rule.concurrency IS NOT NULL OR coalesce(rule.paused_until > {_NOW_MS}, false) AS ruled
    FROM unnest($1::text[], $2::text[]) AS asked(queue, entrypoint)
    LEFT JOIN worker_queue AS rule ON rule.name = asked.queue
), own AS (
    SELECT greatest(least($3::bigint, $5::bigint - count(*)), 0) AS jobs
    FROM {{jobs}} WHERE queue_manager_id = $4 AND status = 'picked'
), waiting AS (
    SELECT job.id, job.priority FROM served CROSS JOIN LATERAL (
        SELECT queued.id, queued.priority FROM {{jobs}} AS queued
        WHERE queued.entrypoint = served.entrypoint AND queued.status = 'queued'
            AND queued.execute_after < now()
        ORDER BY queued.priority DESC, queued.id LIMIT $3
        FOR UPDATE SKIP LOCKED
    ) AS job
    WHERE NOT served.ruled
), lost AS (
    SELECT job.id, job.priority
    FROM {{jobs}} AS job JOIN served ON served.entrypoint = job.entrypoint
    WHERE NOT served.ruled AND job.status = 'picked' AND job.heartbeat < now() - $6::interval
    ORDER BY job.priority DESC, job.id LIMIT $3
    FOR UPDATE OF job SKIP LOCKED
), taken AS (
    UPDATE {{jobs}} AS job
    SET status = 'picked', queue_manager_id = $4, heartbeat = now(), updated = now(),
        slot = CASE WHEN job.status = 'picked' THEN job.slot END
    WHERE job.id IN (
        SELECT id FROM (SELECT * FROM waiting UNION ALL SELECT * FROM lost) AS found
        ORDER BY priority DESC, id LIMIT (SELECT jobs FROM own)
    )
    RETURNING job.*
), noted AS (
    INSERT INTO {{log}} (job_id, status, entrypoint, priority)
    SELECT id, status, entrypoint, priority FROM taken
)
SELECT coalesce((SELECT bool_or(ruled) FROM served), false) AS ruled, taken.*
FROM (SELECT) AS always LEFT JOIN taken ON true ORDER BY taken.priority DESC, taken.id
"""  # noqa: S608 - of constants

_WAITING: Final = f"""
SELECT
    EXISTS (
        SELECT FROM room JOIN {{jobs}} AS job ON job.entrypoint = room.entrypoint
        WHERE room.jobs > 0 AND job.status = 'queued' AND job.execute_after < now()
    ) AS takeable,
    least(
        (
            SELECT min(extract(epoch FROM due.at - now())) FROM room CROSS JOIN LATERAL (
                SELECT job.execute_after AS at FROM {{jobs}} AS job
                WHERE job.entrypoint = room.entrypoint AND job.status = 'queued'
                    AND job.execute_after >= now()
                ORDER BY job.execute_after LIMIT 1
            ) AS due
            WHERE room.jobs > 0
        ),
        (
            SELECT min((paused_until - {_NOW_MS}) / 1000.0) FROM served
            WHERE paused AND paused_until < {_NOW_MS} + {_LONGEST_WAIT_S * 1000}
        )
    )::float8 AS next_s
"""  # noqa: S608 - of constants
