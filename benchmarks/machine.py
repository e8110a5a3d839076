"""The machine of the benchmarks: its description, its cores, and measured processes on them."""

import asyncio
import contextlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

ROOT: Final = Path(__file__).resolve().parents[1]
_START_S: Final = 30.0
_MB: Final = 1e6


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores of server and load; without pinning or with one core, both use all cores."""

    server: tuple[int, ...]
    load: tuple[int, ...]

    @classmethod
    def of_this_machine(cls) -> "Cores":
        usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if len(usable) < 2 or shutil.which("taskset") is None:
            return cls(tuple(usable), tuple(usable))
        return cls((usable[0],), (usable[1],))

    def __str__(self) -> str:
        if self.server == self.load:
            return "not pinned"
        return (
            f"serving: server on core {self.server[0]}, load generator and Valkey on core "
            f"{self.load[0]}; collecting: not pinned, worker and simulator share the cores"
        )


def pinned(command: Sequence[str], cores: Sequence[int]) -> list[str]:
    """The command, pinned to the cores if taskset exists."""
    if not cores or shutil.which("taskset") is None:
        return list(command)
    return ["taskset", "-c", ",".join(map(str, cores)), *command]


def facts(cores: Cores) -> dict[str, str]:
    """The facts of the machine that readers of the numbers need."""
    memory_gb = psutil.virtual_memory().total / 1e9
    load = psutil.getloadavg()[0]
    return {
        "machine": f"{_cpu()}, {psutil.cpu_count()} cores, {memory_gb:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "cores": str(cores),
        "load when it began": f"{load:.2f}",
    }


def _cpu() -> str:
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU time and peak memory of an ended process, as the kernel counted, and its output."""

    cpu_s: float
    peak_mb: float
    output: str


class ProcessFailed(Exception):
    """A measured process failed; the message ends with its output."""


def environment(**settings: str) -> dict[str, str]:
    """The settings, with only PATH, HOME, LANG and RECORDED_DATA of the caller's environment, and
    without schedules: what is measured is asked for."""
    kept = ("PATH", "HOME", "LANG", "RECORDED_DATA")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "SCHEDULES": "off",
        **settings,
    }


async def run_measured(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], deadline_s: float = 300.0
) -> Spent:
    """Runs a command to its end. Raises ProcessFailed."""
    return await asyncio.to_thread(_run_measured, command, cwd, env, deadline_s)


def _run_measured(
    command: Sequence[str], cwd: Path, env: Mapping[str, str], deadline_s: float
) -> Spent:
    log = cwd / f"{os.urandom(4).hex()}.log"
    with log.open("wb") as sink:
        # The command is our own, not a user's input.
        process = subprocess.Popen(  # noqa: S603
            command, cwd=cwd, env=dict(env), stdout=sink, stderr=subprocess.STDOUT
        )
    watched = _Peak(process.pid)
    try:
        status, usage = _wait(process, deadline_s)
    finally:
        peak = watched.ended()
        output = log.read_text(errors="replace")
        log.unlink()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise ProcessFailed(f"{' '.join(command)} ended {process.returncode}:\n{output[-2000:]}")
    if not peak:
        # ru_maxrss is in KiB on Linux, in bytes on macOS.
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Spent(usage.ru_utime + usage.ru_stime, peak / _MB, output)


class _Peak:
    """Samples a process's peak memory until it ends; 0 on systems without /proc.

    The kernel's ru_maxrss is not used, as it begins with the memory of the parent, which may be
    larger.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def ended(self) -> int:
        self._over.set()
        self._thread.join()
        return self._bytes

    def _follow(self) -> None:
        while not self._over.wait(0.02):
            self._bytes = most_memory(self._pid) or self._bytes


def most_memory(pid: int) -> int:
    """A process's peak memory in bytes, as the kernel counts it; 0 if unknown."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.M)
    return int(found[1]) * 1024 if found else 0


def _wait(process: "subprocess.Popen[bytes]", deadline_s: float) -> "tuple[int, Any]":
    """The exit status and the kernel's resource usage of this process alone."""
    overdue = threading.Timer(deadline_s, process.kill)
    overdue.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
        return status, usage
    finally:
        overdue.cancel()


@dataclass(frozen=True, slots=True)
class Running:
    """A server process and its address."""

    process: psutil.Process
    address: str

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system

    def peak_mb(self) -> float:
        """Its peak memory, as the kernel counts it."""
        return (most_memory(self.process.pid) or int(self.process.memory_info().rss)) / _MB


@contextlib.asynccontextmanager
async def running(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], cores: Sequence[int] = ()
) -> AsyncIterator[Running]:
    """Runs a server until the block ends; yields once it has printed `listening on ADDRESS`."""
    process = await asyncio.create_subprocess_exec(
        *pinned(command, cores),
        cwd=cwd,
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None  # noqa: S101 - PIPE
    drain: asyncio.Task[bytes] | None = None
    try:
        lines: list[str] = []
        async with asyncio.timeout(_START_S):
            while True:
                line = (await process.stdout.readline()).decode(errors="replace")
                if not line:
                    raise ProcessFailed(f"{' '.join(command)} ended:\n{''.join(lines)}")
                lines.append(line)
                found = re.search(r"listening on (http://\S+)", line)
                if found:
                    break
        drain = asyncio.create_task(process.stdout.read())
        # taskset replaces itself by its command, so this process is the server.
        yield Running(psutil.Process(process.pid), found[1])
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 5)
        if process.returncode is None:
            process.kill()
            await process.wait()
        if drain is not None:
            drain.cancel()
            await asyncio.gather(drain, return_exceptions=True)
