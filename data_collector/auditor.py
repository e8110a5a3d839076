"""Auditor: fetches a market's whole window natively when that is due, and compares it with ours."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np
import structlog

from data_collector.audits import Audits, Difference, differences
from data_collector.base_answers import PlanAnswer, fetch_native, fetch_snapshots
from data_collector.base_plan import BasePlan, plan_from_base
from data_collector.data_processing import contradiction, why_lost
from data_collector.fetch_strategies import fetch_klines
from data_collector.incremental import lacks_trades
from data_collector.run import CollectionRun
from data_collector.stream_comparison import compare_with_rest
from data_collector.stream_reader import StreamReader
from data_collector.task_builder import FetchTask
from market.base import FINAL_AFTER_MS, reach
from market.candles import Candles
from market.left_out import LeftOut
from market.markets import Exchange, Market, MissingPart, Row
from market.rows import Rows, TimedValues
from market.timeframes import Timeframe
from venues.errors import ExchangeError

# Windows of an exchange that a pass asks for to fill the columns of trades: those of 450 markets in
# nine timeframes take an hour so, each pass a quarter of a minute longer.
MOST_FILLED: Final = 340
_MOST_LOGGED: Final = 5  # differences of one market and timeframe, with both values

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Auditor:
    """Audits the markets of one pass.

    `run` is not the pass's: its requests are counted apart, and its failures stop nothing else.
    `interest_of`: the exchanges with room for requests for open interest beside the pass's.
    `on_difference` is called for each timeframe and part of a market that differs; `reader` is told
    of candles of streams that do.
    """

    run: CollectionRun
    audits: Audits
    history_candles: int
    interest_of: Collection[Exchange]
    on_difference: Callable[[Timeframe, MissingPart], None] = lambda timeframe, part: None
    reader: StreamReader | None = None
    _fills: dict[tuple[str, Timeframe], bool] = field(default_factory=dict)
    _filled: Counter[Exchange] = field(default_factory=Counter)

    def is_due(self, plan: BasePlan) -> bool:
        """Whether an audit of the plan's market and timeframe is due."""
        checked_ms, as_of_ms = plan.checked_ms, plan.as_of_ms
        if checked_ms is None or checked_ms >= as_of_ms:  # there is nothing new
            return False
        market, timeframe = plan.market, plan.timeframe
        is_due = self.audits.is_due(market.key, timeframe, checked_ms, as_of_ms)
        return is_due or self.fills(market, timeframe, plan.parts[0].earlier)

    def fills(self, market: Market, timeframe: Timeframe, known: Sequence[Row]) -> bool:
        """Whether the market's window is asked for in this pass because what the exchange tells of
        trades is wanted, and not in its rows: once for each process, and of so many in a pass."""
        if not self.run.trade_columns or not lacks_trades(market, known):
            return False
        place = market.key, timeframe
        if place not in self._fills:
            wanted = place not in self.audits.filled
            self._fills[place] = wanted and self._filled[market.exchange] < MOST_FILLED
            self._filled[market.exchange] += self._fills[place]
        return self._fills[place]

    async def fetch(
        self, plan: BasePlan, known: Rows, *, awaits: bool, interest: bool
    ) -> PlanAnswer | None:
        """The answer to a plan without base and earlier documents; None if requests fail, or if
        it is not believed yet. `known`: the closed rows of the earlier document; `interest`:
        whether known open interest is asked for again; `awaits`: not even unknown one is."""
        market, timeframe, as_of_ms = plan.market, plan.timeframe, plan.as_of_ms
        whole = plan_from_base(
            market, timeframe, None, {}, as_of_ms=as_of_ms, history_candles=self.history_candles
        )
        answer = PlanAnswer(whole)
        try:
            fetch = partial(fetch_klines, self.run)
            await fetch_native(fetch, answer, known, last_try=True, believed=_any_answer)
            if answer.error is not None:
                raise answer.error
            if not (interest and market.exchange in self.interest_of):
                answer.plan = replace(whole, interest=_unknown_interest(plan, answer))
            if not awaits:
                await fetch_snapshots(self.run, answer)
        except ExchangeError as error:
            log.warning("audit_failed", market=market.key, timeframe=timeframe, cause=str(error))
            return None
        candles = [Candles.of(candles) for candles in answer.native if candles is not None]
        odd = {row.slot_ms(timeframe.interval_ms) for row in answer.left_out}
        fetched = Candles.joined(candles) if candles else Candles.of(())
        there = odd.union(fetched.times.tolist())
        lost = why_lost(known.times.tolist(), there, holes_too=True)
        doubt = lost or contradiction(known, fetched, odd)
        if not self.audits.doubts.is_believed(market.key, timeframe, as_of_ms, doubt):
            log.warning("audit_doubted", market=market.key, timeframe=timeframe, cause=doubt)
            return None
        answer.snapshots = _with_known(plan, answer)
        return answer

    def compare(self, plan: BasePlan, audited: Rows, left_out: Iterable[LeftOut]) -> None:
        """Counts and logs how what the plan would have made differs from the audited rows.

        `left_out`: the invalid ones of these.
        """
        market, timeframe = plan.market, plan.timeframe
        part = plan.parts[0]
        ours = Rows.joined([part.kept, part.made.rows])
        until_ms = plan.as_of_ms if plan.base is None else plan.base.as_of_ms
        final_ms = until_ms - FINAL_AFTER_MS - timeframe.interval_ms
        invalid = {row.slot_ms(timeframe.interval_ms) for row in left_out}
        found = differences(
            ours.between(plan.start_ms, final_ms),
            audited.between(plan.start_ms, final_ms),
            set(part.made.unproven.tolist()),
            invalid,
        )
        if self.reader is not None and plan.base is not None and timeframe is Timeframe.M5:
            compare_with_rest(
                *(self.reader, market, plan.base, audited),
                first_ms=plan.start_ms,
                as_of_ms=plan.as_of_ms,
                invalid=invalid,
            )
        for which in ("klines", "open_interest"):
            of_part = [each for each in found if each.part == which]
            if of_part:
                self.on_difference(timeframe, of_part[0].part)
                self._log(plan, of_part)
        # Of open interest, too: the next pass would write what the base has over the audited one.
        newest_ms = max((each.open_time for each in found), default=0) + timeframe.interval_ms
        if found and newest_ms > (reach(until_ms) if plan.base is None else plan.base.first_ms):
            self.audits.suspect.add(market.key)
        if self._fills.get((market.key, timeframe)):
            self.audits.filled.add((market.key, timeframe))
        differ = any(each.part == "klines" for each in found)
        self.audits.finished(market.key, timeframe, plan.as_of_ms, candles_differ=differ)

    def _log(self, plan: BasePlan, found: Sequence[Difference]) -> None:
        for each in found[:_MOST_LOGGED]:
            log.warning(
                "audit_found_difference",
                market=plan.market.key,
                timeframe=plan.timeframe,
                part=each.part,
                open_time=each.open_time,
                ours=each.ours,
                theirs=each.theirs,
                rows=len(found),
            )


