"""A clock whose time passes by waiting alone, for the exchanges, the worker and feeds alike.

A day then takes as long as the work in it, and a seed gives the same times again.
"""

import asyncio
import heapq
import itertools
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tests.fixtures.simulator import Simulator

# Real time in which requests under way are answered while others wait.
_ANSWERS_S: Final = 0.002
_TURNS: Final = 10  # of the event loop, in which messages that have come are read
# Real time in which those who were woken do what is due, before time goes on without them.
_WORK_S: Final = 0.1
_LONGEST_STEP_MS: Final = 10_000  # while streams are followed: so they bring states in between
# Those who wait beside: how late they may be woken, as on a busy machine, but around a close.
_LATE_MS: Final = 900  # less than what a connection takes for a sleep of this machine
_LATE_AT_CLOSE_MS: Final = 50
_POLL_MS: Final = 300  # waits shorter than that, as those between two batches of a log
_POLL_LATE_MS: Final = 10_000
_CLOSE_MS: Final = 300_000
_BEFORE_CLOSE_MS: Final = 500
_AFTER_CLOSE_MS: Final = 3_000


class DayClock:
    """The time of the exchanges, of the machine, and of the rate limits of both sides.

    It passes while the day, or a job in it, waits; who waits `beside` is woken at his time then.
    """

    def __init__(self, exchanges: Simulator, now_ms: int) -> None:
        self.exchanges = exchanges
        self.now_ms = now_ms
        self.beside = _Beside(self)
        self.steps = 0
        self._alarm: tuple[int, Callable[[], Awaitable[object]]] | None = None
        self._off = asyncio.Event()
        self._rung = False
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []  # a heap
        self._order = itertools.count()
        self._passing: asyncio.Task[None] | None = None

    def monotonic_s(self) -> float:
        return self.now_ms / 1000

    def wall_ms(self) -> int:
        return self.now_ms

    async def sleep(self, delay_s: float) -> None:
        until_ms = self.now_ms + max(1, math.ceil(delay_s * 1000))
        await asyncio.sleep(_ANSWERS_S)
        if self._alarm is not None and until_ms > self._alarm[0]:
            await self._ring()
        await self.pass_to(until_ms)

    async def pass_to(self, moment_ms: int) -> None:
        """Lets time pass, unless it is later already."""
        if moment_ms <= self.now_ms:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (moment_ms, next(self._order), future))
        if self._passing is None or self._passing.done():
            self._passing = asyncio.create_task(self._pass())
        try:
            await future
        finally:
            future.cancel()

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
        await self.pass_to(moment_ms)
        if not self._rung:
            self._rung = True
            await ring()
        await self._off.wait()

    async def _pass(self) -> None:
        """Lets time pass as long as anybody waits for it, from one who is due to the next."""
        while True:
            while self._waiting and self._waiting[0][2].done():
                heapq.heappop(self._waiting)
            if not self._waiting:
                return
            due_ms, _, future = self._waiting[0]
            if due_ms <= self.now_ms:
                heapq.heappop(self._waiting)
                future.set_result(None)
                await asyncio.sleep(_ANSWERS_S)  # he may wait again at once
                continue
            self._step(self.beside.next_ms(self.now_ms, due_ms))
            await self.beside.wake()

    def _step(self, moment_ms: int) -> None:
        if moment_ms > self.now_ms:
            self.exchanges.post("/sim/clock", {"pass_ms": moment_ms - self.now_ms})
            self.now_ms = moment_ms
            self.steps += 1


class _Beside:
    """The clock as those have it who work beside the day, such as feeds: their waits let no time
    pass by themselves."""

    def __init__(self, clock: DayClock) -> None:
        self._clock = clock
        self._order = itertools.count()
        # When due, how late at the most, and whom to wake.
        self._waiting: dict[int, tuple[int, int, asyncio.Future[None]]] = {}
        self._busy: set[asyncio.Task[Any]] = set()

    def monotonic_s(self) -> float:
        return self._clock.now_ms / 1000

    def wall_ms(self) -> int:
        return self._clock.now_ms

    async def sleep(self, delay_s: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.discard(task)
        delay_ms = math.ceil(delay_s * 1000)
        if delay_ms <= 0:
            await asyncio.sleep(0)
            return
        number, future = next(self._order), asyncio.get_running_loop().create_future()
        late_ms = _POLL_LATE_MS if delay_ms < _POLL_MS else min(_LATE_MS, delay_ms)
        self._waiting[number] = (self._clock.now_ms + delay_ms, late_ms, future)
        try:
            await future
            self._busy.add(task)
        finally:
            del self._waiting[number]

    def next_ms(self, now_ms: int, until_ms: int) -> int:
        """The moment up to which time may pass at once, at most until then."""
        if not self._waiting:
            return until_ms
        since_ms = (now_ms + _BEFORE_CLOSE_MS) % _CLOSE_MS
        is_close = since_ms < _BEFORE_CLOSE_MS + _AFTER_CLOSE_MS
        edge_ms = now_ms + _CLOSE_MS - since_ms  # shortly before the next close
        step_ms = min(until_ms, now_ms + _LONGEST_STEP_MS)
        if not is_close:
            step_ms = min(step_ms, edge_ms)
        most_ms = _LATE_AT_CLOSE_MS if is_close else _POLL_LATE_MS
        due = (due_ms + min(late_ms, most_ms) for due_ms, late_ms, _ in self._waiting.values())
        return max(min(step_ms, *due), now_ms + 1)

    async def wake(self) -> None:
        """Lets all that is due be done, and what has come be read."""
        for due_ms, _, future in sorted(self._waiting.values(), key=lambda each: each[0]):
            if due_ms <= self._clock.now_ms and not future.done():
                future.set_result(None)
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _WORK_S
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        while self._busy and loop.time() < until_s:
            await asyncio.sleep(_ANSWERS_S / 4)
            self._busy = {task for task in self._busy if not task.done()}
        self._busy.clear()
