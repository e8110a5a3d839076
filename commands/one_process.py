"""`serve --one-process`: API, worker, live feeds and schedules in this one process.

For tests and tiny hosts: a long collection and the answers share one event loop, and what ends the
process ends them all.
"""

import argparse
import asyncio
from collections.abc import Coroutine
from typing import Any

from commands.api import serve_api
from commands.collectors import read_collectors
from commands.composition import open_parts
from commands.data_dir import remember_exchanges
from commands.embedded_stores import embedded_stores
from commands.live import feed
from commands.notify_part import check_notifications
from commands.open_files import raise_open_file_limit
from commands.providers_registry import check_providers
from commands.store_check import run_with_checked_store
from commands.terminal import say_or_log
from commands.worker import run_jobs, working_context
from config import Settings
from live.configured.collector_file import CollectorFile


async def run(settings: Settings, stop: asyncio.Event, _: argparse.Namespace) -> int:
    """Does everything until `stop`. Raises CannotStart if the hot store cannot be used, and
    SettingsError for mistakes in COLLECTORS and WORKERS."""
    file = read_collectors(settings)
    if settings.schedules == "on":
        # Imported here: without schedules nothing of them is loaded.
        from commands.workers_part import check_workers

        check_workers(settings)
    check_providers(settings)
    await check_notifications(settings)
    remember_exchanges(settings)
    raise_open_file_limit()
    async with embedded_stores(settings) as found:
        if found.redis_url != settings.redis_url and found.redis_url is not None:
            say_or_log(f"Perpcache: embedded Redis at {found.redis_url.get_secret_value()}")
        work = _all(found, file, stop)
        return await run_with_checked_store(
            found, stop, work, own=settings.embeds_hot_store, tell=True
        )


async def _all(settings: Settings, file: CollectorFile | None, stop: asyncio.Event) -> int:
    """Runs all parts; when one of them ends, the others end, too. Returns the highest code."""
    works = [serve_api(settings, stop, "api-1"), _jobs(settings, stop)]
    if settings.live_exchanges or file is not None:
        works.append(_live(settings, file, stop))

    async def until_it_ends(work: Coroutine[Any, Any, int]) -> int:
        try:
            return await work
        finally:
            stop.set()

    async with asyncio.TaskGroup() as running:
        tasks = [running.create_task(until_it_ends(work)) for work in works]
    return max(task.result() for task in tasks)


async def _jobs(settings: Settings, stop: asyncio.Event) -> int:
    async with working_context(settings) as context:
        return await run_jobs(context, stop, ticks=True)


async def _live(settings: Settings, file: CollectorFile | None, stop: asyncio.Event) -> int:
    async with open_parts(settings, "live") as parts:
        return await feed(settings, parts, file, stop)
