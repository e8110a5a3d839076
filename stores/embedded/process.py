"""Processes, locks and deadlines of the embedded servers: which process is which, who waits."""

import fcntl
import os
import socket
import sys
import threading
import time
from pathlib import Path

import psutil


class EmbeddedStoresError(Exception):
    """An embedded store cannot be used; the message says why, and where its log lies."""


class DiskFull(EmbeddedStoresError):
    """No space is left for it; the message says where. Later there may be."""


class GivenUp(EmbeddedStoresError):
    """Nobody waits for this any more."""


class Deadline:
    """An end to waiting, which comes early when the waiting is given up."""

    def __init__(self, seconds: float, give_up: threading.Event | None = None) -> None:
        self._end = time.monotonic() + seconds
        self._give_up = give_up or threading.Event()

    def wait(self, message: str, seconds: float = 0.02) -> None:
        """Sleeps a little. Raises EmbeddedStoresError with `message` when the deadline is over."""
        if time.monotonic() > self._end:
            raise EmbeddedStoresError(message)
        if self._give_up.wait(seconds):
            raise GivenUp("given up")


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


def listener(path: str) -> int:
    """The process that listens on a unix socket, by the kernel's word; 0 if none is known."""
    if not path or not hasattr(socket, "SO_PEERCRED"):
        return 0
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(path)
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        except OSError:
            return 0
    return int.from_bytes(credentials[:4], sys.byteorder)
