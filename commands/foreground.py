"""`collect` and `funding`: one job, run in this process, with a progress bar."""

import argparse
import asyncio
from typing import Final

from cache_manager import DocumentMeta
from commands.composition import holder_name, open_job_context
from commands.console import Console
from commands.data_dir import remember_exchanges
from commands.errors import EXIT_COMPLETE, EXIT_FAILED, EXIT_HELD, EXIT_STOPPED
from commands.progress import shown
from commands.runtime import tune_garbage_collection
from commands.store_check import StoreCheck
from commands.terminal import say_or_log
from config import Settings
from job_queue.kinds import job_definition, job_id_of, lane_of
from job_queue.records import JobRecord
from jobs.context import JobContext
from stores.hot.leases import Lease, current_holder
from timing.backoff import stop_or
from timing.clock import utc_text
from worker import Worker

_RETRY_EVERY_S: Final = 0.5


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Runs the job that the command names, such as `collect 4h`, `collect all` or `funding`."""
    remember_exchanges(settings)
    asked = getattr(arguments, "timeframe", None)
    job_id = job_id_of(arguments.command, asked)
    if job_definition(job_id).asked != asked:
        say_or_log(f"{job_id} makes the {asked} document too")
    async with open_job_context(settings, arguments.command) as context:
        tune_garbage_collection()
        await StoreCheck(settings, context.store, own=settings.embeds_hot_store).once()
        wait = not arguments.no_wait
        return await run_here(context, job_id, holder=holder_name(), wait=wait, stop=stop)


async def run_here(
    context: JobContext, job_id: str, *, holder: str, wait: bool, stop: asyncio.Event
) -> int:
    """Runs the job under its lane's lease. Returns the exit code: 0 complete, 1 failed, 75 when
    the lease is held and `wait` is false, 130 when stopped (the job goes back to the queue)."""
    console = Console()
    with shown(console, job_id) as progress:
        worker = Worker(context, holder=holder, watcher=lambda _, now: progress.show(now))
        lease = await _lease(context, worker, job_id, console, wait=wait, stop=stop)
        if lease is None:
            return EXIT_STOPPED if stop.is_set() else EXIT_HELD
        try:
            await context.queue.request(job_id)
            job = await _take(context, lease, job_id, stop)
            if job is not None:
                state = await worker.run_one(job, lease, stop)
            else:
                state = "queued" if stop.is_set() else "failed"
        finally:
            await lease.release()
        if context.endings is not None:
            await context.endings.write_rest()
        if state == "complete":
            progress.finish()
    record = await context.queue.get(job_id)
    if state == "queued":
        return EXIT_STOPPED
    last = record.last if record else None
    if state == "complete" and last is not None:
        for line in await document_lines(context, job_id):
            console.say(line)
        numbers = "  ".join(f"{name} {value}" for name, value in (last.result or {}).items())
        console.say(f"{job_id} complete: {numbers}")
        return EXIT_COMPLETE
    console.say(f"{job_id} {state}: {last.error if last else 'its record is gone'}")
    return EXIT_FAILED


async def document_lines(context: JobContext, job_id: str) -> list[str]:
    """A line for each document of a job that makes several: what the store has of it now."""
    names = job_definition(job_id).published(context.settings.timeframes)
    if len(names) < 2:
        return []
    metas = await context.cache.read_metas(names)
    return [f"{job_id}: {name} {_stored(meta)}" for name, meta in metas.items()]


def _stored(meta: DocumentMeta | None) -> str:
    if meta is None:
        return "nothing collected yet"
    return f"as of {utc_text(meta.as_of_ms)}, {meta.stored_bytes / 1e6:.1f} MB"


async def _take(
    context: JobContext, lease: Lease, job_id: str, stop: asyncio.Event
) -> JobRecord | None:
    """Takes the job, once MIN_REFRESH_S have passed since its last run; None if it was aborted
    meanwhile, or when stopped."""
    while (job := await context.queue.take(lease, job_id)) is None:
        record = await context.queue.get(job_id)
        if record is None or not record.is_pending or await stop_or(stop, _RETRY_EVERY_S):
            return None
    return job


async def _lease(
    context: JobContext,
    worker: Worker,
    job_id: str,
    console: Console,
    *,
    wait: bool,
    stop: asyncio.Event,
) -> Lease | None:
    """Acquires the lease of the job's lane; None when stopped, or when it is held and not `wait`.

    Prints once which process holds it.
    """
    lane = lane_of(job_id)
    holder_printed = False
    while not stop.is_set():
        lease = await worker.acquire(lane)
        if lease is not None:
            return lease
        if not holder_printed:
            other = await current_holder(context.store, lane)
            holder = other.holder if other else "another process"
            rest = "waiting for it" if wait else "not waiting"
            console.say(f"the {lane} lease is held by {holder}; {rest}")
            holder_printed = True
        if not wait:
            return None
        await stop_or(stop, _RETRY_EVERY_S)
    return None
