"""Fetches what a plan from a base asks for natively, and checks it against what is known."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from data_collector.api_parser import Candle, OpenInterestRow
from data_collector.base_plan import BasePlan
from data_collector.collect_or_carry_over import RETRIED_AT_THE_END
from data_collector.data_processing import contradiction, why_lost
from data_collector.fetch_strategies import fetch_open_interest
from data_collector.incremental import LEAST_OVERLAP
from data_collector.run import CollectionRun
from data_collector.task_builder import FetchTask
from market.candles import Candles
from market.left_out import LeftOut
from market.rows import (
    Rows,
    TimedValues,
    are_among,
    are_same_candles,
    candle_values,
    located,
    stacked,
)
from venues.errors import ExchangeError


@dataclass(slots=True)
class PlanAnswer:
    """What came for a plan: the candles of each of its tasks, None where it failed; its snapshots;
    the invalid rows; and why a task failed, if one did."""

    plan: BasePlan
    native: list[Sequence[Candle] | None] = field(default_factory=list)
    snapshots: Sequence[OpenInterestRow] = ()
    left_out: list[LeftOut] = field(default_factory=list)
    interest_left_out: list[LeftOut] = field(default_factory=list)
    error: ExchangeError | None = None


async def fetch_native(
    fetch: Callable[[FetchTask, list[LeftOut]], Awaitable[Sequence[Candle]]],
    answer: PlanAnswer,
    known: Rows,
    *,
    last_try: bool,
    believed: Callable[[str | None], bool],
) -> None:
    """Fetches the plan's candles into the answer, unless it has an error; at the first one it
    stops. `fetch`: brings a task's candles, and adds the invalid rows; `known`: the closed rows of
    the earlier document; `believed`: whether candles count, with what is against them.

    If this is not the last try, raises ExchangeError where another try may help.
    """
    doubts: list[str | None] = []
    for task in answer.plan.klines:
        if answer.error is not None:
            answer.native.append(None)
            continue
        found: list[LeftOut] = []
        try:
            whole = _with_known(task, known, answer.plan.parts[0].made.rows)
            candles = Candles.of(await fetch(whole, found))
            asked = _check_nothing_lost(whole, candles, found, known, holes_too=not last_try)
            doubt = contradiction(asked, candles, _odd(task, found))
            doubts.append(doubt)
            if doubt is not None and not believed(doubt):
                raise task.bad_payload(f"{doubt}: believed if it says so again")
        except ExchangeError as error:
            if not last_try and isinstance(error, RETRIED_AT_THE_END):
                raise
            answer.error = error
            answer.native.append(None)
        else:
            answer.native.append(candles.between(task.start_ms, task.end_ms))
            answer.left_out += (
                row for row in found if task.start_ms <= row.slot_ms(task.step_ms) <= task.end_ms
            )
    if doubts and not any(doubts):
        believed(None)


async def fetch_snapshots(run: CollectionRun, answer: PlanAnswer) -> None:
    """Fetches the plan's snapshots into the answer. Raises ExchangeError."""
    task = answer.plan.interest
    if task is None:
        return
    found: list[LeftOut] = []
    answer.snapshots = await fetch_open_interest(run, task, found)
    # Of a finer period only the snapshots at the candles' open times count.
    step_ms = answer.plan.timeframe.interval_ms
    answer.interest_left_out += (r for r in found if r.slot_ms(task.step_ms) % step_ms == 0)


def known_snapshots(answer: PlanAnswer, earlier: Rows) -> TimedValues:
    """The open interest of earlier rows whose candles have come again, as they were; it goes on to
    count where nothing else of these rows is used. Not what the base knows."""
    made = answer.plan.parts[0].made.rows
    known = earlier.non_null("open_interest")
    fetched = [Candles.of(candles) for candles in answer.native if candles is not None]
    times = np.concatenate([made.times, *(each.times for each in fetched)])
    values = stacked([candle_values(made.values), *(each.values for each in fetched)])
    if not len(times) or not earlier.is_finite():
        return known.select(slice(0))
    order = np.argsort(times, kind="stable")
    there, lines = located(earlier.times, times[order])
    same = there & are_same_candles(values[order][lines], candle_values(earlier.values))
    if (base := answer.plan.base) is not None:
        same &= ~np.isin(earlier.times, base.snapshots.times)
    return known.select(np.flatnonzero(are_among(known.times, earlier.times[same])))


def _with_known(task: FetchTask, *known: Rows) -> FetchTask:
    """The task with some known candles before it, or after it: an answer in which no row is valid
    counts as one that could not be read, but some of an exchange may be impossible in a row."""
    first_ms, last_ms, reach_ms = task.start_ms, task.end_ms, LEAST_OVERLAP * task.step_ms
    for span in ((first_ms - reach_ms, first_ms - 1), (last_ms + 1, last_ms + reach_ms)):
        times = Rows.joined([rows.between(*span) for rows in known]).times
        if len(times):
            first_ms, last_ms = min(first_ms, int(times[0])), max(last_ms, int(times[-1]))
            return replace(task, start_ms=first_ms, end_ms=last_ms, newest_ms=last_ms)
    return task


def _check_nothing_lost(
    task: FetchTask,
    candles: Sequence[Candle],
    left_out: Sequence[LeftOut],
    known: Rows,
    *,
    holes_too: bool,
) -> Rows:
    """The known rows that the task asked for. Raises BadPayload if the answer lacks some."""
    known = known.between(task.start_ms, task.end_ms)
    if not len(known):
        return known
    there = _odd(task, left_out).union(Candles.of(candles).times.tolist())
    if not there:
        raise task.bad_payload("no candles for a market that had some before")
    if cause := why_lost(known.times.tolist(), there, holes_too=holes_too):
        raise task.bad_payload(cause)
    return known


def _odd(task: FetchTask, left_out: Sequence[LeftOut]) -> set[int]:
    return {row.slot_ms(task.step_ms) for row in left_out}
