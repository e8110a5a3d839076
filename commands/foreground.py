"""`collect` and `funding` on the command line: one job, here and now, with a progress bar."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from rich.console import Console

from job_queue.kinds import lane_of
from job_queue.records import JobRecord
from jobs.context import JobContext, Progress
from stores.hot.leases import Lease, current_holder
from timing.backoff import stop_or
from worker import Worker

EXIT_COMPLETE: Final = 0
EXIT_FAILED: Final = 1
EXIT_HELD: Final = 75  # sysexits.h: EX_TEMPFAIL
EXIT_STOPPED: Final = 130
_LOOK_EVERY_S: Final = 0.5


async def run_here(
    context: JobContext, job_id: str, *, holder: str, wait: bool, stop: asyncio.Event
) -> int:
    """Runs the job under its lane's lease. Returns the exit code: 0 complete, 1 failed, 75 when
    the lease is held and `wait` is false, 130 when stopped (the job goes back to the queue)."""
    console = Console()
    with _shown(console, job_id) as show:
        worker = Worker(context, holder=holder, watcher=show)
        lease = await _lease(context, worker, job_id, console, wait=wait, stop=stop)
        if lease is None:
            return EXIT_STOPPED if stop.is_set() else EXIT_HELD
        try:
            await context.queue.request(job_id)
            job = await context.queue.take(lease, job_id)
            state = await worker.run_one(job, lease, stop) if job else "failed"
        finally:
            await lease.release()
    record = await context.queue.get(job_id)
    if state == "queued":
        return EXIT_STOPPED
    last = record.last if record else None
    if state == "complete" and last is not None:
        numbers = "  ".join(f"{name} {value}" for name, value in (last.result or {}).items())
        console.print(f"{job_id} complete: {numbers}", highlight=False, soft_wrap=True)
        return EXIT_COMPLETE
    console.print(
        f"{job_id} {state}: {last.error if last else 'its record is gone'}",
        highlight=False,
        soft_wrap=True,
    )
    return EXIT_FAILED


async def _lease(
    context: JobContext,
    worker: Worker,
    job_id: str,
    console: Console,
    *,
    wait: bool,
    stop: asyncio.Event,
) -> Lease | None:
    """The lease of the job's lane; says once by whom it is held."""
    lane = lane_of(job_id)
    told = False
    while not stop.is_set():
        lease = await worker.acquire(lane)
        if lease is not None:
            return lease
        if not told:
            other = await current_holder(context.store, lane)
            whom = other.holder if other else "another process"
            rest = "waiting for it" if wait else "not waiting"
            console.print(f"the {lane} lease is held by {whom}; {rest}", highlight=False)
            told = True
        if not wait:
            return None
        await stop_or(stop, _LOOK_EVERY_S)
    return None


Show = Callable[[JobRecord, Progress], None]


@contextlib.contextmanager
def _shown(console: Console, job_id: str) -> Iterator[Show]:
    """How a job's progress is shown: a bar on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        yield _plain_lines(console, job_id)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console) as bars:
        bar, phase = bars.add_task(job_id, total=None), ""

        def show(_: JobRecord, progress: Progress) -> None:
            nonlocal bar, phase
            if progress.phase != phase:
                bars.remove_task(bar)
                phase = progress.phase
                bar = bars.add_task(f"{job_id}: {phase}", total=None)
            bars.update(bar, completed=progress.done, total=progress.total or None)

        yield show


def _plain_lines(console: Console, job_id: str) -> Show:
    """One line for each phase, and one for each further tenth of it."""
    shown: tuple[str, int] = ("", -1)

    def show(_: JobRecord, progress: Progress) -> None:
        nonlocal shown
        tenth = int(10 * progress.done / progress.total) if progress.total else 0
        if (progress.phase, tenth) != shown:
            shown = (progress.phase, tenth)
            counted = f" {progress.done}/{progress.total}" if progress.total else ""
            console.print(f"{job_id}: {progress.phase}{counted}", highlight=False)

    return show
