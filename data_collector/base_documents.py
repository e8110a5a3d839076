"""Makes the rows of one timeframe's documents from the markets' bases, market by market.

What a base does not prove is asked for natively. Where that fails, the rows of the earlier
documents stay (base_merge.py).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np

from data_collector.auditor import Auditor
from data_collector.base_answers import (
    PlanAnswer,
    fetch_native,
    fetch_snapshots,
    known_snapshots,
)
from data_collector.base_merge import merge_from_base
from data_collector.base_plan import BasePlan, plan_from_base
from data_collector.collect_or_carry_over import AWAITS_FUNDING, NOT_ASKED, Deliver
from data_collector.doubts import Doubts
from data_collector.fetch_strategies import fetch_klines
from data_collector.funding_rules import left_out_within
from data_collector.incremental import PreviousDocuments
from data_collector.results import Results
from data_collector.run import CollectionRun
from data_collector.task_builder import FetchTask
from market.base import STEP_MS, Base
from market.candles import Candle, Candles
from market.left_out import LeftOut, still_lacking
from market.markets import (
    NOT_FETCHED_YET,
    Exchange,
    FundingByMarket,
    FundingSeries,
    Market,
    MissingPart,
)
from market.rows import Rows, TimedValues
from market.timeframes import Timeframe
from venues.errors import ExchangeError

LATE: Final = "it did not come in time, and follows in the next version"
_NOT_IN_TIME: Final = "it did not come in time, and is asked for again"
_NOT_READ: Final = "it could not be read by the last pass"
# For so long documents wait for old snapshots that the earlier document lacks; not at all once one
# has not come in this time.
_LONGEST_WAIT_FOR_NULLS_S: Final = 5.0
# Whose open interest is audited: the same snapshots are those of all others.
_INTEREST_AUDITED: Final = (Timeframe.M5, Timeframe.H1)
_PARTS: Final[tuple[MissingPart, ...]] = ("klines", "open_interest")


@dataclass(slots=True)
class ReadBase:
    """A market's base, and what became of this pass's requests for it.

    `klines`: the candles that were asked for, None if the base was fresh, or `is_streamed`: what it
    lacked came by streams; `error`: why they are not in it, `interest_error`: why its open interest
    is not. `interest_late`: what has been asked for and did not come in time, or `is_put_off` until
    documents are published. `klines_left_out`, `interest_left_out`: the invalid rows of the
    answers. `candles` and `snapshots`: those that came for `klines` and `interest`, which may begin
    before the base; no candles once nothing needs them. `published`: the open interest against
    which the first snapshots of a base are weighed.
    """

    market: Market
    base: Base | None
    klines: FetchTask | None = None
    is_streamed: bool = False
    error: ExchangeError | None = None
    interest_error: ExchangeError | None = None
    interest_late: FetchTask | None = None
    is_put_off: bool = False
    klines_left_out: list[LeftOut] = field(default_factory=list)
    interest_left_out: list[LeftOut] = field(default_factory=list)
    interest: FetchTask | None = None
    candles: Candles | None = None
    snapshots: TimedValues = field(default_factory=lambda: TimedValues.of(()))
    published: TimedValues = field(default_factory=lambda: TimedValues.of(()))

    @property
    def lacks_interest(self) -> bool:
        """Whether an earlier pass read the base and could not get all its open interest."""
        base, was_read = self.base, self.is_streamed or self.klines is not None
        if base is None or was_read or base.interest_ms >= base.as_of_ms:
            return False
        return base.lacks_interest_ms() is not None

    def candles_of(self, task: FetchTask, left_out: list[LeftOut]) -> Candles | None:
        """What the task would bring, if this pass has asked for all of it. `left_out` gets the
        invalid rows."""
        asked, candles = self.klines, self.candles
        if asked is None or candles is None or asked.period is not task.period:
            return None
        if task.start_ms < asked.start_ms or task.end_ms > asked.end_ms:
            return None
        left_out += (
            row
            for row in self.klines_left_out
            if task.start_ms <= row.slot_ms(task.step_ms) <= task.end_ms
        )
        return candles.between(task.start_ms, task.end_ms)

    def snapshots_of(self, task: FetchTask) -> TimedValues | None:
        """What the task would bring, if this pass has asked for all of it."""
        asked = self.interest
        if asked is None or asked.period is not task.period or task.start_ms < asked.start_ms:
            return None
        return self.snapshots.between(task.start_ms, task.end_ms)


@dataclass(slots=True)
class FromBases:
    """Makes and delivers the series of `timeframe.produces`.

    `previous`: the earlier documents. `slow`: the exchanges whose old open interest did not come in
    time; a pass shares it among its timeframes. `awaiting`: how many markets lack open interest
    that was not asked for yet.
    """

    timeframe: Timeframe
    run: CollectionRun
    as_of_ms: int
    history_candles: int
    funding: FundingByMarket
    previous: PreviousDocuments
    deliver: Deliver
    auditor: Auditor
    doubts: Doubts
    slow: set[Exchange] = field(default_factory=set)
    results: Results = field(default_factory=lambda: Results(0, lambda done, total: None))
    awaiting: int = 0
    held_up: set[str] = field(default_factory=set)  # Market.key of those with carried-over rows
    _delivered: set[str] = field(default_factory=set)

    async def collect(self, read: ReadBase, *, last_try: bool) -> None:
        """Makes one market's series and delivers them.

        Raises ExchangeError if the market should be tried again, and this is not the last try.
        """
        market = read.market
        plan = self._plan(read)
        answer = audited = await self._audited(plan, read)
        if answer is None:
            answer = PlanAnswer(plan, error=read.error)
            if plan.klines:
                known = self.previous.closed_rows(market)
                believed = partial(
                    self.doubts.is_believed, market.key, self.timeframe, self.as_of_ms
                )
                fetch = partial(self._candles, read)
                await fetch_native(fetch, answer, known, last_try=last_try, believed=believed)
            await self._fetch_snapshots(answer, read)
        merged = merge_from_base(
            answer.plan, answer.native, answer.snapshots, self._funding(market)
        )
        rows = None if merged is None else Rows.of(merged.series[self.timeframe].rows)
        error = answer.error
        if error is None and not rows:
            error = self._why_empty(answer)
            if error is not None and not last_try:
                raise error
        if merged is None or rows is None or (not rows and error is not None):
            self.failed(market, error)
            return
        if audited is not None:
            self.auditor.compare(plan, rows, audited.left_out)
        self._name_left_out(answer, read, rows)
        self._name_late(read, rows)
        # All documents get the market, or none: everything is computed before the first has it.
        self._delivered.add(market.key)
        for target, series in merged.series.items():
            self.deliver(target, series)
        if error is not None:
            self.results.failed(market, error)
            self.results.carried_over += 1
            self.held_up.add(market.key)
            return
        self.results.funding_outdated |= merged.funding_outdated
        self.results.merged(market, len(rows), refreshed=plan.checked_ms is not None)

    async def _candles(
        self, read: ReadBase, task: FetchTask, left_out: list[LeftOut]
    ) -> Sequence[Candle]:
        """The task's candles: those that have come with the base, or the exchange's."""
        candles = read.candles_of(task, left_out)
        return await fetch_klines(self.run, task, left_out) if candles is None else candles

    def _plan(self, read: ReadBase) -> BasePlan:
        market = read.market
        return plan_from_base(
            market,
            self.timeframe,
            read.base,
            self.previous.usable(market),
            as_of_ms=self.as_of_ms,
            history_candles=self.history_candles,
            native=self.auditor.audits.is_native(market.key, self.timeframe, self.as_of_ms),
        )

    def is_audit_due(self, market: Market) -> bool:
        """Whether an audit of the market is due, which needs all that it lacks."""
        known = self.previous.series(self.timeframe, market)
        if known is None:
            return False
        audits, since_ms = self.auditor.audits, known.checked_at_ms
        is_due = audits.is_due(market.key, self.timeframe, since_ms, self.as_of_ms)
        return is_due or self.auditor.fills(market, self.timeframe, known.rows)

    async def _audited(self, plan: BasePlan, read: ReadBase) -> PlanAnswer | None:
        """The exchange's own candles in place of ours, if an audit is due."""
        # One of late open interest would wait for it. It stays due.
        late = read.interest_late is not None
        if not self.auditor.is_due(plan) or read.error is not None or late:
            return None
        market, awaits = read.market, self._awaits(read.market)
        known = self.previous.closed_rows(market)
        interest = self.timeframe in _INTEREST_AUDITED
        answer = await self.auditor.fetch(plan, known, awaits=awaits, interest=interest)
        if answer is not None and awaits:
            self._name_lacking(market)
        return answer

    def failed(self, market: Market, error: ExchangeError | None) -> None:
        """Names the market, and delivers its old rows unless it has been delivered already."""
        if error is not None:
            self.results.failed(market, error)
        self.held_up.add(market.key)
        if market.key in self._delivered:
            return
        kept = self.previous.carried_over(market)
        if not kept:
            return
        self._name_lacking(market)
        for part in _PARTS:
            self.results.add_left_out(market, part, self.previous.left_out(market, part))
        for target, series in kept:
            self.deliver(target, series)
        self.results.carried_over += 1

    async def _fetch_snapshots(self, answer: PlanAnswer, read: ReadBase) -> None:
        """Fetches what the plan asks for; names what could not be asked for."""
        market, step_ms = read.market, self.timeframe.interval_ms
        # Of a finer period only the snapshots at the candles' open times count.
        answer.interest_left_out += (
            row for row in read.interest_left_out if row.slot_ms(STEP_MS) % step_ms == 0
        )
        # All of it would hold up a pass: `fill` brings what is not known already.
        anew = answer.plan.checked_ms is None
        if anew:
            answer.snapshots = known_snapshots(answer, self.previous.rows(self.timeframe, market))
        if read.error is not None or read.interest_error is not None:
            self._name_lacking(market, read.interest_error)
        elif read.interest_late is not None:
            await self._without_late(answer, read, anew=anew)
        elif read.lacks_interest:
            self._name_lacking(market, _NOT_READ)
        elif answer.plan.interest is None:
            return
        elif (there := read.snapshots_of(answer.plan.interest)) is not None:
            answer.snapshots = there
        elif self._awaits(market) or anew:
            self.awaiting += 1
            self.results.add_missing(market, "open_interest", NOT_FETCHED_YET)
        else:
            await self._ask_for_snapshots(answer)

    async def _without_late(self, answer: PlanAnswer, read: ReadBase, *, anew: bool) -> None:
        """What is older than the base, while its own open interest is late: it is asked for now
        if that is put off and no other version of the documents follows."""
        market, base, interest = read.market, answer.plan.base, answer.plan.interest
        older = interest is not None and (base is None or interest.start_ms < base.first_ms)
        if not older:
            if self._awaits(market):
                self._name_lacking(market)
        elif anew:
            self.awaiting += 1
            self.results.add_missing(market, "open_interest", NOT_FETCHED_YET)
        elif self._awaits(market) or not read.is_put_off or self._is_followed(read):
            self._name_lacking(market, LATE)
        else:
            await self._ask_for_snapshots(answer)

    def _is_followed(self, read: ReadBase) -> bool:
        """Whether another version of the documents follows, as closed rows lack what is late."""
        late_ms = self.as_of_ms if read.interest_late is None else read.interest_late.start_ms
        last = (each.last_closed_open_time(self.as_of_ms) for each in self.timeframe.produces)
        return max(last) >= late_ms

    async def _ask_for_snapshots(self, answer: PlanAnswer) -> None:
        """Asks the exchange; for nulls of before alone, documents do not wait long."""
        plan, exchange = answer.plan, answer.plan.market.exchange
        base, checked_ms = plan.base, plan.checked_ms
        old = base is not None and checked_ms is not None and base.first_ms <= checked_ms
        reason: ExchangeError | str
        try:
            if old and exchange in self.slow:
                raise TimeoutError
            async with asyncio.timeout(_LONGEST_WAIT_FOR_NULLS_S if old else None):
                await fetch_snapshots(self.run, answer)
            return
        except TimeoutError:
            self.slow.add(exchange)
            reason = _NOT_IN_TIME
        except ExchangeError as error:
            reason = error
        self.results.add_missing(plan.market, "open_interest", reason)

    def _awaits(self, market: Market) -> bool:
        known = self.previous.series(self.timeframe, market)
        return known is not None and known.awaits_open_interest

    def _name_lacking(self, market: Market, error: ExchangeError | str | None = None) -> None:
        """Names the market's open interest that was not asked for, so that the next run does."""
        known = self.previous.series(self.timeframe, market)
        if self._awaits(market):
            self.awaiting += 1
            self.results.add_missing(market, "open_interest", NOT_FETCHED_YET)
        elif error is not None or (known is not None and known.lacks_open_interest):
            self.results.add_missing(market, "open_interest", error or NOT_ASKED)

    def _name_late(self, read: ReadBase, rows: Rows) -> None:
        """Names open interest that did not come in time, if a closed row lacks it."""
        if (late := read.interest_late) is None:
            return
        last_ms = self.timeframe.last_closed_open_time(self.as_of_ms)
        if late.start_ms > last_ms:
            return
        closed = rows.between(late.start_ms, last_ms)
        if np.isnan(closed.column("open_interest")).any():
            self.results.add_missing(read.market, "open_interest", LATE)

    def _funding(self, market: Market) -> FundingSeries | None:
        series = self.funding.get(market.key)
        if series is None:
            self.results.add_missing(market, "funding_rate", AWAITS_FUNDING)
            return None
        start_ms = self.timeframe.window_start(self.as_of_ms, self.history_candles)
        inside = left_out_within(series, start_ms, self.as_of_ms)
        self.results.add_left_out(market, "funding_rate", inside)
        return series

    def _why_empty(self, answer: PlanAnswer) -> ExchangeError | None:
        """What is wrong with a market that has no row, if anything is."""
        plan, left_out = answer.plan, answer.left_out
        if not plan.klines:
            return None
        task = plan.klines[0]
        if left_out:
            cause = f"none of the {len(left_out)} rows is valid: {left_out[0].text()}"
            return task.bad_payload(cause)
        if self.previous.rows(self.timeframe, plan.market):
            return task.bad_payload("no candles for a market that had some before")
        return None

    def _name_left_out(self, answer: PlanAnswer, read: ReadBase, rows: Rows) -> None:
        """Names the invalid rows found now, and those told of before that are still lacking."""
        market, step_ms = read.market, self.timeframe.interval_ms
        asked = [] if answer.error is not None else list(answer.plan.klines)
        found = list(answer.left_out)
        klines = read.klines if answer.plan.base is not None else None
        if klines is not None and self.timeframe is klines.period:
            asked.append(klines)
            found += (row for row in read.klines_left_out if row not in found)
        told = self.previous.left_out(market, "klines")
        there = set(rows.times.tolist()) if told else set()  # most markets lack nothing

        def is_settled(row: LeftOut) -> bool:
            """Whether the row was asked for again, or has come since."""
            slot_ms = row.slot_ms(step_ms)
            again = any(task.start_ms <= slot_ms <= task.end_ms for task in asked)
            return again or (bool(row.reason) and not still_lacking([row], (), there, step_ms))

        still = [row for row in told if not is_settled(row)]
        self.results.add_left_out(market, "klines", [*still, *found])
        told = [*self.previous.left_out(market, "open_interest"), *answer.interest_left_out]
        if told:
            known = ~np.isnan(rows.column("open_interest"))
            lacking, there = rows.times[~known].tolist(), set(rows.times[known].tolist())
            still = still_lacking(told, lacking, there, step_ms)
            self.results.add_left_out(market, "open_interest", still)
