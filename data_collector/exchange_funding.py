"""The funding of one exchange in a run: which markets are due, how they are asked, what is kept.

Two lists tell the intervals, and a market is asked for its own settlements only when one can have
happened.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from data_collector.exchange_clocks import ExchangeClock
from data_collector.fetch_strategies import fetch_funding
from data_collector.funding_rules import (
    LONGEST_INTERVAL_HOURS,
    PUBLICATION_MS,
    SHORTEST_INTERVAL_HOURS,
    advanced,
    complete_until,
    due_instants,
    may_have_settled,
    newest,
    present_interval,
    settlement_instant,
)
from data_collector.listings import (
    FundingSchedule,
    fetch_funding_schedule,
    fetch_recent_funding,
)
from data_collector.results import reason_of
from data_collector.run import CollectionRun, work_through
from data_collector.task_builder import funding_task
from market.columns import TIME
from market.markets import Exchange, FundingByMarket, FundingRow, FundingSeries, Market, Missing
from market.timeframes import HOUR_MS, MINUTE_MS
from venues import VENUES
from venues.errors import ExchangeError, GaveUp, SourceDown

# One request for the settlements of all symbols is worth it when so many markets are due.
_MANY_DUE: Final = 10
# Its answer is not promised to be complete over long windows, so only short ones are asked for.
_MOST_PAGES: Final = 12
_SHORT_WINDOW_MS: Final = (LONGEST_INTERVAL_HOURS + 1) * HOUR_MS
# A series checked later than the exchange's present is of another clock: it is not built upon.
_CLOCKS_DIFFER_MS: Final = 5 * MINUTE_MS

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class FundingResults:
    """What the run has found so far."""

    series: dict[str, FundingSeries] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)
    carried_over: int = 0
    changed: int = 0


class ExchangeFunding:
    """The part of one exchange in a run."""

    def __init__(
        self,
        run: CollectionRun,
        exchange: Exchange,
        known: FundingByMarket,
        funding_history: int,
        results: FundingResults,
        count: Callable[[], None],
    ) -> None:
        self._run = run
        self.exchange = exchange
        self._known = known
        self._keep = funding_history
        self._results = results
        self._count = count
        self._schedule: Mapping[str, FundingSchedule] = {}
        self._again: list[Market] | None = []  # None: the last chance has begun

    async def refresh(self, markets: Sequence[Market], clock: ExchangeClock) -> None:
        self._clock = clock
        try:
            self._schedule = await fetch_funding_schedule(self._run, self.exchange)
        except ExchangeError as error:
            # Every market that can have settled by the shortest interval is asked for itself.
            log.warning("no_funding_schedule", exchange=self.exchange, cause=str(error))
        now_ms = self._clock.now_ms()
        due: list[Market] = []
        for market in markets:
            series = self._series(market, now_ms)
            if series is None or may_have_settled(series, now_ms, self._told_hours(market)):
                due.append(market)
            else:
                hours = self._interval(market, series.rows)
                self._store(replace(advanced(series, now_ms, hours), market=market))
        await self._work(await self._settle_from_one_list(due))

    async def try_again(self) -> None:
        again, self._again = self._again, None
        await self._work(again or [])

    async def _work(self, markets: Sequence[Market]) -> None:
        workers = self._run.sender.concurrency
        await work_through(markets, lambda market: market.exchange, self._update, workers=workers)

    def _told_hours(self, market: Market) -> int | None:
        """The present interval of a market whose schedule is told, else None."""
        if market.native not in self._schedule:
            return None
        series = self._known.get(market.key)
        return self._interval(market, series.rows if series is not None else ())

    def _interval(self, market: Market, rows: Sequence[FundingRow]) -> int:
        told = self._schedule.get(market.native)
        hours = present_interval(rows, told)
        if told is not None:
            return hours
        # The interval of before stays, unless settlements come more often than that.
        series = self._known.get(market.key)
        if series is not None:
            return min(hours, series.interval_hours)
        return hours if len(rows) > 1 else SHORTEST_INTERVAL_HOURS

    def _series(self, market: Market, now_ms: int) -> FundingSeries | None:
        series = self._known.get(market.key)
        if series is None or series.checked_at_ms > now_ms + _CLOCKS_DIFFER_MS:
            return None
        return series

    # --- the settlements of all symbols in one answer ------------------------------------------

    async def _settle_from_one_list(self, due: list[Market]) -> list[Market]:
        """Brings those up to date that one list settles beyond doubt; returns the others.

        The exchange does not promise that the list is complete. So it counts for a market only
        if its interval is known and unchanged and every settlement due by it is in the list.
        """
        if not VENUES[self.exchange].all_symbols_funding or not self._schedule:
            return due
        now_ms = self._clock.now_ms()
        candidates = {
            market.native: series
            for market in due
            if (series := self._series(market, now_ms)) is not None
            and series.rows
            and series.interval_hours == self._told_hours(market)
            and now_ms - series.checked_at_ms < _SHORT_WINDOW_MS
        }
        if len(candidates) < _MANY_DUE:
            return due
        start_ms = 1 + min(series.checked_at_ms for series in candidates.values())
        found = await self._fetch_recent(start_ms, now_ms)
        left: list[Market] = []
        for market in due:
            series = candidates.get(market.native)
            rows = found.get(market.native, [])
            if series is not None and _is_whole(series, rows, now_ms):
                self._store_settled(market, rows, now_ms)
            else:
                left.append(market)
        return left

    async def _fetch_recent(self, start_ms: int, end_ms: int) -> dict[str, list[FundingRow]]:
        """The settlements in the window by contract; what came before an error, if one comes."""
        found: dict[str, dict[int, float]] = {}
        for _ in range(_MOST_PAGES):
            try:
                page = await fetch_recent_funding(
                    self._run, self.exchange, start_ms=start_ms, end_ms=end_ms
                )
            except ExchangeError as error:
                log.warning("no_recent_funding", exchange=self.exchange, cause=str(error))
                break
            before = sum(map(len, found.values()))
            for native, funding_ms, rate in page.rows if page is not None else ():
                found.setdefault(native, {})[funding_ms] = rate
            if page is None or page.last_ms is None or sum(map(len, found.values())) == before:
                break
            # Many symbols share an instant, and a page may end among them: it is asked again.
            start_ms = page.last_ms
        return {native: sorted(rows.items()) for native, rows in found.items()}

    # --- the settlements of one market ---------------------------------------------------------

    async def _update(self, market: Market) -> None:
        asked_ms = self._clock.now_ms()
        series = self._series(market, asked_ms)
        try:
            if series is None or not series.rows:
                rows = await self._fetch_history(market, asked_ms)
            else:
                rows = await self._fetch_new(market, series, asked_ms)
        except ExchangeError as error:
            if self._again is not None and isinstance(error, SourceDown | GaveUp):
                self._again.append(market)
            else:
                self._fail(market, error)
        else:
            self._store_settled(market, rows, asked_ms)

    async def _fetch_new(
        self, market: Market, series: FundingSeries, asked_ms: int
    ) -> list[FundingRow]:
        last_ms = settlement_instant(series.rows[-1][TIME])
        hours = min(series.interval_hours, self._told_hours(market) or SHORTEST_INTERVAL_HOURS)
        task = funding_task(
            market,
            # One that was published late, or by an interval we did not know of, is found as well.
            start_ms=max(last_ms + MINUTE_MS, self._oldest_ms(asked_ms)),
            end_ms=asked_ms,
            interval_hours=hours,
            wanted=max(1, len(due_instants(last_ms, asked_ms, hours))),
        )
        return await fetch_funding(self._run, task)

    async def _fetch_history(self, market: Market, asked_ms: int) -> list[FundingRow]:
        """The newest settlements: so many as are kept, if there are so many.

        The first window fits the present interval. Where that brought fewer, the interval was
        longer before, and the window before it is asked for.
        """
        hours = self._told_hours(market) or LONGEST_INTERVAL_HOURS
        oldest_ms = max(market.launched_ms - market.launched_ms % HOUR_MS, 0)
        start_ms = max(asked_ms - (self._keep + 1) * hours * HOUR_MS, oldest_ms)
        rows = await self._window(market, start_ms, asked_ms, hours, self._keep)
        while len(rows) < self._keep and start_ms > oldest_ms:
            end_ms, lacking = start_ms - 1, self._keep - len(rows)
            span_ms = (lacking + 1) * LONGEST_INTERVAL_HOURS * HOUR_MS
            start_ms = max(end_ms - span_ms, oldest_ms)
            earlier = await self._window(market, start_ms, end_ms, LONGEST_INTERVAL_HOURS, lacking)
            if not earlier:
                break
            rows = earlier + rows
        return rows

    async def _window(
        self, market: Market, start_ms: int, end_ms: int, hours: int, wanted: int
    ) -> list[FundingRow]:
        task = funding_task(
            market, start_ms=start_ms, end_ms=end_ms, interval_hours=hours, wanted=wanted
        )
        return await fetch_funding(self._run, task)

    def _oldest_ms(self, now_ms: int) -> int:
        return now_ms - (self._keep + 1) * LONGEST_INTERVAL_HOURS * HOUR_MS

    # --- what becomes of a market --------------------------------------------------------------

    def _store_settled(self, market: Market, rows: Sequence[FundingRow], asked_ms: int) -> None:
        series = self._series(market, asked_ms)
        before: Sequence[FundingRow] = series.rows if series is not None else ()
        kept = newest(rows, before, self._keep)
        self._results.changed += list(before) != kept
        checked_at_ms = complete_until(kept, asked_ms, self._schedule.get(market.native))
        if series is not None:
            checked_at_ms = max(checked_at_ms, series.checked_at_ms)
        self._store(FundingSeries(market, kept, self._interval(market, kept), checked_at_ms))

    def _store(self, series: FundingSeries) -> None:
        self._results.series[series.market.key] = series
        self._count()

    def _fail(self, market: Market, error: ExchangeError) -> None:
        missing = Missing(market.exchange, market.symbol, "funding_rate", reason_of(error))
        self._results.missing.append(missing)
        series = self._series(market, self._clock.now_ms())
        if series is not None:
            self._results.series[market.key] = series
            self._results.carried_over += 1
        self._count()


def _is_whole(series: FundingSeries, rows: Sequence[FundingRow], now_ms: int) -> bool:
    """Whether the rows hold every settlement due by the interval, unless it is just coming."""
    instants = {settlement_instant(funding_ms) for funding_ms, _ in rows}
    return all(
        instant in instants or now_ms - instant < PUBLICATION_MS
        for instant in due_instants(series.checked_at_ms, now_ms, series.interval_hours)
    )
