"""The JSON documents: how they are built from series and read back. Never touches a store.

A document is one JSON object: a header, `markets` sorted by (exchange, symbol) with their rows,
and `missing`. It is written without whitespace and always in the same key order, which is what
lets `document_slices` cut it as text. Numbers are written in the shortest form that reads back
as the same float64; NaN and infinity are refused, so every document is valid JSON.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from math import isfinite
from operator import itemgetter
from typing import Any, Final, Literal, TypeVar

import msgspec
import numpy as np
import orjson

from documents.deflated import Deflated, Part, deflate, joined
from documents.text import DocumentError, DocumentText, MarketSpan
from market.markets import (
    COLUMNS,
    FUNDING_COLUMNS,
    Exchange,
    FundingBook,
    FundingRow,
    FundingSeries,
    Market,
    MarketSeries,
    Meta,
    Missing,
    Row,
)
from market.rows import Rows, TimedValues, Times, on_grid
from market.timeframes import Timeframe

GLOBAL_FR: Final = "global_fr"
Source = Literal["collected", "aggregated"]
_T = TypeVar("_T")

_COMMA: Final = deflate(b",")
_open_interest = itemgetter(7)
_funding_rate = itemgetter(8)
_NO_NUMBER: Final = b"-1e300"  # beyond all that a row holds
_funding_decoder: Final = msgspec.json.Decoder(list[FundingRow])


class DocumentBuilder:
    """Builds one candle document, market by market; keeps their JSON, compressed, and no rows."""

    def __init__(self, timeframe: Timeframe, source: Source) -> None:
        self._timeframe = timeframe
        self._source = source
        self._fragments: dict[tuple[Exchange, str], Part] = {}
        self._newest_open_ms = 0
        self.rows = 0

    @property
    def markets(self) -> int:
        return len(self._fragments)

    def add(self, series: MarketSeries, meta: Meta) -> None:
        """Encodes and compresses one market, at once; Rows several times as fast as tuples.

        Raises ValueError, and takes nothing in, if the market is already there, if its rows do
        not ascend on the timeframe's grid, or if a number is not finite.
        """
        market, rows = series.market, series.rows
        place = (market.exchange, market.symbol)
        if place in self._fragments:
            raise ValueError(f"{market.key}: added twice")
        if not all(value is None or isfinite(value) for value in meta.values()):
            raise ValueError(f"{market.key}: its metadata is not finite")
        encoded = self._encoded(market, rows)
        head = {
            "exchange": market.exchange,
            "symbol": market.symbol,
            "base": market.base,
            "quote": market.quote,
            "meta": dict(meta),
            "checked_at": series.checked_at_ms,
            "stale_since": series.stale_since_ms,
        }
        self._fragments[place] = deflate(_fragment(head, encoded))
        self.rows += len(rows)
        if rows:
            self._newest_open_ms = max(self._newest_open_ms, rows[-1][0])

    def _encoded(self, market: Market, rows: Sequence[Row]) -> bytes:
        """The rows as a JSON array; the same bytes for Rows and for the tuples that they equal."""
        interval_ms = self._timeframe.interval_ms
        if isinstance(rows, Rows):
            whole = not rows or on_grid(rows.times, interval_ms)
        else:
            times = [row[0] for row in rows]
            exact = all(type(time) is int and time % interval_ms == 0 for time in times)
            whole = exact and (not times or times[0] >= 0) and _ascending(times)
        if not whole:
            raise ValueError(f"{market.key}: its rows do not ascend on the {self._timeframe} grid")
        if isinstance(rows, Rows):
            encoded = _encode_columns(rows, interval_ms) if rows.is_finite() else None
        else:
            encoded = _encode_tuples(rows)
        if encoded is None:
            raise ValueError(f"{market.key}: a row does not hold {len(COLUMNS)} finite numbers")
        return encoded

    def finish(
        self, *, version: int, as_of_ms: int, updated_at_ms: int, missing: Iterable[Missing]
    ) -> bytes:
        """The whole document as JSON: what finish_deflated gives, inflated."""
        return self.finish_deflated(
            version=version, as_of_ms=as_of_ms, updated_at_ms=updated_at_ms, missing=missing
        ).inflate()

    def finish_deflated(
        self, *, version: int, as_of_ms: int, updated_at_ms: int, missing: Iterable[Missing]
    ) -> Deflated:
        """The whole document; equal input gives equal bytes in any order of `add`.

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
            columns=COLUMNS,
        )
        document = joined(
            piece if isinstance(piece, Part) else deflate(piece)
            for piece in _pieces(header, self._fragments, missing, comma=_COMMA)
        )
        self._fragments.clear()
        self.rows = 0
        return document


