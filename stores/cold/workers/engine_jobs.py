"""The tables of the engine (PgQueuer) as we change them beside it: whose jobs are, and old log."""

from collections.abc import Collection
from typing import Final
from uuid import UUID

import asyncpg

from stores.cold.pool import Connection

# Before the id of a run: its key, of which the engine has one job at most.
KEY_PREFIX: Final = "run:"
_LOG_KEPT_DAYS: Final = 7
_COUNTS_KEPT_DAYS: Final = 90


async def jobs_of(connection: Connection, jobs: str, keys: Collection[str]) -> list[int]:
    """The jobs with these keys in the table `jobs` that are not over."""
    rows = await connection.fetch(_JOBS_OF.format(jobs=jobs), list(keys))
    return [row["id"] for row in rows]


async def lock_owned(
    connection: Connection, jobs: str, ids: Collection[int], owner: UUID | None
) -> set[int]:
    """Of these jobs in the table `jobs` those that the manager `owner` has taken; locked until the
    transaction ends."""
    rows = await connection.fetch(_LOCK_OWNED.format(jobs=jobs), list(ids), owner)
    return {row["id"] for row in rows}


async def lock_untaken(connection: Connection, jobs: str, ids: Collection[int]) -> list[int]:
    """Of these jobs those that no manager has taken; locked until the transaction ends."""
    rows = await connection.fetch(_LOCK_UNTAKEN.format(jobs=jobs), list(ids))
    return [row["id"] for row in rows]


async def take_queued(
    connection: Connection, jobs: str, keys: Collection[str], owner: UUID | None
) -> list[asyncpg.Record]:
    """Has the manager `owner` take those of the jobs with these keys that nobody has taken, and
    notes them as their runs' jobs. Their runs go on, and need no place anew."""
    return await connection.fetch(_TAKE_QUEUED.format(jobs=jobs), list(keys), owner)


async def sign_of_life(
    connection: Connection, jobs: str, ids: Collection[int], owner: UUID | None
) -> int:
    """Notes that the manager `owner` still runs those of these jobs that it has taken; how many."""
    done: str = await connection.execute(_SIGN_OF_LIFE.format(jobs=jobs), list(ids), owner)
    return int(done.split()[-1])


async def forget_log(connection: Connection, log: str, counts: str) -> None:
    """Deletes of the table `log` what was counted and is a week old, and of `counts` what is older
    than 90 days. The engine keeps both for ever."""
    await connection.execute(_FORGET_LOG.format(log=log, days=_LOG_KEPT_DAYS))
    await connection.execute(_FORGET_COUNTS.format(counts=counts, days=_COUNTS_KEPT_DAYS))


async def server_ms(connection: Connection) -> int:
    """When the caller's transaction began by the database's clock, UTC ms."""
    found: int = await connection.fetchval(_SERVER_MS)
    return found


_JOBS_OF: Final = """
SELECT id FROM {jobs} WHERE dedupe_key = ANY ($1::text[]) AND status IN ('queued', 'picked')
ORDER BY id
"""
_LOCK_OWNED: Final = """
SELECT id FROM {jobs} WHERE id = ANY ($1::bigint[]) AND queue_manager_id = $2 FOR UPDATE
"""
_LOCK_UNTAKEN: Final = """
SELECT id FROM {jobs} WHERE id = ANY ($1::bigint[]) AND status <> 'picked' ORDER BY id FOR UPDATE
"""
_TAKE_QUEUED: Final = """
WITH taken AS (
    UPDATE {jobs}
    SET status = 'picked', queue_manager_id = $2, heartbeat = now(), updated = now(), slot = NULL
    WHERE dedupe_key = ANY ($1::text[]) AND status = 'queued' RETURNING *
), noted AS (
    UPDATE worker_run AS run SET job_id = taken.id FROM taken
    WHERE run.id = convert_from(taken.payload, 'UTF8')::bigint
)
SELECT * FROM taken
"""
_SIGN_OF_LIFE: Final = """
UPDATE {jobs} SET heartbeat = now() WHERE id = ANY ($1::bigint[]) AND queue_manager_id = $2
"""
_FORGET_LOG: Final = """
DELETE FROM {log} WHERE aggregated AND created < now() - interval '{days} days'
"""
_FORGET_COUNTS: Final = """
DELETE FROM {counts} WHERE created < now() - interval '{days} days'
"""
_SERVER_MS: Final = "SELECT (extract(epoch FROM now()) * 1000)::bigint"
