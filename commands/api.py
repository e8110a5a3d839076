"""`api`: one API process, on a socket of its own or on one inherited from `serve`."""

import argparse
import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from api.connections.hosts import Hosts
from api.connections.limits import ConnectionLimits
from api.connections.server import serve_app
from api.parts import Parts
from api_routes import create_app
from commands.composition import holder_name, open_parts
from commands.embedded_stores import embedded_stores
from commands.facade_part import with_facade
from commands.listening import READY_WORDS, address_of, listen
from commands.notify_part import check_notifications, notifying
from commands.open_files import raise_open_file_limit
from commands.providers_registry import check_providers
from commands.runtime import tune_garbage_collection
from commands.store_check import run_with_checked_store
from commands.terminal import say_or_log
from config import Settings
from metrics.api import ApiMetrics


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Serves until `stop`, on the inherited socket `fd` or on HOST and PORT; `name` distinguishes
    it from the other processes behind the same socket."""
    fd: int | None = arguments.fd
    check_providers(settings)
    if arguments.parent_fd is None:
        await check_notifications(settings)
    if fd is None and settings.web_concurrency > 1:
        from commands.serve import supervise

        return await supervise(settings, stop, with_worker=False)
    async with embedded_stores(settings) as found:
        work = serve_api(found, stop, arguments.name, fd)
        # A parent's worker tells what there is to tell, or the parent itself.
        return await run_with_checked_store(
            found,
            stop,
            work,
            own=settings.embeds_hot_store,
            tell=fd is None,
            keep=fd is None,
            writes=False,
        )


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Parts]:
    async with (
        _opening(settings) as parts,
        with_facade(settings, parts) as found,
        notifying(settings, found, holder_name(), found.providers),
    ):
        yield found


def _opening(settings: Settings) -> AbstractAsyncContextManager[Parts]:
    if settings.providers == "off":
        return open_parts(settings, "api")
    # Imported here: without providers nothing of them is loaded.
    from commands.providers_part import open_api_parts

    return open_api_parts(settings)


async def serve_api(
    settings: Settings, stop: asyncio.Event, name: str, fd: int | None = None
) -> int:
    """Serves until `stop`; 1 if it could not start. All stores are named by the settings."""
    # The processes behind one socket have one parent, whose id names their group.
    several = settings.web_concurrency > 1
    group = f"{socket.gethostname()}:{os.getppid()}" if several else None
    metrics = ApiMetrics(name, group=group)
    app = create_app(settings, lambda: _open(settings), metrics=metrics)
    tune_garbage_collection()
    listener = socket.socket(fileno=fd) if fd is not None else listen(settings)
    hosts = Hosts(settings.allowed_hosts, settings.host)
    hosts.look_up_own_name()
    limits = ConnectionLimits.for_open_files(raise_open_file_limit(), metrics, hosts)
    if fd is None:
        say_or_log(f"Perpcache API: {READY_WORDS}{address_of(listener)}")
    started = await serve_app(app, listener, stop, limits, before_end=app.release_waiters)
    return 0 if started else 1
