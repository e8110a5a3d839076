"""DocumentDraft: builds a candle document market by market and computes its metadata.

The carried-over rows of failed markets come from data_collector/collect_or_carry_over.py.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import structlog

from documents.building import DocumentBuilder, Source
from documents.changes import Changes
from documents.chunk_index import ChunkedDocument
from documents.chunked_series import ChunkedSeries
from documents.comparison import Comparison
from documents.journal import EncodedEntry
from documents.journal_draft import JournalDraft
from documents.kept import KeptDocuments
from jobs.unserved import Unserved
from market.markets import Market, MarketSeries, Meta, Missing
from market.metadata import MetadataBatch, have_same_closes
from market.previous_series import PreviousSeries
from market.timeframes import Timeframe

# Markets whose metadata is computed together. A document of 950 markets takes 0.30 s of CPU with
# batches of 16 or 64, and 0.46 s one by one. A batch of 16 blocks the event loop for 6 ms, one of
# 64 for 22 ms.
_BATCH_SIZE: Final = 16

log = structlog.get_logger(__name__)


class DocumentDraft:
    """Takes markets in any order; holds the rows of one batch and the JSON of all others.

    `known` is the stored metadata by Market.key; numbers computed from fresh rows replace it, but
    for markets whose closed candles are those of `same_close`: the stored document, if no candle
    has closed since. `kept` has the rows and chunks of earlier documents, and gets those of this
    one. `previous`: the stored version, if there is one; `changes`, once finished, what it changes.
    `journal`: makes the entry for the history, which is `entry` once finished. `trade_columns`: the
    document has those of trades.
    """

    def __init__(
        self,
        timeframe: Timeframe,
        source: Source,
        known: Mapping[str, Meta],
        kept: KeptDocuments | None = None,
        *,
        same_close: Mapping[str, MarketSeries] | None = None,
        previous: PreviousSeries | None = None,
        journal: JournalDraft | None = None,
        trade_columns: bool = False,
    ) -> None:
        self.timeframe = timeframe
        self._known = known
        self._same_close = same_close
        self._kept = kept
        self._builder = DocumentBuilder(
            timeframe,
            source,
            kept,
            stored=previous if isinstance(previous, ChunkedSeries) else None,
            trade_columns=trade_columns,
        )
        self._comparison = Comparison(timeframe, previous, journal, trade_columns=trade_columns)
        self.changes: Changes | None = None
        self.entry: EncodedEntry | None = None
        self._batch: list[MarketSeries] = []
        self._refused: list[Missing] = []
        self._unserved = Unserved(timeframe)
        self._together: Sequence[DocumentDraft] = (self,)
        self.computed: dict[str, Meta] = {}  # by Market.key
        self.markets = 0
        self.rows = 0

    def add(self, series: MarketSeries) -> None:
        """Adds one market; a market with invalid rows is reported as missing instead."""
        self._batch.append(series)
        if len(self._batch) == _BATCH_SIZE:
            self._encode_batch()

    @staticmethod
    def join(drafts: Iterable["DocumentDraft"]) -> None:
        """A market that one of the drafts refuses is in none of them.

        Call `encode_rest` for all of them before the first is finished.
        """
        together = tuple(drafts)
        for draft in together:
            draft._together = together

    def encode_rest(self) -> None:
        """Encodes the markets that are still held; CPU work, as `finish`."""
        self._encode_batch()

    def finish(
        self, *, version: int, as_of_ms: int, updated_at_ms: int, missing: list[Missing]
    ) -> ChunkedDocument:
        """The complete document. It is CPU work, so call it off the event loop, and afterwards
        only read `computed`, `markets` and `rows`."""
        self._encode_batch()
        self.markets, self.rows = self._builder.markets, self._builder.rows
        lacks = [*missing, *self._refused, *self._unserved.told(as_of_ms)]
        self.changes = self._comparison.finish(lacks)
        self.entry = self._comparison.journal_entry(
            version=version, as_of_ms=as_of_ms, updated_at_ms=updated_at_ms, missing=lacks
        )
        return self._builder.finish_deflated(
            version=version, as_of_ms=as_of_ms, updated_at_ms=updated_at_ms, missing=lacks
        )

    def published(self, version: int, content_hash: str, document: ChunkedDocument) -> None:
        """Tells that the finished document is stored, so that the next run takes it from memory."""
        if self._kept is not None:
            self._kept.publish(self.timeframe, version, content_hash, document)

    def _encode_batch(self) -> None:
        batch, self._batch = self._batch, []
        refused = {(missing.exchange, missing.symbol) for missing in self._refused}
        batch = [s for s in batch if (s.market.exchange, s.market.symbol) not in refused]
        computed = self._compute([each for each in batch if self._has_other_closes(each)])
        for series in batch:
            key = series.market.key
            numbers = computed.get(key, {})
            try:
                self._comparison.add(series)  # first: the builder replaces what is kept
                self._builder.add(series, {**self._known.get(key, {}), **numbers})
                self._unserved.add(series)
            except MemoryError:
                raise
            except Exception as error:
                # Whatever is wrong with a market's rows costs only that market.
                invalid = isinstance(error, ValueError)
                reason = str(error) if invalid else f"internal error: {type(error).__name__}"
                log.error("market_rows_invalid", market=key, error=reason, exc_info=not invalid)
                for draft in self._together:
                    draft._refuse(series.market, reason)
            else:
                if numbers:
                    self.computed[key] = numbers

    def _refuse(self, market: Market, reason: str) -> None:
        self._builder.remove(market)
        self._comparison.remove(market)
        self._unserved.remove(market.exchange, market.symbol)
        self.computed.pop(market.key, None)
        self._refused.append(Missing(market.exchange, market.symbol, "klines", reason))

    def _has_other_closes(self, series: MarketSeries) -> bool:
        """Whether its stored numbers may be of other closed candles."""
        if self._same_close is None:
            return True
        last_closed_ms = self.timeframe.last_closed_open_time(series.checked_at_ms)
        try:
            before = self._same_close.get(series.market.key)
            return before is None or not have_same_closes(before.rows, series.rows, last_closed_ms)
        except (ValueError, TypeError, LookupError):
            return True  # the builder reports invalid rows

    def _compute(self, batch: list[MarketSeries]) -> dict[str, Meta]:
        """The metadata of the markets whose candles are fresh, by Market.key."""
        try:
            return self._metadata_of(batch)
        except MemoryError:
            raise
        except Exception:
            log.exception("metadata_not_computed", document=str(self.timeframe))
        # One by one, so that only the market with the trouble lacks its numbers.
        computed: dict[str, Meta] = {}
        for series in batch:
            with contextlib.suppress(ValueError, TypeError, ArithmeticError, LookupError):
                computed |= self._metadata_of([series])
        return computed

    def _metadata_of(self, batch: list[MarketSeries]) -> dict[str, Meta]:
        metadata = MetadataBatch(self.timeframe)
        for series in batch:
            if series.stale_since_ms is not None:
                continue
            # The builder reports invalid rows.
            with contextlib.suppress(ValueError, TypeError):
                metadata.add(series.market.key, series.rows, series.checked_at_ms)
        return metadata.finish()
