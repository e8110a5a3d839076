"""Updates the funding of one exchange: which markets are due and which requests they need.

The venue's lists give the intervals; a market's own settlements are requested only if it may have
settled. Once a day its whole history is requested, to find corrections of any age. A rate that
differs from the known one is asked for again at once, and believed if it is said twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from zlib import crc32

import structlog

from data_collector.exchange_clocks import ExchangeClock
from data_collector.fetch_strategies import fetch_funding
from data_collector.funding_rules import (
    SHORTEST_INTERVAL_HOURS,
    changed_rates,
    checked_again,
    complete_until,
    due_instants,
    lacks_its_beginning,
    lacks_its_newest,
    may_have_settled,
    merge_newest,
    present_interval,
    said_twice,
    still_lacking,
    without_outdated,
)
from data_collector.internal_errors import ENDS_JOB
from data_collector.life_rows import settlements_of_life
from data_collector.listings import (
    FundingSchedule,
    fetch_funding_schedule,
)
from data_collector.recent_settlements import is_complete, recent_settlements
from data_collector.results import log_correction, reason_of
from data_collector.run import CollectionRun, work_through
from data_collector.task_builder import funding_task
from market.columns import TIME
from market.left_out import LeftOut
from market.markets import Exchange, FundingByMarket, FundingRow, FundingSeries, Market, Missing
from market.settlements import (
    LONGEST_INTERVAL_HOURS,
    is_checked_ahead,
    not_checked_ahead,
    settlement_instant,
)
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, is_daily_moment_passed
from venues import VENUES
from venues.errors import ExchangeError, GaveUp, SourceDown, TooFast
from venues.venue import Endpoint

# From this many due markets on, the settlements of all symbols are requested at once.
_BULK_FROM: Final = 10
# Markets per run whose whole history is requested because it begins later than the market.
HISTORIES_PER_RUN: Final = 2
# Markets per run whose whole history is requested to find corrections. Binance allows 500 requests
# in 5 minutes; runs 8 hours apart reach each of 600 markets in its turn.
DAILY_CHECKS_PER_RUN: Final = 200
# Only short windows: the answer may be incomplete over long ones.
_SHORT_WINDOW_MS: Final = (LONGEST_INTERVAL_HOURS + 1) * HOUR_MS

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class FundingResults:
    """What the run has fetched so far, shared by its exchanges."""

    series: dict[str, FundingSeries] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)
    carried_over: int = 0
    changed: int = 0
    corrected: int = 0


class ExchangeFunding:
    """Updates the markets of one exchange; `count` is called after each."""

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
        self._history = funding_history
        self._results = results
        self._count = count
        self._schedule: Mapping[str, FundingSchedule] = {}
        self._to_retry: list[Market] | None = []  # None: the last try
        self._again: set[str] = set()  # Market.key of those whose history is requested

    async def refresh(self, markets: Sequence[Market], clock: ExchangeClock) -> None:
        self._clock = clock
        try:
            self._schedule = await fetch_funding_schedule(self._run, self.exchange)
        except ExchangeError as error:
            # Then every market that may have settled by the shortest interval is requested.
            log.warning("funding_schedule_unavailable", exchange=self.exchange, cause=str(error))
        now_ms = self._clock.now_ms()
        self._schedule = without_outdated(self._schedule, now_ms)
        self._again = self._some_that_lack_their_beginning(markets, now_ms)
        self._again |= self._some_to_check_daily(markets, now_ms)
        due: list[Market] = []
        for market in markets:
            try:
                checked = self._checked_again(market, now_ms)
            except ENDS_JOB:
                raise
            except Exception as error:
                self._fail(market, self._run.internal_error(error, self.exchange))
                continue
            if checked is None:
                due.append(market)
            else:
                self._store(checked)
        await self._work(await self._update_from_recent(due))

    def _checked_again(self, market: Market, now_ms: int) -> FundingSeries | None:
        """The known series if it is whole and the market cannot have settled since; None: it is
        due."""
        series = self._series(market, now_ms)
        if series is None or lacks_its_newest(series) or market.key in self._again:
            return None
        if may_have_settled(series, now_ms, self._scheduled_hours(market)):
            return None
        hours = self._interval(market, series.rows)
        return replace(checked_again(series, now_ms, hours), market=market)

    def fail_all(
        self, markets: Sequence[Market], clock: ExchangeClock, error: ExchangeError
    ) -> None:
        """Keeps the known series of all markets; the exchange is not asked. `clock`: another's."""
        self._clock = clock
        for market in markets:
            self._fail(market, error)

    async def retry_failed(self) -> None:
        markets, self._to_retry = self._to_retry, None
        await self._work(markets or [])

    def fail_rest(self, markets: Sequence[Market], error: Exception) -> None:
        """Names the markets without a result so far, as `error` ended the exchange's part."""
        self._to_retry = None
        named = self._run.internal_error(error, self.exchange)
        failed = {(entry.exchange, entry.symbol) for entry in self._results.missing}
        for market in markets:
            if market.key in self._results.series or (market.exchange, market.symbol) in failed:
                continue
            self._fail(market, named)

    async def _work(self, markets: Sequence[Market]) -> None:
        workers = self._run.sender.concurrency
        await work_through(
            self._run,
            markets,
            lambda market: market.exchange,
            self._update,
            self._fail,
            workers=workers,
        )

    def _scheduled_hours(self, market: Market) -> int | None:
        """The present interval if the market has a schedule, else None."""
        if market.native not in self._schedule:
            return None
        series = self._known.get(market.key)
        return self._interval(market, series.rows if series is not None else ())

    def _interval(self, market: Market, rows: Sequence[FundingRow]) -> int:
        schedule = self._schedule.get(market.native)
        hours = present_interval(rows, schedule)
        if schedule is not None:
            return hours
        # Keep the known interval unless settlements are more frequent.
        series = self._known.get(market.key)
        if series is not None:
            return min(hours, series.interval_hours)
        return hours if len(rows) > 1 else SHORTEST_INTERVAL_HOURS

    def _series(self, market: Market, now_ms: int) -> FundingSeries | None:
        series = self._known.get(market.key)
        if series is None or is_checked_ahead(series, now_ms):
            return None
        return settlements_of_life(series, _begin_ms(market))

    # --- the settlements of all symbols in one answer ------------------------------------------

    async def _update_from_recent(self, due: list[Market]) -> list[Market]:
        """Updates markets from one list of recent settlements; returns those it does not cover.

        The exchange does not guarantee a complete list. It is used for a market only if the
        interval is known and unchanged and the list has every settlement due by it.
        """
        if VENUES[self.exchange].recent_funding is None:
            return due
        now_ms = self._clock.now_ms()
        candidates = {
            market.native: series
            for market in due
            if (series := self._series(market, now_ms)) is not None
            and series.rows
            and not series.left_out
            and not self._is_history_due(market, series, now_ms)
            and series.interval_hours == self._scheduled_hours(market)
            and now_ms - series.checked_at_ms < _SHORT_WINDOW_MS
        }
        if len(candidates) < _BULK_FROM:
            return due
        start_ms = 1 + min(series.checked_at_ms for series in candidates.values())
        found = await recent_settlements(self._run, self.exchange, start_ms, now_ms)
        remaining: list[Market] = []
        for market in due:
            series = candidates.get(market.native)
            rows = found.get(market.native, [])
            try:
                covered = series is not None and is_complete(series, rows, now_ms)
                if series is not None and changed_rates(rows, series.rows):
                    covered = False  # its own history is asked for what is true
                    if len(self._again) < DAILY_CHECKS_PER_RUN:
                        self._again.add(market.key)
                if covered:
                    self._store_settled(market, rows, now_ms)
            except ENDS_JOB:
                raise
            except Exception as error:
                self._run.internal_error(error, self.exchange)
                covered = False
            if not covered:
                remaining.append(market)
        return remaining

    # --- the settlements of one market ---------------------------------------------------------

    async def _update(self, market: Market) -> None:
        asked_ms = self._clock.now_ms()
        series = self._series(market, asked_ms)
        try:
            left_out: list[LeftOut] = []
            if series is None or self._is_history_due(market, series, asked_ms):
                rows = await self._fetch_history(market, asked_ms, left_out)
            else:
                rows = await self._fetch_new(market, series, asked_ms, left_out)
            known = series.rows if series is not None else ()
            corrected = await self._corrected(market, changed_rates(rows, known))
        except ExchangeError as error:
            if self._to_retry is not None and isinstance(error, SourceDown | TooFast | GaveUp):
                self._to_retry.append(market)
            else:
                self._fail(market, error)
        else:
            self._store_settled(market, rows, asked_ms, left_out, corrected)

    def _is_history_due(self, market: Market, series: FundingSeries, asked_ms: int) -> bool:
        """Whether the whole history is requested: there is none, or it was chosen for this run, or
        once a day where it begins later than the market."""
        if not series.rows or market.key in self._again:
            return True
        lacks = lacks_its_beginning(series, _begin_ms(market), self._history)
        return lacks and series.checked_at_ms // DAY_MS != asked_ms // DAY_MS

    def _some_that_lack_their_beginning(self, markets: Sequence[Market], now_ms: int) -> set[str]:
        """A few of them, by Market.key, others in each run: most have nothing earlier."""
        lacking = []
        for market in markets:
            series = self._known.get(market.key)
            if series is not None and lacks_its_beginning(series, _begin_ms(market), self._history):
                lacking.append(market.key)
        return _some_of(lacking, HISTORIES_PER_RUN, now_ms)

    def _some_to_check_daily(self, markets: Sequence[Market], now_ms: int) -> set[str]:
        """Those whose moment of the day has passed since they were checked, by Market.key; after a
        long absence some of them, and the others when their next moment comes."""
        due = [
            market.key
            for market in markets
            if (series := self._known.get(market.key)) is not None
            and is_daily_moment_passed(market.key, series.checked_at_ms, now_ms)
        ]
        return _some_of(due, DAILY_CHECKS_PER_RUN, now_ms)

    async def _fetch_new(
        self, market: Market, series: FundingSeries, asked_ms: int, left_out: list[LeftOut]
    ) -> list[FundingRow]:
        last_ms = settlement_instant(series.rows[-1][TIME])
        if series.left_out:  # asked for again with the new ones, as the exchange may correct them
            last_ms = min(last_ms, min(row.time_ms for row in series.left_out) - HOUR_MS)
        hours = min(series.interval_hours, self._scheduled_hours(market) or SHORTEST_INTERVAL_HOURS)
        task = funding_task(
            market,
            # Includes settlements that were late or of an interval unknown to us.
            start_ms=max(last_ms + MINUTE_MS, self._oldest_ms(asked_ms)),
            end_ms=asked_ms,
            interval_hours=hours,
            wanted=max(1, len(due_instants(last_ms, asked_ms, hours))),
        )
        return await fetch_funding(self._run, task, left_out)

    async def _fetch_history(
        self, market: Market, asked_ms: int, left_out: list[LeftOut]
    ) -> list[FundingRow]:
        """The newest settlements, up to `funding_history` of them.

        The first window fits the present interval. If it holds too few, the interval was longer
        before, and earlier windows follow.
        """
        hours = self._scheduled_hours(market) or LONGEST_INTERVAL_HOURS
        begin_ms = _begin_ms(market)
        oldest_ms = max(begin_ms - begin_ms % HOUR_MS, self._served_from_ms(asked_ms))
        start_ms = max(asked_ms - (self._history + 1) * hours * HOUR_MS, oldest_ms)
        rows = await self._window(market, start_ms, asked_ms, hours, self._history, left_out)
        while len(rows) < self._history and start_ms > oldest_ms:
            end_ms, lacking = start_ms - 1, self._history - len(rows)
            span_ms = (lacking + 1) * LONGEST_INTERVAL_HOURS * HOUR_MS
            start_ms = max(end_ms - span_ms, oldest_ms)
            earlier = await self._window(
                market, start_ms, end_ms, LONGEST_INTERVAL_HOURS, lacking, left_out
            )
            if not earlier:
                break
            rows = earlier + rows
        return rows

    async def _corrected(self, market: Market, differing: Sequence[FundingRow]) -> list[FundingRow]:
        """The settlements whose rate differs from the known one and is said again."""
        if not differing:
            return []
        first_ms, last_ms = (settlement_instant(differing[i][TIME]) for i in (0, -1))
        again = await self._window(
            market, first_ms, last_ms + MINUTE_MS - 1, SHORTEST_INTERVAL_HOURS, self._history, []
        )
        return said_twice(differing, again)

    async def _window(
        self,
        market: Market,
        start_ms: int,
        end_ms: int,
        hours: int,
        wanted: int,
        left_out: list[LeftOut],
    ) -> list[FundingRow]:
        task = funding_task(
            market, start_ms=start_ms, end_ms=end_ms, interval_hours=hours, wanted=wanted
        )
        return await fetch_funding(self._run, task, left_out)

    def _served_from_ms(self, now_ms: int) -> int:
        """From when on the exchange serves settlements, 0 if it serves all."""
        reach_ms = VENUES[self.exchange].table(Endpoint.FUNDING).reach_ms(HOUR_MS)
        return 0 if reach_ms is None else now_ms - reach_ms

    def _oldest_ms(self, now_ms: int) -> int:
        return now_ms - (self._history + 1) * LONGEST_INTERVAL_HOURS * HOUR_MS

    # --- results -------------------------------------------------------------------------------

    def _store_settled(
        self,
        market: Market,
        rows: Sequence[FundingRow],
        asked_ms: int,
        left_out: Sequence[LeftOut] = (),
        corrected: Sequence[FundingRow] = (),
    ) -> None:
        series = self._series(market, asked_ms)
        before: Sequence[FundingRow] = series.rows if series is not None else ()
        if corrected:
            self._results.corrected += 1
            log_correction(market, "funding_rate")
        merged = merge_newest(rows, merge_newest(before, corrected, self._history), self._history)
        self._results.changed += list(before) != merged
        checked_at_ms = complete_until(merged, asked_ms, self._schedule.get(market.native))
        if series is not None:
            checked_at_ms = max(checked_at_ms, series.checked_at_ms)
        hours = self._interval(market, merged)
        lacking = tuple(still_lacking(left_out, merged))
        updated = FundingSeries(market, merged, hours, checked_at_ms, lacking)
        self._store(settlements_of_life(updated, _begin_ms(market)))

    def _store(self, series: FundingSeries) -> None:
        self._results.series[series.market.key] = series
        self._count()

    def _fail(self, market: Market, error: ExchangeError) -> None:
        missing = Missing(market.exchange, market.symbol, "funding_rate", reason_of(error))
        self._results.missing.append(missing)
        series = self._known.get(market.key)
        if series is not None:
            known = not_checked_ahead(series, self._clock.now_ms())
            self._results.series[market.key] = settlements_of_life(known, _begin_ms(market))
            self._results.carried_over += 1
        self._count()


def _begin_ms(market: Market) -> int:
    """What was settled at or before this moment is not of the contract that is listed now."""
    return max(market.launched_ms, market.since_ms)


def _some_of(keys: list[str], most: int, now_ms: int) -> set[str]:
    """At most so many of the keys, others in each run."""
    first = crc32(str(now_ms).encode()) % max(1, len(keys))
    return set((keys[first:] + keys[:first])[:most])
