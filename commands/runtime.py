"""The setup of a command's process: event loop, garbage collection, signals that stop it."""

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import structlog

from commands.errors import EXIT_FAILED, EXIT_STOPPED
from config import Settings

Command = Callable[[Settings, asyncio.Event, argparse.Namespace], Coroutine[Any, Any, int]]

# New objects until the next garbage collection: one exchange's answer makes thousands, none of
# them in cycles; a failed request leaves a few dozen in cycles.
_GC_THRESHOLD: Final = 20_000
# What a command has left behind gets it to end when it is cancelled.
_REST_S: Final = 1.0
# From a signal to the end. Commands take a few seconds; what waits for a store that hangs, longer.
_STOPS_IN_S: Final = 45.0
_TORN_ENDS_IN_S: Final = 5.0

log = structlog.get_logger(__name__)


def prepare() -> None:
    """Sets what must be set before a command's modules are imported."""
    # Our numpy work is too small to be worth one thread per core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def tune_garbage_collection() -> None:
    """Takes the objects loaded so far out of garbage collection; call it when all is loaded.

    Measured three times each. API, over 12 s of mixed GETs: 15 to 76 ms in collections, the longest
    3 to 20 ms; without this call 1783 to 2692 ms and 107 to 295 ms; about 102 MB either way.
    Worker, collecting 800 markets: the longest 1 to 12 ms; without this call 42 to 149 ms; 142 MB.
    """
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def run(command: Command, settings: Settings, arguments: argparse.Namespace) -> int:
    """Runs a command on an event loop of its own until it ends; returns its exit code."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(_until_stopped(command, settings, arguments))
        except (SystemExit, KeyboardInterrupt) as error:
            # Of a task or callback of somebody's worker. What the loop is left with may wait for
            # ever for what ran on it, and a process that does nothing is never started again.
            log.critical("event_loop_ended", error=repr(error), process_ends_in_s=_TORN_ENDS_IN_S)
            _end_within(_TORN_ENDS_IN_S)
            raise


def _end_within(seconds: float) -> None:
    """Ends the process after that time, if it has not ended by itself."""
    timer = threading.Timer(seconds, os._exit, (EXIT_FAILED,))
    timer.daemon = True
    timer.start()


async def _until_stopped(
    command: Command, settings: Settings, arguments: argparse.Namespace
) -> int:
    stop = asyncio.Event()
    if arguments.parent_fd is not None:
        watch_parent(arguments.parent_fd, stop.set)
    with stop_signals(stop.set):
        code = await _ended(asyncio.create_task(command(settings, stop, arguments)), stop)
    await _end_rest(code)
    return code


async def _ended(working: "asyncio.Task[int]", stop: asyncio.Event) -> int:
    """The exit code of a command, which is cancelled where it does not end in time after `stop`."""
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait((working,), timeout=_STOPS_IN_S)
    stopped.cancel()
    if working.done():
        return working.result()
    log.error("command_did_not_stop", within_s=_STOPS_IN_S)
    working.cancel()
    await asyncio.wait((working,), timeout=_REST_S)
    return EXIT_FAILED


async def _end_rest(code: int) -> None:
    """Cancels what still runs. The end of the event loop would wait without limit for what ignores
    that, such as a user's worker that swallows its cancellation: then the process ends here."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if not rest:
        return
    _, left = await asyncio.wait(rest, timeout=_REST_S)
    if left:
        log.warning("process_ends_before_its_tasks", tasks=sorted(map(asyncio.Task.get_name, left)))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's loop factory, or None on platforms that have no uvloop (Windows)."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def watch_parent(read_end: int, on_end: Callable[[], None]) -> None:
    """Calls `on_end` once when the process at the other end of the pipe has ended."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(read_end)
        log.warning("parent_gone")
        on_end()

    loop.add_reader(read_end, ended)


async def cancelled_by(stop: asyncio.Event, work: Coroutine[Any, Any, int]) -> int:
    """Runs `work`, cancelled once when `stop` is set; returns its exit code, or EXIT_STOPPED.

    `work` cleans up when it is cancelled, and a second signal does not interrupt that.
    """
    task, stopped = asyncio.ensure_future(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
        return EXIT_STOPPED if task.cancelled() else task.result()
    finally:
        stopped.cancel()


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
