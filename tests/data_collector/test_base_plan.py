"""Documents from the base of a market against a cold native collection at the same instant."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from random import Random
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

from data_collector.base_merge import merge_from_base
from data_collector.base_plan import BasePlan, plan_from_base
from data_collector.base_tasks import base_tasks
from documents.base import BaseBuilder, decode_bases
from market.base import REACH_MS, Base, extended, lacks_closed, with_stream
from market.candles import Candle, Candles
from market.left_out import LeftOut
from market.markets import Exchange, FundingSeries, Market, MarketSeries
from market.timeframes import COLLECTED, DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from tests.fixtures.naive_market import (
    STEP_MS,
    Habits,
    Line,
    NaiveMarket,
    invented,
    invented_candle,
)

MIDNIGHT = 1_767_225_600_000  # 2026-01-01T00:00:00Z
INTEREST = 7
FINAL_MS = STEP_MS + MINUTE_MS  # after its open a candle does not change by itself any more
OVERLAP = 10  # known candles that each pass reads again
EXAMPLES = int(os.environ.get("HISTORIES", "60"))


class Step(NamedTuple):
    """One pass: when it comes, and what of it fails or happens before it. `audited`: nothing is
    made from the base."""

    gap_ms: int
    at_close: bool
    candles: str  # "read", "failed" or "lost": the base itself is gone
    interest: bool
    native: bool
    corrected: bool
    restarted: bool
    due: tuple[Timeframe, ...]
    history: int
    audited: bool
    streamed: float = 0.0  # the share of closed candles that streams have proven


@dataclass
class Follower:
    """Follows one market pass by pass, as a worker does, and knows what it may ask natively."""

    exchange: NaiveMarket
    market: Market
    base: Base | None = None
    series: dict[Timeframe, MarketSeries] = field(default_factory=dict)
    complete_from: dict[Timeframe, int] = field(default_factory=dict)
    streamed: int = 0  # passes that asked for no candle

    def streams(self, now_ms: int, share: float) -> Candles:
        """Some of the candles that the base lacks, as streams have closed them: as they stay."""
        base = self.base
        if base is None or not base.reaches(now_ms) or base.is_fresh(now_ms):
            return Candles.of(())
        closed: list[Candle] = []
        for slot_ms in range(base.unsettled_ms(), now_ms // STEP_MS * STEP_MS, STEP_MS):
            close_ms, final_ms = slot_ms + STEP_MS, slot_ms + STEP_MS + MINUTE_MS
            versions = self.exchange.versions.get(slot_ms, [])
            forming = [version for version in versions if version[0] < close_ms]
            later = [version for version in versions if version[0] > final_ms]
            final = self.exchange.shown(slot_ms, final_ms)
            is_told = Random(slot_ms).random() < share  # noqa: S311
            if is_told and forming and final is not None and not later:
                # The closing event tells at once what REST may tell a minute later.
                self.exchange.versions[slot_ms] = [*forming, (close_ms, final)]
                closed += self.exchange.answer(Timeframe.M5, slot_ms, slot_ms, now_ms)
        return Candles.of(closed)

    def read(self, now_ms: int, *, interest: bool, streamed: float = 0.0) -> None:
        tasks = base_tasks(self.market, self.base, as_of_ms=now_ms)
        closed = self.streams(now_ms, streamed)
        forming_ms = now_ms // STEP_MS * STEP_MS
        shown = self.exchange.answer(Timeframe.M5, forming_ms, forming_ms, now_ms)
        forming = shown[0] if shown else None
        if self.base is not None and len(closed) and not lacks_closed(self.base, closed, now_ms):
            self.streamed += 1
            self.base = with_stream(self.base, closed, forming, as_of_ms=now_ms)
        else:
            span = tasks.klines.start_ms, tasks.klines.end_ms
            candles = self.exchange.answer(Timeframe.M5, *span, now_ms)
            self.base = extended(self.base, candles, asked_ms=span[0], as_of_ms=now_ms)
            if len(closed):
                self.base = with_stream(self.base, closed, forming, as_of_ms=now_ms)
        if interest and (task := tasks.open_interest) is not None:
            found = self.exchange.interest(task.start_ms, task.end_ms, now_ms)
            self.base = self.base.with_interest(found, now_ms)

    def restart(self) -> None:
        """Keeps what the hot store holds."""
        if self.base is not None:
            at_ms = self.base.as_of_ms
            builder = BaseBuilder(self.market.exchange)
            builder.add(self.market, self.base)
            document = builder.finish_deflated(version=1, as_of_ms=at_ms, updated_at_ms=at_ms)
            stored = document.inflate()
            self.base = decode_bases(stored, self.market.exchange)[self.market.key]

    def plan(
        self, timeframe: Timeframe, now_ms: int, history: int, *, audited: bool = False
    ) -> BasePlan:
        start_ms = timeframe.window_start(now_ms, history)
        earlier = {
            target: self.series[target] for target in timeframe.produces if target in self.series
        }
        if self.complete_from.get(timeframe, now_ms) > start_ms:
            earlier = {}
        plan = plan_from_base(
            self.market,
            timeframe,
            self.base,
            earlier,
            as_of_ms=now_ms,
            history_candles=history,
            native=audited,
        )
        if audited:
            assert not any(len(part.made.rows) for part in plan.parts)
        else:
            self.check_asked(plan)
        return plan

    def check_asked(self, plan: BasePlan) -> None:
        """A candle is asked for only if the base had no chance to know it."""
        for part in plan.parts:
            for open_ms in part.made.unproven.tolist():
                end_ms = min(open_ms + part.timeframe.interval_ms, plan.as_of_ms + 1)
                slots = range(open_ms, end_ms, STEP_MS)
                trouble = any(self.is_trouble(slot, plan.as_of_ms) for slot in slots)
                assert trouble, (part.timeframe, open_ms)

    def is_trouble(self, slot_ms: int, now_ms: int) -> bool:
        base = self.base
        if base is None or slot_ms < max(base.first_ms, self.market.since_ms):
            return True
        close_ms = slot_ms + STEP_MS
        forms = close_ms > now_ms
        same_slot = now_ms // STEP_MS == base.as_of_ms // STEP_MS
        fresh = same_slot and now_ms - base.as_of_ms < MINUTE_MS
        if not fresh and base.as_of_ms < close_ms + MINUTE_MS:  # it was provisional
            return True
        shown = self.exchange.shown(slot_ms, base.as_of_ms)
        return max(shown[4:]) >= 10**15 if shown is not None else not forms

    def collect(
        self,
        timeframe: Timeframe,
        now_ms: int,
        history: int,
        *,
        native: bool,
        interest: bool,
        audited: bool = False,
    ) -> BasePlan | None:
        """Makes the documents; None if a request failed and nothing was known."""
        plan = self.plan(timeframe, now_ms, history, audited=audited)
        answers = [
            self.exchange.answer(timeframe, task.start_ms, task.end_ms, now_ms) if native else None
            for task in plan.klines
        ]
        snapshots = []
        if plan.interest is not None and interest:
            span = plan.interest.start_ms, plan.interest.end_ms
            snapshots = self.exchange.interest(*span, now_ms)
        settled = [row for row in self.exchange.settled if row[0] <= now_ms]
        funding = FundingSeries(self.market, settled, 8, now_ms)
        finished = merge_from_base(
            plan, answers, snapshots, funding, lacks_open_interest=not interest
        )
        if finished is None:
            assert plan.klines
            assert not native
            return None
        assert not finished.funding_outdated
        begins_ms = 0 if plan.checked_ms is None else self.complete_from[timeframe]
        self.complete_from[timeframe] = max(begins_ms, timeframe.window_start(now_ms, history))
        self.series.update(finished.series)
        return plan


def check_rows(
    follower: Follower, plan: BasePlan, timeframe: Timeframe, history: int, *, interest: bool
) -> None:
    """The rows are those of a cold collection; failed snapshots alone may lack."""
    series = follower.series[timeframe]
    expected = follower.exchange.rows(timeframe, plan.as_of_ms, history)
    rows: list[Line] = list(series.rows)
    if not interest:
        there = {row[0]: row for row in rows}
        expected = [
            (*row[:INTEREST], None, *row[INTEREST + 1 :])
            if row[0] in there and there[row[0]][INTEREST] is None
            else row
            for row in expected
        ]
    differ = [pair for pair in zip_longest(rows, expected) if pair[0] != pair[1]]
    assert not differ, (timeframe, len(differ), differ[:2])
    assert series.stale_since_ms is None


def check_failed(follower: Follower, plan: BasePlan, timeframe: Timeframe, history: int) -> None:
    """Nothing unknown looks closed, and what is known is there."""
    series, now_ms, step_ms = follower.series[timeframe], plan.as_of_ms, timeframe.interval_ms
    part = next(part for part in plan.parts if part.timeframe is timeframe)
    expected = follower.exchange.rows(timeframe, now_ms, history)
    unproven = set(part.made.unproven.tolist())
    known = [row[:INTEREST] for row in series.rows if row[0] not in unproven]
    assert known == [row[:INTEREST] for row in expected if row[0] not in unproven]
    checked_ms = series.checked_at_ms
    assert checked_ms == plan.checked_ms
    closed_since = [
        open_ms + step_ms
        for open_ms in sorted(unproven)
        if checked_ms < open_ms + step_ms <= now_ms
    ]
    assert not {row[0] + step_ms for row in series.rows} & set(closed_since)
    assert series.stale_since_ms is not None
    assert series.stale_since_ms <= min([*closed_since, now_ms])


timeframes = st.sets(st.sampled_from(COLLECTED), min_size=1).map(
    lambda chosen: tuple(timeframe for timeframe in COLLECTED if timeframe in chosen)
)
mostly = st.sampled_from([True] * 7 + [False])
gaps = st.one_of(
    st.just(STEP_MS),
    st.integers(1, 2 * STEP_MS),
    st.sampled_from([3 * STEP_MS, HOUR_MS, 2 * HOUR_MS]),
    st.integers(HOUR_MS, 9 * HOUR_MS),
    st.sampled_from([HOUR_MS, DAY_MS, 25 * HOUR_MS, 27 * HOUR_MS, 40 * HOUR_MS]),
)
steps = st.builds(
    Step,
    gap_ms=gaps,
    at_close=st.booleans(),
    candles=st.sampled_from(["read"] * 8 + ["failed", "lost"]),
    interest=mostly,
    native=mostly,
    corrected=st.sampled_from([False] * 3 + [True]),
    restarted=st.booleans(),
    due=st.just(COLLECTED) | timeframes,
    history=st.just(0),
    audited=st.sampled_from([False] * 5 + [True]),
    streamed=st.sampled_from([0.0, 0.5, 1.0, 1.0]),
)
rare = st.sampled_from([0.0, 0.0, 0.0, 0.003, 0.03])
habits = st.builds(
    Habits,
    holes=rare,
    late=rare,
    changed=st.sampled_from([0.0, 0.3]),
    long=st.sampled_from([0.0, 0.0, 0.0, 0.003]),
    interest_late=rare,
    interest_missing=rare,
)


@dataclass(repr=False)
class History:
    """`relisted_ms`: when a new life begins, found out by the first pass after it; 0: never."""

    relisted_ms: int
    passes: list[tuple[int, Step]]
    random: Random
    follower: Follower

    def __repr__(self) -> str:
        """Short: everything else is printed pass by pass when one fails."""
        return f"<{len(self.passes)} passes, relisted {self.relisted_ms}>"


@st.composite
def histories(draw: st.DrawFn) -> History:
    random = Random(draw(st.integers(0, 2**32)))  # noqa: S311 - the same every time
    begin_ms = MIDNIGHT + STEP_MS * draw(st.integers(0, 288))
    now_ms = begin_ms + draw(st.integers(0, 30 * HOUR_MS) | st.just(27 * HOUR_MS))
    history = draw(st.sampled_from([1, 2, 5, 30, 100, 499]))
    passes: list[tuple[int, Step]] = []
    for step in draw(st.lists(steps, min_size=1, max_size=9)):
        now_ms += step.gap_ms
        if step.at_close and passes:
            now_ms = max(passes[-1][0] + 1, now_ms // STEP_MS * STEP_MS)
        if draw(st.sampled_from([False] * 9 + [True])):
            history = draw(st.sampled_from([1, 7, 60, 200]))
        passes.append((now_ms, step._replace(history=history)))
    end_ms = now_ms
    if draw(st.sampled_from([False] * 9 + [True])):  # delisted
        end_ms = draw(st.integers(begin_ms, now_ms))
    opens = list(range(begin_ms, end_ms + 1, STEP_MS))
    relisted_ms = 0
    if draw(st.sampled_from([False] * 5 + [True])) and len(opens) > 2:
        first, last = sorted(draw(st.tuples(*[st.integers(1, len(opens) - 1)] * 2)))
        relisted_ms = opens[last] + draw(st.integers(0, STEP_MS - 1))
        del opens[first:last]
    launched_ms = begin_ms + draw(st.integers(0, STEP_MS - 1))
    exchange = invented(random, opens, draw(habits), draw(st.integers(0, 8)))
    if launched_ms > begin_ms:
        exchange.snapshots.pop(begin_ms, None)
    minutes = range(launched_ms // MINUTE_MS + 1, now_ms // MINUTE_MS)
    chosen = sorted(random.sample(minutes, min(len(minutes), draw(st.integers(0, 20)))))
    exchange.settled = [
        (minute * MINUTE_MS + random.randrange(50), random.randrange(-99, 99) / 1e6)
        for minute in chosen
    ]
    market = Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT", launched_ms=launched_ms)
    return History(relisted_ms, passes, random, Follower(exchange, market))


def corrected(history: History, last_ms: int, now_ms: int) -> None:
    """The exchange changes or removes a closed candle that the next pass reads again."""
    base, random = history.follower.base, history.random
    if base is None or now_ms <= last_ms:
        return
    slot_ms = base.newest_ms - STEP_MS * random.randrange(OVERLAP + 1)
    if slot_ms < max(base.first_ms, now_ms - REACH_MS):
        return  # such as a candle of an earlier life, which no pass reads
    if base.streamed[(slot_ms - base.first_ms) // STEP_MS] and now_ms < slot_ms + FINAL_MS:
        return  # REST may show one that a stream has closed as it was before: it does not count yet
    versions = history.follower.exchange.versions.get(slot_ms, [])
    at_ms = random.randint(last_ms + 1, now_ms)
    if versions and versions[-1][0] < at_ms:
        new = None if random.random() < 0.2 else invented_candle(random, Habits())
        versions.append((at_ms, new))


def run(history: History) -> Iterator[BasePlan]:
    follower, last_ms = history.follower, 0
    for now_ms, step in history.passes:
        if history.relisted_ms and now_ms >= history.relisted_ms:
            follower.exchange.since_ms = history.relisted_ms
            follower.market = replace(follower.market, since_ms=history.relisted_ms)
        if step.candles == "lost":
            follower.base = None
        if step.restarted:
            follower.restart()
        if step.corrected:
            corrected(history, last_ms, now_ms)
            # Only a request shows it; without one the audit finds it.
            step = step._replace(candles="read", native=True, due=COLLECTED, streamed=0.0)
        if step.candles != "failed":
            follower.read(now_ms, interest=step.interest, streamed=step.streamed)
        elif follower.base is not None and follower.base.is_fresh(now_ms):
            now_ms = follower.base.as_of_ms  # what is made of it is of its time
        interest = step.interest and step.candles != "failed" and step.native
        note(f"{now_ms}: {step}")
        for timeframe in step.due:
            plan = follower.collect(
                timeframe,
                now_ms,
                step.history,
                native=step.native,
                interest=interest,
                audited=step.audited,
            )
            if plan is None:
                continue
            yield plan
            for target in timeframe.produces:
                if plan.klines and not step.native:
                    check_failed(follower, plan, target, step.history)
                else:
                    check_rows(follower, plan, target, step.history, interest=interest)
        last_ms = now_ms


# A history is not made shorter: each attempt is as long as the history, for minutes in all.
@settings(max_examples=EXAMPLES, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(histories())
def test_equals_a_cold_collection(history: History) -> None:
    for plan in run(history):
        assert all(np.isfinite(task.start_ms) for task in plan.klines)


@pytest.mark.parametrize("restarted", [False, True])
def test_who_is_told_of_every_close_asks_for_no_candle(restarted: bool) -> None:
    opens = range(MIDNIGHT, MIDNIGHT + 40 * STEP_MS, STEP_MS)
    exchange = invented(Random(7), opens, Habits(changed=1.0), 2)  # noqa: S311
    follower = Follower(exchange, Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT"))
    for passes in range(30):
        now_ms = MIDNIGHT + (10 + passes) * STEP_MS + 2_500
        follower.read(now_ms, interest=True, streamed=1.0)
        assert follower.streamed == passes  # the first one lays the base
        if restarted:
            follower.restart()
        for timeframe in (Timeframe.M5, Timeframe.H1):
            plan = follower.collect(timeframe, now_ms, 8, native=True, interest=True)
            assert plan is not None
            check_rows(follower, plan, timeframe, 8, interest=True)


@pytest.mark.parametrize("timeframe", [Timeframe.M5, Timeframe.H1, Timeframe.H4], ids=str)
@pytest.mark.parametrize("gap_ms", [1_000, 3 * STEP_MS])
def test_a_candle_that_another_collection_left_out_comes_back(
    timeframe: Timeframe, gap_ms: int
) -> None:
    """It asked the exchange without the base and got an invalid row, or an answer without it."""
    now_ms, history = MIDNIGHT + 40 * HOUR_MS + MINUTE_MS, 400
    opens = range(MIDNIGHT, now_ms + DAY_MS, STEP_MS)
    exchange = invented(Random(7), opens, Habits(), 0)  # noqa: S311
    market = Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT", launched_ms=MIDNIGHT)
    follower = Follower(exchange, market)
    follower.read(now_ms, interest=True)
    follower.collect(timeframe, now_ms, history, native=True, interest=True)
    base = follower.base
    assert base is not None
    longest_ms = timeframe.produces[-1].interval_ms
    left_out_ms = -(-base.first_ms // longest_ms) * longest_ms + longest_ms // 2
    left_out_ms -= left_out_ms % timeframe.interval_ms
    for target in timeframe.produces:
        rows = list(follower.series[target].rows)
        open_ms = left_out_ms // target.interval_ms * target.interval_ms
        index = [row[0] for row in rows].index(open_ms)
        if target is timeframe:
            del rows[index]
        else:  # made of the others
            rows[index] = (*rows[index][:5], 0.5, *rows[index][6:])
        follower.series[target] = replace(follower.series[target], rows=rows)
    follower.read(now_ms + gap_ms, interest=True)
    plan = follower.collect(timeframe, now_ms + gap_ms, history, native=False, interest=True)
    assert plan is not None
    assert plan.klines == ()
    for target in timeframe.produces:
        check_rows(follower, plan, target, history, interest=True)


def test_a_correction_of_the_first_candle_of_a_base_reaches_the_longer_one_that_begins_before() -> (
    None
):
    begin_ms = MIDNIGHT + STEP_MS  # inside a candle of 15m
    exchange = invented(Random(7), range(begin_ms, begin_ms + HOUR_MS, STEP_MS), Habits(), 0)  # noqa: S311
    market = Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT", launched_ms=begin_ms)
    follower, history = Follower(exchange, market), 20
    first_ms, then_ms = begin_ms + 4 * STEP_MS + 1, begin_ms + 5 * STEP_MS + 1
    for now_ms in (first_ms, then_ms):
        follower.read(now_ms, interest=True)
        plan = follower.collect(Timeframe.M15, now_ms, history, native=True, interest=True)
        assert plan is not None
        check_rows(follower, plan, Timeframe.M15, history, interest=True)
        changed = invented_candle(Random(8), Habits())  # noqa: S311
        exchange.versions[begin_ms].append((now_ms + 1, changed))
    assert follower.base is not None
    assert follower.base.first_ms == begin_ms


def test_a_correction_after_a_new_base_reaches_a_longer_candle_that_it_holds_in_part() -> None:
    """The document is older than the base, which has moved past the beginning of the candle."""
    checked_ms = MIDNIGHT + 5 * DAY_MS + 6 * HOUR_MS + 30 * MINUTE_MS
    end_ms = checked_ms + 26 * HOUR_MS
    exchange = invented(Random(7), range(MIDNIGHT, end_ms, STEP_MS), Habits(), 0)  # noqa: S311
    market = Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT", launched_ms=MIDNIGHT)
    follower, history = Follower(exchange, market), 30
    follower.collect(Timeframe.H6, checked_ms, history, native=True, interest=True)
    follower.read(checked_ms + STEP_MS, interest=True)
    slot_ms = checked_ms - 9 * STEP_MS  # of the candle that has closed at 06:00
    changed = invented_candle(Random(8), Habits())  # noqa: S311
    exchange.versions[slot_ms].append((checked_ms + HOUR_MS, changed))
    now_ms = checked_ms + STEP_MS + 25 * HOUR_MS
    follower.read(now_ms, interest=True)
    assert follower.base is not None
    assert Timeframe.H6.floor(slot_ms) < follower.base.first_ms <= slot_ms
    plan = follower.collect(Timeframe.H6, now_ms, history, native=True, interest=True)
    assert plan is not None
    check_rows(follower, plan, Timeframe.H6, history, interest=True)


@pytest.mark.parametrize("timeframe", [Timeframe.M5, Timeframe.H1, Timeframe.H4], ids=str)
def test_a_correction_reaches_a_timeframe_of_which_nothing_is_made(timeframe: Timeframe) -> None:
    """A pass reads it some time after the candle was final in the document."""
    now_ms, history = MIDNIGHT + 39 * HOUR_MS + 20 * MINUTE_MS, 30
    exchange = invented(Random(7), range(MIDNIGHT, now_ms + DAY_MS, STEP_MS), Habits(), 0)  # noqa: S311
    market = Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT", launched_ms=MIDNIGHT)
    follower = Follower(exchange, market)
    for step_ms in range(0, HOUR_MS, STEP_MS):
        follower.read(now_ms + step_ms, interest=True)
    now_ms += step_ms
    follower.collect(timeframe, now_ms, history, native=True, interest=True, audited=True)
    corrected_ms = now_ms // STEP_MS * STEP_MS - 8 * STEP_MS
    changed = invented_candle(Random(8), Habits())  # noqa: S311
    exchange.versions[corrected_ms].append((now_ms + 1, changed))
    now_ms += STEP_MS
    follower.read(now_ms, interest=True)
    plan = follower.collect(timeframe, now_ms, history, native=True, interest=True, audited=True)
    assert plan is not None
    for target in timeframe.produces:
        check_rows(follower, plan, target, history, interest=True)


@pytest.mark.parametrize("timeframe", [Timeframe.M5, Timeframe.H1, Timeframe.H4], ids=str)
def test_without_a_base_a_row_that_was_left_out_is_asked_for_again(timeframe: Timeframe) -> None:
    now_ms, history = MIDNIGHT + 40 * HOUR_MS + MINUTE_MS, 30
    exchange = invented(Random(7), range(MIDNIGHT, now_ms + DAY_MS, STEP_MS), Habits(), 0)  # noqa: S311
    market = Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT", launched_ms=MIDNIGHT)
    follower = Follower(exchange, market)
    follower.collect(timeframe, now_ms, history, native=True, interest=True)
    series = follower.series[timeframe]
    rows = list(series.rows)
    left_out = LeftOut(rows.pop(-5)[0] + 1, "off the grid")
    follower.series[timeframe] = replace(series, rows=rows, left_out={"klines": (left_out,)})
    plan = follower.collect(timeframe, now_ms + 1, history, native=True, interest=True)
    assert plan is not None
    longest_ms = timeframe.produces[-1].interval_ms
    assert plan.klines[0].start_ms == left_out.time_ms // longest_ms * longest_ms
    for target in timeframe.produces:
        check_rows(follower, plan, target, history, interest=True)


@pytest.mark.parametrize("timeframe", [Timeframe.M5, Timeframe.H1, Timeframe.H4], ids=str)
def test_what_was_made_at_this_instant_is_not_asked_for_again(timeframe: Timeframe) -> None:
    now_ms, history = MIDNIGHT + 40 * HOUR_MS + 3 * STEP_MS + MINUTE_MS, 400
    opens = [
        open_ms
        for open_ms in range(MIDNIGHT, now_ms + DAY_MS, STEP_MS)
        if open_ms != MIDNIGHT + 40 * HOUR_MS + STEP_MS  # a hole in the forming candle of 8h
    ]
    exchange = invented(Random(7), opens, Habits(), 0)  # noqa: S311
    market = Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT", launched_ms=MIDNIGHT)
    follower = Follower(exchange, market)
    follower.read(now_ms, interest=True)
    asked = []
    for _ in range(2):
        plan = follower.collect(timeframe, now_ms, history, native=True, interest=True)
        assert plan is not None
        asked.append((bool(plan.klines), plan.interest is not None))
        for target in timeframe.produces:
            check_rows(follower, plan, target, history, interest=True)
    assert asked[0][0]
    assert asked[1] == (False, False)
    follower.read(now_ms + STEP_MS, interest=True)
    plan = follower.collect(timeframe, now_ms + STEP_MS, history, native=True, interest=True)
    assert plan is not None
    for target in timeframe.produces:
        check_rows(follower, plan, target, history, interest=True)
