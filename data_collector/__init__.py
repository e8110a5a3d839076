"""From a list of markets to merged rows: fetch_market_data() is the one way in.

Decides what becomes of a market whose parts succeed or fail; how anything is fetched, parsed or
merged is decided in the modules beside this one.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from data_collector.api_parser import Candle, OpenInterestRow
from data_collector.data_processing import aggregate_4h_to_8h, merge_data
from data_collector.exchange_client import ExchangeClient
from data_collector.exchange_clocks import Clocks
from data_collector.fetch_strategies import fetch_funding, fetch_klines, fetch_open_interest
from data_collector.incremental import Books, Earlier, Refresh
from data_collector.run import CollectionRun, work_through
from data_collector.task_builder import FetchTask, MarketTasks, build_tasks
from market.markets import (
    Exchange,
    FundingBook,
    FundingSeries,
    Market,
    MarketSeries,
    Missing,
    Part,
    Row,
)
from market.rows import first_time
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from venues.errors import BadPayload, CollectionFailed, ExchangeError, GaveUp, SourceDown

__all__ = ["Collected", "CollectionFailed", "ExchangeClient", "fetch_market_data"]

Deliver = Callable[[Timeframe, MarketSeries], None]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Collected:
    """How a collection went.

    `markets`: delivered with candles fetched now; `carried_over`: delivered with earlier rows.
    `refreshed`: those of `markets` of which only what was missing was asked for; `corrected`:
    those that disagreed with what was known of them, and were fetched anew.
    `funding_outdated`: somewhere a rate is null that a funding refresh could fill.
    """

    as_of_ms: int
    missing: list[Missing]
    markets: int
    carried_over: int
    refreshed: int
    corrected: int
    requests: int
    retries: int
    funding_outdated: bool


async def fetch_market_data(
    timeframe: Timeframe,
    markets: Sequence[Market],
    client: ExchangeClient,
    deliver: Deliver,
    *,
    history_candles: int,
    prefetched_fr_data: FundingBook | None = None,
    funding_history: int = 400,
    previous: Books | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Collected:
    """Collects `timeframe` for `markets`, each named once, and delivers each as soon as merged.

    `deliver` is called once for each market and produced timeframe (4h gives 8h too).
    `prefetched_fr_data`: the funding to merge; None: each market's own is fetched as well, the
    newest `funding_history` settlements of it. `previous`: series of older documents by timeframe
    and Market.key: only what they lack is fetched (incremental.py), they are carried over where
    candles fail, and lend their open interest where that fails. `on_progress(done, total)` counts
    tasks.

    One market's failure is its own. Raises CollectionFailed when not one could be fetched.
    """
    timeframe = timeframe.collected_as
    run = CollectionRun(client)
    if not markets:
        raise CollectionFailed("there are no markets to collect")
    async with Clocks(run, (market.exchange for market in markets)) as clocks:
        as_of_ms = min(clock.told_ms for clock in (await clocks.told()).values())
        tasks = build_tasks(
            timeframe,
            markets,
            as_of_ms=as_of_ms,
            history_candles=history_candles,
            with_funding=prefetched_fr_data is None,
            funding_history=funding_history,
        )
        earlier = Earlier(
            previous or {}, timeframe, as_of_ms=as_of_ms, history_candles=history_candles
        )
        tasks = earlier.in_turn(tasks)
        collection = _Collection(
            run=run,
            clocks=clocks,
            timeframe=timeframe,
            as_of_ms=as_of_ms,
            history_candles=history_candles,
            funding=prefetched_fr_data,
            funding_history=funding_history,
            earlier=earlier,
            deliver=deliver,
            on_progress=on_progress,
            total=sum(task.count for task in tasks),
        )
        log.info("collecting", timeframe=timeframe, markets=len(markets), as_of=as_of_ms)
        collection.progress(0)
        await _work(collection, tasks, client.concurrency)
        # What failed in a bad moment of its exchange gets one more chance at the end.
        run.forgive()
        await _work(collection, collection.take_second_chances(), client.concurrency)
    return collection.finish()


async def _work(collection: "_Collection", tasks: Sequence[MarketTasks], workers: int) -> None:
    await work_through(
        tasks, lambda task: task.market.exchange, collection.collect, workers=workers
    )


@dataclass(slots=True)
class _Collection:
    """The state of one collection. Holds the rows of the markets being fetched, of no other."""

    run: CollectionRun
    clocks: Clocks
    timeframe: Timeframe
    as_of_ms: int
    history_candles: int
    funding: FundingBook | None
    funding_history: int
    earlier: Earlier
    deliver: Deliver
    on_progress: Callable[[int, int], None]
    total: int
    done: int = 0
    markets: int = 0
    rows: int = 0
    carried_over: int = 0
    refreshed: int = 0
    corrected: int = 0
    funding_outdated: bool = False
    missing: list[Missing] = field(default_factory=list)
    failures: dict[Exchange, Counter[str]] = field(default_factory=dict)
    second_chances: list[MarketTasks] = field(default_factory=list)
    last_chance: bool = False

    async def collect(self, tasks: MarketTasks) -> None:
        """Everything of one market, one request after the other, merged and delivered."""
        try:
            await self.clocks.passed(tasks.market.exchange, self.as_of_ms)
            candles, refresh = await self._candles(tasks)
            if not candles and self.earlier.rows(self.timeframe, tasks.market):
                raise _no_candles(tasks.klines)
        except ExchangeError as error:
            if not self.last_chance and isinstance(error, SourceDown | BadPayload | GaveUp):
                self.second_chances.append(tasks)
            else:
                self.failed(tasks, error)
                self.progress(tasks.count)
            return
        self.progress(1)
        open_interest = await self._open_interest(tasks, candles, refresh)
        funding = await self._funding(tasks)
        self._merge(tasks.market, candles, open_interest, funding, refresh)

    async def _candles(self, tasks: MarketTasks) -> tuple[Sequence[Candle], Refresh | None]:
        """The candles that are not known yet, or all: then there is nothing to refresh."""
        refresh = self.earlier.plan(tasks)
        if refresh is None:
            return await fetch_klines(self.run, tasks.klines), None
        candles = await fetch_klines(self.run, refresh.klines)
        if refresh.agrees(candles):
            return candles, refresh
        if refresh.klines != tasks.klines:
            candles = await fetch_klines(self.run, tasks.klines)
        self._corrects(tasks.market, "klines")
        return candles, None

    def take_second_chances(self) -> list[MarketTasks]:
        self.last_chance = True
        return self.second_chances

    def progress(self, tasks: int) -> None:
        self.done += tasks
        self.on_progress(self.done, self.total)

    def failed(self, tasks: MarketTasks, error: ExchangeError) -> None:
        """The market's candles could not be had: its earlier rows are carried over, if any."""
        market = tasks.market
        self._lacks(market, "klines", _reason(error))
        self.failures.setdefault(market.exchange, Counter())[_reason(error)] += 1
        carried = False
        for made in self.timeframe.produces:
            known = self.earlier.series(made, market)
            rows = self.earlier.rows(made, market)
            if known is None or not rows:
                continue
            since_ms = known.stale_since_ms
            self.deliver(
                made,
                MarketSeries(
                    market,
                    rows,
                    known.checked_at_ms,
                    self.as_of_ms if since_ms is None else since_ms,
                ),
            )
            carried = True
        self.carried_over += carried

    async def _open_interest(
        self, tasks: MarketTasks, candles: Sequence[Candle], refresh: Refresh | None
    ) -> Sequence[OpenInterestRow]:
        if tasks.open_interest is None:
            return []
        # None is needed from before the first candle: a young market is not asked for it.
        rows: Sequence[Row | Candle] = candles
        if refresh is not None and refresh.kept:
            rows = refresh.kept
        whole = tasks.open_interest.since(first_time(rows)) if rows else None
        try:
            if refresh is None:
                return await self._snapshots(whole)
            asked = refresh.lacking_interest(tasks.open_interest, candles)
            snapshots = refresh.with_known(asked, await self._snapshots(asked))
            if snapshots is not None:
                return snapshots
            self._corrects(tasks.market, "open_interest")
            return await self._snapshots(whole)
        except ExchangeError as error:
            self._lacks(tasks.market, "open_interest", _reason(error))
            known = self.earlier.series(self.timeframe, tasks.market)
            lent = known.rows if known is not None else ()
            return [(row[0], row[7]) for row in lent if row[7] is not None]
        finally:
            self.progress(1)

    async def _snapshots(self, task: FetchTask | None) -> Sequence[OpenInterestRow]:
        """Those of the task, finer ones included where the exchange has no others."""
        return await fetch_open_interest(self.run, task) if task is not None else []

    async def _funding(self, tasks: MarketTasks) -> FundingSeries | None:
        market = tasks.market
        if self.funding is not None:
            series = self.funding.get(market.key)
            if series is None:
                self._lacks(market, "funding_rate", "its funding has not been fetched yet")
            return series
        if tasks.funding is None:
            return None
        try:
            rows = await fetch_funding(self.run, tasks.funding)
        except ExchangeError as error:
            self._lacks(market, "funding_rate", _reason(error))
            return None
        finally:
            self.progress(1)
        rows = rows[-self.funding_history :]
        return FundingSeries(market, rows, _interval_hours(rows), self.as_of_ms)

    def _merge(
        self,
        market: Market,
        candles: Sequence[Candle],
        open_interest: Sequence[OpenInterestRow],
        funding: FundingSeries | None,
        refresh: Refresh | None,
    ) -> None:
        merged = merge_data(
            candles,
            open_interest,
            funding,
            timeframe=self.timeframe,
            as_of_ms=self.as_of_ms,
            history_candles=self.history_candles,
            kept=refresh.kept if refresh is not None else (),
        )
        self.funding_outdated |= merged.funding_outdated
        for made in self.timeframe.produces:
            rows: Sequence[Row] = merged.rows
            if made is not self.timeframe:
                start_ms = self.timeframe.window_start(self.as_of_ms, self.history_candles)
                aggregate = refresh.aggregate if refresh is not None else aggregate_4h_to_8h
                rows = aggregate(rows, window_start_ms=start_ms, exact=merged.exact)
            self.deliver(made, MarketSeries(market, rows, self.as_of_ms))
        self.markets += 1
        self.refreshed += refresh is not None
        self.rows += len(merged.rows)

    def _corrects(self, market: Market, part: Part) -> None:
        """What was known of the market does not hold any more."""
        self.corrected += 1
        log.warning("corrected_by_exchange", market=market.key, part=part)

    def _lacks(self, market: Market, part: Part, reason: str) -> None:
        self.missing.append(Missing(market.exchange, market.symbol, part, reason))

    def finish(self) -> Collected:
        if not self.rows:
            causes = (
                f"{exchange}: {reasons.most_common(1)[0][0]}"
                for exchange, reasons in sorted(self.failures.items())
            )
            raise CollectionFailed("; ".join(causes) or "no market has a candle in the window")
        log.info(
            "collected",
            timeframe=self.timeframe,
            markets=self.markets,
            refreshed=self.refreshed,
            corrected=self.corrected,
            carried_over=self.carried_over,
            requests=self.run.requests,
        )
        return Collected(
            as_of_ms=self.as_of_ms,
            missing=sorted(self.missing),
            markets=self.markets,
            carried_over=self.carried_over,
            refreshed=self.refreshed,
            corrected=self.corrected,
            requests=self.run.requests,
            retries=self.run.retries,
            funding_outdated=self.funding_outdated,
        )


def _no_candles(task: FetchTask) -> BadPayload:
    return BadPayload(
        "no candles where there were some before",
        exchange=task.market.exchange,
        endpoint=task.endpoint,
        market=task.market.symbol,
    )


def _reason(error: ExchangeError) -> str:
    """The cause as a document's `missing` gives it: exchange and market stand beside it there."""
    status = f" (HTTP {error.status})" if error.status not in (None, 200) else ""
    return f"{error.cause}{status}"


def _interval_hours(rows: Sequence[tuple[int, float]]) -> int:
    """The time between the last two settlements, in hours; 8 where nothing else is known."""
    if len(rows) < 2:
        return 8
    (earlier, _), (later, _) = rows[-2:]
    hours = (later - later % MINUTE_MS - (earlier - earlier % MINUTE_MS)) // HOUR_MS
    return max(1, min(8, hours))
