"""Makes the rows of one timeframe's documents from the markets' bases, market by market.

What a base does not prove is asked for natively. Where that fails, the rows of the earlier
documents stay (base_merge.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from data_collector.api_parser import Candle, OpenInterestRow
from data_collector.base_merge import merge_from_base
from data_collector.base_plan import BasePlan, plan_from_base
from data_collector.collect_or_carry_over import RETRIED_AT_THE_END, Deliver
from data_collector.data_processing import contradiction, why_lost
from data_collector.fetch_strategies import fetch_klines, fetch_open_interest
from data_collector.funding_rules import left_out_within
from data_collector.incremental import PreviousDocuments
from data_collector.results import Results
from data_collector.run import CollectionRun
from data_collector.task_builder import FetchTask
from market.base import STEP_MS, Base
from market.candles import Candles
from market.left_out import LeftOut, still_lacking
from market.markets import (
    NOT_FETCHED_YET,
    FundingByMarket,
    FundingSeries,
    Market,
    MissingPart,
)
from market.rows import Rows
from market.timeframes import Timeframe
from venues.errors import ExchangeError

_NOT_ASKED: Final = "it was not asked for, as the candles could not be read"
_PARTS: Final[tuple[MissingPart, ...]] = ("klines", "open_interest")


class Doubtful(Exception):
    """The answer changes or lacks many known candles; it is believed when it says so again."""

    def __init__(self, error: ExchangeError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(slots=True)
class ReadBase:
    """A market's base, and what became of this pass's requests for it.

    `klines`: the candles that were asked for, None if the base was fresh; `error`: why they are
    not in it, `interest_error`: why its open interest is not. `klines_left_out`,
    `interest_left_out`: the invalid rows of the answers.
    """

    market: Market
    base: Base | None
    klines: FetchTask | None = None
    error: ExchangeError | None = None
    interest_error: ExchangeError | None = None
    klines_left_out: list[LeftOut] = field(default_factory=list)
    interest_left_out: list[LeftOut] = field(default_factory=list)


@dataclass(slots=True)
class FromBases:
    """Makes and delivers the series of `timeframe.produces`.

    `previous`: the earlier documents. `awaiting`: how many markets lack open interest that was not
    asked for yet.
    """

    timeframe: Timeframe
    run: CollectionRun
    as_of_ms: int
    history_candles: int
    funding: FundingByMarket
    previous: PreviousDocuments
    deliver: Deliver
    results: Results = field(default_factory=lambda: Results(0, lambda done, total: None))
    awaiting: int = 0
    held_up: set[str] = field(default_factory=set)  # Market.key of those with carried-over rows
    _delivered: set[str] = field(default_factory=set)

    async def collect(self, read: ReadBase, *, last_try: bool) -> None:
        """Makes one market's series and delivers them.

        Raises ExchangeError if the market should be tried again, and Doubtful if so after a
        minute; not if this is the last try.
        """
        market = read.market
        plan = plan_from_base(
            market,
            self.timeframe,
            read.base,
            self.previous.usable(market),
            as_of_ms=self.as_of_ms,
            history_candles=self.history_candles,
        )
        native, left_out, error = await self._native(plan, read, last_try=last_try)
        snapshots, interest_left_out = await self._snapshots(plan, read)
        funding = self._funding(market)
        merged = merge_from_base(plan, native, snapshots, funding)
        rows = None if merged is None else Rows.of(merged.series[self.timeframe].rows)
        if error is None and not rows:
            error = self._why_empty(plan, left_out)
            if error is not None and not last_try:
                raise error
        if merged is None or rows is None or (not rows and error is not None):
            self.failed(market, error)
            return
        asked = [task for task in plan.klines if error is None]
        if read.klines is not None and self.timeframe is read.klines.period:
            asked.append(read.klines)
            left_out = [*left_out, *read.klines_left_out]
        self._name_left_out(market, rows, left_out, asked, interest_left_out)
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

    async def _native(
        self, plan: BasePlan, read: ReadBase, *, last_try: bool
    ) -> tuple[list[Sequence[Candle] | None], list[LeftOut], ExchangeError | None]:
        """The candles of each of the plan's tasks, None where it failed, and why."""
        answers: list[Sequence[Candle] | None] = []
        left_out: list[LeftOut] = []
        error = read.error
        for task in plan.klines:
            if error is not None:
                answers.append(None)
                continue
            found: list[LeftOut] = []
            try:
                candles = await fetch_klines(self.run, task, found)
                self._check(task, candles, found, last_try=last_try)
            except ExchangeError as failure:
                if not last_try and isinstance(failure, RETRIED_AT_THE_END):
                    raise
                error = failure
                answers.append(None)
            else:
                answers.append(candles)
                left_out += found
        return answers, left_out, error

    def _check(
        self,
        task: FetchTask,
        candles: Sequence[Candle],
        left_out: Sequence[LeftOut],
        *,
        last_try: bool,
    ) -> None:
        """Raises BadPayload if the answer lacks closed candles that are known, Doubtful if it
        changes many; holes and changes are believed at the last try."""
        known = self.previous.closed_rows(task.market).between(task.start_ms, task.end_ms)
        if not len(known):
            return
        fetched, odd = Candles.of(candles), {row.slot_ms(task.step_ms) for row in left_out}
        there = odd.union(fetched.times.tolist())
        if not there:
            raise task.bad_payload("no candles for a market that had some before")
        if cause := why_lost(known.times.tolist(), there, holes_too=not last_try):
            raise task.bad_payload(cause)
        if not last_try and (doubt := contradiction(known, fetched, odd)):
            raise Doubtful(task.bad_payload(doubt))

    async def _snapshots(
        self, plan: BasePlan, read: ReadBase
    ) -> tuple[Sequence[OpenInterestRow], list[LeftOut]]:
        """The snapshots that the plan asks for, and the invalid ones, those of the base included.

        Names what could not be asked for.
        """
        market, step_ms = plan.market, self.timeframe.interval_ms
        # Of a finer period only the snapshots at the candles' open times count.
        left_out = [r for r in read.interest_left_out if r.slot_ms(STEP_MS) % step_ms == 0]
        known = self.previous.series(self.timeframe, market)
        if read.error is not None or read.interest_error is not None:
            self._name_lacking(market, read.interest_error)
            return [], left_out
        if plan.interest is None:
            return [], left_out
        if known is None or known.awaits_open_interest:
            self.awaiting += 1
            self.results.add_missing(market, "open_interest", NOT_FETCHED_YET)
            return [], left_out
        found: list[LeftOut] = []
        try:
            snapshots = await fetch_open_interest(self.run, plan.interest, found)
        except ExchangeError as error:
            self.results.add_missing(market, "open_interest", error)
            return [], left_out
        finer_ms = plan.interest.step_ms
        return snapshots, [*left_out, *(r for r in found if r.slot_ms(finer_ms) % step_ms == 0)]

    def _name_lacking(self, market: Market, error: ExchangeError | None = None) -> None:
        """Names the market's open interest that was not asked for, so that the next run does."""
        known = self.previous.series(self.timeframe, market)
        if known is not None and known.awaits_open_interest:
            self.awaiting += 1
            self.results.add_missing(market, "open_interest", NOT_FETCHED_YET)
        elif error is not None or (known is not None and known.lacks_open_interest):
            self.results.add_missing(market, "open_interest", error or _NOT_ASKED)

    def _funding(self, market: Market) -> FundingSeries | None:
        series = self.funding.get(market.key)
        if series is None:
            self.results.add_missing(market, "funding_rate", "its funding has not been fetched yet")
            return None
        start_ms = self.timeframe.window_start(self.as_of_ms, self.history_candles)
        inside = left_out_within(series, start_ms, self.as_of_ms)
        self.results.add_left_out(market, "funding_rate", inside)
        return series

    def _why_empty(self, plan: BasePlan, left_out: Sequence[LeftOut]) -> ExchangeError | None:
        """What is wrong with a market that has no row, if anything is."""
        if not plan.klines:
            return None
        task = plan.klines[0]
        if left_out:
            return task.bad_payload(
                f"none of the {len(left_out)} rows is valid: {left_out[0].text()}"
            )
        if self.previous.rows(self.timeframe, plan.market):
            return task.bad_payload("no candles for a market that had some before")
        return None

    def _name_left_out(
        self,
        market: Market,
        rows: Rows,
        left_out: Sequence[LeftOut],
        asked: Sequence[FetchTask],
        interest_left_out: Sequence[LeftOut],
    ) -> None:
        """Names the invalid rows found now, and those told of before that are still lacking."""
        step_ms = self.timeframe.interval_ms
        there = set(rows.times.tolist())

        def is_asked(row: LeftOut) -> bool:
            slot_ms = row.slot_ms(step_ms)
            return any(task.start_ms <= slot_ms <= task.end_ms for task in asked)

        told = [row for row in self.previous.left_out(market, "klines") if not is_asked(row)]
        told = [row for row in told if not row.reason or row.slot_ms(step_ms) not in there]
        self.results.add_left_out(market, "klines", [*told, *left_out])
        known = np.isnan(rows.column("open_interest"))
        lacking, there = rows.times[known].tolist(), set(rows.times[~known].tolist())
        told = [*self.previous.left_out(market, "open_interest"), *interest_left_out]
        self.results.add_left_out(
            market, "open_interest", still_lacking(told, lacking, there, step_ms)
        )
