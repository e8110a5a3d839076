"""Wakes the workers of this host where the store cannot: over REST nobody can listen.

Each worker has a named pipe in a folder of DATA_DIR; whoever queues a job there writes a byte into
all of them. A hint only: workers also look by themselves, so nothing depends on one that is lost.
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

_SUFFIX: Final = ".bell"  # as earlier versions call their pipes
_DRAFT: Final = ".new"
_FLAGS: Final = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_AT_ONCE: Final = 4096  # bytes: many wakings are one

log = structlog.get_logger(__name__)


class LocalWakeup:
    """Of all processes that share `folder`, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def wake(self) -> None:
        """Wakes every worker that listens. Never raises and never waits."""
        try:
            pipes = [pipe for pipe in self._folder.iterdir() if pipe.suffix == _SUFFIX]
        except OSError:
            return  # no worker has been here
        for pipe in pipes:
            _write(pipe)

    @contextlib.contextmanager
    def listening(self, on_wake: Callable[[], None]) -> Iterator[None]:
        """Inside, `on_wake` is called on the event loop after a `wake`. Where no pipe can be made,
        this is said once and the worker goes on without."""
        with contextlib.ExitStack() as opened:
            try:
                reader = self._open_pipe(opened)
            except OSError as error:
                log.warning("no_local_wakeup", folder=str(self._folder), cause=str(error))
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
            # Our own writing end: without one the reader sees an end each time that others close.
            opened.callback(os.close, os.open(draft, os.O_WRONLY | _FLAGS))
            # Known to others only now: a pipe that nobody reads is removed.
            draft.rename(pipe)
        except OSError:
            draft.unlink(missing_ok=True)
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
        pass  # full: its worker is woken already
    finally:
        os.close(writer)
