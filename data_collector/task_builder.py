"""Builds the fetch tasks of markets: which data of which time window each needs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from data_collector.url_builder import endpoint_table, source_period
from market.markets import Market
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from venues.errors import BadPayload
from venues.venue import Endpoint

# A snapshot may be published minutes after its timestamp.
PUBLICATION_LAG_MS: Final = 4 * MINUTE_MS
# The longest time between two settlements; a candle's rate may be that old.
LONGEST_FUNDING_STEP_MS: Final = 8 * HOUR_MS


@dataclass(frozen=True, slots=True)
class FetchTask:
    """One kind of data of one market, from `start_ms` to `end_ms`, both inclusive.

    With a `period` (klines, open interest) the rows and both ends lie on multiples of `step_ms`.
    Without one (funding) `step_ms` is the time between the latest settlements.
    `narrow_ms`: the steps in which the start is moved if the exchange refuses it.
    `newest_ms`: rows later than this are optional; no request is repeated for them.
    `wanted`: this many of the newest rows are enough. `as_of_ms`: the exchange's time, if known.
    """

    market: Market
    endpoint: Endpoint
    period: Timeframe | None
    start_ms: int
    end_ms: int
    step_ms: int
    newest_ms: int
    narrow_ms: int = 0
    wanted: int | None = None
    as_of_ms: int | None = None

    def bad_payload(self, cause: str) -> BadPayload:
        """The error of an unusable answer to this task."""
        return BadPayload(
            cause,
            exchange=self.market.exchange,
            endpoint=self.endpoint,
            market=self.market.symbol,
        )

    @property
    def gap_ms(self) -> int:
        """The smallest distance between two rows."""
        return self.step_ms if self.period is not None else HOUR_MS

    def instant(self, time_ms: int) -> int:
        """What a row at `time_ms` is about; settlements are stamped some ms late."""
        return time_ms if self.period is not None else time_ms - time_ms % MINUTE_MS

    def slots(self, start_ms: int, end_ms: int) -> int:
        """How many rows the window can hold."""
        return (end_ms - start_ms) // self.gap_ms + 1

    def page(self, start_ms: int, end_ms: int, limit: int) -> tuple[int, int]:
        """The end of the page that begins at `start_ms`, and its row limit.

        On a grid the window is as long as the page, so that no exchange has to cut it at either
        end; settlements come from the start on, up to the limit.
        """
        if self.period is None:
            return end_ms, limit
        limit = min(limit, self.slots(start_ms, end_ms))
        return start_ms + (limit - 1) * self.step_ms, limit

    def complete_after(self, last_ms: int, end_ms: int | None = None) -> bool:
        """Whether no row is due after the one at `last_ms`, up to the end or to `end_ms`."""
        end_ms = self.end_ms if end_ms is None else end_ms
        if self.period is not None:
            return last_ms >= min(self.newest_ms, end_ms)
        # Settlement timestamps are some ms late.
        return last_ms - last_ms % MINUTE_MS + self.step_ms > end_ms

    def may_lack_before(self, first_ms: int, start_ms: int) -> bool:
        """Whether a page from `start_ms` whose oldest row is at `first_ms` may lack older ones."""
        # A market's first candle may open before its listing time.
        return self.period is not None and first_ms > max(
            start_ms, self.period.floor(self.market.launched_ms)
        )

    def complete_before(self, first_ms: int, start_ms: int) -> bool:
        """Whether no row fits between `start_ms` and the one at `first_ms`."""
        return first_ms - self.gap_ms < start_ms

    def since(self, time_ms: int) -> "FetchTask | None":
        """This task from `time_ms` (on the grid) on; None if nothing is left."""
        if time_ms > self.end_ms:
            return None
        return replace(self, start_ms=max(self.start_ms, time_ms))

    def narrowed(self, steps: int = 1) -> "FetchTask | None":
        """This task with a start that is `steps` later; None if it cannot be narrowed."""
        start_ms = self.start_ms + steps * self.narrow_ms
        if not self.narrow_ms or start_ms > self.end_ms:
            return None
        return replace(self, start_ms=start_ms)


@dataclass(frozen=True, slots=True)
class MarketTasks:
    """The tasks of one market; None: no such data is fetched."""

    market: Market
    klines: FetchTask
    open_interest: FetchTask | None
    funding: FetchTask | None

    @property
    def count(self) -> int:
        return 1 + (self.open_interest is not None) + (self.funding is not None)


def build_tasks(
    timeframe: Timeframe,
    markets: Sequence[Market],
    *,
    as_of_ms: int,
    history_candles: int,
    with_funding: bool,
    funding_history: int,
) -> list[MarketTasks]:
    """The tasks of a full collection, one entry per market, in the given order."""
    return [
        MarketTasks(
            market,
            klines_task(timeframe, market, as_of_ms=as_of_ms, history_candles=history_candles),
            open_interest_task(
                timeframe, market, as_of_ms=as_of_ms, history_candles=history_candles
            ),
            funding_task(
                market,
                start_ms=max(
                    timeframe.window_start(as_of_ms, history_candles) - LONGEST_FUNDING_STEP_MS,
                    as_of_ms - funding_history * LONGEST_FUNDING_STEP_MS,
                ),
                end_ms=as_of_ms,
                wanted=funding_history,
            )
            if with_funding
            else None,
        )
        for market in markets
    ]


def klines_task(
    timeframe: Timeframe, market: Market, *, as_of_ms: int, history_candles: int
) -> FetchTask:
    """The candles of the window that ends with the one at `as_of_ms`, none of an earlier life."""
    end_ms = timeframe.floor(as_of_ms)
    start_ms = max(
        timeframe.window_start(as_of_ms, history_candles), timeframe.floor(market.since_ms)
    )
    return FetchTask(
        market,
        Endpoint.KLINES,
        timeframe,
        min(start_ms, end_ms),
        end_ms,
        timeframe.interval_ms,
        newest_ms=end_ms,
        narrow_ms=timeframe.interval_ms,
        as_of_ms=as_of_ms,
    )


def open_interest_task(
    timeframe: Timeframe, market: Market, *, as_of_ms: int, history_candles: int
) -> FetchTask | None:
    """The snapshots at the candles' open times, as far back as the exchange serves them.

    If the exchange lacks the period, the longest served one that divides it is used; rows then lie
    on that finer grid. None if no candle of the window can have a snapshot, or if all periods the
    exchange serves are too long.
    """
    interval_ms = timeframe.interval_ms
    start_ms = timeframe.window_start(as_of_ms, history_candles)
    end_ms = timeframe.floor(as_of_ms)
    period = source_period(market.exchange, Endpoint.OPEN_INTEREST, timeframe)
    if period is None:
        return None
    table = endpoint_table(market.exchange, Endpoint.OPEN_INTEREST)
    reach_ms = table.reach_ms(period.interval_ms)
    if reach_ms is not None:
        start_ms = max(start_ms, -(-(as_of_ms - reach_ms) // interval_ms) * interval_ms)
    if start_ms > end_ms:
        return None
    fresh = as_of_ms - end_ms < PUBLICATION_LAG_MS
    return FetchTask(
        market,
        Endpoint.OPEN_INTEREST,
        period,
        start_ms,
        end_ms,
        period.interval_ms,
        newest_ms=end_ms - period.interval_ms if fresh else end_ms,
        narrow_ms=interval_ms,
    )


def funding_task(
    market: Market,
    *,
    start_ms: int,
    end_ms: int,
    interval_hours: int = 1,
    wanted: int | None = None,
) -> FetchTask:
    """The settlements from `start_ms` to `end_ms`.

    `interval_hours`: the market's present interval if known; it saves the request that would find
    nothing after the last settlement. `wanted`: this many of the newest are enough; effective only
    where pages begin with the newest.
    """
    return FetchTask(
        market,
        Endpoint.FUNDING,
        None,
        max(0, start_ms),
        end_ms,
        interval_hours * HOUR_MS,
        newest_ms=end_ms,
        narrow_ms=LONGEST_FUNDING_STEP_MS,
        wanted=wanted,
    )
