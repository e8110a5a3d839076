"""Tells which rows of an older document show what they will always show: whose closing was seen.

A document says until when it was checked, by a clock that may have been ahead. A candle had closed
then if a later one of its exchange had begun, or if a stream of the exchange has closed one that
ended later.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from market.markets import Exchange, MarketSeries
from market.previous_series import SAMPLED_SERIES
from market.rows import Rows
from market.timeframes import Timeframe

NO_STREAMS: Final[Mapping[Exchange, int]] = MappingProxyType({})


class Closings:
    """`documents`: by timeframe, series by Market.key that stay (PreviousSeries.sample).

    `read`: one of them, None if it is unreadable. `streamed_ms`: up to when streams have closed
    candles, by exchange.
    """

    def __init__(
        self,
        documents: Mapping[Timeframe, Mapping[str, Any]],
        read: Callable[[Timeframe, str], MarketSeries | None],
        streamed_ms: Mapping[Exchange, int] = NO_STREAMS,
    ) -> None:
        self._documents = documents
        self._read = read
        self._streamed_ms = streamed_ms
        self._reached: dict[tuple[Timeframe, Exchange, int], bool] = {}

    def true_rows(self, timeframe: Timeframe, series: MarketSeries, as_of_ms: int) -> Rows:
        """The rows without those that were forming when fetched, unless they still are.

        These would look closed. Where nothing shows that the newest row had closed, it may have
        been forming, too; if the series was carried over since, that was decided then. Rows of a
        time that has not come yet were fetched by a wrong clock.
        """
        rows, checked_ms = Rows.of(series.rows), series.checked_at_ms
        closed_then_ms = timeframe.last_closed_open_time(checked_ms)
        closed_now_ms = timeframe.last_closed_open_time(as_of_ms)
        closed_since = (rows.times > closed_then_ms) & (rows.times <= closed_now_ms)
        kept = (rows.times <= as_of_ms) & ~closed_since
        if len(rows) and rows.times[-1] <= closed_then_ms and series.stale_since_ms is None:
            kept[-1] &= self._has_reached(timeframe, series.market.exchange, checked_ms)
        if len(rows) and checked_ms > as_of_ms:
            kept[-1] = False
        return rows.select(np.flatnonzero(kept))

    def are_shown(self, timeframe: Timeframe, series: MarketSeries) -> bool:
        """Whether the rows that were closed when the series was fetched had closed, as far as
        anything shows it."""
        rows, checked_ms = Rows.of(series.rows), series.checked_at_ms
        if not len(rows) or series.stale_since_ms is not None:
            return True
        if int(rows.times[-1]) > timeframe.last_closed_open_time(checked_ms):
            return True
        return self._has_reached(timeframe, series.market.exchange, checked_ms)

    def _has_reached(self, timeframe: Timeframe, exchange: Exchange, checked_ms: int) -> bool:
        """Whether a market of the exchange has the candle that was forming at `checked_ms`."""
        forming_ms = timeframe.floor(checked_ms)
        if self._streamed_ms.get(exchange, 0) >= forming_ms:
            return True
        where = timeframe, exchange, forming_ms
        if where not in self._reached:
            newest = self._newest(timeframe, exchange, checked_ms)
            self._reached[where] = any(time_ms >= forming_ms for time_ms in newest)
        return self._reached[where]

    def _newest(self, timeframe: Timeframe, exchange: Exchange, checked_ms: int) -> Iterator[int]:
        """The times of the newest rows of series that were fetched then."""
        keys = self._documents.get(timeframe, {})
        for key in islice((key for key in keys if key.startswith(f"{exchange}:")), SAMPLED_SERIES):
            series = self._read(timeframe, key)
            if series is not None and series.rows and series.checked_at_ms == checked_ms:
                yield int(Rows.of(series.rows).times[-1])
