"""The process around a command: its event loop, its memory, the signals that end it."""

import argparse
import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import structlog

from config import Settings

Command = Callable[[Settings, asyncio.Event, argparse.Namespace], Coroutine[Any, Any, int]]

# New objects until the next search for unused cycles: an answer alone brings thousands, and what
# a failed request leaves behind is a few dozen.
_CYCLES_AFTER: Final = 20_000

log = structlog.get_logger(__name__)


def prepare() -> None:
    """What has to be set before a command's modules are loaded."""
    # What numpy has to do here is far too little to share out among threads, one for each core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def settle() -> None:
    """Call it once all is loaded: what stays for good is not searched for unused cycles again.

    Measured three times each, over 12 s of mixed GETs: the API spends 15 to 76 ms in such searches,
    3 to 20 ms in the longest, and without this 1783 to 2692 ms and 107 to 295 ms; it takes about
    102 MB either way. The longest one in a collection of 800 markets takes 1 to 12 ms, and without
    this 42 to 149 ms, at 142 MB.
    """
    gc.freeze()
    gc.set_threshold(_CYCLES_AFTER)


def run(command: Command, settings: Settings, arguments: argparse.Namespace) -> int:
    """Runs a command on an event loop of its own until it ends; gives its exit code."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_until_stopped(command, settings, arguments))


async def _until_stopped(
    command: Command, settings: Settings, arguments: argparse.Namespace
) -> int:
    stop = asyncio.Event()
    if arguments.parent_fd is not None:
        watch_parent(arguments.parent_fd, stop.set)
    with stop_signals(stop.set):
        return await command(settings, stop, arguments)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it exists: it is not made for Windows."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def watch_parent(read_end: int, on_end: Callable[[], None]) -> None:
    """Calls `on_end` once when the process at the other end of the pipe is gone."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(read_end)
        log.warning("parent_gone")
        on_end()

    loop.add_reader(read_end, ended)


@contextlib.contextmanager
def stop_signals(on_stop: Callable[[], None]) -> Iterator[None]:
    """Inside, SIGINT, SIGTERM and SIGHUP call `on_stop` instead of ending the process."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, on_stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
