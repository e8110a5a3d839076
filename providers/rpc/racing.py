"""Asking members of one kind after another, the next one already while the first is slow."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Final, TypeVar

from providers.errors import ProviderError
from providers.gate import Skipped

HEDGE_S: Final = 0.8  # after which the next one is asked beside it
T = TypeVar("T")
Ended = tuple[str, T | ProviderError | Skipped]


async def in_turn(
    members: Iterable[str],
    ask: Callable[[str], Awaitable[T]],
    *,
    at_once: int = 1,
    hedge_s: float = HEDGE_S,
    left: "Callable[[str, asyncio.Task[T]], None] | None" = None,
) -> AsyncGenerator[Ended[T], None]:
    """How each call ended, as they end, while somebody listens: aclose ends the calls under way, or
    hands them to `left`, for how they end tells something. `at_once` are asked at first; the next
    one where one fails, where all have ended, and where none has for `hedge_s`."""
    waiting = iter(members)
    running: dict[asyncio.Task[T], str] = {}

    def start() -> bool:
        member = next(waiting, None)
        if member is None:
            return False
        running[asyncio.ensure_future(ask(member))] = member
        return True

    try:
        for _ in range(at_once):
            start()
        while running or start():
            done, _ = await asyncio.wait(
                running, timeout=hedge_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done and not start():  # nobody is left to start: what runs is waited for
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                member = running.pop(task)
                how = outcome(task)
                if isinstance(how, ProviderError | Skipped):
                    start()
                yield member, how
    finally:
        if left is None:
            await ended(running)
        else:
            for task, member in running.items():
                left(member, task)


def outcome(task: "asyncio.Task[T]") -> T | ProviderError | Skipped:
    try:
        return task.result()
    except (ProviderError, Skipped) as error:
        return error


async def ended(running: Iterable["asyncio.Task[T]"]) -> None:
    """Cancels them, and waits until they have ended."""
    tasks = list(running)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
