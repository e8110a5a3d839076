"""The clock: wall time in UTC milliseconds, monotonic seconds and sleep, replaceable in tests."""

import asyncio
import time
from typing import Protocol


def now_ms() -> int:
    """This machine's time in UTC milliseconds."""
    return time.time_ns() // 1_000_000


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
