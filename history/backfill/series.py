"""The series that a backfill asks for, in the order in which they are asked, from venues' tables.

An exchange's endpoints that count against limits of their own are asked side by side; those of one
limit one after another: open interest that expires, funding, candles from coarse to fine, and then
open interest that is kept, which takes the most requests.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import gcd, inf
from typing import Final

from database import SeriesKey
from history.backfill.wanted import Wanted, What
from market.markets import Exchange, Market
from market.settlements import LONGEST_INTERVAL_HOURS
from market.timeframes import HOUR_MS, Timeframe
from venues import VENUES
from venues.venue import Endpoint, EndpointTable

ENDPOINTS: Final = {
    "candles": Endpoint.KLINES,
    "open_interest": Endpoint.OPEN_INTEREST,
    "funding": Endpoint.FUNDING,
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One kind of data of one exchange. `period`: of the rows, None for funding; `makes`: longer
    timeframes that are made of these candles."""

    exchange: Exchange
    what: What
    period: Timeframe | None
    makes: tuple[Timeframe, ...] = ()

    @property
    def endpoint(self) -> Endpoint:
        return ENDPOINTS[self.what]

    @property
    def table(self) -> EndpointTable:
        """The one that serves old rows."""
        table = VENUES[self.exchange].table(self.endpoint)
        return table.beyond or table

    @property
    def reach_ms(self) -> int | None:
        """How far back the exchange serves it; None: all of it."""
        step_ms = self.period.interval_ms if self.period is not None else 1
        return self.table.reach_ms(step_ms)

    @property
    def name(self) -> str:
        """Of the kind as costs are told: a timeframe, `open_interest` or `funding`."""
        if self.what == "candles":
            assert self.period is not None  # noqa: S101 - candles have one
            return str(self.period)
        return self.what


@dataclass(frozen=True, slots=True)
class Target:
    """A market, until when it was listed (None: it is), and the usual distance of settlements."""

    market: Market
    listed_to_ms: int | None = None
    funding_hours: int = LONGEST_INTERVAL_HOURS


@dataclass(frozen=True, slots=True)
class Series:
    """One market's data of one stage."""

    stage: Stage
    target: Target

    @property
    def market(self) -> Market:
        return self.target.market

    @property
    def key(self) -> SeriesKey:
        return self.key_of(self.stage.period)

    def key_of(self, timeframe: Timeframe | None) -> SeriesKey:
        """The record's series; of candles that of `timeframe`."""
        exchange, symbol = self.market.exchange, self.market.symbol
        if self.stage.what == "funding":
            return SeriesKey.funding(exchange, symbol)
        if self.stage.what == "open_interest" or timeframe is None:
            return SeriesKey.open_interest(exchange, symbol)
        return SeriesKey.candles(exchange, symbol, timeframe)

    @property
    def step_ms(self) -> int:
        """The distance of rows; of settlements the usual one."""
        if self.stage.period is None:
            return self.target.funding_hours * HOUR_MS
        return self.stage.period.interval_ms

    @property
    def reach_step_ms(self) -> int:
        """The first instant that is served is on this grid; of settlements that of full hours, at
        any of which some may have been settled."""
        return HOUR_MS if self.stage.period is None else self.step_ms

    @property
    def grid_ms(self) -> int | None:
        """The grid that is asked for, of open interest; None: of all others every instant is."""
        return self.step_ms if self.stage.what == "open_interest" else None


def stages(exchange: Exchange, wanted: Wanted) -> list[Stage]:
    """What is asked of the exchange, in this order. What it does not have is left out."""
    found = []
    interest = _interest(exchange, wanted)
    expires = any(each.reach_ms is not None for each in interest)
    if expires:
        found += interest
    if "funding" in wanted.what and VENUES[exchange].endpoints.get(Endpoint.FUNDING) is not None:
        found.append(Stage(exchange, "funding", None))
    if "candles" in wanted.what:
        found += _candles(exchange, wanted)
    if not expires:
        found += interest
    return found


def younger_interest(stage: Stage, wanted: Wanted) -> Stage | None:
    """The open interest of a shorter period that is asked for within its reach; None: there is
    none, and this stage is asked for up to now."""
    if stage.what != "open_interest":
        return None
    of_exchange = _interest(stage.exchange, wanted)
    return next((shorter for shorter, each in pairwise(of_exchange) if each == stage), None)


def _candles(exchange: Exchange, wanted: Wanted) -> Iterator[Stage]:
    table = VENUES[exchange].endpoints.get(Endpoint.KLINES)
    for timeframe in reversed(Timeframe):
        is_asked = timeframe in wanted.timeframes and timeframe.collected_as is timeframe
        if is_asked and table is not None and timeframe in table.periods:
            makes = tuple(each for each in timeframe.produces[1:] if each in wanted.timeframes)
            yield Stage(exchange, "candles", timeframe, makes)


def _interest(exchange: Exchange, wanted: Wanted) -> list[Stage]:
    """Open interest in the longest period whose grid has the openings of all wanted candles; and,
    where a longer period reaches further back, before that in those of single timeframes."""
    table = VENUES[exchange].endpoints.get(Endpoint.OPEN_INTEREST)
    if "open_interest" not in wanted.what or table is None or not wanted.timeframes:
        return []
    lengths_ms = sorted(timeframe.interval_ms for timeframe in wanted.timeframes)
    found: list[Stage] = []
    for grid_ms in (gcd(*lengths_ms), *lengths_ms):
        period = interest_period(table, grid_ms)
        if period is None:
            continue
        stage = Stage(exchange, "open_interest", period)
        if not found or (found[-1].reach_ms or inf) < (stage.reach_ms or inf):
            found.append(stage)
    return found


def interest_period(table: EndpointTable, grid_ms: int) -> Timeframe | None:
    """The longest period whose snapshots fall on every instant of the grid; None: none is served
    of it."""
    served = [
        period
        for period in Timeframe
        if period in table.periods and grid_ms % period.interval_ms == 0
    ]
    return max(served, key=lambda each: each.interval_ms, default=None)
