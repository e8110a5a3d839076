"""Asking members of one kind after another, the next one already while the first is slow."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from typing import Final, TypeVar

from providers.errors import ProviderError
from providers.gate import Skipped

LONGEST_S: Final = 0.8  # after which the next one is asked beside who does not answer
_CALM: Final = 0.4  # of the time, in which nobody is asked but the first
_BEGUN: Final = 0.6  # of the time, after which all have been asked: the last may need three calls
T = TypeVar("T")
Ended = tuple[str, T | ProviderError | Skipped]


class Line(Iterator[str]):
    """Who is asked in turn. Who is put `last` comes after all others, also when they are
    through."""

    def __init__(self, members: Iterable[str]) -> None:
        self._members = deque(members)

    def __next__(self) -> str:
        if not self._members:
            raise StopIteration
        return self._members.popleft()

    def last(self, member: str) -> None:
        self._members.append(member)


async def in_turn(
    members: Iterable[str],
    ask: Callable[[str], Awaitable[T]],
    *,
    at_once: int = 1,
    waits: Iterable[float] = (),
    left: "Callable[[str, asyncio.Task[T]], None] | None" = None,
) -> AsyncGenerator[Ended[T], None]:
    """How each call ended, as they end, while somebody listens: aclose ends the calls under way, or
    hands them to `left`, for how they end tells something. `at_once` are asked at first; the next
    one where one fails, where all have ended, and where none has for as long as `waits` says."""
    waiting, patience = iter(members), iter(waits)
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
                running,
                timeout=next(patience, LONGEST_S),
                return_when=asyncio.FIRST_COMPLETED,
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


def waits_within(seconds: float, count: int) -> Iterator[float]:
    """How long each of so many is waited for before the next is asked: the first for longest, the
    rest so that the last of them is asked while there is time left for its answer."""
    first_s = min(LONGEST_S, _CALM * seconds)
    yield first_s
    rest_s = (_BEGUN * seconds - first_s) / max(1, count - 1)
    while True:
        yield min(LONGEST_S, rest_s)


def end_sooner(limit: asyncio.Timeout, seconds: float) -> None:
    """Ends what is limited in so many seconds, unless it ends before."""
    soon, ends = asyncio.get_running_loop().time() + seconds, limit.when()
    limit.reschedule(soon if ends is None else min(ends, soon))


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
