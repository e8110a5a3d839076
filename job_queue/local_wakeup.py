"""Wakes this host's workers through named pipes, because Upstash REST has no subscriptions.

Each worker has a named pipe in a folder of DATA_DIR; a process that queues a job writes one byte
into each. Workers also poll, so a lost wakeup only delays them.
"""

import asyncio
import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import structlog

_SUFFIX: Final = ".bell"  # shared with earlier releases on the same host
_DRAFT: Final = ".new"
_FLAGS: Final = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_AT_ONCE: Final = 4096  # bytes: pending wakeups are read as one

log = structlog.get_logger(__name__)


class LocalWakeup:
    """Wakes the processes that listen in `folder`, which is created when needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def wake(self) -> None:
        """Wakes every worker that listens. Never raises and never waits."""
        try:
            pipes = [pipe for pipe in self._folder.iterdir() if pipe.suffix == _SUFFIX]
        except OSError:
            return  # no worker has ever listened here
        for pipe in pipes:
            _write(pipe)

    @contextlib.contextmanager
    def listening(self, on_wake: Callable[[], None]) -> Iterator[None]:
        """Calls `on_wake` on the event loop after each `wake`. If no pipe can be created, it logs
        that and the worker polls only."""
        with contextlib.ExitStack() as opened:
            try:
                reader = self._open_pipe(opened)
            except OSError as error:
                log.warning("local_wakeup_unavailable", folder=str(self._folder), error=str(error))
            else:
                loop = asyncio.get_running_loop()
                loop.add_reader(reader, _read, reader, on_wake)
                opened.callback(loop.remove_reader, reader)
            yield

    def _open_pipe(self, opened: contextlib.ExitStack) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = self._folder / secrets.token_hex(8)
        draft, pipe = name.with_suffix(_DRAFT), name.with_suffix(_SUFFIX)
        os.mkfifo(draft, 0o600)
        try:
            reader = os.open(draft, os.O_RDONLY | _FLAGS)
            opened.callback(os.close, reader)
            # Without a writing end of our own, the reader gets EOF whenever the last writer closes.
            opened.callback(os.close, os.open(draft, os.O_WRONLY | _FLAGS))
            # Renamed only now, because `wake` removes pipes that nobody reads.
            draft.rename(pipe)
        except OSError:
            draft.unlink()
            raise
        opened.callback(pipe.unlink, missing_ok=True)
        return reader


def _read(reader: int, on_wake: Callable[[], None]) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(reader, _READ_AT_ONCE)
    on_wake()


def _write(pipe: Path) -> None:
    try:
        writer = os.open(pipe, os.O_WRONLY | _FLAGS)
    except OSError as error:
        if error.errno == errno.ENXIO:  # its worker was killed
            with contextlib.suppress(OSError):
                pipe.unlink()
        return
    try:
        if stat.S_ISFIFO(os.fstat(writer).st_mode):
            os.write(writer, b"!")
    except OSError:
        pass  # the pipe is full, so its worker has wakeups pending
    finally:
        os.close(writer)
