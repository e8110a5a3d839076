"""Wakes the workers of this host where the store cannot: over REST nobody can listen.

Each worker has a FIFO in a folder of DATA_DIR; whoever queues a job there writes a byte into all
of them. A hint only: workers also look by themselves, so nothing depends on a ring that is lost.
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

_SUFFIX: Final = ".bell"
_DRAFT: Final = ".new"
_FLAGS: Final = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_RINGS: Final = 4096  # read at once: many rings are one

log = structlog.get_logger(__name__)


class Doorbell:
    """Of all processes that share `folder`, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ring(self) -> None:
        """Wakes every worker that answers. Never raises and never waits."""
        try:
            bells = [bell for bell in self._folder.iterdir() if bell.suffix == _SUFFIX]
        except OSError:
            return  # no worker has been here
        for bell in bells:
            _ring(bell)

    @contextlib.contextmanager
    def answered(self, on_ring: Callable[[], None]) -> Iterator[None]:
        """Inside, `on_ring` is called on the event loop after a ring. Where no bell can be hung
        up, this is said once and the worker goes on without."""
        with contextlib.ExitStack() as hung:
            try:
                bell = self._hang_up(hung)
            except OSError as error:
                log.warning("no_doorbell", folder=str(self._folder), cause=str(error))
            else:
                loop = asyncio.get_running_loop()
                loop.add_reader(bell, _heard, bell, on_ring)
                hung.callback(loop.remove_reader, bell)
            yield

    def _hang_up(self, hung: contextlib.ExitStack) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = self._folder / secrets.token_hex(8)
        draft, bell = name.with_suffix(_DRAFT), name.with_suffix(_SUFFIX)
        os.mkfifo(draft, 0o600)
        try:
            reader = os.open(draft, os.O_RDONLY | _FLAGS)
            hung.callback(os.close, reader)
            # Our own writing end: without one the reader sees an end each time that others close.
            hung.callback(os.close, os.open(draft, os.O_WRONLY | _FLAGS))
            # Known to others only now: a bell that nobody reads is taken down.
            draft.rename(bell)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        hung.callback(bell.unlink, missing_ok=True)
        return reader


def _heard(reader: int, on_ring: Callable[[], None]) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(reader, _RINGS)
    on_ring()


def _ring(bell: Path) -> None:
    try:
        writer = os.open(bell, os.O_WRONLY | _FLAGS)
    except OSError as error:
        if error.errno == errno.ENXIO:  # its worker was killed
            with contextlib.suppress(OSError):
                bell.unlink()
        return
    try:
        if stat.S_ISFIFO(os.fstat(writer).st_mode):
            os.write(writer, b"!")
    except OSError:
        pass  # full: it is rung already
    finally:
        os.close(writer)
