"""The fill job: fetches the open interest that first collections left out, and publishes it.

A first collection publishes candles at once and names the markets whose open interest was not asked
for yet. This job asks for it and publishes each document again when it has that of every market. It
gives way to every other job of its lane: then it keeps what it has in memory, and asks to be run
again. What is lost with the process is asked for again.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from data_collector.interest_answers import MOST_BYTES, Answer
from data_collector.interest_fetching import (
    InterestFetching,
    SharingSender,
    Wish,
    by_documents,
    share_beside_collections,
)
from data_collector.interest_fill import (
    Span,
    filled,
    filled_from,
    lacking,
    plan_series,
    served,
)
from data_collector.results import reason_of
from data_collector.run import CollectionRun
from job_queue.kinds import job_definition
from job_queue.records import JobRecord
from jobs.context import JobContext, Outcome, Progress, by_exchange
from jobs.markets import markets_to_collect
from jobs.refill import Refill, WholeDocument, publish_refilled, read_whole
from jobs.stored import previous_series
from market.left_out import LeftOut
from market.lives import begun
from market.markets import Exchange, Market, MarketSeries, UnreadableSeries
from market.previous_series import PreviousSeries
from market.rows import Rows
from market.timeframes import COLLECTED, Timeframe
from stores.hot.leases import Lease, retry_under_lease
from stores.hot.store import StoreUnavailable
from venues.venue import Endpoint

JOB_ID: Final = "fill"
# How often it looks for jobs that no message told this process of. Upstash bills every look.
_LOOK_EVERY_S: Final = {"native": 1.0, "upstash": 5.0}
_NOT_COLLECTED: Final = "the market is not collected any more"

# Of each market, by Market.key, whose open interest a document awaits: the rows that lack it.
Awaited = dict[str, Span | None]

log = structlog.get_logger(__name__)


async def fill(context: JobContext, job: JobRecord, lease: Lease, progress: Progress) -> Outcome:
    """Fetches and publishes until nothing is left, or until another job of the lane is queued."""
    others = await retry_under_lease(lease, lambda: context.queue.waiting(lease.name, but=JOB_ID))
    result: dict[str, Any] = {"requests": 0}
    if not others:
        filling = await _Filling.begin(context, lease, progress)
        if filling is not None:
            others = await filling.work()
            result = filling.result()
    if not others:
        context.interest.gave_way = "left" in result  # a later collection asks for the rest
    else:
        context.interest.gave_way |= _are_collections(others)
        log.info("gives_way", to=others)
        await retry_under_lease(lease, lambda: context.queue.request(JOB_ID))
    return Outcome(None, result)


async def fetch_ahead(
    context: JobContext,
    markets: Iterable[Market],
    timeframes: Sequence[Timeframe],
    as_of_ms: int,
) -> None:
    """Begins with what `fill` will ask for, while a first collection still fetches its candles.

    It leaves the collection its part of the budgets, and may be cancelled at any time. Open
    interest of an hour and more comes first, of all the window; `as_of_ms` is the collection's.
    """
    history = context.settings.history_candles
    whole = {
        each: (each.window_start(as_of_ms, history), each.floor(as_of_ms)) for each in timeframes
    }
    wishes = [
        (market, series)
        for market in markets
        for series in plan_series(market.exchange, _of_life(market, whole), as_of_ms)
    ]
    run = CollectionRun(_sender(context, [market for market, _ in wishes], beside=True))
    await InterestFetching(run, context.interest, as_of_ms).fetch(wishes)


@dataclass(slots=True)
class _Filling:
    """One run. `awaited`: what each document lacks; `pending`: the markets whose answers a
    collected timeframe still needs, by Market.key."""

    context: JobContext
    lease: Lease
    progress: Progress
    run: CollectionRun
    as_of_ms: int
    markets: Mapping[str, Market]
    awaited: dict[Timeframe, Awaited]
    pending: dict[Timeframe, set[str]] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    published: list[Timeframe] = field(default_factory=list)
    stored_bytes: int = 0
    snapshots: int = 0
    absent: dict[Exchange, str] = field(default_factory=dict)

    @classmethod
    async def begin(
        cls, context: JobContext, lease: Lease, progress: Progress
    ) -> "_Filling | None":
        """Reads what the stored documents await; None: nothing."""
        progress.enter("markets")
        names = list(Timeframe)
        metas = await retry_under_lease(lease, lambda: context.cache.read_metas(names))
        stored = {name: meta.as_of_ms for name in names if (meta := metas[name]) is not None}
        awaited = {}
        for name in stored:
            found = await _awaited_by(context, name, lease)
            if found:
                awaited[name] = found
        if not awaited:
            context.interest.keep_only({})
            return None
        as_of_ms = max(stored.values())
        witness = context.last_as_of.witness(as_of_ms)
        if witness is not None:
            as_of_ms = max(as_of_ms, witness.time_ms)
        markets = await markets_to_collect(context, lease, progress)
        sender = _sender(context, markets, beside=context.interest.gave_way)
        by_key = {market.key: begun(market, as_of_ms) for market in markets}
        return cls(context, lease, progress, CollectionRun(sender), as_of_ms, by_key, awaited)

    async def work(self) -> list[str]:
        """Returns at the end, or early with the jobs that it gives way to."""
        wishes = self._wishes()
        self.progress.enter("fetch", len(wishes))
        fetching = InterestFetching(self.run, self.context.interest, self.as_of_ms, self._answered)
        fetch = asyncio.create_task(fetching.fetch(wishes))
        others = asyncio.create_task(_other_jobs(self.context, self.lease))
        try:
            while not others.done():
                over = fetch.done()
                if over:
                    fetch.result()
                    self._give_up_exchanges()
                self.changed.clear()
                full = self.context.interest.bytes > MOST_BYTES
                await self._publish(others, in_part=over or full)
                if over:
                    return others.result() if others.done() else []
                await _first_of(fetch, others, event=self.changed)
            return others.result()
        finally:
            for task in (fetch, others):
                task.cancel()
            await asyncio.gather(fetch, others, return_exceptions=True)

    def result(self) -> dict[str, Any]:
        """What was done, and by document for how many markets it is still to be done."""
        left = {str(name): len(keys) for name, keys in self.awaited.items() if keys}
        return {
            "published": list(map(str, self.published)),
            "open_interest": self.snapshots,
            "requests": self.run.requests,
            "retries": self.run.retries,
            "bytes": self.stored_bytes,
            **({"left": left} if left else {}),
            **by_exchange(absent=self.absent),
        }

    def _wishes(self) -> list[Wish]:
        """The series to ask for; fills `pending`."""
        spans: dict[str, dict[Timeframe, Span]] = {}
        for timeframe in COLLECTED:
            pending = self.pending[timeframe] = set()
            for key, span in self.awaited.get(timeframe, {}).items():
                if key in self.markets and span is not None and self._needs(timeframe, key, span):
                    pending.add(key)
                    spans.setdefault(key, {})[timeframe] = span
        return [
            (self.markets[key], series)
            for key, lacks in spans.items()
            for series in plan_series(self.markets[key].exchange, lacks, self.as_of_ms)
        ]

    def _needs(self, timeframe: Timeframe, key: str, span: Span) -> bool:
        """Whether an answer of the exchange is needed that is not there yet."""
        ours = served(self.markets[key].exchange, timeframe, span, self.as_of_ms)
        return (
            ours is not None
            and self.context.interest.get(key, timeframe, ours, self.as_of_ms) is None
        )

    def _answered(self, key: str, answer: Answer) -> None:
        for timeframe in answer.series.timeframes:
            self.pending[timeframe].discard(key)
        self.progress.count(self.progress.done + 1, self.progress.total)
        self._count_memory()
        whole = not all(self.pending[timeframe] for timeframe in answer.series.timeframes)
        if whole or self.context.interest.bytes > MOST_BYTES:
            self.changed.set()

    def _give_up_exchanges(self) -> None:
        """Forgets what failed at exchanges that the run has stopped asking, so that their markets
        stay named as not asked for."""
        for exchange in sorted({market.exchange for market in self.markets.values()}):
            reason = self.run.reason_to_skip(exchange, Endpoint.OPEN_INTEREST)
            if reason is not None:
                self.absent[exchange] = reason_of(reason)
                self.context.interest.forget_failures(f"{exchange}:")

    async def _publish(self, others: "asyncio.Task[list[str]]", *, in_part: bool) -> None:
        """Publishes the documents that are whole; `in_part`: all that any market is there for."""
        for timeframe in sorted(COLLECTED, key=by_documents):
            pending = self.pending[timeframe]
            if pending and not in_part:
                continue
            for target in timeframe.produces:
                awaited = self.awaited.get(target, {})
                still = pending if target is timeframe else self.awaited.get(timeframe, {}).keys()
                if not others.done() and awaited.keys() - still:
                    await self._publish_one(timeframe, target)
        waiting: dict[str, list[Timeframe]] = {}
        for target, awaited in self.awaited.items():
            for key in awaited:
                waiting.setdefault(key, []).append(target)
        self.context.interest.keep_only(waiting)
        self._count_memory()

    def _count_memory(self) -> None:
        self.context.kept.reserve(JOB_ID, self.context.interest.bytes)

    async def _publish_one(self, timeframe: Timeframe, target: Timeframe) -> None:
        document = await read_whole(self.context, target, self.lease)
        source = document
        if target is not timeframe:
            source = await read_whole(self.context, timeframe, self.lease)
        if document is None or source is None:
            self.awaited.pop(target, None)  # the next collection makes it anew
            return
        found = source

        def refill(series: MarketSeries) -> Refill | None:
            if target is timeframe:
                return self._refill(timeframe, series)
            return _refill_from(found, series)

        refilled = await publish_refilled(self.context, target, document, refill, self.lease)
        if refilled is None:
            return
        self.published.append(target)
        self.stored_bytes += refilled.stored_bytes
        self.snapshots += refilled.snapshots
        for key in refilled.markets:
            self.awaited[target].pop(key, None)

    def _refill(self, timeframe: Timeframe, series: MarketSeries) -> Refill | None:
        """What becomes of a market of a collected timeframe; None: its answer is not there."""
        rows, key = Rows.of(series.rows), series.market.key
        market, span = self.markets.get(key), lacking(rows)
        if span is None:
            return Refill(rows)
        if market is None:
            return Refill(rows, reasons=[_NOT_COLLECTED])
        ours = served(market.exchange, timeframe, span, self.as_of_ms)
        if ours is None:
            return Refill(rows)
        answer = self.context.interest.get(key, timeframe, ours, self.as_of_ms)
        if answer is None:
            return None
        if answer.reason is not None:
            return Refill(rows, reasons=[answer.reason])
        full = filled(market, timeframe, rows, answer.snapshots)
        return Refill(full, _left_out_of(answer, timeframe, full))


def _sender(context: JobContext, markets: Sequence[Market], *, beside: bool) -> SharingSender:
    """`beside`: the collections that come in between find their part of the budgets."""
    client = context.client
    counts: dict[Exchange, set[str]] = {}
    for market in markets:
        counts.setdefault(market.exchange, set()).add(market.key)
    shares = {
        exchange: share_beside_collections(client, exchange, len(keys))
        for exchange, keys in counts.items()
        if beside
    }
    return SharingSender(client, shares)


def _of_life(market: Market, spans: Mapping[Timeframe, Span]) -> dict[Timeframe, Span]:
    """The spans as far as the market's present life reaches."""
    begin_ms = market.since_ms or market.launched_ms
    return {
        timeframe: (max(first_ms, timeframe.floor(begin_ms)), last_ms)
        for timeframe, (first_ms, last_ms) in spans.items()
        if timeframe.floor(begin_ms) <= last_ms
    }


