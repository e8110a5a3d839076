"""Builds the JSON documents: candles market by market, and the funding of all markets.

A document is one JSON object: a header, `markets` sorted by (exchange, symbol) with their rows,
and `missing`. It has no whitespace and a fixed key order, on which text.py relies. Numbers have
the shortest form that reads back as the same float64. NaN and infinity raise ValueError, so every
document is valid JSON.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, Final, Literal

import orjson
import structlog

from documents.chunk_index import ChunkedDocument, ChunkIndex, IndexedMarket, Size
from documents.chunked_series import ChunkedSeries
from documents.chunks import Chunk, KeptMarket, NotFinite, encode_market
from documents.deflated import DeflatedPart, deflate, join_parts
from documents.kept import KeptDocuments, MarketKey
from documents.meta import DocumentCounts
from documents.names import GLOBAL_FR
from documents.text import DocumentError
from market.columns import TIME, TRADE_VALUES, VALUES, WIDE_COLUMNS, columns_of
from market.markets import (
    COLUMNS,
    FUNDING_COLUMNS,
    FundingByMarket,
    FundingSeries,
    Market,
    MarketSeries,
    Meta,
    Missing,
    Row,
)
from market.rows import Rows, on_grid
from market.timeframes import Timeframe

Source = Literal["collected", "aggregated"]

log = structlog.get_logger(__name__)

_COMMA: Final = deflate(b",")
_NOT_NUMBERS: Final = f"a row does not hold {len(COLUMNS)} finite numbers"
_WIDTHS: Final = (len(COLUMNS), len(WIDE_COLUMNS))
_nullable: Final = [
    WIDE_COLUMNS.index(column.name) for column in (*VALUES, *TRADE_VALUES) if column.nullable
]


class DocumentBuilder:
    """Builds one candle document market by market; holds their compressed chunks, but no rows.

    Chunks that `kept` has of the same rows are used again, and it gets the new ones. So are those
    of `stored`, the document of before, where `kept` has none. It has the columns of trades only
    with `trade_columns`, whatever the rows have.
    """

    def __init__(
        self,
        timeframe: Timeframe,
        source: Source,
        kept: KeptDocuments | None = None,
        *,
        stored: ChunkedSeries | None = None,
        trade_columns: bool = False,
    ) -> None:
        self._trade_columns = trade_columns
        self._stored = stored
        self._timeframe = timeframe
        self._source = source
        self._kept = kept
        self._chunks: dict[MarketKey, list[Chunk]] = {}
        self._stale: set[MarketKey] = set()
        self._newest_open_ms = 0
        self.rows = 0

    @property
    def markets(self) -> int:
        return len(self._chunks)

    def add(self, series: MarketSeries, meta: Meta) -> None:
        """Encodes and compresses one market; Rows are several times as fast as tuples.

        Raises ValueError and adds nothing if the market was added before, if its rows do not
        ascend on the timeframe's grid, or if a number is not finite.
        """
        market = series.market
        key = (str(market.exchange), market.symbol)
        if key in self._chunks:
            raise ValueError(f"{market.key}: the market was added twice")
        if not all(value is None or isfinite(value) for value in meta.values()):
            raise ValueError(f"{market.key}: its metadata is not finite")
        rows = self._checked(market, series.rows)
        head = {
            "exchange": market.exchange,
            "symbol": market.symbol,
            "base": market.base,
            "quote": market.quote,
            "meta": dict(meta),
            "checked_at": series.checked_at_ms,
            "stale_since": series.stale_since_ms,
        }
        known = self._known_chunks(market)
        try:
            chunks, keep = encode_market(_head(head), rows, self._timeframe.interval_ms, known)
        except NotFinite:
            raise ValueError(f"{market.key}: {_NOT_NUMBERS}") from None
        if self._kept is not None:
            self._kept.put(self._timeframe, key, keep, series, meta)
        self._chunks[key] = chunks
        if series.stale_since_ms is not None:
            self._stale.add(key)
        self.rows += len(rows)
        if len(rows):
            self._newest_open_ms = max(self._newest_open_ms, int(rows.times[-1]))

    def _known_chunks(self, market: Market) -> KeptMarket:
        """The market's rows and chunks of before; without any if there are none."""
        found = KeptMarket()
        if self._kept is not None:
            found = self._kept.get(self._timeframe, (str(market.exchange), market.symbol))
        if not found.chunks and self._stored is not None:
            try:
                return self._stored.chunks(market.key)
            except DocumentError:
                return found  # all of the market is encoded
        return found

    def remove(self, market: Market) -> None:
        """Takes the market out again, if it was added."""
        key = (str(market.exchange), market.symbol)
        chunks = self._chunks.pop(key, ())
        self._stale.discard(key)
        self.rows -= sum(chunk.rows for chunk in chunks)

    def _checked(self, market: Market, rows: Sequence[Row]) -> Rows:
        """The rows as columns, if they ascend on the grid."""
        interval_ms = self._timeframe.interval_ms
        if isinstance(rows, Rows):
            ascending = not rows or on_grid(rows.times, interval_ms)
        else:
            times = [row[TIME] for row in rows]
            exact = all(type(time) is int and time % interval_ms == 0 for time in times)
            ascending = exact and (not times or times[0] >= 0) and _ascending(times)
        if not ascending:
            raise ValueError(f"{market.key}: its rows do not ascend on the {self._timeframe} grid")
        if not isinstance(rows, Rows) and not _are_numbers(rows):
            raise ValueError(f"{market.key}: {_NOT_NUMBERS}")
        return Rows.of(rows).fitted(self._trade_columns)

    def finish(
        self, *, version: int, as_of_ms: int, updated_at_ms: int, missing: Iterable[Missing]
    ) -> bytes:
        """The whole document as JSON; see finish_deflated."""
        return self.finish_deflated(
            version=version, as_of_ms=as_of_ms, updated_at_ms=updated_at_ms, missing=missing
        ).inflate()

    def finish_deflated(
        self, *, version: int, as_of_ms: int, updated_at_ms: int, missing: Iterable[Missing]
    ) -> ChunkedDocument:
        """The whole document, compressed. Its bytes do not depend on the order of `add`.

        The builder is empty afterwards. Raises ValueError if a row opened after `as_of_ms`.
        """
        if self._newest_open_ms > as_of_ms:
            raise ValueError(f"a row opened at {self._newest_open_ms}, after as_of {as_of_ms}")
        header = _header(
            name=self._timeframe,
            interval_ms=self._timeframe.interval_ms,
            version=version,
            as_of_ms=as_of_ms,
            updated_at_ms=updated_at_ms,
            last_closed_ms=self._timeframe.last_closed_open_time(as_of_ms),
            source=self._source,
            columns=columns_of(self._trade_columns),
        )
        lacks = _in_order(missing)
        chunks = {key: self._chunks[key] for key in sorted(self._chunks)}
        document = _joined(
            deflate(header),
            chunks,
            deflate(_end(lacks)),
            self._timeframe.interval_ms,
            DocumentCounts(len(chunks), len(self._stale), len(lacks)),
        )
        if self._kept is not None:
            self._kept.finish(self._timeframe, chunks, lacks)
        self._chunks.clear()
        self._stale.clear()
        self.rows = 0
        return document


