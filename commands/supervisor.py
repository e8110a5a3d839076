"""Child processes of `serve`: started, restarted when they exit, stopped in order.

Parent and child share a pipe. Its closing tells the child that the parent is dead, so a parent
killed by SIGKILL leaves no child running. Each child has a session of its own: Ctrl-C reaches only
the parent, which stops its children in order.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from commands.arguments import PARENT_FD_FLAG
from timing.backoff import Backoff, stop_or

_FIRST_RESTART_S: Final = 0.2
_SLOWEST_RESTART_S: Final = 10.0
# A child that ran this long was healthy: its next restart is quick again.
_HEALTHY_AFTER_S: Final = 30.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A command of main.py to keep running: its name in logs, arguments and inherited files.

    `environment`: variables that it gets beside ours, unless they are set.
    """

    name: str
    arguments: Sequence[str]
    fds: Sequence[int] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class Child:
    """One supervised process, restarted after growing pauses until `stop`."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def keep_running(self) -> None:
        """Runs the process, and restarts it whenever it exits, until `stop`."""
        pauses = Backoff(_FIRST_RESTART_S, _SLOWEST_RESTART_S)
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            started = clock()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            if clock() - started > _HEALTHY_AFTER_S:
                pauses.reset()
            pause_s = pauses.pause_s()
            log.error("child_died", child=self.spec.name, exit_code=code, restart_in_s=pause_s)
            await stop_or(self._stopping, pause_s)

    async def _run_once(self) -> int:
        # Only we hold the write end, so the child sees the pipe close when we exit.
        read_end, write_end = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self.spec.arguments,
                PARENT_FD_FLAG,
                str(read_end),
                pass_fds=(read_end, *self.spec.fds),
                stdin=asyncio.subprocess.DEVNULL,
                env={**self.spec.environment, **os.environ},
                start_new_session=True,
            )
            os.close(read_end)
            read_end = -1
            log.info("child_started", child=self.spec.name, child_pid=self._process.pid)
            if self._stopping.is_set():
                self._signal(signal.SIGTERM)
            return await self._process.wait()
        finally:
            if read_end >= 0:
                os.close(read_end)
            os.close(write_end)

    async def stop(self, deadline_s: float) -> None:
        """SIGTERM, then SIGKILL after `deadline_s`; returns when the process is gone."""
        self._stopping.set()
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), deadline_s)
        except TimeoutError:
            log.warning("child_killed", child=self.spec.name, after_s=deadline_s)
            self._signal(signal.SIGKILL)
            await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
