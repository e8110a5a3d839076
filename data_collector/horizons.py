"""Finds how far back an exchange serves a history, when it refuses the start of a window.

Exchanges word the limit loosely ("the latest month"), so it is found by asking: first near the
refused start, then by halving what is left. A run remembers what several markets have shown.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import structlog

from data_collector.task_builder import FetchTask
from market.markets import Exchange
from market.timeframes import DAY_MS, Timeframe
from venues.errors import WindowRefused
from venues.venue import Endpoint

Row = TypeVar("Row", bound=tuple[Any, ...])
Where = tuple[Exchange, Endpoint, Timeframe | None]
Fetch = Callable[[FetchTask], Awaitable[Sequence[Row]]]

# So many markets must have been refused up to one start and served from it, and none from before
# it, until the others begin there: young or odd markets do not cut the others' history. A start
# far from the expected one needs more of them.
SHOWN_BY: Final = 3
FAR_SHOWN_BY: Final = 20
_FAR_MS: Final = 4 * DAY_MS
_TRIES_BEFORE_THE_END: Final = 2  # then the newest row alone shows whether anything is served

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _History:
    """What a run has learned of one history; `lock`: one market at a time searches its start."""

    step_ms: int
    expected_ms: int  # the earliest start that was asked for
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    shown: dict[int, set[str]] = field(default_factory=dict)  # start -> markets that showed it
    served_from: int | None = None  # the earliest start of a task that was not refused
    logged: bool = False

    def start_ms(self) -> int | None:
        """Where the history begins for every market, as far as that is known."""
        starts = {
            start
            for start, markets in self.shown.items()
            if len(markets) >= (SHOWN_BY if start - self.expected_ms <= _FAR_MS else FAR_SHOWN_BY)
        }
        found = min(starts, default=None)
        if found is None or (self.served_from is not None and self.served_from < found):
            return None
        while found + self.step_ms in starts:  # it moves on during a long collection
            found += self.step_ms
        return found

    def hint_ms(self) -> int | None:
        """The start that most markets have shown."""
        return max(self.shown, key=lambda start: len(self.shown[start]), default=None)

    def was_served(self, start_ms: int) -> None:
        """A task's own start was not refused."""
        self.served_from = min(start_ms, self.served_from or start_ms)


class Horizons:
    """Where the histories begin that one run asks for."""

    def __init__(self) -> None:
        self._histories: dict[Where, _History] = {}
        self._starts: dict[tuple[Where, str], int] = {}

    async def fetch(self, task: FetchTask, fetch: Fetch[Row]) -> Sequence[Row]:
        """The rows of the task's window, or of as much of it as the exchange serves.

        Raises WindowRefused if it refuses even the newest row.
        """
        where = (task.market.exchange, task.endpoint, task.period)
        history = self._histories.setdefault(where, _History(task.narrow_ms, task.start_ms))
        history.expected_ms = min(history.expected_ms, task.start_ms)
        first = _from(task, history.start_ms())
        if first is None:
            return ()
        try:
            rows = await fetch(first)
        except WindowRefused as error:
            if not task.narrow_ms:
                raise
            async with history.lock:
                rows, start_ms = await _search(history, first, fetch, error)
        else:
            start_ms = first.start_ms
            if start_ms == task.start_ms:
                history.was_served(start_ms)
        self._starts[where, task.market.key] = start_ms
        return rows

    def served(self, task: FetchTask) -> FetchTask:
        """The task from the start on that was served to its market."""
        where = (task.market.exchange, task.endpoint, task.period)
        return _from(task, self._starts.get((where, task.market.key))) or task


class _Search(Generic[Row]):
    """The search of one market: starts are counted in steps after the task's own, refused one."""

    def __init__(self, task: FetchTask, fetch: Fetch[Row], error: WindowRefused) -> None:
        self._task = task
        self._fetch = fetch
        self.error = error
        self.last = (task.end_ms - task.start_ms) // task.narrow_ms
        self.refused = 0
        self.found: int | None = None
        self.rows: Sequence[Row] = ()
        self.asked = 0

    async def served(self, step: int) -> bool:
        """Asks for the window from `step` on."""
        task = self._task.narrowed(step)
        if task is None:
            raise self.error
        self.asked += 1
        try:
            self.rows = await self._fetch(task)
        except WindowRefused as error:
            self.refused, self.error = max(self.refused, step), error
        else:
            self.found = step
        return self.found == step


async def _search(
    history: _History, task: FetchTask, fetch: Fetch[Row], error: WindowRefused
) -> tuple[Sequence[Row], int]:
    """The rows from the earliest start that the exchange serves this market, and that start."""
    search = _Search(task, fetch, error)
    known = history.start_ms()
    hint = known if known is not None else history.hint_ms()
    if hint is not None and task.start_ms < hint <= task.end_ms:
        step = -(-(hint - task.start_ms) // task.narrow_ms)
        if await search.served(step):
            if known is not None:
                return search.rows, hint
            if step > 1:
                await search.served(step - 1)  # refused, if it is the same start
    distance = 1
    while search.found is None or search.found - search.refused > 1:
        if search.refused >= search.last:
            raise search.error
        step = search.refused + distance
        if search.found is not None:
            step = min(step, (search.refused + search.found) // 2)
        elif search.asked >= _TRIES_BEFORE_THE_END:
            step = search.last
        if not await search.served(min(step, search.last)):
            distance *= 2
    start_ms = task.start_ms + search.found * task.narrow_ms
    history.shown.setdefault(start_ms, set()).add(task.market.key)
    if not history.logged and history.start_ms() is not None:
        history.logged = True
        log.info(
            "history_begins",
            exchange=task.market.exchange,
            endpoint=task.endpoint,
            start_ms=start_ms,
            refused_from_ms=task.start_ms,
        )
    return search.rows, start_ms


def _from(task: FetchTask, start_ms: int | None) -> FetchTask | None:
    """The task from `start_ms` on; None if nothing is left of it."""
    if start_ms is None or start_ms <= task.start_ms:
        return task
    return task.since(start_ms)
