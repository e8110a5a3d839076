"""What of a document no exchange serves any more: told in `missing` once for each exchange.

Computed from the rows, which may go further back than the exchange does now. It decides nothing
about rows, where such values are null.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np

from data_collector.url_builder import source_period
from market.markets import Exchange, MarketSeries, Missing, MissingPart
from market.rows import Rows
from market.timeframes import Timeframe
from venues import VENUES
from venues.venue import Endpoint

_PARTS: Final[Mapping[MissingPart, Endpoint]] = {
    "open_interest": Endpoint.OPEN_INTEREST,
    "funding_rate": Endpoint.FUNDING,
}


class _Lacking(NamedTuple):
    """A market's rows begin at `first_ms` without a value; `known_ms`: the first with one."""

    first_ms: int
    known_ms: int | None


class Unserved:
    """Takes the series of one document, and says what they lack because it is too old to be had."""

    def __init__(self, timeframe: Timeframe) -> None:
        self._timeframe = timeframe
        self._reach_ms: dict[tuple[Exchange, MissingPart], int | None] = {}
        self._lacking: dict[tuple[Exchange, MissingPart], dict[str, _Lacking]] = {}

    def add(self, series: MarketSeries) -> None:
        """Replaces what was known of this market. Raises as Rows.of for invalid rows."""
        exchange, symbol = series.market.exchange, series.market.symbol
        rows: Rows | None = None
        for part in _PARTS:
            if self._reach(exchange, part) is None or not len(series.rows):
                continue
            rows = Rows.of(series.rows) if rows is None else rows
            known = ~np.isnan(rows.column(part))
            lacking = self._lacking.setdefault((exchange, part), {})
            lacking.pop(symbol, None)
            if not known[0]:
                known_ms = int(rows.times[known.argmax()]) if known.any() else None
                lacking[symbol] = _Lacking(int(rows.times[0]), known_ms)

    def remove(self, exchange: Exchange, symbol: str) -> None:
        for part in _PARTS:
            self._lacking.get((exchange, part), {}).pop(symbol, None)

    def told(self, as_of_ms: int) -> Iterator[Missing]:
        """One entry for each exchange and part that some of its rows are too old for."""
        for (exchange, part), lacking in self._lacking.items():
            reach_ms = self._reach(exchange, part)
            assert reach_ms is not None  # noqa: S101 - else nothing was added
            step_ms = self._timeframe.interval_ms
            served_ms = -(-(as_of_ms - reach_ms) // step_ms) * step_ms
            since = [
                served_ms if each.known_ms is None else min(each.known_ms, served_ms)
                for each in lacking.values()
                if each.first_ms < served_ms
            ]
            if since:
                why = f"{exchange} serves none from before {max(since)}"
                yield Missing(exchange, None, part, why)

    def _reach(self, exchange: Exchange, part: MissingPart) -> int | None:
        key = (exchange, part)
        if key not in self._reach_ms:
            self._reach_ms[key] = _told_reach_ms(exchange, _PARTS[part], self._timeframe)
        return self._reach_ms[key]


def _told_reach_ms(exchange: Exchange, endpoint: Endpoint, timeframe: Timeframe) -> int | None:
    """How far back an exchange serves this of the timeframe; None: all, or nothing is told."""
    table = VENUES[exchange].endpoints[endpoint]
    if table is None or not table.reach_is_told:
        return None
    if not table.periods:
        return table.reach_ms(timeframe.interval_ms)
    period = source_period(exchange, endpoint, timeframe.collected_as)
    return None if period is None else table.reach_ms(period.interval_ms)