async def _awaited_by(context: JobContext, timeframe: Timeframe, lease: Lease) -> Awaited:
    """The markets whose open interest the stored document awaits."""
    stored = await previous_series(context, timeframe, lease)
    return {} if stored is None else await asyncio.to_thread(_lacking_rows, timeframe, stored)


def _lacking_rows(timeframe: Timeframe, stored: PreviousSeries) -> Awaited:
    found: Awaited = {}
    for key in stored:
        try:
            series = stored[key]
        except UnreadableSeries as error:
            log.error("stored_series_unreadable", timeframe=timeframe, market=key, error=str(error))
            continue
        if series.awaits_open_interest:
            found[key] = lacking(Rows.of(series.rows))
    return found


def _refill_from(source: WholeDocument, series: MarketSeries) -> Refill | None:
    """What becomes of a market of an aggregated timeframe: what `source`, the document that it is
    made of, has of it; None: that awaits it, too."""
    try:
        shorter = source.series[series.market.key]
    except LookupError:
        return None
    if shorter.awaits_open_interest:
        return None
    rows = filled_from(Rows.of(series.rows), Rows.of(shorter.rows))
    told = shorter.left_out.get("open_interest", ())
    return Refill(rows, told, source.failures(series.market.key))


def _left_out_of(answer: Answer, timeframe: Timeframe, rows: Rows) -> list[LeftOut]:
    """The invalid snapshots at the open times of rows that lack one. Those of a finer period are
    of no interest here."""
    lacking_ms = set(Rows.of(rows).times.tolist()) - set(
        rows.non_null("open_interest").times.tolist()
    )
    period_ms = answer.series.period.interval_ms
    return [row for row in answer.left_out if row.slot_ms(period_ms) in lacking_ms]


def _are_collections(job_ids: Iterable[str]) -> bool:
    return any(job_definition(job_id).kind.name == "collect" for job_id in job_ids)


async def _other_jobs(context: JobContext, lease: Lease) -> list[str]:
    """Waits until other jobs of the lane are queued, and returns them."""
    look_every_s = _LOOK_EVERY_S[context.store.kind]
    while True:
        with contextlib.suppress(StoreUnavailable):  # the worker's report tells of it
            others = await context.queue.waiting(lease.name, but=JOB_ID)
            if others:
                return others
        await context.queue.wait_for_work(look_every_s, lease.name)


async def _first_of(*tasks: "asyncio.Task[Any]", event: asyncio.Event) -> None:
    wait = asyncio.create_task(event.wait())
    try:
        await asyncio.wait((*tasks, wait), return_when=asyncio.FIRST_COMPLETED)
    finally:
        wait.cancel()
