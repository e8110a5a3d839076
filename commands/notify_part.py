"""The part of a process that watches for problems, and that tells HEARTBEAT_URL how jobs ended."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from addresses.notify_urls import split_notify_urls
from config import Settings, SettingsError
from notify.destination import Destination
from notify.outbox import Outbox
from notify.rules import Rules
from notify.texts import Writer

if TYPE_CHECKING:
    from api.parts import Parts
    from notify.heartbeat import Heartbeat
    from status.looking import Providers
    from status.problem import Problem

_MAIN: Final = Path(__file__).resolve().parents[1] / "main.py"
_CHECK_S: Final = 60.0
_STOP_S: Final = 1.0


def destinations_of(settings: Settings) -> list[Destination]:
    """The addresses of NOTIFY_URLS; apprise is loaded when one of them is first used."""
    if settings.notify_urls is None:
        return []
    urls = split_notify_urls(settings.notify_urls.get_secret_value())
    return [Destination(url, number) for number, url in enumerate(urls, start=1)]


def writer_of(settings: Settings) -> Writer:
    return Writer(settings.installation_id or socket.gethostname(), settings.public_url)


def rules_of(settings: Settings) -> Rules:
    return Rules(
        settings.notify_after_s,
        settings.notify_again_s,
        settings.notify_over_s,
        settings.notify_quiet,
        settings.notify_quiet_critical == "wait",
        settings.notify_digest,
    )


async def check_notifications(settings: Settings) -> None:
    """Raises SettingsError for addresses that apprise does not know.

    Another process looks at them: what apprise loads for that takes two seconds and 40 MB, which
    most processes never need.
    """
    if settings.notify_urls is None:
        return
    urls = settings.notify_urls.get_secret_value()
    checking = await asyncio.create_subprocess_exec(
        *(sys.executable, str(_MAIN), "notify-test", "--check"),
        env={**os.environ, "NOTIFY_URLS": urls},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_CHECK_S):
            _, said = await checking.communicate()
    except TimeoutError:
        checking.kill()
        await checking.wait()
        raise SettingsError([f"NOTIFY_URLS: could not be checked in {_CHECK_S:g} s"]) from None
    if checking.returncode:
        lines = [line.removeprefix("perpcache: ") for line in said.decode().splitlines()]
        raise SettingsError(
            [line for line in lines if line.startswith("NOTIFY_URLS")]
            or ["NOTIFY_URLS: could not be checked; `python main.py notify-test` says why"]
        )


@contextlib.asynccontextmanager
async def heartbeating(settings: Settings, *, last_s: float) -> AsyncIterator["Heartbeat | None"]:
    """What tells HEARTBEAT_URL of the jobs that end here; None where that is not set. At its end it
    may take `last_s` for what is not told yet."""
    if settings.heartbeat_url is None:
        yield None
        return
    from notify.heartbeat import Heartbeat

    url = settings.heartbeat_url.get_secret_value()
    parts = urlsplit(url)
    place = f"{parts.scheme.lower()}://{parts.netloc.rpartition('@')[2]}"
    heartbeat = Heartbeat(url, proxy=settings.usual_proxy(place), last_s=last_s)
    stop = asyncio.Event()
    async with _beside(heartbeat.run(stop), stop, last_s + _STOP_S):
        yield heartbeat


@contextlib.asynccontextmanager
async def notifying(
    settings: Settings, parts: "Parts", holder: str, providers: "Providers | None" = None
) -> AsyncIterator[None]:
    """Watches for problems meanwhile, or waits to take over from the process that does; `holder` is
    this process's name, `providers` what it asks them with.

    Over Upstash, where every command is billed, nobody watches where nobody is to be told. Each
    process tells of its host's disk.
    """
    from notify.watcher import Watcher
    from status.looking import Looking
    from status.low_disks import DiskTeller

    stop = asyncio.Event()
    telling = _beside(DiskTeller(settings, parts.store).run(stop), stop, _STOP_S)
    if parts.store.kind == "upstash" and settings.notify_urls is None:
        async with telling:
            yield
        return

    looking = Looking(settings)

    async def problems() -> "Sequence[Problem]":
        return (await looking.look(parts, providers)).problems

    watcher = Watcher(
        *(parts.store, problems, Outbox(destinations_of(settings))),
        rules=rules_of(settings),
        writer=writer_of(settings),
        holder=holder,
        lock=parts.database.session_lock("notify"),
    )
    watching = _beside(watcher.run(stop), stop, _STOP_S)
    async with telling, contextlib.aclosing(looking), watching:
        yield


@contextlib.asynccontextmanager
async def _beside(
    work: Coroutine[Any, Any, None], stop: asyncio.Event, within_s: float
) -> AsyncIterator[None]:
    """Runs `work` beside the body, and stops it at its end, which may take so long."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait([task], timeout=within_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
