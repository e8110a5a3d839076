"""Small things about processes and locks that embedded servers need: who is who, who waits."""

import fcntl
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil


class EmbeddedStoresError(Exception):
    """An embedded store cannot be had; the message says why and where its log lies."""


class DiskFull(EmbeddedStoresError):
    """There is no space left for it; later there may be."""


class GivenUp(EmbeddedStoresError):
    """Whoever waited for this no longer does."""


class Patience:
    """A deadline that ends early when the waiting is given up."""

    def __init__(self, seconds: float, give_up: threading.Event | None = None) -> None:
        self._end = time.monotonic() + seconds
        self._give_up = give_up or threading.Event()

    def wait(self, message: str, seconds: float = 0.02) -> None:
        """Sleeps a little. Raises EmbeddedStoresError with `message` when the deadline is over."""
        if time.monotonic() > self._end:
            raise EmbeddedStoresError(message)
        if self._give_up.wait(seconds):
            raise GivenUp("given up")


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """Where a server listens and, once it runs, which process it is (`process_identity`)."""

    socket: str
    pid: int = 0
    identity: str = ""

    def is_alive(self) -> bool:
        return self.pid > 0 and process_identity(self.pid) == self.identity

    def send(self, number: signal.Signals) -> bool:
        """Sends a signal to that very process; False if it is gone."""
        try:
            if not hasattr(os, "pidfd_open"):
                if alive := self.is_alive():
                    os.kill(self.pid, number)
                return alive
            handle = os.pidfd_open(self.pid)
            try:
                if alive := self.is_alive():
                    signal.pidfd_send_signal(handle, number)
                return alive
            finally:
                os.close(handle)
        except ProcessLookupError:
            return False


def process_identity(pid: int) -> str | None:
    """What tells this process from every other that has or had its pid; None if it is gone.

    Not the wall clock of its start, which moves when the machine's clock is set, but ticks since
    boot and the boot's id, where the system has them.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except ProcessLookupError:
        return None
    except OSError:
        return _identity_by_clock(pid)
    # The second field may hold spaces and brackets; after it: state, ..., start time (field 22).
    fields = status.rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else f"{boot}:{fields[19].decode()}"


def _identity_by_clock(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def try_lock(descriptor: int, kind: int) -> bool:
    """Takes the flock if nobody is in its way."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def same_file(descriptor: int, path: Path) -> bool:
    """Whether `path` still names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
