"""Figures for an operator: schedules with their last runs, and what the record holds, estimated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stores.cold.pool import Connection, Pool

_LAST_RUNS: Final = 20  # of each schedule, to count failures in a row
# Pages of a table that an estimate reads; of smaller tables all.
_SAMPLED_PAGES: Final = 200
_ROWS_OF: Final = {
    "history_chunks": "sum(n)",
    "history_point_chunks": "sum(n)",
    "history_recent": "count(*)",
    "history_recent_points": "count(*)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """A schedule with its newest run (that was not coalesced) and how it went of late. `failures`:
    runs in a row that failed, at most _LAST_RUNS, the last one with `error`, the first one at
    `failing_since_ms`. `refreshes`: the ids of the jobs that it asks for. Times are UTC ms."""

    name: str
    cron: str | None
    every_s: int | None
    tz: str
    enabled: bool
    next_run_ms: int | None
    changed_at_ms: int
    refreshes: tuple[str, ...]
    state: str | None
    slot_ms: int | None
    started_at_ms: int | None
    finished_at_ms: int | None
    host: str | None
    failures: int
    failing_since_ms: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class RecordFigures:
    """`rows`: values of the record, estimated from a sample of its pages where it is large.
    `bytes`: of its tables, `database_bytes` of all. `holes` by state."""

    rows: int
    bytes: int
    database_bytes: int
    holes: Mapping[str, int]


class Overview:
    """All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def schedules(self) -> list[ScheduleRow]:
        """All schedules, by name; it reads a few rows of each."""

        async def read(connection: Connection) -> list[ScheduleRow]:
            rows = await connection.fetch(_SCHEDULES, _LAST_RUNS)
            return [
                ScheduleRow(
                    name=row["name"],
                    cron=row["cron"],
                    every_s=row["every_s"],
                    tz=row["tz"],
                    enabled=row["enabled"],
                    next_run_ms=row["next_run"],
                    changed_at_ms=row["changed_at"],
                    refreshes=tuple(row["refreshes"]),
                    state=row["state"],
                    slot_ms=row["slot"],
                    started_at_ms=row["started_at"],
                    finished_at_ms=row["finished_at"],
                    host=row["host"],
                    failures=(failed := _failed_in_a_row(row["states"])),
                    failing_since_ms=row["slots"][failed - 1] if failed else None,
                    error=row["errors"][0] if failed else None,
                )
                for row in rows
            ]

        return await self._pool.read(read)

    async def cursors(self) -> dict[str, tuple[int, int]]:
        """Of each document the newest recorded version, and its `updated_at`."""

        async def read(connection: Connection) -> dict[str, tuple[int, int]]:
            rows = await connection.fetch(
                "SELECT document, version, updated_at FROM history_stored"
            )
            return {document: (version, updated_at) for document, version, updated_at in rows}

        return await self._pool.read(read)

    async def record(self) -> RecordFigures:
        """What the record holds; it reads at most _SAMPLED_PAGES pages of each table."""

        async def read(connection: Connection) -> RecordFigures:
            rows = 0
            for table, counted in _ROWS_OF.items():
                pages = int(await connection.fetchval(_PAGES, table))
                share = min(1.0, _SAMPLED_PAGES / max(1, pages))
                found = await connection.fetchval(
                    f"SELECT coalesce({counted}, 0) FROM {table} TABLESAMPLE SYSTEM ($1)",  # noqa: S608 - our own names
                    100 * share,
                )
                rows += round(found / share)
            total, whole = (await connection.fetch(_BYTES))[0]
            holes = await connection.fetch(
                "SELECT state, count(*) FROM history_holes GROUP BY state ORDER BY state"
            )
            return RecordFigures(rows, int(total), int(whole), dict(map(tuple, holes)))

        return await self._pool.read(read)


def _failed_in_a_row(states: Sequence[str]) -> int:
    """`states` of runs, the newest first."""
    return next((place for place, state in enumerate(states) if state != "failed"), len(states))


_SCHEDULES: Final = """
    SELECT w.name, w.cron, w.every_s, w.tz, w.enabled, w.next_run, w.changed_at,
        ARRAY(SELECT json_array_elements_text(coalesce(w.declared -> 'refreshes', '[]')))
            AS refreshes,
        newest.state, newest.slot, newest.started_at, newest.finished_at, newest.host,
        coalesce(ended.states, '{}') AS states, coalesce(ended.slots, '{}') AS slots,
        coalesce(ended.errors, '{}') AS errors
    FROM worker AS w
    LEFT JOIN LATERAL (
        SELECT state, slot, started_at, finished_at, host FROM worker_run
        WHERE worker = w.name AND state <> 'coalesced' ORDER BY slot DESC LIMIT 1
    ) AS newest ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(state) AS states, array_agg(slot) AS slots, array_agg(error) AS errors
        FROM (
            SELECT state, slot, error FROM worker_run
            WHERE worker = w.name AND state IN ('complete', 'failed') AND why <> 'part'
            ORDER BY slot DESC LIMIT $1
        ) AS last
    ) AS ended ON true
    WHERE w.kind = 'schedule' ORDER BY w.name
"""

_PAGES: Final = """
    SELECT pg_relation_size(to_regclass($1)) / current_setting('block_size')::bigint
"""

_BYTES: Final = r"""
    SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint AS total,
        pg_database_size(current_database()) AS whole
    FROM pg_class WHERE relname LIKE 'history\_%' AND relkind = 'r' AND pg_table_is_visible(oid)
"""
