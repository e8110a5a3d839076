"""Sync: at start, what code says of workers goes into their rows; what an operator set stays."""

from collections.abc import Mapping
from dataclasses import replace

import structlog

from config import Settings
from database import Database
from stores.cold.pool import Connection
from stores.cold.workers.notices import notify
from stores.cold.workers.partitions import make_ahead
from stores.cold.workers.rows import WorkerRow, lock_all, now_of, save_row
from workers.definition import WorkerDefinition, WrongWorkers
from workers.effective import declared_row, synced
from workers.registry import Registry
from workers.timetable import WrongTimetable

_log = structlog.get_logger(__name__)


async def sync(database: Database, registry: Registry, settings: Settings) -> list[WorkerRow]:
    """Inserts the rows of new workers, and brings those of known ones up to what code says now.

    Rows of workers that this code does not have stay: another host's may. Returns the rows of these
    workers, parts of other work excepted, which have none. Raises WrongWorkers before anything is
    written, and DatabaseUnavailable.
    """
    schedule_tz = settings.schedule_tz
    listed = {name: found for name, found in registry.definitions.items() if found.listed}
    _check(listed, schedule_tz)

    async def work(connection: Connection) -> tuple[list[WorkerRow], list[str]]:
        now_ms = await now_of(connection)
        await make_ahead(connection, now_ms)
        stored = {row.name: row for row in await lock_all(connection)}
        rows, changed = [], []
        for name in sorted(listed):
            row = declared_row(listed[name], schedule_tz, now_ms)
            before = stored.get(name)
            if before is not None:
                row = synced(row, before, now_ms)
            if before is None or _says_other(row, before):
                await save_row(connection, row)
                changed.append(name)
                rows.append(row)
            else:
                rows.append(before)
        if changed:
            await notify(connection, "worker")
        return rows, changed

    rows, changed = await database.workers.in_transaction(work)
    if changed:
        _log.info("workers_synced", workers=len(rows), changed=changed)
    return rows


def _says_other(row: WorkerRow, before: WorkerRow) -> bool:
    same = replace(row, changed_at_ms=before.changed_at_ms, changed_by=before.changed_by)
    return same != before


def _check(definitions: Mapping[str, WorkerDefinition], schedule_tz: str) -> None:
    """Raises WrongWorkers with a line for every schedule that cannot be."""
    lines = []
    for definition in definitions.values():
        try:
            declared_row(definition, schedule_tz, 0)
        except WrongTimetable as error:
            lines.append(f"{definition.place}: worker {definition.name}: {error}")
    if lines:
        raise WrongWorkers(lines)
