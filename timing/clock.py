"""The clock: wall time in UTC milliseconds, monotonic seconds and sleep, replaceable in tests."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Final, Protocol

_BOOT_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)  # Linux


def now_ms() -> int:
    """This machine's time in UTC milliseconds."""
    return time.time_ns() // 1_000_000


def utc_text(moment_ms: int) -> str:
    """A moment (UTC ms) in ISO 8601, to the second: 2026-11-28T12:00:00Z."""
    return f"{datetime.fromtimestamp(moment_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def boot_s() -> float:
    """Seconds since this machine started, those in which it slept included.

    No step of the wall clock changes it. Where the system does not offer it, the monotonic clock
    counts, which may stand still while the machine sleeps.
    """
    if _BOOT_CLOCK is None:
        return time.monotonic()
    return time.clock_gettime(_BOOT_CLOCK)


class Clock(Protocol):
    """Time as a constructor argument, so that tests need not wait for it."""

    def monotonic_s(self) -> float: ...
    def wall_ms(self) -> int: ...
    async def sleep(self, delay_s: float) -> None: ...


class SystemClock:
    """The time of this machine."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return now_ms()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
