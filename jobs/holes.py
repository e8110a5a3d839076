"""The job `holes`: looks for holes in the record, and asks the exchanges for those that are due."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from database import BackfillWish, ListedHole, SeriesKey
from history.backfill.planning import Lacking
from history.backfill.requesting import shares_of
from history.backfill.series import Target
from history.backfill.shares import Shares
from history.backfill.wanted import WHAT, Wanted
from history.hole_search import MOST_AT_ONCE, HoleSearch
from history.holes import ASKED_AGAIN_AFTER_MS, Range, intersected
from job_queue.records import JobRecord
from jobs.backfill_asking import Asking, ExchangeGivenUp, SharedSender
from jobs.backfill_run import BackfillRun
from jobs.backfill_tally import Tally
from jobs.backfill_targets import targets_of
from jobs.context import JobContext, Outcome, Progress
from market.markets import Exchange
from market.timeframes import DAY_MS, HOUR_MS, Timeframe
from stores.hot.leases import Lease
from venues.errors import ExchangeError

JOB_ID: Final = "holes"
EVERY_MS: Final = HOUR_MS
# A backfill that is wished for meanwhile waits for so long, at most.
_SEARCH_S: Final = 60.0
_ASK_S: Final = 600.0
# Of a hole that nobody has asked for; a longer one is a matter of a backfill.
LONGEST_UNASKED_MS: Final = 31 * DAY_MS
_MOST: Final = 20_000  # holes of one run

_TIMEFRAMES: Final = {each.interval_ms: each for each in Timeframe}

log = structlog.get_logger(__name__)


async def holes(context: JobContext, _: JobRecord, lease: Lease, progress: Progress) -> Outcome:
    """Looks at the markets that are due, asks for the holes that are due, unless a backfill waits,
    and looks at their markets again. What it does not come to is done by the next run."""
    database = context.database
    collected = {
        (str(market.exchange), market.symbol)
        for market in await database.get_all_unique_coins(**context.selection)
    }
    if not context.keeps_history or not collected:
        return Outcome(None, {"looked_at": 0, "asked": 0})
    progress.enter("search")
    shares = await shares_of(database, context.settings)
    behind_ms = await _behind_ms(context, shares)
    search = HoleSearch(database, collected, context.settings.timeframes, behind_ms)
    found = await search.search(context.now_ms(), seconds=_SEARCH_S)
    due: list[ListedHole] = []
    if not await database.backfills.open():
        now_ms = context.now_ms()
        some = await database.holes.due(
            now_ms,
            asked_before_ms=now_ms - ASKED_AGAIN_AFTER_MS,
            longest_ms=LONGEST_UNASKED_MS,
            limit=_MOST,
        )
        due = [each for each in some if (each.key.exchange, each.key.symbol) in collected]
    tally = Tally(_not_wished(context.now_ms()))
    if due:
        await _ask(context, due, shares, tally, lease, progress)
        markets = sorted({(each.key.exchange, each.key.symbol) for each in due})
        progress.enter("search")
        for begin in range(0, len(markets), MOST_AT_ONCE):
            await search.look_at(markets[begin : begin + MOST_AT_ONCE], context.now_ms())
    counts = await database.holes.counts()
    context.metrics.holes(counts)
    states: Counter[str] = Counter()
    for (_exchange, state), count in counts.items():
        states[state] += count
    told = {"looked_at": found.markets, "asked": len(due), "requests": tally.requests}
    told |= {"filled": tally.rows}
    log.info("holes_searched", **told, holes=dict(states))
    return Outcome(None, {**told, "holes": dict(states)})


async def _behind_ms(context: JobContext, shares: Shares) -> dict[str, int]:
    """How far each exchange's clock is behind ours; one that does not answer has no say."""
    found = {}
    for exchange in context.settings.exchanges:
        asking = Asking(SharedSender(context.client, shares), exchange, patience_s=0)
        with contextlib.suppress(ExchangeGivenUp, ExchangeError):
            found[str(exchange)] = max(0, context.now_ms() - await asking.time_ms())
    return found


async def _ask(
    context: JobContext,
    due: Sequence[ListedHole],
    shares: Shares,
    tally: Tally,
    lease: Lease,
    progress: Progress,
) -> None:
    """Asks for the holes as a backfill does, within its share of the limits, for a while."""
    wanted = _wanted(due)
    names = {(each.key.exchange, each.key.symbol) for each in due}
    targets: list[Target] = [
        target
        for target in await targets_of(context, wanted, lease, progress)
        if (str(target.market.exchange), target.market.symbol) in names
    ]
    tally.markets = len(targets)
    run = HoleRun(context, wanted, targets, shares, progress, tally, due=DueHoles(due))
    try:
        async with asyncio.timeout(_ASK_S) as limit:
            await run.work()
    except TimeoutError:
        if not limit.expired():
            raise
    if tally.failures:
        log.warning("holes_not_asked", markets=len(tally.failures), error=tally.error())


@dataclass(slots=True, kw_only=True)
class HoleRun(BackfillRun):
    """A backfill of holes, which nobody has wished for."""

    due: "DueHoles"

    @property
    def _lacking(self) -> Lacking:
        return self.due

    async def _save(self) -> bool:
        return True


class DueHoles:
    """What a backfill is to ask for in place of what is missing: the holes that are due.

    Candles that are made of shorter ones are asked for as those.
    """

    def __init__(self, due: Sequence[ListedHole]) -> None:
        self._ranges: dict[SeriesKey, list[Range]] = {}
        for each in due:
            hole, key = each.hole, _asked_as(each.key)
            self._ranges.setdefault(key, []).append((hole.from_ms, hole.to_ms))

    async def missing(
        self, key: SeriesKey, from_ms: int, to_ms: int, *, step_ms: int | None = None
    ) -> Sequence[Range]:
        """The due ranges within that one, ascending, without overlaps."""
        joined: list[Range] = []
        for begin, end in sorted(self._ranges.get(key, ())):
            if joined and begin <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(end, joined[-1][1])
            else:
                joined.append((begin, end))
        return intersected(joined, [(from_ms, to_ms)])


def _not_wished(now_ms: int) -> BackfillWish:
    return BackfillWish(
        id=0,
        wanted={},
        requested_at_ms=now_ms,
        started_at_ms=now_ms,
        finished_at_ms=None,
        state="running",
        done=0,
        total=0,
        requests=0,
        rows=0,
        seconds_left=None,
        failures={},
        error=None,
    )


def _wanted(due: Sequence[ListedHole]) -> Wanted:
    """All that the holes are of. Open interest is asked for in the steps of its holes."""
    steps = {
        each.key.interval_ms if each.key.kind == "candles" else each.hole.step_ms
        for each in due
        if each.key.kind != "funding"
    }
    exchanges = {each.key.exchange for each in due}
    return Wanted(
        tuple(each for each in Exchange if each in exchanges),
        tuple(
            each for each in Timeframe if any(made.interval_ms in steps for made in each.produces)
        ),
        tuple(each for each in WHAT if any(hole.key.kind == each for hole in due)),
        min(each.hole.from_ms for each in due),
    )


def _asked_as(key: SeriesKey) -> SeriesKey:
    timeframe = _TIMEFRAMES.get(key.interval_ms) if key.kind == "candles" else None
    if timeframe is None:
        return key
    return SeriesKey.candles(key.exchange, key.symbol, timeframe.collected_as)
