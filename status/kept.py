"""What is asked of the database: some of it at most so often, some of it in the background."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar, cast

import structlog

from database import DatabaseUnavailable
from status.stores import Stores

T = TypeVar("T")
_FAILED_AGAIN_S: Final = 5.0

log = structlog.get_logger(__name__)


class Recent(Generic[T]):
    """What `ask` found, asked at most every `every_s` however many ask; all of them wait for it."""

    def __init__(self, ask: Callable[[Stores], Awaitable[T]], every_s: float = 1.0) -> None:
        self._ask = ask
        self._every_s = every_s
        self._asking = asyncio.Lock()
        self._fresh_until_s = float("-inf")
        self._found: T | None = None

    async def __call__(self, stores: Stores) -> T:
        async with self._asking:
            if time.monotonic() >= self._fresh_until_s:
                self._found = await self._ask(stores)
                self._fresh_until_s = time.monotonic() + self._every_s
        return cast(T, self._found)


class Background(Generic[T]):
    """What `ask` found last, and None before that: nobody waits for it. It is asked again in the
    background at most every `every_s`, when somebody looks; what it found stays while the database
    is away."""

    def __init__(
        self, ask: Callable[[Stores], Awaitable[T]], every_s: float, deadline_s: float
    ) -> None:
        self._ask = ask
        self._every_s = every_s
        self._deadline_s = deadline_s
        self._due_s = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._found: T | None = None

    def __call__(self, stores: Stores) -> T | None:
        if time.monotonic() >= self._due_s and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._refresh(stores), name="status-figures")
        return self._found

    async def settled(self) -> None:
        """Waits for what is being asked, if anything is."""
        if self._task is not None:
            await asyncio.wait((self._task,))

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _refresh(self, stores: Stores) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                self._found = await self._ask(stores)
        except (DatabaseUnavailable, TimeoutError) as error:
            log.debug("figures_not_read", error=str(error))
            self._due_s = time.monotonic() + _FAILED_AGAIN_S
        else:
            self._due_s = time.monotonic() + self._every_s