def _joined(
    header: DeflatedPart,
    markets: Mapping[MarketKey, Sequence[Chunk]],
    end: DeflatedPart,
    interval_ms: int,
    counts: DocumentCounts,
) -> ChunkedDocument:
    """The document of these parts, and their index."""
    parts = [header]
    indexed: list[IndexedMarket] = []
    every: list[Chunk] = []
    for key, chunks in markets.items():
        if indexed:
            parts.append(_COMMA)
        parts += (chunk.part for chunk in chunks)
        indexed.append(IndexedMarket(*key, len(every), len(every) + len(chunks)))
        every += chunks
    parts.append(end)
    texts, first_times, rows, *_ = zip(*every, strict=True) if every else ((), (), ())
    index = ChunkIndex(
        interval_ms=interval_ms,
        header=_size(header),
        comma=_size(_COMMA),
        end=_size(end),
        markets=indexed,
        deflated=array("I", [len(text.deflated) for text in texts]),
        text=array("I", [text.size for text in texts]),
        first=array("I", [first_ms // interval_ms for first_ms in first_times]),
        rows=array("I", rows),
    )
    joined = join_parts(parts)
    return ChunkedDocument(joined.pieces, joined.text_bytes, index, counts)


def _size(part: DeflatedPart) -> Size:
    return Size(len(part.deflated), part.size)


def encode_funding(
    book: FundingByMarket,
    *,
    version: int,
    as_of_ms: int,
    updated_at_ms: int,
    missing: Iterable[Missing],
) -> bytes:
    """The document `global_fr`; see funding_document."""
    document, _, _ = funding_document(
        book, version=version, as_of_ms=as_of_ms, updated_at_ms=updated_at_ms, missing=missing
    )
    return document


def funding_document(
    book: FundingByMarket,
    *,
    version: int,
    as_of_ms: int,
    updated_at_ms: int,
    missing: Iterable[Missing],
) -> tuple[bytes, int, int]:
    """The document `global_fr`, how many markets it has, and how much is missing in it.

    A market whose rows do not ascend or are not finite is left out and named in `missing`.
    """
    fragments = {}
    lacks = list(missing)
    for series in book.values():
        market = series.market
        try:
            fragments[(market.exchange, market.symbol)] = _funding_fragment(series)
        except (ValueError, TypeError) as error:
            log.error("funding_rows_invalid", market=market.key, error=str(error))
            lacks.append(Missing(market.exchange, market.symbol, "funding_rate", str(error)))
    header = _header(
        name=GLOBAL_FR,
        interval_ms=None,
        version=version,
        as_of_ms=as_of_ms,
        updated_at_ms=updated_at_ms,
        last_closed_ms=None,
        source="collected",
        columns=FUNDING_COLUMNS,
    )
    markets = b",".join(fragments[key] for key in sorted(fragments))
    lacks = _in_order(lacks)
    return b"%b%b%b" % (header, markets, _end(lacks)), len(fragments), len(lacks)


def _funding_fragment(series: FundingSeries) -> bytes:
    market = series.market
    times = [row[TIME] for row in series.rows]
    if any(type(time) is not int for time in times) or not _ascending(times):
        raise ValueError("its settlements do not ascend")
    rows = orjson.dumps(list(series.rows))
    if b"null" in rows or b'"' in rows:
        raise ValueError("a funding rate is not a finite number")
    head = {
        "exchange": market.exchange,
        "symbol": market.symbol,
        "base": market.base,
        "quote": market.quote,
        "interval_hours": series.interval_hours,
        "checked_at": series.checked_at_ms,
    }
    return b"%b%b}" % (_head(head)[:-1], rows)


def _are_numbers(rows: Sequence[Row]) -> bool:
    """Whether every row has all numbers, finite ones, or None in a nullable column."""
    encoded = orjson.dumps(list(rows))
    widths = set(map(len, rows))
    if len(widths) > 1 or widths - set(_WIDTHS) or b'"' in encoded:
        return False
    # orjson writes null for NaN and infinity, so every null must be a None of a nullable column.
    nulls = encoded.count(b"null")
    places = [place for place in _nullable if place < max(widths, default=0)]
    return not nulls or nulls == sum(row[place] is None for row in rows for place in places)


def _ascending(times: Sequence[int]) -> bool:
    return all(earlier < later for earlier, later in pairwise(times))


def _head(head: Mapping[str, Any]) -> bytes:
    """A market's JSON up to its first row."""
    return orjson.dumps(head)[:-1] + b',"rows":['


def _header(
    *,
    name: str,
    interval_ms: int | None,
    version: int,
    as_of_ms: int,
    updated_at_ms: int,
    last_closed_ms: int | None,
    source: Source,
    columns: Sequence[str],
) -> bytes:
    """A document's JSON up to its first market."""
    header = orjson.dumps(
        {
            "timeframe": name,
            "interval_ms": interval_ms,
            "version": version,
            "as_of": as_of_ms,
            "updated_at": updated_at_ms,
            "last_closed_open_time": last_closed_ms,
            "source": source,
            "columns": columns,
        }
    )
    return header[:-1] + b',"markets":['


def _end(missing: Sequence[Missing]) -> bytes:
    """A document's JSON after its last market."""
    return b'],"missing":%b}' % orjson.dumps(missing)


def _in_order(missing: Iterable[Missing]) -> list[Missing]:
    return sorted(set(missing))
