"""One pass over the markets: reads what their bases lack, and makes the due documents of each."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterable,
    MutableMapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import structlog

from budgets.exchange_client import ExchangeClient
from data_collector.base_documents import FromBases, ReadBase
from data_collector.base_tasks import base_tasks, why_not_believed
from data_collector.clock_witnesses import LastAsOf
from data_collector.collect_or_carry_over import RETRIED_AT_THE_END
from data_collector.data_processing import contradiction
from data_collector.doubts import Doubts
from data_collector.exchange_clocks import Clocks, Present
from data_collector.fetch_strategies import fetch_klines
from data_collector.interest_reads import InterestReads
from data_collector.internal_errors import ENDS_JOB
from data_collector.published import Published
from data_collector.results import Results
from data_collector.run import CollectionRun, work_through
from data_collector.stream_reader import ClosingStreams
from data_collector.stream_reads import StreamReads
from data_collector.task_builder import FetchTask, MarketTasks
from market.base import STEP_MS, Base, extended, is_fresh
from market.candles import Candle, Candles
from market.left_out import LeftOut
from market.lives import begun
from market.markets import Market
from market.rows import Floats, are_same_candles, candle_values
from market.timeframes import Timeframe
from venues import VENUES
from venues.errors import CollectionFailed, ExchangeError

# What is known of the exchanges' time lies behind it by as long as their answers took: one who asks
# at a close must get the candle that has closed.
_LONGEST_BEHIND_MS: Final = 2000

log = structlog.get_logger(__name__)


class _Work(NamedTuple):
    """A market, and the timeframes whose documents it is not in yet."""

    market: Market
    targets: Sequence[FromBases]


@dataclass(slots=True)
class BasePass:
    """A pass at `as_of_ms`.

    `bases` by Market.key; those that are not fresh are read and replaced. `present`: the clocks
    that were read, None if all bases were fresh. `changed`: the open times of closed 5m candles
    that were found to be others than before; `read`: Market.key of the bases read in this pass.
    `published`: what new bases are weighed against, if anything is. `reader`: of the exchanges'
    streams, if candles may come by them. `following`: what is made later from what is read for the
    first timeframes. `forgotten`: bases that are read anew, by Market.key; they
    leave it when their candles of streams have been compared.
    """

    run: CollectionRun
    markets: Sequence[Market]
    bases: MutableMapping[str, Base]
    as_of_ms: int
    on_progress: Callable[[int, int], None]
    doubts: Doubts
    clocks: Clocks | None = None
    present: Present | None = None
    history_candles: int = 0
    published: Published | None = None
    reader: ClosingStreams | None = None
    following: Sequence[FromBases] = ()
    forgotten: MutableMapping[str, Base] = field(default_factory=dict)
    results: Results = field(init=False)
    interest: InterestReads = field(init=False)
    streams: StreamReads = field(init=False)
    changed: set[int] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    _to_retry: list[_Work] | None = None  # None: the last try
    _reads: dict[str, ReadBase] = field(default_factory=dict)  # by Market.key
    _unread: dict[str, ExchangeError] = field(default_factory=dict)  # for good, by Market.key
    _counted: set[str] = field(default_factory=set)  # Market.key of those in the results
    _is_first: bool = field(init=False)  # no base goes on: no document is held up by waiting

    def __post_init__(self) -> None:
        bases = (self.bases.get(market.key) for market in self.markets)
        self._is_first = not any(base is not None and base.reaches(self.as_of_ms) for base in bases)
        self.results = Results(0, self.on_progress)
        self.interest = InterestReads(self.run, self.as_of_ms, self.doubts)
        self.streams = StreamReads(self.reader, self.as_of_ms)

    def has_new_bases(self) -> bool:
        """Whether the base of a market, or its open interest, begins anew in this pass."""
        if self.clocks is None:
            return False
        bases = (self.bases.get(market.key) for market in self.markets)
        return any(
            base is None or not base.reaches(self.as_of_ms) or not base.interest_ms
            for base in bases
        )

    def begins_anew(self, market: Market) -> bool:
        """Whether the market's base has to be read, and no base of it goes on."""
        base = self.bases.get(market.key)
        return self.clocks is not None and (base is None or not base.reaches(self.as_of_ms))

    async def collect(self, targets: Sequence[FromBases]) -> None:
        """Makes every market's series of these timeframes.

        Markets whose exchange was in trouble are tried once more at the end. One whose candles
        contradict many known ones keeps its old rows until they say so again in a later pass.
        Raises CollectionFailed if no market has a candle.
        """
        self._begin(len(targets))
        async with aclosing(self._arriving()) as arriving:
            async for markets in arriving:
                await self._work_through([_Work(market, targets) for market in markets])
        self.run.reset_failures()
        again, self._to_retry = self._to_retry or [], None
        await self._work_through(again)
        self.results.raise_if_empty()

    async def _arriving(self) -> AsyncGenerator[Sequence[Market]]:
        """All markets; those whose closing events come by streams, in turn as these come."""
        if self.reader is None or self.present is None:
            yield self.markets
            return
        closed_ms, now_ms = Timeframe.M5.floor(self.as_of_ms), self.present.slowest().now_ms()
        async for markets in self.reader.arriving(self.markets, closed_ms, now_ms):
            yield markets

    def _begin(self, targets: int) -> None:
        self.results.total += len(self.markets) * (1 + targets) - len(self._counted)
        self.results.progress(0)
        self._to_retry = []

    async def _work_through(self, works: Sequence[_Work]) -> None:
        await work_through(
            self.run,
            works,
            lambda work: work.market.exchange,
            self._collect_market,
            self._failed,
            workers=self.run.sender.concurrency,
        )

    async def _collect_market(self, work: _Work) -> None:
        market, again = work.market, []
        error = self._unread.get(market.key)
        if error is None:
            try:
                read = await self._read(market, work.targets)
            except ExchangeError as failure:
                if self._to_retry is not None and isinstance(failure, RETRIED_AT_THE_END):
                    self._to_retry.append(work)
                    return
                error = self._unread[market.key] = failure
        if error is not None:
            read = ReadBase(market, self.bases.get(market.key), error=error)
        self._count(read)
        for target in work.targets:
            # A document takes milliseconds, and tens of them where it encodes a batch: leases are
            # renewed and requests sent in between.
            await asyncio.sleep(0)
            try:
                await target.collect(read, last_try=self._to_retry is None)
            except ExchangeError as error:
                if self._to_retry is None:
                    target.failed(market, error)
                else:
                    again.append(target)
                    continue
            self.results.progress(1)
        if again and self._to_retry is not None:
            self._to_retry.append(_Work(market, again))
        read.candles = None  # another try asks for them

    def _count(self, read: ReadBase) -> None:
        """Counts the market, once."""
        if read.market.key in self._counted:
            return
        self._counted.add(read.market.key)
        if read.error is not None:
            self.results.failed(read.market, read.error)
        elif read.base is not None:
            rows = int(read.base.there.sum())
            self.results.merged(read.market, rows, refreshed=read.klines is None)
        self.results.progress(1)

    def _failed(self, work: _Work, error: ExchangeError) -> None:
        """Something unexpected happened to the market."""
        for target in work.targets:
            try:
                target.failed(work.market, error)
            except ENDS_JOB:
                raise
            except Exception as unexpected:  # its old rows may be what cannot be used
                self.run.internal_error(unexpected, work.market.exchange)

    async def _read(self, market: Market, targets: Sequence[FromBases]) -> ReadBase:
        """The market's base, with what it lacked at `as_of_ms`.

        Raises ExchangeError if its candles could not be read, or are not believed yet.
        """
        base = self.bases.get(market.key)
        if base is not None and base.is_fresh(self.as_of_ms):
            return self._reads.get(market.key) or ReadBase(market, base)
        before, base = base, self.streams.without_taken_back(market, base)
        if base is not None:
            self.bases[market.key] = base
        clock_error = await self._clock_error(market)
        lacks_trades = base is not None and self._lacks_trades(market, base)
        tasks = base_tasks(
            market,
            base,
            as_of_ms=self.as_of_ms,
            history_candles=self.history_candles,
            anew=lacks_trades,
        )
        known = base if base is not None and base.reaches(self.as_of_ms) else None
        whole = None if lacks_trades else self.streams.whole(market, base)
        if whole is not None:
            read = ReadBase(market, whole, is_streamed=True)
        elif clock_error is not None:
            raise clock_error
        else:
            read = await self._ask(market, known, tasks)
        assert read.base is not None  # noqa: S101 - both ways make one
        if known is not None and before is not None and (changed := _changed(before, read.base)):
            self.changed |= changed
            self.results.count_correction(market, "klines")
        if tasks.open_interest is not None and clock_error is not None:
            read.interest_error = clock_error
        elif tasks.open_interest is not None:
            waits = known is None and self._is_first
            if self._can_follow(read, tasks.open_interest, targets):
                self.interest.read_late(read, tasks.open_interest)
            else:
                await self.interest.read(read, tasks.open_interest, waits=waits)
        self.bases[market.key] = read.base
        self.read.add(market.key)
        self._reads[market.key] = read
        return read

    def _lacks_trades(self, market: Market, base: Base) -> bool:
        """Whether nothing in it tells of trades, though the exchange does: all is read once more
        when that is wanted."""
        wanted = self.run.trade_columns and VENUES[market.exchange].tells_trades
        return wanted and not base.is_wide

    def _can_follow(
        self, read: ReadBase, interest: FetchTask, targets: Sequence[FromBases]
    ) -> bool:
        """Whether documents come without these snapshots: as soon as streams have closed their
        candles, unless older ones lack, too, or an audit needs all."""
        newest_ms = Timeframe.M5.floor(self.as_of_ms) - STEP_MS
        return (
            read.is_streamed
            and interest.start_ms >= newest_ms
            and not any(each.is_audit_due(read.market) for each in (*targets, *self.following))
        )

    async def _clock_error(self, market: Market) -> ExchangeError | None:
        """Why the exchange must not be asked, by its clock."""
        if self.clocks is None:
            return None
        try:
            await self.clocks.check_not_behind(market.exchange, self.as_of_ms)
        except ExchangeError as error:
            return error
        return None

    async def _ask(self, market: Market, known: Base | None, tasks: MarketTasks) -> ReadBase:
        """The market's base with the candles that it lacked. Raises ExchangeError."""
        read = ReadBase(market, known, tasks.klines)
        candles = Candles.of(await fetch_klines(self.run, tasks.klines, read.klines_left_out))
        self._check(known, tasks, candles, read.klines_left_out)
        start_ms = tasks.klines.start_ms
        read.base = extended(known, candles, asked_ms=start_ms, as_of_ms=self.as_of_ms)
        if start_ms < read.base.first_ms:
            read.candles = candles  # the first document of 5m begins before the base
        odd = {row.slot_ms(STEP_MS) for row in read.klines_left_out}
        read.base = self.streams.added(market, known, read.base, start_ms, odd)
        if read.base.newest_ms in odd:
            read.base = read.base.without_forming()
        self._weigh(read, candles, known)
        if (forgotten := self.forgotten.pop(market.key, None)) is not None and known is None:
            self.streams.compare(market, forgotten, read.base, start_ms, odd)
        return read

    async def read_unclosed(self) -> set[str]:
        """Reads the markets whose closings were not known, now without waiting for any. Returns
        Market.key of those whose bases have been read."""
        waiting = [each for each in self.markets if each.key in self.streams.unclosed]
        self.streams.waits = False
        for market in waiting:
            self._unread.pop(market.key, None)
            self._counted.discard(market.key)
        self.results.total += len(waiting)
        self._to_retry = []
        await self._work_through([_Work(market, ()) for market in waiting])
        self.run.reset_failures()
        again, self._to_retry = self._to_retry or [], None
        await self._work_through(again)
        return {market.key for market in waiting if market.key not in self._unread}

    async def read_late(self) -> set[str]:
        """Waits for the open interest that no document has waited for. Returns Market.key of those
        whose bases have got it."""
        found = set()
        for read in await self.interest.finish_late():
            key = read.market.key
            # Not of one that has been forgotten, or read anew, since.
            if read.base is not None and key in self.bases and self._reads.get(key) is read:
                self.bases[key] = read.base
                found.add(key)
        return found

    def _check(
        self,
        base: Base | None,
        tasks: MarketTasks,
        candles: Sequence[Candle],
        left_out: Sequence[LeftOut],
    ) -> None:
        """Raises BadPayload if the answer lacks candles that were seen final, or changes many and
        is not believed yet. Holes are believed at the last try, unless the newest ones lack."""
        first_try = self._to_retry is not None
        klines = tasks.klines
        cause = why_not_believed(base, klines, candles, left_out, holes_too=first_try)
        if cause is not None:
            raise klines.bad_payload(cause)
        if base is None:
            return  # as _weigh
        settled = base.rows.select(np.flatnonzero(base.settled[base.there]))
        known = settled.between(klines.start_ms, klines.end_ms)
        odd = {row.slot_ms(STEP_MS) for row in left_out}
        doubt = contradiction(known, Candles.of(candles), odd)
        if not self.doubts.is_believed(klines.market.key, "base", self.as_of_ms, doubt):
            raise klines.bad_payload(f"{doubt}: believed if it says so again")

    def _weigh(self, read: ReadBase, candles: Candles, known: Base | None) -> None:
        """Weighs a base that begins anew against what is published, as `_check` does one that goes
        on against itself. Raises BadPayload. Published open interest stays until other comes."""
        published, klines, base = self.published, read.klines, read.base
        if published is None or klines is None or base is None:
            return
        left_out, first_try = read.klines_left_out, self._to_retry is not None
        if known is None:
            cause = published.why_not_believed(klines, candles, left_out, holes_too=first_try)
            if cause is not None:
                raise klines.bad_payload(cause)
            doubt = published.contradiction(klines, candles, left_out, base)
            if not self.doubts.is_believed(read.market.key, "base", self.as_of_ms, doubt):
                raise klines.bad_payload(f"{doubt}: believed if it says so again")
        if not base.interest_ms:
            read.published = published.interest(read.market)
            read.base = base.with_published_interest(read.published)


