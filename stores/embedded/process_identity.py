"""Process identities that survive pid reuse, and the process that listens on a unix socket."""

import socket
import sys
from pathlib import Path

import psutil


def process_identity(pid: int) -> str | None:
    """A string that no other process with this pid has; None if the process is gone.

    It is made of the boot id and the start time in ticks since boot, because a wall-clock start
    time moves when the clock is set. Systems without /proc fall back to the wall clock.
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


def listening_pid(path: str) -> int:
    """The pid of the process that listens on a unix socket, from the kernel; 0 if unknown."""
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
