"""The collection of all timeframes: one pass over the markets, then every document that is due.

A document is due when a candle of it has closed since its last version, when that is old, when
closed candles of it were found to be others, or when markets that it lacks have come.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import structlog

from cache_manager import DocumentMeta
from data_collector.auditor import Auditor
from data_collector.base_documents import FromBases
from data_collector.base_pass import BasePass, base_pass, is_fresh_by
from data_collector.incremental import PreviousDocuments
from data_collector.part_asks import PartAsks
from data_collector.published import Published
from data_collector.run import CollectionRun
from data_collector.url_builder import endpoint_table
from documents.names import GLOBAL_FR
from job_queue.kinds import ALL, job_id_of, producer_of
from jobs.absences import absences
from jobs.context import JobContext, Outcome, Progress
from jobs.document_draft import DocumentDraft
from jobs.fill import JOB_ID as FILL
from jobs.fill import fetch_ahead
from jobs.funding import known_funding
from jobs.pass_result import PassResult
from jobs.publishing import begin_drafts, publish
from jobs.shards import shared
from jobs.stored import previous_series
from market.base import Base
from market.markets import Exchange, FundingByMarket, Market, MarketSeries
from market.previous_series import PreviousSeries
from market.timeframes import MINUTE_MS, Timeframe
from stores.hot.leases import Lease, retry_under_lease
from venues.venue import Endpoint

# A document in which no candle has closed is published again after this time, for its forming
# rows; a little less than a quarter of an hour, as passes come with every third 5m close.
_OLD_MS: Final = 15 * MINUTE_MS - 30_000

ALL_JOB: Final = job_id_of("collect", ALL)

# Of a budget for open interest; what is left of it is for audits.
_LEFT_TO_PASSES: Final = 0.95

log = structlog.get_logger(__name__)


async def collect_all(
    context: JobContext, markets: Sequence[Market], lease: Lease, progress: Progress
) -> Outcome:
    """Reads the bases of all markets and publishes the documents of TIMEFRAMES that are due."""
    wanted = sorted({t.collected_as for t in context.settings.timeframes}, key=_interval_ms)
    exchanges = {market.exchange for market in markets}
    bases = await _stored_bases(context, exchanges, lease)
    run = _Run(context, markets, bases, wanted, lease, progress)
    return await run.collect()


async def collect_from_fresh_bases(
    context: JobContext,
    timeframe: Timeframe,
    markets: Sequence[Market],
    lease: Lease,
    progress: Progress,
) -> Outcome | None:
    """Publishes the documents of one collected timeframe from the stored bases; None if those are
    not fresh, as far as this process knows the time."""
    exchanges = {market.exchange for market in markets}
    stored = await context.bases.newest_as_of_ms(context, exchanges, lease)
    if not is_fresh_by(context.last_as_of, stored.values()):
        return None
    bases = await _stored_bases(context, exchanges, lease)
    run = _Run(context, markets, bases, [timeframe], lease, progress, always=True)
    return await run.collect()


async def _stored_bases(
    context: JobContext, exchanges: Iterable[Exchange], lease: Lease
) -> dict[str, Base]:
    """The stored bases by Market.key, without what they tell of trades if that is not wanted."""
    found: dict[str, Base] = {}
    for exchange in sorted(exchanges):
        found |= await context.bases.load(context, exchange, lease)
    wanted = context.settings.trade_columns
    return {key: base.fitted(wanted) for key, base in found.items()}


@dataclass(slots=True)
class _Made:
    """The documents of one collected timeframe in the making."""

    from_bases: FromBases
    drafts: Mapping[Timeframe, DocumentDraft]


@dataclass(slots=True)
class _Run:
    """One pass and its documents. `wanted`: collected timeframes; `always`: publish all of them,
    else those that are due."""

    context: JobContext
    markets: Sequence[Market]
    bases: dict[str, Base]
    wanted: Sequence[Timeframe]
    lease: Lease
    progress: Progress
    always: bool = False
    metas: Mapping[str, DocumentMeta | None] = field(default_factory=dict)
    funding: FundingByMarket = field(default_factory=dict)
    begun: dict[Timeframe, _Made] = field(default_factory=dict)
    made: dict[Timeframe, _Made] = field(default_factory=dict)
    read_ahead: dict[Timeframe, PreviousSeries] = field(default_factory=dict)
    slow: set[Exchange] = field(default_factory=set)  # as in FromBases
    result: PassResult = field(default_factory=PassResult)
    auditor: Auditor = field(init=False)

    def __post_init__(self) -> None:
        context = self.context
        self.auditor = Auditor(
            CollectionRun(context.client, trade_columns=context.settings.trade_columns),
            context.audits,
            context.settings.history_candles,
            self._with_room(),
            context.metrics.corrected,
            context.live,
        )

    def _with_room(self) -> frozenset[Exchange]:
        """The exchanges whose open interest this pass and the next one can ask for, with room for
        audits."""
        asked = Counter(market.exchange for market in self.markets)
        room = set()
        for exchange, markets in asked.items():
            counter = endpoint_table(exchange, Endpoint.OPEN_INTEREST).counter
            limits = self.context.client.limits.for_exchange(exchange)
            if limits.fits_each(counter, markets, _LEFT_TO_PASSES):
                room.add(exchange)
        return frozenset(room)

    async def collect(self) -> Outcome:
        context, lease = self.context, self.lease
        names = [str(made) for timeframe in self.wanted for made in timeframe.produces]
        self.metas = await retry_under_lease(lease, lambda: context.cache.read_metas(names))
        self.funding = await known_funding(context, lease, self.progress)
        forgotten = self._forget_suspects()
        stored_as_of_ms = max((m.as_of_ms for m in self.metas.values() if m), default=None)
        async with base_pass(
            context.client,
            self.markets,
            self.bases,
            stored_as_of_ms=stored_as_of_ms,
            last_as_of=context.last_as_of,
            doubts=context.doubts,
            history_candles=context.settings.history_candles,
            on_progress=self.progress.count,
            reader=context.live,
            forgotten=context.audits.forgotten,
            trade_columns=context.settings.trade_columns,
        ) as run:
            if context.live is not None and run.present is not None:
                await context.live.read()
            due = [each for each in self.wanted if self._is_due(each, run)]
            ready = [each for each in due if not self._may_wait(each, run)]
            together = [each for each in ready if self._is_at_hand(each)]
            run.published = await self._published(run)
            if self._is_streamed(run):
                # Nothing is waited for that the other documents could be made in: the finest first.
                # All are begun, as what a market is asked for depends on their audits.
                self.begun = {each: await self._begun(each, run) for each in together}
                run.following = [each.from_bases for each in self.begun.values()]
                together = together[:1]
            await self._make(run, together)
            run.published = None  # every base was read
            others = [each for each in due if each not in together]
            others += (each for each in self.wanted if self._has_changed(each, due, run))
            # Where nothing closes, nobody has to see markets whose closing events are awaited.
            waiting = [each for each in others if self._may_wait(each, run)]
            waiting = waiting if run.streams.unclosed else []
            one_by_one = [each for each in others if each not in waiting]
            if run.results.corrected:
                context.metrics.corrected(Timeframe.M5, "klines", run.results.corrected)
            forgotten |= self._forget_suspects()
            await self._publish_bases(run, run.read | forgotten)
            await self._publish(run)
            for timeframe in one_by_one:
                await self._make(run, [timeframe])
                await self._publish(run)
            if late := await run.read_late():
                await self._publish_bases(run, late)
            if again := [each for each in (*together, *one_by_one) if _lacks_late(each, run)]:
                await self._publish_again(run, again)
            if run.streams.unclosed:
                await self._publish_unclosed(run, waiting)
            await self._request_others()
            self._count_streams(run)
            if context.live is not None:
                await context.live.tell_distrusted()
            return self.result.outcome(run, self.auditor.run.requests, context.live)

    def _count_streams(self, run: BasePass) -> None:
        live, streams = self.context.live, run.streams
        for exchange in live.exchanges if live is not None else ():
            self.context.metrics.streamed(
                exchange,
                taken=streams.taken[exchange],
                repaired=streams.repaired[exchange],
                sampled=streams.sampled[exchange],
            )

    async def _published(self, run: BasePass) -> Published | None:
        """The finest stored document, if there are bases to weigh against it."""
        context = self.context
        collected = {each.collected_as for each in context.settings.timeframes}
        for timeframe in sorted(collected, key=_interval_ms) if run.has_new_bases() else ():
            if timeframe in self.metas and self.metas[timeframe] is None:
                continue
            series = await previous_series(context, timeframe, self.lease)
            if series is None:
                continue
            self.read_ahead[timeframe] = series
            documents = PreviousDocuments(
                {timeframe: series},
                timeframe,
                as_of_ms=run.as_of_ms,
                history_candles=context.settings.history_candles,
            )
            return Published(timeframe, documents)
        return None

    def _is_at_hand(self, timeframe: Timeframe) -> bool:
        """Whether no stored document has to be read and held whole."""
        kept = self.context.kept
        return all(
            self.metas[produced] is None or kept.is_published(produced)
            for produced in timeframe.produces
        )

    def _is_streamed(self, run: BasePass) -> bool:
        """Whether the markets' candles come by streams, and the stored documents go on."""
        live, exchanges = self.context.live, {market.exchange for market in run.markets}
        is_fed = live is not None and run.present is not None and exchanges <= live.fed
        return is_fed and all(self.metas.values())

    def _forget_suspects(self) -> set[str]:
        """Forgets the bases that have to be read anew, and returns whose; the next pass does."""
        audits = self.context.audits
        bases = {key: base for key in audits.suspect if (base := self.bases.pop(key, None))}
        audits.suspect.clear()
        audits.forgotten |= bases
        return set(bases)

    def _is_due(self, timeframe: Timeframe, run: BasePass) -> bool:
        return self.always or any(
            self._has_closed(produced, run.as_of_ms) or self._is_old(produced, run.as_of_ms)
            for produced in timeframe.produces
        )

    def _has_closed(self, produced: Timeframe, as_of_ms: int) -> bool:
        """Whether a candle has closed since the last version, if there is one."""
        meta = self.metas[produced]
        return meta is None or produced.floor(meta.as_of_ms) != produced.floor(as_of_ms)

    def _may_wait(self, timeframe: Timeframe, run: BasePass) -> bool:
        """Whether a timeframe's documents are published after the closing events that are awaited:
        no candle of them has closed."""
        live, at_ms = self.context.live, run.as_of_ms
        is_awaited = live is not None and live.is_awaiting(run.markets, Timeframe.M5.floor(at_ms))
        return is_awaited and not any(self._has_closed(each, at_ms) for each in timeframe.produces)

    def _is_old(self, produced: Timeframe, as_of_ms: int) -> bool:
        meta = self.metas[produced]
        return meta is None or not 0 <= as_of_ms - meta.as_of_ms < _OLD_MS

    def _has_changed(self, timeframe: Timeframe, due: Sequence[Timeframe], run: BasePass) -> bool:
        """Whether a document that is not due holds closed candles that are others now, or lacks
        markets that have been read."""
        meta = self.metas[timeframe]
        if timeframe in due or meta is None:
            return False
        if run.read & self.context.held_up.get(timeframe, frozenset()):
            return True
        return any(
            timeframe.floor(slot_ms) + timeframe.interval_ms <= meta.as_of_ms
            for slot_ms in run.changed
        )

    async def _make(self, run: BasePass, timeframes: Sequence[Timeframe]) -> None:
        for timeframe in timeframes:
            begun = self.begun.pop(timeframe, None)
            self.made[timeframe] = begun or await self._begun(timeframe, run)
        self.progress.enter("fetch")
        # That of 5m comes with the bases.
        first = [each for each in timeframes if self.metas[each] is None and each != Timeframe.M5]
        asks = self._first_asks(run, timeframes)
        async with (
            self._fetching_ahead(run, first),
            shared(self.context, run.run, asks, self.lease),
        ):
            await run.collect([self.made[timeframe].from_bases for timeframe in timeframes])

    def _first_asks(self, run: BasePass, timeframes: Sequence[Timeframe]) -> PartAsks:
        """The markets whose bases begin anew, and the timeframes that have no documents yet."""
        return PartAsks(
            tuple(each for each in run.markets if run.begins_anew(each)),
            tuple(t for t in timeframes if all(self.metas[made] is None for made in t.produces)),
            run.as_of_ms,
            self.context.settings.history_candles,
            from_bases=True,
        )

    @asynccontextmanager
    async def _fetching_ahead(
        self, run: BasePass, timeframes: Sequence[Timeframe]
    ) -> AsyncIterator[None]:
        """Begins with the open interest of first documents, as long as this is open."""
        if not timeframes:
            yield
            return
        ahead = fetch_ahead(self.context, run.markets, timeframes, run.as_of_ms)
        task = asyncio.create_task(ahead, name="fetch-ahead")
        try:
            yield
        finally:
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(ended, Exception):  # `fill` asks for it
                log.warning("not_fetched_ahead", error=f"{type(ended).__name__}: {ended}")

    async def _begun(self, timeframe: Timeframe, run: BasePass) -> _Made:
        context, as_of_ms = self.context, run.as_of_ms
        previous: dict[Timeframe, PreviousSeries | None] = {
            produced: self.read_ahead.pop(produced, None)
            or await previous_series(context, produced, self.lease)
            for produced in timeframe.produces
        }
        quiet = frozenset(made for made in previous if not self._has_closed(made, as_of_ms))
        drafts = await begin_drafts(context, timeframe, previous, self.markets, quiet=quiet)
        history_candles = context.settings.history_candles

        def deliver(produced: Timeframe, series: MarketSeries) -> None:
            drafts[produced].add(series)

        from_bases = FromBases(
            timeframe=timeframe,
            run=run.run,
            as_of_ms=as_of_ms,
            history_candles=history_candles,
            funding=self.funding,
            previous=PreviousDocuments(
                {produced: stored or {} for produced, stored in previous.items()},
                timeframe,
                as_of_ms=as_of_ms,
                history_candles=history_candles,
                streamed_ms=self._streamed_ms(),
                trade_columns=context.settings.trade_columns,
            ),
            deliver=deliver,
            auditor=self.auditor,
            doubts=context.doubts,
            slow=self.slow,
        )
        return _Made(from_bases, drafts)

    def _streamed_ms(self) -> dict[Exchange, int]:
        """Up to when the streams of each exchange have closed candles of the known bases."""
        found = {exchange: 0 for exchange in {market.exchange for market in self.markets}}
        for market in self.markets:
            if (base := self.bases.get(market.key)) is not None:
                found[market.exchange] = max(found[market.exchange], base.streamed_ms)
        return found

    async def _publish_bases(self, run: BasePass, changed: set[str]) -> None:
        """Publishes the bases of the exchanges of which one has changed, by Market.key."""
        for exchange in sorted({each.exchange for each in run.markets if each.key in changed}):
            bases = {
                market.key: (market, base)
                for market in run.markets
                if market.exchange is exchange and (base := run.bases.get(market.key)) is not None
            }
            await self.context.bases.publish(
                self.context, exchange, bases, run.as_of_ms, self.lease
            )

    async def _publish(self, run: BasePass) -> None:
        """Publishes the documents that were made, finest first, and lets go of them."""
        context, outcome = self.context, self.result
        results = run.results
        if outcome.absent is None:
            outcome.absent, outcome.unlisted = await absences(
                context, results.brought(), results.absent()
            )
        drafts = {
            produced: (draft, made.from_bases)
            for made in self.made.values()
            for produced, draft in made.drafts.items()
        }
        for draft, _ in drafts.values():
            await asyncio.to_thread(draft.encode_rest)
        ordered = [drafts[produced] for produced in sorted(drafts, key=_interval_ms)]
        waiting = [
            (draft, sorted([*from_bases.results.missing, *outcome.unlisted]))
            for draft, from_bases in ordered
        ]
        published = await publish(context, waiting, run.as_of_ms, self.lease, self.progress)
        for (draft, missing), document in zip(waiting, published, strict=True):
            outcome.published(
                draft.timeframe,
                rows=draft.rows,
                stored_bytes=document.stored_bytes,
                missing=missing,
                not_stored=document.not_stored,
            )
        for timeframe, made in self.made.items():
            from_bases = made.from_bases
            context.held_up[timeframe] = frozenset(from_bases.held_up)
            outcome.made(from_bases)
        self.made.clear()

    async def _publish_again(self, run: BasePass, timeframes: Sequence[Timeframe]) -> None:
        """Publishes documents with the open interest that they did not wait for."""
        context, names = self.context, list(self.metas)
        self.metas = await retry_under_lease(self.lease, lambda: context.cache.read_metas(names))
        for timeframe in timeframes:
            await self._make(run, [timeframe])
            await self._publish(run)

    async def _publish_unclosed(self, run: BasePass, others: Sequence[Timeframe]) -> None:
        """Publishes the documents that lack closed candles once more, and the others, when their
        closing events have come, or will not come any more, or other jobs wait: then the candles
        are asked for."""
        live, present, lane = self.context.live, run.present, self.lease.name
        assert live is not None and present is not None  # noqa: S101 - it was waited for streams
        closed_ms = Timeframe.M5.floor(run.as_of_ms)
        waiting = [market for market in run.markets if market.key in run.streams.unclosed]

        async def others_wait() -> bool:
            jobs = await retry_under_lease(
                self.lease, lambda: self.context.queue.waiting(lane, but=ALL_JOB)
            )
            return any(job_id != FILL for job_id in jobs)  # it yields to every close

        await live.wait(waiting, closed_ms, present.slowest().now_ms(), others_wait)
        read = await run.read_unclosed()
        await self._publish_bases(run, read | await run.read_late())
        self.result.forget(waiting)
        lacking = {each for each in self.wanted if _closes_at(each, closed_ms)} | {*others}
        await self._publish_again(run, sorted(lacking, key=_interval_ms))

    async def _request_others(self) -> None:
        """Queues the jobs that bring what the documents lack."""
        wanted = []
        if self.result.funding_outdated:
            wanted.append(producer_of(GLOBAL_FR))
        if self.result.awaits_open_interest:
            wanted.append(FILL)
        for job_id in wanted:
            await retry_under_lease(self.lease, partial(self.context.queue.request, job_id))


def _lacks_late(timeframe: Timeframe, run: BasePass) -> bool:
    """Whether a closed row of the timeframe's documents may lack what the pass has read late, or
    could not read; their forming rows come with the next version."""
    return any(
        produced.last_closed_open_time(run.as_of_ms) >= run.interest.late_from_ms
        for produced in timeframe.produces
    )


def _closes_at(timeframe: Timeframe, moment_ms: int) -> bool:
    """Whether a candle of the timeframe's documents closed at this moment."""
    return any(produced.floor(moment_ms) == moment_ms for produced in timeframe.produces)


def _interval_ms(timeframe: Timeframe) -> int:
    return timeframe.interval_ms
