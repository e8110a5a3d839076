"""A candle document in the making, with the numbers of its markets."""

import contextlib
from collections.abc import Mapping
from typing import Final

import structlog

from documents.building import DocumentBuilder, Source
from documents.deflated import Deflated
from market.markets import MarketSeries, Meta, Missing
from market.metadata import MetadataBatch
from market.timeframes import Timeframe

# Markets whose rows are held until their numbers are computed together: building a document of
# 950 takes 0.30 s of CPU so, as with 64 held, and 0.46 s one by one. 16 keep the event loop for
# 6 ms at a time, 64 for 22.
_HELD: Final = 16

log = structlog.get_logger(__name__)


class DocumentDraft:
    """Takes markets in any order; holds the rows of a few of them, and the JSON of the others.

    `known`: what the cold store holds about each market, by Market.key. A market with rows of now
    has the numbers computed from these in its place.
    """

    def __init__(self, timeframe: Timeframe, source: Source, known: Mapping[str, Meta]) -> None:
        self.timeframe = timeframe
        self._known = known
        self._builder = DocumentBuilder(timeframe, source)
        self._held: list[MarketSeries] = []
        self._refused: list[Missing] = []
        self.computed: dict[str, Meta] = {}  # by Market.key
        self.markets = 0
        self.rows = 0

    def add(self, series: MarketSeries) -> None:
        """Takes one market in; one whose rows no document may hold is named as missing."""
        self._held.append(series)
        if len(self._held) == _HELD:
            self._encode_held()

    def finish(
        self, *, version: int, as_of_ms: int, updated_at_ms: int, missing: list[Missing]
    ) -> Deflated:
        """The whole document. CPU work: call it off the event loop, and nothing else afterwards
        but to read `computed`, `markets` and `rows`."""
        self._encode_held()
        self.markets, self.rows = self._builder.markets, self._builder.rows
        return self._builder.finish_deflated(
            version=version,
            as_of_ms=as_of_ms,
            updated_at_ms=updated_at_ms,
            missing=[*missing, *self._refused],
        )

    def _encode_held(self) -> None:
        held, self._held = self._held, []
        computed = self._compute(held)
        for series in held:
            market, key = series.market, series.market.key
            numbers = computed.get(key, {})
            try:
                self._builder.add(series, {**self._known.get(key, {}), **numbers})
            except ValueError as error:
                # A row that no document may hold is that market's trouble alone.
                log.error("market_refused", market=key, error=str(error))
                self._refused.append(Missing(market.exchange, market.symbol, "klines", str(error)))
            else:
                if numbers:
                    self.computed[key] = numbers

    def _compute(self, held: list[MarketSeries]) -> dict[str, Meta]:
        """The numbers of the markets whose candles were fetched now."""
        batch = MetadataBatch(self.timeframe)
        for series in held:
            if series.stale_since_ms is not None:
                continue
            # Of rows that are none the builder says what is wrong with them.
            with contextlib.suppress(ValueError, TypeError):
                batch.add(series.market.key, series.rows, series.checked_at_ms)
        return batch.finish()
