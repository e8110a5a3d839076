"""A clock whose time passes by waiting alone, for the exchanges and for the worker alike.

A day then takes as long as the work in it, and a seed gives the same times again.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

from tests.fixtures.simulator import Simulator

# Real time in which requests under way are answered while others wait.
_ANSWERS_S: Final = 0.002


class DayClock:
    """The time of the exchanges, of the machine, and of the rate limits of both sides."""

    def __init__(self, exchanges: Simulator, now_ms: int) -> None:
        self.exchanges = exchanges
        self.now_ms = now_ms
        self._alarm: tuple[int, Callable[[], Awaitable[object]]] | None = None
        self._off = asyncio.Event()
        self._rung = False

    def monotonic_s(self) -> float:
        return self.now_ms / 1000

    def wall_ms(self) -> int:
        return self.now_ms

    async def sleep(self, delay_s: float) -> None:
        until_ms = self.now_ms + max(1, math.ceil(delay_s * 1000))
        await asyncio.sleep(_ANSWERS_S)
        if self._alarm is not None and until_ms > self._alarm[0]:
            await self._ring()
        self.pass_to(until_ms)

    def pass_to(self, moment_ms: int) -> None:
        """Lets time pass, unless it is later already."""
        if moment_ms > self.now_ms:
            self.exchanges.post("/sim/clock", {"pass_ms": moment_ms - self.now_ms})
            self.now_ms = moment_ms

    def set_alarm(self, moment_ms: int, ring: Callable[[], Awaitable[object]]) -> None:
        """Time stops at this moment and `ring` is awaited, once, until the alarm is off."""
        self._alarm, self._rung = (moment_ms, ring), False
        self._off.clear()

    def alarm_off(self) -> None:
        self._alarm = None
        self._off.set()

    async def _ring(self) -> None:
        assert self._alarm is not None
        moment_ms, ring = self._alarm
        self.pass_to(moment_ms)
        if not self._rung:
            self._rung = True
            await ring()
        await self._off.wait()
