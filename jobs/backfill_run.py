"""One run of a backfill: its plan, asked of all exchanges at once, stored, and told meanwhile.

What is to be asked follows from what is stored and covered alone: a run that is killed at any point
is taken up by the next one, which asks again at most for the pages that were under way.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from data_collector.run import together
from database import DatabaseUnavailable
from history.backfill.asks import Ask
from history.backfill.bounds import Bounds
from history.backfill.cost import Costs
from history.backfill.planning import Lacking, Plan, Where, plan
from history.backfill.series import Target
from history.backfill.shares import Shares
from history.backfill.wanted import Wanted
from jobs.backfill_asking import Asking, ExchangeGivenUp, SharedSender, asked_at_once
from jobs.backfill_longer import make_longer
from jobs.backfill_pages import Pages
from jobs.backfill_queue import AskQueue
from jobs.backfill_spread import Spread
from jobs.backfill_storing import Storing, Windows
from jobs.backfill_tally import Tally
from jobs.context import JobContext, Progress
from market.markets import Exchange
from stores.hot.leases import Lease
from venues.errors import ExchangeError

_TOLD_EVERY_S: Final = 1.0

log = structlog.get_logger(__name__)


class WishOver(Exception):
    """The wish was cancelled, or is over: stop."""


@dataclass(slots=True)
class BackfillRun:
    """`targets`: the markets of the wish. `shares`: of the budgets. What it comes to is in the
    tally. With `lease`, other hosts ask for some of it as long as that is held."""

    context: JobContext
    wanted: Wanted
    targets: Sequence[Target]
    shares: Shares
    progress: Progress
    tally: Tally
    lease: Lease | None = None
    sender: SharedSender = field(init=False)
    _asking: dict[Exchange, Asking] = field(init=False)
    _costs: Costs = field(init=False)
    _pages: Pages = field(init=False)
    _behind_ms: dict[Exchange, int] = field(default_factory=dict)
    _told_rows: int = 0

    def __post_init__(self) -> None:
        self._costs = Costs(self.context.settings.rate_fraction, self.shares)
        self.sender = SharedSender(self.context.client, self.shares)
        exchanges = dict.fromkeys(target.market.exchange for target in self.targets)
        self._asking = {exchange: Asking(self.sender, exchange) for exchange in exchanges}
        self._pages = Pages(self.context, self.tally, self._asking, self._now_ms)

    async def work(self) -> None:
        """Asks for all that is lacking. Raises WishOver, DatabaseUnavailable, StoreUnavailable and
        LeaseLost; failures of markets and exchanges are in the tally."""
        working = asyncio.create_task(self._work())
        telling = asyncio.create_task(self._tell())
        try:
            await asyncio.wait((working, telling), return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                telling.result()  # it ends by an exception alone
            await working
        finally:
            working.cancel()
            telling.cancel()
            await asyncio.gather(working, telling, return_exceptions=True)
        await self._tell_once()

    async def _work(self) -> None:
        self.progress.enter("plan")
        await together(self._read_clock(exchange) for exchange in self._asking)
        windows = await Windows.read(self.context.database, self.context.store)
        found = await self._plan(windows)
        self.tally.planned(found)
        storing = Storing(
            self.context.database, self.context.store, self.context.now_ms, windows, self.tally
        )
        self.progress.enter("fetch", self.tally.total_now)
        await self._fetch(found, storing)
        self.progress.enter("make")
        bounds = {exchange: self._bounds(exchange, storing.windows) for exchange in self._asking}
        await make_longer(
            self.context.database, storing, self.wanted, self.targets, lambda name: bounds[name]
        )

    @property
    def _lacking(self) -> Lacking:
        """What tells which ranges are to be asked for."""
        return self.context.database.history

    async def _fetch(self, found: Plan, storing: Storing) -> None:
        queues = {where: AskQueue(found.asks(where)) for where in found.stages}
        spreading = None
        if self.lease is not None:
            spread = Spread(self.context, self.lease, self._pages, queues)
            spreading = asyncio.create_task(spread.work(), name="backfill_spread")
        try:
            await together(
                self._work_through(where, queue, storing)
                for where, queue in queues.items()
                for _ in range(asked_at_once(self.context.settings))
            )
        finally:
            if spreading is not None:
                spreading.cancel()
                await asyncio.gather(spreading, return_exceptions=True)

    async def _read_clock(self, exchange: Exchange) -> None:
        """Our clock counts unless it is ahead of the exchange's: what has not closed there is no
        row yet."""
        try:
            time_ms = await self._asking[exchange].time_ms()
        except (ExchangeGivenUp, ExchangeError) as error:
            self.tally.exchange_failed(exchange, str(error))
        else:
            self._behind_ms[exchange] = max(0, self.context.now_ms() - time_ms)

    def _now_ms(self, exchange: Exchange) -> int:
        return self.context.now_ms() - self._behind_ms.get(exchange, 0)

    def _bounds(self, exchange: Exchange, windows: Windows) -> Bounds:
        settings = self.context.settings
        return Bounds(
            self._now_ms(exchange), settings.retention_days, windows.by_document, windows.waiting
        )

    async def _plan(self, windows: Windows) -> Plan:
        failed = self.tally.failed_exchanges
        targets = [each for each in self.targets if each.market.exchange not in failed]
        bounds = {exchange: self._bounds(exchange, windows) for exchange in self._asking}
        return await plan(
            self.wanted,
            targets,
            lambda exchange: bounds[exchange],
            self._lacking,
            self._costs,
            self.progress.count,
        )

    async def _work_through(self, where: Where, queue: AskQueue, storing: Storing) -> None:
        while (taken := await queue.take()) is not None:
            ask = taken.ask
            is_stored = taken.came_back and not await self._is_lacking(ask)
            if not is_stored and not self._pages.is_left(ask):
                answer = await self._pages.answer(ask)
                if answer is not None:
                    await storing.store(answer.rows)
            self.tally.ask_done(where)
            self.progress.count(self.tally.done_now, self.tally.total_now)

    async def _is_lacking(self, ask: Ask) -> bool:
        series = ask.series
        window = ask.from_ms, ask.to_ms
        return bool(await self._lacking.missing(series.key, *window, step_ms=series.grid_ms))

    async def _tell(self) -> None:
        """Tells how far it is, until cancelled. Raises WishOver."""
        while True:
            try:
                await self._tell_once()
            except DatabaseUnavailable as error:
                log.warning("backfill_progress_not_saved", error=str(error))
            await asyncio.sleep(_TOLD_EVERY_S)

    async def _tell_once(self) -> None:
        tally = self.tally
        requests = self.sender.requests + tally.of_others
        new_requests, tally.requests = requests - tally.requests, requests
        self.context.metrics.backfilled(
            requests=new_requests,
            rows=tally.rows - self._told_rows,
            seconds_left=tally.seconds_left,
        )
        self._told_rows = tally.rows
        if not await self._save():
            raise WishOver

    async def _save(self) -> bool:
        """Stores in the wish how far it is; False if it is over."""
        tally, row = self.tally, self.tally.row
        return await self.context.database.backfills.progress(
            row.id,
            done=row.done + tally.done_now,
            total=row.done + tally.total_now,
            requests=row.requests + tally.requests,
            rows=row.rows + tally.rows,
            seconds_left=round(tally.seconds_left),
            failures=tally.told_failures(),
        )
