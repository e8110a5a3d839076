"""A clock that tests advance by hand, beside real sockets."""

import asyncio

from tests.fixtures.signals import turns


class HandClock:
    """Time passes only in `advance`. Who waits for a moment that is past does not wait."""

    def __init__(self, wall_ms: int = 1_795_185_441_250) -> None:
        self.now = 1000.0
        self._wall_ms = wall_ms
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def monotonic_s(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return self._wall_ms + round((self.now - 1000) * 1000)

    async def sleep(self, delay_s: float) -> None:
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + delay_s, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Lets time pass; sleepers are woken one by one, each at its moment."""
        until_s = self.now + seconds
        while True:
            await turns(20)
            self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[1].done()]
            due = [sleeper for sleeper in self._sleepers if sleeper[0] <= until_s]
            if not due:
                self.now = until_s
                return
            at, future = min(due, key=lambda sleeper: sleeper[0])
            self.now = max(self.now, at)
            future.set_result(None)

    async def jump(self, seconds: float) -> None:
        """Lets time pass at once, as for a program that was stopped meanwhile."""
        self.now += seconds
        for at, future in self._sleepers:
            if at <= self.now and not future.done():
                future.set_result(None)
        await turns(20)
