"""A process that is kept running, and the times at which the API may be out of reach."""

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
_EXPECTED_S: Final = 12.0  # after a fault, an end of the process is no surprise for so long


class Outages:
    """When the API may be out of reach, because a fault made it so."""

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
        """How long the API was away, or could have been, in all."""
        return sum(end - since for since, end in self._over)

    def excuse(self, since: float, until: float) -> bool:
        """Whether a request that lasted from `since` to `until` met one."""
        return any(begin < until for begin in self._open) or any(
            begin < until and since < end for begin, end in self._over
        )


class RestartedProcess:
    """A command that is started again whenever it ends, as an init system does it."""

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
        # The write end stays with us alone: its end tells the child that we are gone.
        self._read_end, self._write_end = os.pipe()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {name}")

    @property
    def pid(self) -> int | None:
        process = self.process
        return process.pid if process is not None and process.returncode is None else None

    def expect_end(self) -> None:
        """It is about to be ended from outside."""
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
                self._report.violate("processes live", f"{self.name} ended by itself: {code}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _RESTART_S)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for what does not end in time."""
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
