"""What this process uses, for the status: memory and processor time, read at most once a second."""

import time
from typing import Any, Final

import psutil

_AGAIN_S: Final = 1.0


class ProcessResources:
    """The memory (resident bytes) and processor time (seconds) of this process."""

    def __init__(self) -> None:
        self._read_at = float("-inf")
        self._read: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """`memory_bytes` and `cpu_seconds`; of at most a second ago."""
        now = time.monotonic()
        if now - self._read_at >= _AGAIN_S:
            process = psutil.Process()
            times = process.cpu_times()
            self._read = {
                "memory_bytes": process.memory_info().rss,
                "cpu_seconds": round(times.user + times.system, 3),
            }
            self._read_at = now
        return dict(self._read)
