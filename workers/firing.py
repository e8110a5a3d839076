"""One firing of a schedule: its run's row, the engine's job and the next instant, all or none."""

from dataclasses import dataclass
from typing import Final

from stores.cold.pool import Connection
from stores.cold.workers.rows import WorkerRow, set_next_run
from stores.cold.workers.run_rows import RunRow, add_run, set_job
from workers.effective import timetable_of_row
from workers.seam import Enqueue
from workers.timetable import Timetable

# A firing that comes later than this has been missed, for workers that skip what they missed.
MISSED_AFTER_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Fired:
    """What became of a row that was due: its run, or None where it skips what it missed, or where
    the slot had its run before."""

    worker: str
    slot_ms: int | None
    run: RunRow | None


async def fire(connection: Connection, row: WorkerRow, now_ms: int, enqueue: Enqueue) -> Fired:
    """Fires a row that is due at `now_ms` and that the transaction of `connection` has locked.

    Instants that were missed become one, with the slot of the first; or, where the row skips them,
    only the last one fires, if it has not been missed itself. Raises WrongTimetable.
    """
    assert row.next_run_ms is not None  # noqa: S101 - it is due
    timetable = timetable_of_row(row)
    slot_ms = slot_of(timetable, row.next_run_ms, now_ms, skips=row.on_missed == "skip")
    await set_next_run(connection, row.name, timetable.next_after(now_ms))
    if slot_ms is None:
        return Fired(row.name, None, None)
    queue = row.runs_on
    run = await add_run(connection, worker=row.name, slot_ms=slot_ms, why="schedule", queue=queue)
    if run is not None and run.state == "queued":
        await set_job(connection, run, await enqueue(connection, run.id, queue))
    return Fired(row.name, slot_ms, run)


def slot_of(timetable: Timetable, due_ms: int, now_ms: int, *, skips: bool) -> int | None:
    """The instant that a firing now stands for, of those from `due_ms` to `now_ms`."""
    if not skips:
        return due_ms
    after_ms = max(due_ms - 1, now_ms - MISSED_AFTER_MS)
    return timetable.latest_in(after_ms, now_ms)
