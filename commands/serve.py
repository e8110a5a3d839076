"""`serve`: the API processes, the worker and the live process as children of one process."""

import argparse
import asyncio
import socket
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from commands.data_dir import remember_exchanges
from commands.embedded_stores import embedded_stores
from commands.listening import announce, listen
from commands.notify_part import check_notifications
from commands.store_check import run_with_checked_store
from commands.supervisor import Child, ChildSpec
from commands.terminal import say_or_log
from config import Settings

MAIN: Final = Path(__file__).resolve().parents[1] / "main.py"
# A stop takes at most 3 s: the readers' head start, a child's deadline, and the embedded stores.
_READERS_FIRST_S: Final = 0.4
_CHILD_STOP_S: Final = 1.3
# glibc's malloc keeps freed memory for each thread that ever took some, and a worker works in
# threads: with WORKER_MEMORY_MB=64 and 950 markets it takes 316 MB so, else 356.
_OF_WORKERS: Final = {"MALLOC_ARENA_MAX": "1"}

log = structlog.get_logger(__name__)


async def run(settings: Settings, stop: asyncio.Event, _: argparse.Namespace) -> int:
    """Serves until `stop`. Raises SettingsError for mistakes in COLLECTORS, PROVIDERS and WORKERS,
    and CannotStart."""
    if settings.schedules == "on" and settings.workers:
        # Imported here: it loads the code of users.
        from commands.workers_part import check_workers

        check_workers(settings)
    if settings.collectors is not None:
        # Imported here, because without collectors this process needs nothing of it.
        from commands.collectors import read_collectors

        read_collectors(settings)  # mistakes end the start
    if settings.providers != "off":
        from commands.providers_registry import check_providers

        check_providers(settings)
    await check_notifications(settings)
    remember_exchanges(settings)
    return await supervise(settings, stop, with_worker=True)


async def supervise(settings: Settings, stop: asyncio.Event, *, with_worker: bool) -> int:
    """Keeps the API processes, and the worker, running as children until `stop`.

    Raises CannotStart if the hot store cannot be used or belongs to others.
    """
    listener = listen(settings)
    async with embedded_stores(settings) as found:
        if found.redis_url != settings.redis_url and found.redis_url is not None:
            # The embedded Redis has no password; only this user may enter its socket's folder.
            say_or_log(f"Perpcache: embedded Redis at {found.redis_url.get_secret_value()}")
        work = _run_children(settings, stop, listener, with_worker=with_worker)
        # The worker tells what there is to tell.
        return await run_with_checked_store(
            found,
            stop,
            work,
            own=settings.embeds_hot_store,
            tell=not with_worker,
            writes=with_worker,
        )


async def _run_children(
    settings: Settings, stop: asyncio.Event, listener: socket.socket, *, with_worker: bool
) -> int:
    apis = [
        Child(_child(name, "api", "--name", name, "--fd", str(listener.fileno()), fd=listener))
        for name in settings.api_names
    ]
    names = ["worker"] if with_worker else []
    if with_worker and (settings.live_exchanges or settings.collectors is not None):
        names.append("live")
    workers = [Child(replace(_child(name, name), environment=_OF_WORKERS)) for name in names]
    async with asyncio.TaskGroup() as running:
        for child in (*apis, *workers):
            running.create_task(child.keep_running(), name=child.spec.name)
        announcing = running.create_task(announce(listener))
        await stop.wait()
        log.info("stopping")
        announcing.cancel()
        # Order: the APIs answer open requests, the worker returns its job, the feeds release
        # their leases, the stores stop.
        readers = asyncio.gather(*(child.stop(_CHILD_STOP_S) for child in apis))
        await asyncio.wait([readers], timeout=_READERS_FIRST_S)
        await asyncio.gather(readers, *(child.stop(_CHILD_STOP_S) for child in workers))
        listener.close()
    return 0


def _child(name: str, *arguments: str, fd: socket.socket | None = None) -> ChildSpec:
    return ChildSpec(name, (str(MAIN), *arguments), (fd.fileno(),) if fd else ())