def encode_funding(
    book: FundingBook,
    *,
    version: int,
    as_of_ms: int,
    updated_at_ms: int,
    missing: Iterable[Missing],
) -> bytes:
    """The document `global_fr`. Raises ValueError for rows that do not ascend or are not finite."""
    fragments = {}
    for series in book.values():
        market = series.market
        times = [row[0] for row in series.rows]
        if any(type(time) is not int for time in times) or not _ascending(times):
            raise ValueError(f"{market.key}: its settlements do not ascend")
        rows = orjson.dumps(list(series.rows))
        if b"null" in rows or b'"' in rows:
            raise ValueError(f"{market.key}: a funding rate is not a finite number")
        head = {
            "exchange": market.exchange,
            "symbol": market.symbol,
            "base": market.base,
            "quote": market.quote,
            "interval_hours": series.interval_hours,
            "checked_at": series.checked_at_ms,
        }
        fragments[(market.exchange, market.symbol)] = _fragment(head, rows)
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
    return b"".join(_pieces(header, fragments, missing, comma=b","))


def decode_funding(document: bytes) -> dict[str, FundingSeries]:
    """The funding of all markets, by Market.key. Raises DocumentError if it is something else."""
    text = DocumentText(document)
    if text.header.get("columns") != list(FUNDING_COLUMNS):
        raise DocumentError("not a funding document")
    book = {}
    for span in text.markets:
        head, market = _head(text, span)
        rows = _decode(_funding_decoder, text.rows(span))
        series = FundingSeries(
            market, TimedValues.of(rows), head["interval_hours"], head["checked_at"]
        )
        book[market.key] = series
    return book


class SeriesBook(Mapping[str, MarketSeries]):
    """The series of a candle document by Market.key; decodes a market each time it is asked for.

    A document of a thousand markets is 40 MB as text and several times that as Python rows, of
    which a collection needs one market at a time.
    """

    def __init__(self, text: DocumentText) -> None:
        self._text = text
        self._spans = {f"{span.exchange}:{span.symbol}": span for span in text.markets}
        self._lacks_open_interest = {
            f"{entry.get('exchange')}:{entry.get('symbol')}"
            for entry in text.missing()
            if isinstance(entry, dict) and entry.get("part") == "open_interest"
        }

    def __getitem__(self, key: str) -> MarketSeries:
        span = self._spans[key]
        head, market = _head(self._text, span)
        rows = _decode_rows(self._text.rows(span))
        return MarketSeries(
            market,
            rows,
            head["checked_at"],
            head["stale_since"],
            lacks_open_interest=key in self._lacks_open_interest,
        )

    def metas(self) -> dict[str, Meta]:
        """What the document says about each market, apart from its rows."""
        return {key: self._text.head(span).get("meta") or {} for key, span in self._spans.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)


def decode_series(document: bytes) -> SeriesBook:
    """The rows of an earlier document, for carry-over and incremental refresh.

    Raises DocumentError if this is no candle document; rows that cannot be read raise it when
    their market is asked for.
    """
    text = DocumentText(document)
    if text.header.get("columns") != list(COLUMNS):
        raise DocumentError("not a candle document")
    return SeriesBook(text)


