"""`worker`: one worker process that runs the jobs of all lanes until stopped."""

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from api.parts import Parts
from commands.composition import holder_name, local_wakeup, open_job_context
from commands.data_dir import remember_exchanges
from commands.notify_part import check_notifications, notifying
from commands.open_files import raise_open_file_limit
from commands.providers_registry import check_providers
from commands.runtime import tune_garbage_collection
from commands.store_check import StoreCheck, run_beside
from commands.workers_check import wrong_workers_as_lines
from config import Settings
from jobs.context import JobContext
from jobs.due import queue_due_jobs
from metrics.event_loop import measuring_loop_lag
from worker import Worker
from workers.seam import served_queues


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Runs queued jobs, queues those that are due, and runs and fires the workers of schedules,
    until `stop`. Raises SettingsError for mistakes in the workers of WORKERS."""
    if settings.schedules == "on":
        # Imported here: without schedules nothing of them is loaded.
        from commands.workers_part import check_workers

        check_workers(settings)
    check_providers(settings)
    if arguments.parent_fd is None:
        await check_notifications(settings)
    remember_exchanges(settings)
    raise_open_file_limit()
    async with working_context(settings) as context:
        tune_garbage_collection()
        child = arguments.parent_fd is not None
        own = settings.embeds_hot_store
        check = StoreCheck(settings, context.store, own=own, child=child)
        await check.until_known(stop)
        work = run_jobs(context, stop, ticks=not arguments.no_beat)
        if child:
            return await work  # its parent keeps the owner record
        return await run_beside(check.keep(stop), work, stop)


@contextlib.asynccontextmanager
async def working_context(settings: Settings) -> AsyncIterator[JobContext]:
    """The parts of a worker's process, which is woken by the API beside it."""
    async with contextlib.AsyncExitStack() as opened:
        context = await opened.enter_async_context(
            open_job_context(settings, "worker", keep_mb=settings.worker_memory_mb)
        )
        if context.store.kind != "native":
            opened.enter_context(local_wakeup(settings).listening(context.queue.wake))
        await opened.enter_async_context(measuring_loop_lag(context.metrics.loop_lag))
        if settings.providers != "off":
            # Imported here: without providers nothing of them is loaded.
            from commands.providers_part import open_providers

            providers = await opened.enter_async_context(
                open_providers(context.settings, context.store, context.database)
            )
            context = replace(context, providers=providers.service, asked=providers.parts)
        yield context


async def run_jobs(context: JobContext, stop: asyncio.Event, *, ticks: bool) -> int:
    """Does what a worker does until `stop`; with `ticks` it fires schedules, too."""
    with wrong_workers_as_lines():
        return await _run_jobs(context, stop, ticks=ticks)


async def _run_jobs(context: JobContext, stop: asyncio.Event, *, ticks: bool) -> int:
    settings = context.settings
    queues = served_queues(settings) if settings.schedules == "on" else ()
    context.metrics.is_host(settings.egress_id, schedules=settings.schedules, queues=queues)
    parts = Parts(context.store, context.cache, context.queue, context.database)
    watching = notifying(settings, parts, holder_name(), context.asked)
    async with watching, asyncio.TaskGroup() as running:
        if context.endings is not None:
            running.create_task(context.endings.write(stop), name="endings")
        running.create_task(queue_due_jobs(context, stop, ticks=ticks), name="schedule")
        running.create_task(Worker(context, holder=holder_name()).run(stop), name="worker")
        if settings.schedules == "on":
            from commands.workers_part import run_workers

            running.create_task(run_workers(context, stop, ticks=ticks), name="workers")
    return 0
