"""Collection: fetches each market, retries it, and carries over the old rows of one that failed."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from data_collector.api_parser import Candle, OpenInterestRow
from data_collector.data_processing import (
    contradiction,
    merge_data,
    why_lost,
    with_known_snapshots,
    with_rate_in_force,
)
from data_collector.exchange_clocks import Clocks
from data_collector.fetch_strategies import fetch_funding, fetch_klines, fetch_open_interest
from data_collector.funding_rules import left_out_within, present_interval
from data_collector.incremental import PreviousDocuments, RefreshPlan
from data_collector.internal_errors import ENDS_JOB
from data_collector.life_rows import begin_of_life, candles_of_life, settlements_of_life
from data_collector.results import Results
from data_collector.run import CollectionRun, work_through
from data_collector.task_builder import FetchTask, MarketTasks
from market.aggregation import aggregate
from market.candles import Candles
from market.left_out import LeftOut, not_asked_again, still_lacking
from market.markets import (
    COLUMNS,
    NOT_FETCHED_YET,
    FundingByMarket,
    FundingSeries,
    Market,
    MarketSeries,
    MissingPart,
    Row,
)
from market.rows import Rows, TimedValues, Times, first_time
from market.timeframes import Timeframe
from market.unconfirmed_lists import ASKED_AGAIN_AFTER_MS
from venues.errors import BadPayload, ExchangeError, GaveUp, SourceDown, TooFast

# Failures of markets that are tried once more at the end of a collection.
RETRIED_AT_THE_END: Final = (SourceDown, BadPayload, TooFast, GaveUp)
# The reason in `missing` for open interest that an earlier document lacked already.
AWAITS_FUNDING: Final = "its funding has not been fetched yet"
NOT_ASKED: Final = "it was not asked for, as the candles could not be read"
_INTEREST: Final = COLUMNS.index("open_interest")

Deliver = Callable[[Timeframe, MarketSeries], None]


@dataclass(slots=True)
class Collection:
    """Fetches, merges and delivers markets; holds only the rows of those in progress.

    `funding`: the funding to merge; None: it is fetched per market.
    """

    run: CollectionRun
    clocks: Clocks
    timeframe: Timeframe
    as_of_ms: int
    history_candles: int
    funding: FundingByMarket | None
    funding_history: int
    previous: PreviousDocuments
    deliver: Deliver
    results: Results
    _to_retry: list[MarketTasks] | None = field(default_factory=list)  # None: the last try
    _counted: Counter[str] = field(default_factory=Counter)  # finished tasks, by Market.key
    _cut: set[str] = field(default_factory=set)  # Market.key of those with candles of a former life
    _delivered: set[str] = field(default_factory=set)  # Market.key of those delivered just now
    _others: set[str] = field(default_factory=set)  # those with other candles than before
    _doubted_at_s: float | None = None  # when candles last contradicted many known ones

    async def collect(self, tasks: Sequence[MarketTasks]) -> None:
        """Collects all markets; retries those whose exchange was in trouble once at the end, and
        a minute later those whose candles contradict many known ones."""
        await self._collect_all(tasks)
        if self._doubted_at_s is not None:
            clock = self.run.sender.clock
            passed_s = clock.monotonic_s() - self._doubted_at_s
            await clock.sleep(max(0.0, ASKED_AGAIN_AFTER_MS / 1000 - passed_s))
        self.run.reset_failures()
        failed, self._to_retry = self._to_retry, None
        await self._collect_all(failed or ())

    async def _collect_all(self, tasks: Sequence[MarketTasks]) -> None:
        await work_through(
            self.run,
            tasks,
            lambda task: task.market.exchange,
            self._collect_market,
            self._market_failed,
            workers=self.run.sender.concurrency,
        )

    async def _collect_market(self, tasks: MarketTasks) -> None:
        """Fetches one market's data, request by request, then merges and delivers it."""
        try:
            await self.clocks.check_not_behind(tasks.market.exchange, self.as_of_ms)
            left_out: list[LeftOut] = []
            candles, refresh = await self._candles(tasks, left_out)
            if not candles and left_out:
                cause = f"none of the {len(left_out)} rows is valid: {left_out[0].text()}"
                raise tasks.klines.bad_payload(cause)
            if not candles and self.previous.rows(self.timeframe, tasks.market):
                raise tasks.klines.bad_payload("no candles for a market that had some before")
        except ExchangeError as error:
            if self._to_retry is not None and isinstance(error, RETRIED_AT_THE_END):
                self._to_retry.append(tasks)
            else:
                self._market_failed(tasks, error)
            return
        self._progress(tasks.market)
        if refresh is not None and refresh.reused:
            left_out += self._still_left_out(
                tasks.market, "klines", before=refresh.klines, found=left_out
            )
        open_interest = await self._open_interest(tasks, candles, refresh)
        funding = await self._funding(tasks)
        self._merge(tasks.market, candles, open_interest, funding, refresh)
        self.results.add_left_out(tasks.market, "klines", left_out)

    def _check_against_known(
        self, tasks: MarketTasks, candles: Sequence[Candle], left_out: Sequence[LeftOut]
    ) -> None:
        """Raises BadPayload if a fetch of all candles lacks closed ones that are known, or changes
        many; holes and changes are believed when the market is asked again at the end."""
        step_ms, fetched = self.timeframe.interval_ms, Candles.of(candles)
        odd = {row.slot_ms(step_ms) for row in left_out}
        known, first_try = self.previous.closed_rows(tasks.market), self._to_retry is not None
        doubt = contradiction(known, fetched, odd)
        if doubt is not None and first_try:
            self._doubted_at_s = self.run.sender.clock.monotonic_s()
        there = odd.union(fetched.times.tolist())
        lost = why_lost(known.times.tolist(), there, holes_too=first_try)
        if cause := lost or (doubt if first_try else None):
            raise tasks.klines.bad_payload(cause)
        if doubt is not None:
            self._others.add(tasks.market.key)

    def _market_failed(self, tasks: MarketTasks, error: ExchangeError) -> None:
        """Names the market, and delivers its old rows unless it has been delivered already."""
        market = tasks.market
        self.results.failed(market, error)
        if market.key not in self._delivered:
            try:
                self._carry_over(market)
            except ENDS_JOB:
                raise
            except Exception as unexpected:  # its old rows may be what cannot be used
                self.run.internal_error(unexpected, market.exchange)
        self._progress(market, tasks.count - self._counted[market.key])

    async def _candles(
        self, tasks: MarketTasks, left_out: list[LeftOut]
    ) -> tuple[Sequence[Candle], RefreshPlan | None]:
        """The candles not known yet and the plan; or all candles and None. Adds to `left_out`."""
        refresh = self.previous.plan(tasks)
        if refresh is None:
            return await self._whole_life(tasks, left_out), None
        candles = await fetch_klines(self.run, refresh.klines, left_out)
        unchanged = refresh.matches(candles)
        ours = candles_of_life(tasks.market, refresh.reused, candles, self.timeframe.interval_ms)
        if unchanged and ours is not None:
            if len(ours) < len(candles):
                self._cut.add(tasks.market.key)
            return ours, refresh
        left_out.clear()
        ours = await self._whole_life(tasks, left_out)
        if not unchanged:
            self.results.count_correction(tasks.market, "klines")
        return ours, None

    async def _whole_life(self, tasks: MarketTasks, left_out: list[LeftOut]) -> Sequence[Candle]:
        """All candles of the window that are of the market's present life."""
        step_ms = self.timeframe.interval_ms
        candles = await fetch_klines(self.run, tasks.klines, left_out)
        ours = candles_of_life(tasks.market, Rows.of(()), candles, step_ms) or ()
        if ours and len(ours) < len(candles):
            self._cut.add(tasks.market.key)
            left_out[:] = [row for row in left_out if row.slot_ms(step_ms) >= first_time(ours)]
        if ours:
            self._check_against_known(tasks, ours, left_out)
        return ours

    def _still_left_out(
        self,
        market: Market,
        part: MissingPart,
        *,
        before: FetchTask | None = None,
        found: Sequence[LeftOut] = (),
    ) -> list[LeftOut]:
        """The rows left out of the old series and not asked for again: those before the task.

        `found`: the rows left out of its answer, some of which may have been counted before.
        """
        known = self.previous.left_out(market, part)
        if before is None:
            return known
        return not_asked_again(known, found, before.start_ms, self.timeframe.interval_ms)

    def _carry_over(self, market: Market) -> None:
        """Delivers the market's rows from the previous documents, if any."""
        kept = self.previous.carried_over(market)
        if not kept:
            return
        known = self.previous.series(self.timeframe, market)
        if known is not None and known.lacks_open_interest:  # else nobody would ask for it
            reason = NOT_FETCHED_YET if known.awaits_open_interest else NOT_ASKED
            self.results.add_missing(market, "open_interest", reason)
        parts: tuple[MissingPart, ...] = ("klines", "open_interest")
        for part in parts:
            self.results.add_left_out(market, part, self._still_left_out(market, part))
        for target, series in kept:
            self.deliver(target, series)
        self.results.carried_over += 1

    async def _open_interest(
        self, tasks: MarketTasks, candles: Sequence[Candle], refresh: RefreshPlan | None
    ) -> Sequence[OpenInterestRow]:
        if tasks.open_interest is None:
            return []
        # Nothing before the first candle is needed: a young market has none.
        opened = Candles.of(candles).times
        if refresh is not None:
            opened = np.concatenate((refresh.reused.times, opened))
        whole = tasks.open_interest.since(int(opened[0])) if len(opened) else None
        left_out: list[LeftOut] = []
        try:
            if refresh is None:
                return await self._all_snapshots(whole, opened, left_out)
            asked = refresh.open_interest_task(tasks.open_interest, candles)
            fetched = await self._snapshots(asked, left_out)
            if asked is not None:  # known snapshots may be older than what is still served
                asked = self.run.horizons.served(asked)
            snapshots = refresh.merged_interest(asked, fetched)
            if snapshots is not None:
                still = self._still_left_out(
                    tasks.market, "open_interest", before=asked, found=left_out
                )
                if still:
                    times, there = refresh.requested.tolist(), set(snapshots.times.tolist())
                    lacking = [time_ms for time_ms in times if time_ms not in there]
                    left_out += still_lacking(still, lacking, there, self.timeframe.interval_ms)
                return snapshots
            self.results.count_correction(tasks.market, "open_interest")
            left_out.clear()
            return await self._all_snapshots(whole, opened, left_out)
        except ExchangeError as error:
            self.results.add_missing(tasks.market, "open_interest", error)
            left_out[:] = self._still_left_out(tasks.market, "open_interest")
            known = self.previous.series(self.timeframe, tasks.market)
            return Rows.of(known.rows).non_null("open_interest") if known is not None else []
        finally:
            # Of a finer period only the snapshots at the candles' open times count.
            step_ms, finer_ms = self.timeframe.interval_ms, tasks.open_interest.step_ms
            ours = (row for row in left_out if row.slot_ms(finer_ms) % step_ms == 0)
            self.results.add_left_out(tasks.market, "open_interest", ours)
            self._progress(tasks.market)

    def _progress(self, market: Market, tasks: int = 1) -> None:
        self._counted[market.key] += tasks
        self.results.progress(tasks)

    async def _snapshots(
        self, task: FetchTask | None, left_out: list[LeftOut]
    ) -> Sequence[OpenInterestRow]:
        """The task's snapshots, at a finer period if the exchange lacks this one."""
        return await fetch_open_interest(self.run, task, left_out) if task is not None else []

    async def _all_snapshots(
        self, task: FetchTask | None, opened: Times, left_out: list[LeftOut]
    ) -> Sequence[OpenInterestRow]:
        """The task's snapshots, with the known ones of candles that `opened` which the answer
        lacks; they are named. None is kept if the candles are others than before."""
        fetched = TimedValues.of(await self._snapshots(task, left_out))
        if task is None or task.market.key in self._others:
            return fetched
        known = self.previous.interest(task.market).between(task.start_ms, task.end_ms)
        odd = {row.slot_ms(task.step_ms) for row in left_out}
        both, kept = with_known_snapshots(fetched, known.at(opened), odd)
        gone = kept[kept >= self.run.horizons.served(task).start_ms]
        if len(gone):
            reason = f"{len(gone)} known snapshots are gone, the first of {gone[0]}; they are kept"
            self.results.add_missing(task.market, "open_interest", reason)
        return both

    async def _funding(self, tasks: MarketTasks) -> FundingSeries | None:
        market = tasks.market
        if self.funding is not None:
            series = self.funding.get(market.key)
            if series is None:
                reason = AWAITS_FUNDING
                self.results.add_missing(market, "funding_rate", reason)
            else:
                self._report_left_out_settlements(series)
            return series
        if tasks.funding is None:
            return None
        left_out: list[LeftOut] = []
        try:
            rows = await fetch_funding(self.run, tasks.funding, left_out)
        except ExchangeError as error:
            self.results.add_missing(market, "funding_rate", error)
            return None
        finally:
            self._progress(market)
        rows = rows[-self.funding_history :]
        hours = present_interval(rows, None)
        fetched = FundingSeries(market, rows, hours, self.as_of_ms, tuple(left_out))
        self._report_left_out_settlements(fetched)
        return fetched

    def _report_left_out_settlements(self, series: FundingSeries) -> None:
        """Names the settlements left out whose rates rows of the window would have."""
        start_ms = self.timeframe.window_start(self.as_of_ms, self.history_candles)
        inside = left_out_within(series, start_ms, self.as_of_ms)
        self.results.add_left_out(series.market, "funding_rate", inside)

    def _merge(
        self,
        market: Market,
        candles: Sequence[Candle],
        open_interest: Sequence[OpenInterestRow],
        funding: FundingSeries | None,
        refresh: RefreshPlan | None,
    ) -> None:
        reused: Sequence[Row] = refresh.reused if refresh is not None else ()
        rows: Sequence[Row | Candle] = reused or candles
        if rows:
            step_ms = self.timeframe.interval_ms
            begin_ms = begin_of_life(market, first_time(rows), step_ms)
            if market.since_ms or market.key in self._cut or _opens_unknown(reused):
                open_interest = TimedValues.of(open_interest).between(begin_ms, self.as_of_ms)
            funding = funding and settlements_of_life(funding, begin_ms)
        merged = merge_data(
            candles,
            open_interest,
            funding,
            timeframe=self.timeframe,
            as_of_ms=self.as_of_ms,
            history_candles=self.history_candles,
            reused=reused,
        )
        start_ms = self.timeframe.window_start(self.as_of_ms, self.history_candles)
        made: list[tuple[Timeframe, MarketSeries]] = []
        for target in self.timeframe.produces:
            made_rows, exact = merged.rows, merged.exact
            if target is not self.timeframe and refresh is not None:
                made_rows = refresh.aggregate(
                    made_rows, target, window_start_ms=start_ms, exact=exact
                )
            elif target is not self.timeframe:
                made_rows = aggregate(
                    made_rows, self.timeframe, target, window_start_ms=start_ms, exact=exact
                )
            if target is not self.timeframe:
                made_rows, old = with_rate_in_force(
                    *(Rows.of(made_rows), Rows.of(merged.rows).times, funding),
                    *(target, self.timeframe, self.as_of_ms),
                )
                self.results.funding_outdated |= old
            made.append((target, MarketSeries(market, made_rows, self.as_of_ms)))
        # All documents get the market, or none: everything is computed before the first has it.
        self._delivered.add(market.key)
        for target, series in made:
            self.deliver(target, series)
        self.results.funding_outdated |= merged.funding_outdated
        self.results.merged(market, len(merged.rows), refreshed=refresh is not None)


def _opens_unknown(reused: Sequence[Row]) -> bool:
    """Whether the first reused row has no open interest, which is then not its own if it is older
    than the launch: the collection before found that it was another contract's."""
    return bool(reused) and reused[0][_INTEREST] is None
