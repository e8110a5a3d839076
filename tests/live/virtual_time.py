"""An event loop whose time passes at once: timers run in their order, and nobody waits for them."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Advances its time to the next timer when nothing else is to be done.

    Work outside the loop (threads, sockets) takes no time in it. Raises AssertionError when all
    wait and no timer is left, which would be for ever.
    """

    def __init__(self) -> None:
        super().__init__(_Selector(self))
        self.now = 1000.0

    def time(self) -> float:
        return self.now


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or timeout == 0:
            return found
        assert timeout is not None, "all wait for each other, for ever"
        self._loop.now += timeout
        return []


class LoopClock:
    """The running event loop's time as a clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def monotonic_s(self) -> float:
        return self._loop.time()

    def wall_ms(self) -> int:
        return 1_795_185_441_250 + round(1000 * self._loop.time())

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


class VirtualTime:
    """Runs coroutines one after another on one loop in virtual time."""

    def __init__(self) -> None:
        self.loop = VirtualTimeLoop()
        self.clock = LoopClock(self.loop)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(work)

    def pass_s(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    def tasks(self) -> set[str]:
        """The names of the tasks that are left."""
        return {task.get_name() for task in asyncio.all_tasks(self.loop)}

    def close(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.pass_s(100)
        self.loop.close()


def run_virtually(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs one coroutine in virtual time."""
    time = VirtualTime()
    try:
        return time.run(work)
    finally:
        time.close()


def virtually(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Runs a test in virtual time; afterwards no task is left."""

    def run() -> None:
        async def checked() -> None:
            await test()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert [task.get_name() for task in left] == []

        run_virtually(checked())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run
