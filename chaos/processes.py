"""A process that is restarted when it ends, and the times when the API may be unreachable."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from chaos.report import ViolationReport
from commands.arguments import PARENT_FD_FLAG

ROOT: Final = Path(__file__).resolve().parents[1]
_STOP_S: Final = 8.0
_RESTART_S: Final = 0.5
_EXPECTED_S: Final = 12.0  # for this long after a fault the process may end


class Outages:
    """The times when the API may be unreachable because of a fault."""

    def __init__(self) -> None:
        self._over: list[tuple[float, float]] = []
        self._open: list[float] = []

    def begin(self) -> float:
        since = time.monotonic()
        self._open.append(since)
        return since

    def end(self, since: float) -> None:
        self._open.remove(since)
        self._over.append((since, time.monotonic()))

    @property
    def seconds(self) -> float:
        """The total time in which the API may have been unreachable."""
        return sum(end - since for since, end in self._over)

    def overlap(self, since: float, until: float) -> bool:
        """Whether a request from `since` to `until` overlaps an outage."""
        return any(begin < until for begin in self._open) or any(
            begin < until and since < end for begin, end in self._over
        )


class RestartedProcess:
    """A command that is restarted whenever it ends, as by an init system."""

    def __init__(
        self, name: str, command: Sequence[str], settings: Mapping[str, str], log: IO[bytes],
        report: ViolationReport,
    ) -> None:  # fmt: skip
        self.name = name
        self.process: asyncio.subprocess.Process | None = None
        self.pids: set[int] = set()
        self._command = command
        self._settings = settings
        self._log = log
        self._report = report
        self._expected_until = 0.0
        self._ending = asyncio.Event()
        # Only we hold the write end, so the child sees the pipe close when we end.
        self._read_end, self._write_end = os.pipe()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {name}")

    @property
    def pid(self) -> int | None:
        process = self.process
        return process.pid if process is not None and process.returncode is None else None

    def expect_end(self) -> None:
        """Announces that a fault is about to end the process."""
        self._expected_until = time.monotonic() + _EXPECTED_S

    async def _keep(self) -> None:
        while not self._ending.is_set():
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self._command,
                PARENT_FD_FLAG,
                str(self._read_end),
                cwd=ROOT,
                env=dict(self._settings),
                pass_fds=(self._read_end,),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=self._log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
            self.pids.add(self.process.pid)
            code = await self.process.wait()
            if not self._ending.is_set() and time.monotonic() > self._expected_until:
                self._report.violate("processes keep running", f"{self.name} exited with {code}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _RESTART_S)

    async def stop(self) -> None:
        """Sends SIGTERM, and SIGKILL if the process does not end in time."""
        self._ending.set()
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(self._keeper), _STOP_S)
        except TimeoutError:
            self._report.violate("processes end", f"{self.name} did not end within {_STOP_S:g} s")
            self._signal(signal.SIGKILL)
            await self._keeper
        finally:
            os.close(self._read_end)
            os.close(self._write_end)

    def _signal(self, number: signal.Signals) -> None:
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
