"""Which process is which: told apart from all that had or will have its pid, or by its socket."""

import socket
import sys
from pathlib import Path

import psutil


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
