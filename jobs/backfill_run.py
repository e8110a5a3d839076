"""One run of a backfill: its plan, asked of all exchanges at once, stored, and told meanwhile.

What is to be asked follows from what is stored and covered alone: a run that is killed at any point
is taken up by the next one, which asks again at most for the pages that were under way.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from data_collector.internal_errors import ENDS_JOB
from data_collector.run import CollectionRun, together
from database import DatabaseUnavailable
from history.backfill.asks import Ask
from history.backfill.bounds import Bounds
from history.backfill.cost import Costs
from history.backfill.planning import Lacking, Plan, Where, plan
from history.backfill.series import Target
from history.backfill.shares import Shares
from history.backfill.wanted import Wanted
from jobs.backfill_answers import Answer, fetch_answer
from jobs.backfill_asking import Asking, ExchangeGivenUp, SharedSender
from jobs.backfill_longer import make_longer
from jobs.backfill_storing import Storing, Windows
from jobs.backfill_tally import Tally
from jobs.context import JobContext, Progress
from market.markets import Exchange
from venues.errors import ExchangeError, SymbolGone

_TOLD_EVERY_S: Final = 1.0
# So often may one kind of a market's data fail; then it is not asked for any more.
_MOST_FAILURES: Final = 3

log = structlog.get_logger(__name__)


class WishOver(Exception):
    """The wish was cancelled, or is over: stop."""


@dataclass(slots=True)
class BackfillRun:
    """`targets`: the markets of the wish. `shares`: of the budgets. What it comes to is in the
    tally."""

    context: JobContext
    wanted: Wanted
    targets: Sequence[Target]
    shares: Shares
    progress: Progress
    tally: Tally
    sender: SharedSender = field(init=False)
    _asking: dict[Exchange, Asking] = field(init=False)
    _costs: Costs = field(init=False)
    _behind_ms: dict[Exchange, int] = field(default_factory=dict)
    _gone: set[str] = field(default_factory=set)
    _failures: dict[tuple[str, str], int] = field(default_factory=dict)
    _told_rows: int = 0

    def __post_init__(self) -> None:
        self._costs = Costs(self.context.settings.rate_fraction, self.shares)
        self.sender = SharedSender(self.context.client, self.shares)
        exchanges = dict.fromkeys(target.market.exchange for target in self.targets)
        self._asking = {exchange: Asking(self.sender, exchange) for exchange in exchanges}

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
        await together(
            self._work_through(where, asks, storing)
            for where in found.stages
            for asks in [found.asks(where)]  # one iterator, which the workers share
            for _ in range(self._workers)
        )
        self.progress.enter("make")
        bounds = {exchange: self._bounds(exchange, storing.windows) for exchange in self._asking}
        await make_longer(
            self.context.database, storing, self.wanted, self.targets, lambda name: bounds[name]
        )

    @property
    def _lacking(self) -> Lacking:
        """What tells which ranges are to be asked for."""
        return self.context.database.history

    @property
    def _workers(self) -> int:
        """Of each limit."""
        settings = self.context.settings
        return max(1, round(settings.concurrency_limit * settings.backfill_fraction))

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

    async def _work_through(self, where: Where, asks: Iterator[Ask], storing: Storing) -> None:
        for ask in asks:
            if not self._is_left(ask):
                answer = await self._answer(ask)
                if answer is not None:
                    await storing.store(answer.rows)
            self.tally.ask_done(where)
            self.progress.count(self.tally.done_now, self.tally.total_now)

    def _is_left(self, ask: Ask) -> bool:
        """Whether it is not to be asked any more."""
        market = ask.series.market
        return (
            market.exchange in self.tally.failed_exchanges
            or market.key in self._gone
            or self._failures.get((market.key, ask.series.stage.name), 0) >= _MOST_FAILURES
        )

    async def _answer(self, ask: Ask) -> Answer | None:
        """None if it failed, which is told."""
        market = ask.series.market
        asking = self._asking[market.exchange]

        async def fetch(run: CollectionRun) -> Answer:
            try:
                return await fetch_answer(run, ask, self._now_ms(market.exchange))
            except ENDS_JOB:
                raise
            except Exception as unexpected:
                error = run.internal_error(unexpected, market.exchange)
                if error is unexpected:
                    raise
                raise error from None

        try:
            answer = await asking.ask(fetch)
        except ExchangeGivenUp as error:
            self.tally.exchange_failed(market.exchange, str(error))
            return None
        except ExchangeError as error:
            if isinstance(error, SymbolGone):
                self._gone.add(market.key)
            kind = market.key, ask.series.stage.name
            self._failures[kind] = self._failures.get(kind, 0) + 1
            self.tally.failed(market.key, f"{ask.series.stage.name}: {error.cause}")
            self.context.metrics.backfill_failed(market.exchange)
            log.warning(
                "backfill_failed",
                market=market.key,
                what=ask.series.stage.name,
                from_ms=ask.from_ms,
                to_ms=ask.to_ms,
                cause=str(error),
            )
            return None
        self.tally.out_of_reach += answer.out_of_reach
        if answer.left_out:
            self.tally.left_out += len(answer.left_out)
            log.warning(
                "backfill_rows_left_out",
                market=market.key,
                what=ask.series.stage.name,
                rows=len(answer.left_out),
                first=answer.left_out[0].text(),
            )
        return answer

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
        new_requests = self.sender.requests - tally.requests
        tally.requests = self.sender.requests
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
