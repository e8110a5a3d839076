"""ChunkedSeries: the series of a candle document from its zlib stream, market by market."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from documents.chunked_text import ChunkedText
from documents.chunks import KeptMarket, stored_market
from documents.missing import Lacks, lacks_by_market
from documents.reading import KNOWN_EXCHANGES, decode_rows, meta_of, row_width, series_of
from market.markets import MarketSeries, Meta
from market.previous_series import PreviousSeries

# Decoded series that are held: those of the markets in progress on all exchanges.
_RECENT_SERIES: Final = 100


class _Decoded(NamedTuple):
    series: MarketSeries
    chunks: KeptMarket


class ChunkedSeries(PreviousSeries):
    """The series of a document by Market.key, inflated and decoded when they are asked for.

    It holds the document as it is stored, which takes a third of its text, and the markets in
    progress. `is_ours`: this process has made the document. Raises DocumentError if this is not a
    candle document, or its chunks are damaged; access to a market raises it if only that is
    unreadable. Making one is CPU work, about 50 ms for 1000 markets.
    """

    def __init__(self, text: ChunkedText, *, is_ours: bool = False) -> None:
        header = text.header()
        self._text = text
        self._is_ours = is_ours
        self._width = row_width(header)
        self._version = header.get("version")
        self._lacks = lacks_by_market(text.missing())
        self._places: dict[str, int] = {}
        self._metas: dict[str, Meta] = {}
        for place, market in enumerate(text.markets):
            if market.exchange not in KNOWN_EXCHANGES:
                continue
            key = f"{market.exchange}:{market.symbol}"
            self._places[key] = place
            self._metas[key] = meta_of(text.head(place))
        self._recent: dict[str, _Decoded] = {}

    @property
    def version(self) -> int | None:
        return self._version if isinstance(self._version, int) else None

    @property
    def is_ours(self) -> bool:
        return self._is_ours

    def __getitem__(self, key: str) -> MarketSeries:
        return self._decoded(key).series

    def chunks(self, key: str) -> KeptMarket:
        """The market's rows and chunks; a KeptMarket without any if the document lacks it."""
        return self._decoded(key).chunks if key in self._places else KeptMarket()

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def metas(self) -> dict[str, Meta]:
        return dict(self._metas)

    def _decoded(self, key: str) -> _Decoded:
        found = self._recent.get(key)
        if found is None:
            text = self._text.market(self._places[key])
            rows = decode_rows(text.rows, self._width)
            series = series_of(text.head, rows, self._lacks.get(key, Lacks()))
            interval_ms = self._text.index.interval_ms
            found = _Decoded(series, stored_market(rows, interval_ms, text.chunks))
            self._recent[key] = found
            if len(self._recent) > _RECENT_SERIES:
                del self._recent[next(iter(self._recent))]
        return found