def _encode_tuples(rows: Sequence[Row]) -> bytes | None:
    """None where a row does not hold finite numbers, and nulls only where they may be."""
    encoded = orjson.dumps(rows if isinstance(rows, list | tuple) else list(rows))
    # orjson writes null for NaN and infinity: every null must be a None that may be one.
    nulls = encoded.count(b"null")
    whole = not set(map(len, rows)) - {len(COLUMNS)}
    if whole and nulls:
        nulls -= list(map(_open_interest, rows)).count(None)
        nulls -= list(map(_funding_rate, rows)).count(None)
    return encoded if whole and not nulls and b'"' not in encoded else None


def _encode_columns(rows: Rows, interval_ms: int) -> bytes:
    if not len(rows):
        return b"[]"
    # Without their times, which as floats would be written as such: [[1.5,null],[2.0,0.1]]
    encoded = orjson.dumps(np.ascontiguousarray(rows.values), option=orjson.OPT_SERIALIZE_NUMPY)
    lines = encoded.split(b"[")
    pieces = [b"["] * (2 * len(rows) + 1)
    pieces[1::2] = _beginnings(rows.times, interval_ms)
    pieces[2::2] = lines[2:]
    return b"".join(pieces)


def _beginnings(times: Times, interval_ms: int) -> list[bytes]:
    """`[<time>,` of each row."""
    count, last_ms = len(times), int(times[-1])
    if last_ms - int(times[0]) == (count - 1) * interval_ms:
        return _unbroken_beginnings(last_ms, interval_ms, -(-count // 512) * 512)[-count:]
    return [b"[%d," % time_ms for time_ms in times.tolist()]


@lru_cache(maxsize=8)
def _unbroken_beginnings(last_ms: int, interval_ms: int, count: int) -> list[bytes]:
    """Those of `count` rows without a hole, the last of them at `last_ms`: markets share them."""
    first_ms = last_ms - (count - 1) * interval_ms
    return [b"[%d," % time_ms for time_ms in range(first_ms, last_ms + 1, interval_ms)]


def _ascending(times: Sequence[int]) -> bool:
    return all(earlier < later for earlier, later in pairwise(times))


def _fragment(head: Mapping[str, Any], rows: bytes) -> bytes:
    return b'%b,"rows":%b}' % (orjson.dumps(head)[:-1], rows)


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
    return orjson.dumps(
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


def _pieces(
    header: bytes,
    fragments: Mapping[tuple[Exchange, str], _T],
    missing: Iterable[Missing],
    *,
    comma: _T,
) -> list[_T | bytes]:
    """A document's JSON in order; markets and commas as they were given, the rest as text."""
    pieces: list[_T | bytes] = [header[:-1] + b',"markets":[']
    for place in sorted(fragments):
        pieces += (fragments[place], comma)
    if fragments:
        pieces.pop()
    pieces.append(b'],"missing":%b}' % orjson.dumps(sorted(set(missing))))
    return pieces


def _head(text: DocumentText, span: MarketSpan) -> tuple[dict[str, Any], Market]:
    head = text.head(span)
    try:
        exchange = Exchange(span.exchange)
        return head, Market(exchange, span.symbol, head["base"], head["quote"])
    except (KeyError, ValueError) as error:
        raise DocumentError(f"{span.symbol}: not a market of ours: {error}") from None


def _decode_rows(rows: memoryview) -> Rows:
    # As one list of numbers, a number for each null: None among them would take twice as long.
    flat = bytes(rows).translate(None, b"[]").replace(b"null", _NO_NUMBER)
    try:
        numbers = orjson.loads(b"[%b]" % flat)
        lines = np.fromiter(numbers, np.float64, len(numbers)).reshape(-1, len(COLUMNS))
    except (ValueError, TypeError) as error:
        raise DocumentError(f"rows cannot be read: {error}") from None
    lines[lines == float(_NO_NUMBER)] = np.nan
    if np.isnan(lines[:, 0]).any():
        raise DocumentError("a row without its time")
    return Rows(lines[:, 0].astype(np.int64), lines[:, 1:])


def _decode(decoder: msgspec.json.Decoder[_T], rows: memoryview) -> _T:
    try:
        return decoder.decode(rows)
    except msgspec.DecodeError as error:
        raise DocumentError(f"rows cannot be read: {error}") from None