def _any_answer(doubt: str | None) -> bool:
    """A whole answer is judged at once, not page by page."""
    return True


def _unknown_interest(plan: BasePlan, answer: PlanAnswer) -> FetchTask | None:
    """The snapshots of candles that the earlier document lacks, or lacked the snapshots of, but
    those that the base has asked for."""
    whole, base = answer.plan.interest, plan.base
    if whole is None:
        return None
    candles = [Candles.of(candles) for candles in answer.native if candles is not None]
    times = np.concatenate([each.times for each in candles])
    new = ~np.isin(times, plan.parts[0].kept.times)
    if plan.interest is not None:
        new |= (times >= plan.interest.start_ms) & (times <= plan.interest.end_ms)
    new &= ~np.isin(times, _with_known(plan, answer).times)
    new &= (times >= whole.start_ms) & (times <= whole.end_ms)
    if base is not None:
        new &= (times < base.first_ms) | (times > base.interest_ms)
    if not new.any():
        return None
    first_ms, last_ms = int(times[new].min()), int(times[new].max())
    newest_ms = min(whole.newest_ms, last_ms)
    return replace(whole, start_ms=first_ms, end_ms=last_ms, newest_ms=newest_ms)


def _with_known(plan: BasePlan, answer: PlanAnswer) -> TimedValues:
    """The fetched snapshots, and the known ones that they lack: published open interest stays."""
    known = [part.non_null("open_interest") for part in (plan.parts[0].kept, plan.parts[0].earlier)]
    if plan.base is not None:
        known.append(plan.base.snapshots)
    invalid = [row.slot_ms(plan.timeframe.interval_ms) for row in answer.interest_left_out]
    parts = [
        each.select(np.flatnonzero(~np.isin(each.times, invalid))) for each in known if len(each)
    ]
    return TimedValues.joined([*parts, TimedValues.of(answer.snapshots)])
