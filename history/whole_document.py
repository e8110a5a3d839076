"""WholeDocument: a stored document, taken apart into the rows of the record, market by market."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

import structlog

from cache_manager import StoredDocument
from documents.journal import EncodedEntry
from documents.journal_draft import JournalDraft, funding_entry
from documents.names import GLOBAL_FR
from documents.reading import decode_funding, decode_series
from documents.text import DocumentError, DocumentText
from history.entry_rows import ToldRows, rows_of_series, rows_of_settlements
from market.markets import FundingByMarket, MarketSeries, Missing, UnreadableSeries
from market.timeframes import Timeframe

_MARKETS_AT_ONCE: Final = 50  # a transaction of 25,000 rows, or 20,000 settlements

log = structlog.get_logger(__name__)


class WholeDocument:
    """Read in the order of its methods, each of them CPU work for a thread. Raises DamagedDocument
    or ValueError, of which DocumentError is one, if it cannot be read.

    A market whose rows cannot be read is left out.
    """

    def __init__(self, stored: StoredDocument) -> None:
        self.name, self.version = stored.meta.name, stored.meta.version
        self.updated_at_ms, self.as_of_ms = stored.meta.updated_at_ms, stored.meta.as_of_ms
        json = stored.inflate()
        text = DocumentText(json)
        self._missing = [found for entry in text.missing() if (found := _missing(entry))]
        self._rows: Iterator[list[ToldRows]]
        self._funding: FundingByMarket = {}
        self._draft: JournalDraft | None = None
        if self.name == GLOBAL_FR:
            self._funding = decode_funding(json)
            self._rows = (list(rows_of_settlements(each)) for each in self._funding.values())
        else:
            timeframe = Timeframe(self.name)
            self._draft = JournalDraft(timeframe, candles=None)
            self._rows = self._decoded(decode_series(json), timeframe, self._draft)

    def next_rows(self) -> Sequence[ToldRows] | None:
        """The rows of the next markets; None after the last."""
        markets = list(islice(self._rows, _MARKETS_AT_ONCE))
        return [rows for market in markets for rows in market] if markets else None

    def entry(self) -> EncodedEntry | None:
        """The entry that stands for it, once all rows were read; None if it cannot be made."""
        told: dict[str, Any] = {
            "version": self.version,
            "as_of_ms": self.as_of_ms,
            "updated_at_ms": self.updated_at_ms,
            "missing": self._missing,
        }
        if self._draft is None:
            return funding_entry({}, self._funding, base=None, **told)
        return self._draft.finish(None, None, **told)

    def _decoded(
        self, series: "Any", timeframe: Timeframe, draft: JournalDraft
    ) -> Iterator[list[ToldRows]]:
        for key in series:
            try:
                market: MarketSeries = series[key]
                rows = list(rows_of_series(market, timeframe))
            except (UnreadableSeries, DocumentError, LookupError, TypeError, ValueError) as error:
                log.error("market_not_recorded", document=self.name, market=key, error=str(error))
                continue
            draft.add(market, is_new=True)
            yield rows


def _missing(entry: Any) -> Missing | None:
    try:
        return Missing(entry["exchange"], entry["symbol"], entry["part"], entry["reason"])
    except (LookupError, TypeError):
        return None  # of a later release
