"""What is in effect of a worker: what its code declares, with an operator's overrides over it."""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

import structlog

from stores.cold.workers.rows import OVERRIDABLE, WorkerRow
from workers.config_schema import config_schema
from workers.definition import WorkerDefinition
from workers.timetable import Timetable, WrongTimetable, timetable_of

CODE: Final = "code"  # in the place of who changed a row
# Of these an operator's override has all or none: one alone might not fit what code says later.
TIMETABLE: Final = ("cron", "every_s", "offset_s", "tz")
_NOT_TOLD: Final = ("name", "kind", "origin", "function", "listed")
_log = structlog.get_logger(__name__)


def declared_of(definition: WorkerDefinition, schedule_tz: str) -> dict[str, Any]:
    """What the code says of a worker, as it is stored and told."""
    told = [field.name for field in fields(definition) if field.name not in _NOT_TOLD]
    declared = {name: getattr(definition, name) for name in told}
    declared |= {"tz": definition.tz or schedule_tz, "config": config_schema(definition.config)}
    stored: dict[str, Any] = json.loads(json.dumps(declared))  # tuples become lists there
    return stored


def declared_row(definition: WorkerDefinition, schedule_tz: str, now_ms: int) -> WorkerRow:
    """The row of a worker that nobody has overridden. Raises WrongTimetable."""
    declared = declared_of(definition, schedule_tz)
    row = WorkerRow(
        name=definition.name,
        kind=definition.kind,
        origin=definition.origin,
        **{column: declared[column] for column in OVERRIDABLE},
        next_run_ms=None,
        declared=declared,
        overrides={},
        changed_at_ms=now_ms,
        changed_by=CODE,
    )
    return replace(row, next_run_ms=next_run_of(row, now_ms))


def synced(row: WorkerRow, stored: WorkerRow, now_ms: int) -> WorkerRow:
    """The row that code declares now, with what is stored of it: its overrides, and when it runs
    next, unless its timetable has changed."""
    overrides = {name: value for name, value in stored.overrides.items() if name in OVERRIDABLE}
    found = replace(row, **overrides, overrides=overrides)
    try:
        timetable_of_row(found)
    except WrongTimetable as error:
        # Nobody can override it so through control: the rules or the rows were changed.
        _log.warning("worker_override_dropped", worker=row.name, reason=str(error))
        overrides = {name: value for name, value in overrides.items() if name not in TIMETABLE}
        found = replace(row, **overrides, overrides=overrides)
    return _as_it_goes_on(found, stored, now_ms)


def changed(row: WorkerRow, changes: Mapping[str, Any], now_ms: int, by: str) -> WorkerRow:
    """The row with these columns overridden; one of `cron` and `every_s` takes the other's place.
    Raises WrongTimetable."""
    given = dict(changes)
    if given.get("cron") is not None:
        given = {"every_s": None, "offset_s": 0} | given
    elif given.get("every_s") is not None:
        given = {"cron": None} | given
    if any(column in given for column in TIMETABLE):
        given = {column: getattr(row, column) for column in TIMETABLE} | given
    overrides = dict(row.overrides) | given
    found = replace(row, **given, overrides=overrides, changed_at_ms=now_ms, changed_by=by)
    timetable_of_row(found)
    return _as_it_goes_on(found, row, now_ms)


def without_overrides(row: WorkerRow, now_ms: int, by: str) -> WorkerRow:
    """The row as code declares it. Raises WrongTimetable."""
    declared = {column: row.declared[column] for column in OVERRIDABLE}
    found = replace(row, **declared, overrides={}, changed_at_ms=now_ms, changed_by=by)
    timetable_of_row(found)
    return _as_it_goes_on(found, row, now_ms)


def next_run_of(row: WorkerRow, now_ms: int) -> int | None:
    """When the row is due next; None if nothing fires it. Raises WrongTimetable."""
    timetable = timetable_of_row(row)
    return timetable.next_after(now_ms) if row.kind == "schedule" and row.enabled else None


def timetable_of_row(row: WorkerRow) -> Timetable:
    """Raises WrongTimetable."""
    return timetable_of(row.cron, row.every_s, row.offset_s, row.tz)


def _as_it_goes_on(found: WorkerRow, before: WorkerRow, now_ms: int) -> WorkerRow:
    """With the time of the next run kept where it fires as before, or was due by now: what was
    missed is made up."""
    same = all(
        getattr(found, column) == getattr(before, column)
        for column in (*TIMETABLE, "enabled", "kind")
    )
    next_ms, following_ms = before.next_run_ms, next_run_of(found, now_ms)
    is_kept = next_ms is not None and following_ms is not None and (same or next_ms <= now_ms)
    return replace(found, next_run_ms=next_ms if is_kept else following_ms)