def _changed(before: Base, now: Base) -> set[int]:
    """The open times of candles that were seen closed and are others now, or not there."""
    first_ms, last_ms = max(before.first_ms, now.first_ms), before.newest_ms
    if last_ms < first_ms:
        return set()
    old, new = (_lines(base, first_ms, last_ms) for base in (before, now))
    other = ~(are_same_candles(old, new) | (np.isnan(old[:, 0]) & np.isnan(new[:, 0])))
    known = before.known[(first_ms - before.first_ms) // STEP_MS :].copy()
    known[-1] = before.read_ms[-1] >= before.newest_ms + STEP_MS
    slots: list[int] = (first_ms + STEP_MS * np.flatnonzero(other & known)).tolist()
    return set(slots)


def _lines(base: Base, first_ms: int, last_ms: int) -> Floats:
    begin, end = ((ms - base.first_ms) // STEP_MS for ms in (first_ms, last_ms))
    return candle_values(base.values[begin : end + 1])


@asynccontextmanager
async def base_pass(
    client: ExchangeClient,
    markets: Sequence[Market],
    bases: MutableMapping[str, Base],
    *,
    stored_as_of_ms: int | None,
    last_as_of: LastAsOf,
    doubts: Doubts,
    history_candles: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    reader: ClosingStreams | None = None,
    forgotten: MutableMapping[str, Base] | None = None,
    trade_columns: bool = False,
) -> AsyncIterator[BasePass]:
    """A pass at the present. If all bases are fresh it asks nothing, not even for the time, and
    `as_of_ms` is theirs, or that of newer documents.

    `markets` without duplicates. `stored_as_of_ms`, `last_as_of` as in fetch_market_data. Raises
    CollectionFailed if no exchange's clock can be believed.
    """
    run = CollectionRun(client, trade_columns=trade_columns)
    if not markets:
        raise CollectionFailed("no markets to collect")
    known = [base.as_of_ms if (base := bases.get(one.key)) else None for one in markets]
    moments = [moment for moment in (*known, stored_as_of_ms) if moment is not None]
    as_of_ms = max(moments, default=None)
    if as_of_ms is not None and is_fresh_by(last_as_of, [*known, as_of_ms]):
        ours = [begun(market, as_of_ms) for market in markets]
        yield BasePass(run, ours, bases, as_of_ms, on_progress, doubts)
        return
    exchanges = {market.exchange for market in markets}
    async with Clocks(run, exchanges, as_of_ms, last_as_of) as clocks:
        present = await clocks.present()
        ours = [begun(market, present.as_of_ms) for market in markets]
        log.info("pass_started", markets=len(markets), as_of=present.as_of_ms)
        reading = BasePass(
            *(run, ours, bases, present.as_of_ms, on_progress, doubts, clocks, present),
            history_candles=history_candles,
            reader=reader,
            forgotten={} if forgotten is None else forgotten,
        )
        try:
            yield reading
        finally:
            await reading.interest.aclose()


def is_fresh_by(last_as_of: LastAsOf, read_ms: Iterable[int | None]) -> bool:
    """Whether all that was read at these times is fresh, by what this process knows of the time."""
    witness = last_as_of.witness(None)
    if witness is None or witness.at_least:
        return False
    now_ms = witness.time_ms
    if Timeframe.M5.floor(now_ms + _LONGEST_BEHIND_MS) != Timeframe.M5.floor(now_ms):
        return False
    return all(read is not None and is_fresh(read, now_ms) for read in read_ms)
