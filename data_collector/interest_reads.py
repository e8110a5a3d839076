"""The open interest that a pass reads: with the candles, or late, where it would hold up documents.

Documents come without what waits for the rate limit or for a slow answer; those that lack it are
published again, with the snapshots or with the reason why there are none.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from data_collector.api_parser import OpenInterestRow
from data_collector.base_documents import ReadBase
from data_collector.doubts import Doubts
from data_collector.fetch_strategies import fetch_open_interest
from data_collector.internal_errors import ENDS_JOB
from data_collector.published import interest_contradiction
from data_collector.run import CollectionRun
from data_collector.task_builder import FetchTask
from market.left_out import LeftOut
from market.markets import Exchange
from market.rows import TimedValues
from venues.errors import ExchangeError

# For so long documents wait for a market's open interest, while the rate limit has no room or the
# exchange does not answer; not at all behind other markets of the exchange that still wait.
_LONGEST_INTEREST_WAIT_S: Final = 3.0


class _Interest(NamedTuple):
    """The snapshots of a market, and the invalid rows of the answer."""

    snapshots: Sequence[OpenInterestRow]
    left_out: Sequence[LeftOut]


@dataclass(slots=True)
class _Late:
    """A market's request for open interest that no document waits for; `fetching` once it is under
    way."""

    read: ReadBase
    task: FetchTask
    fetching: asyncio.Task[_Interest] | None = None

    @property
    def is_under_way(self) -> bool:
        return self.fetching is not None and not self.fetching.done()


class InterestReads:
    """The requests for open interest of one pass at `as_of_ms`; `aclose` ends what is under way.

    `late_from_ms`: the first snapshot that finish_late has waited for.
    """

    def __init__(self, run: CollectionRun, as_of_ms: int, doubts: Doubts) -> None:
        self._run = run
        self._as_of_ms = as_of_ms
        self._doubts = doubts
        self._late: list[_Late] = []
        self._limits: dict[Exchange, asyncio.Semaphore] = {}
        self.late_from_ms = as_of_ms

    async def read(self, read: ReadBase, task: FetchTask, *, waits: bool) -> None:
        """Adds the snapshots to the base of `read`, or the reason why there are none; unless it
        `waits`, leaves them to finish_late if they do not come soon."""
        exchange = read.market.exchange
        longest_s = None if waits else _LONGEST_INTEREST_WAIT_S
        if not waits and any(
            each.read.market.exchange is exchange and each.is_under_way for each in self._late
        ):
            longest_s = 0.0
        fetching = asyncio.create_task(self._fetch(read, task))
        try:
            await asyncio.wait({fetching}, timeout=longest_s)
        except asyncio.CancelledError:
            await _cancel([fetching])
            raise
        if fetching.done():
            self._take(read, task, fetching)
        else:
            self._late.append(_Late(read, task, fetching))
            read.interest_late = task

    def read_late(self, read: ReadBase, task: FetchTask) -> None:
        """Leaves the snapshots to finish_late, which asks for them, too."""
        self._late.append(_Late(read, task))
        read.interest_late, read.is_put_off = task, True

    async def finish_late(self) -> list[ReadBase]:
        """Waits for what no document has waited for; those whose bases have got it."""
        late, self._late = self._late, []
        self.late_from_ms = min((each.task.start_ms for each in late), default=self._as_of_ms)
        try:
            fetching = [self._begun(each) for each in late]
            for each, task in zip(late, fetching, strict=True):
                await asyncio.wait({task})
                each.read.interest_late = None
                self._take(each.read, each.task, task)
        finally:
            await _cancel(each.fetching for each in late)
        return [each.read for each in late if each.read.interest_error is None]

    async def aclose(self) -> None:
        """Ends the requests that are still under way."""
        late, self._late = self._late, []
        await _cancel(each.fetching for each in late)

    def _begun(self, late: _Late) -> asyncio.Task[_Interest]:
        if late.fetching is None:
            late.fetching = asyncio.create_task(self._fetch(late.read, late.task))
        return late.fetching

    async def _fetch(self, read: ReadBase, task: FetchTask) -> _Interest:
        """The answer; the second one if the first contradicts published snapshots."""
        # No more at a time than workers: candles need the connections, too.
        limit = self._limits.setdefault(
            task.market.exchange, asyncio.Semaphore(self._run.sender.concurrency)
        )
        try:
            async with limit:
                answer = await self._answer(task)
                if interest_contradiction(read.published, TimedValues.of(answer.snapshots)):
                    answer = await self._answer(task)
                return answer
        except ENDS_JOB:
            raise
        except Exception as error:
            named = self._run.internal_error(error, task.market.exchange)
            if named is not error:
                self._run.sender.counts.failed(task.market.exchange, named)
            raise named from None

    async def _answer(self, task: FetchTask) -> _Interest:
        left_out: list[LeftOut] = []
        return _Interest(await fetch_open_interest(self._run, task, left_out), left_out)

    def _take(self, read: ReadBase, task: FetchTask, fetched: asyncio.Task[_Interest]) -> None:
        try:
            answer, left_out = fetched.result()
        except ExchangeError as error:
            read.interest_error = error
            return
        if read.base is None:
            return
        snapshots = TimedValues.of(answer)
        doubt = interest_contradiction(read.published, snapshots)
        key, as_of_ms = read.market.key, self._as_of_ms
        if not self._doubts.is_believed(key, "base interest", as_of_ms, doubt):
            read.interest_error = task.bad_payload(f"{doubt}: believed if it says so again")
            return
        read.interest_left_out += left_out
        read.interest, read.snapshots = task, snapshots
        read.base = read.base.with_interest(snapshots, as_of_ms)


async def _cancel(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    """Ends the tasks that have begun, whatever becomes of them."""
    waiting = [task for task in tasks if task is not None]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
