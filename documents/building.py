"""Builds the JSON documents: candles market by market, and the funding of all markets.

A document is one JSON object: a header, `markets` sorted by (exchange, symbol) with their rows,
and `missing`. It has no whitespace and a fixed key order, on which text.py relies. Numbers have
the shortest form that reads back as the same float64. NaN and infinity raise ValueError, so every
document is valid JSON.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from math import isfinite
from operator import itemgetter
from typing import Any, Final, Literal, TypeVar

import numpy as np
import orjson
import structlog

from documents.deflated import Deflated, DeflatedPart, deflate, join_parts
from documents.names import GLOBAL_FR
from market.columns import TIME, VALUES
from market.markets import (
    COLUMNS,
    FUNDING_COLUMNS,
    Exchange,
    FundingByMarket,
    FundingSeries,
    Market,
    MarketSeries,
    Meta,
    Missing,
    Row,
)
from market.rows import Rows, Times, on_grid
from market.timeframes import Timeframe

Source = Literal["collected", "aggregated"]
_T = TypeVar("_T")

log = structlog.get_logger(__name__)

_COMMA: Final = deflate(b",")
_SHARED_STARTS: Final = 512  # row counts are rounded up to these, so that more markets share them
_nullable: Final = [itemgetter(COLUMNS.index(column.name)) for column in VALUES if column.nullable]


class DocumentBuilder:
    """Builds one candle document market by market; holds their compressed JSON, but no rows."""

    def __init__(self, timeframe: Timeframe, source: Source) -> None:
        self._timeframe = timeframe
        self._source = source
        self._fragments: dict[tuple[Exchange, str], DeflatedPart] = {}
        self._rows_of: dict[tuple[Exchange, str], int] = {}
        self._newest_open_ms = 0
        self.rows = 0

    @property
    def markets(self) -> int:
        return len(self._fragments)

    def add(self, series: MarketSeries, meta: Meta) -> None:
        """Encodes and compresses one market; Rows are several times as fast as tuples.

        Raises ValueError and adds nothing if the market was added before, if its rows do not
        ascend on the timeframe's grid, or if a number is not finite.
        """
        market, rows = series.market, series.rows
        sort_key = (market.exchange, market.symbol)
        if sort_key in self._fragments:
            raise ValueError(f"{market.key}: the market was added twice")
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
        self._fragments[sort_key] = deflate(_fragment(head, encoded))
        self._rows_of[sort_key] = len(rows)
        self.rows += len(rows)
        if rows:
            self._newest_open_ms = max(self._newest_open_ms, rows[-1][TIME])

    def remove(self, market: Market) -> None:
        """Takes the market out again, if it was added."""
        sort_key = (market.exchange, market.symbol)
        if self._fragments.pop(sort_key, None) is not None:
            self.rows -= self._rows_of.pop(sort_key)

    def _encoded(self, market: Market, rows: Sequence[Row]) -> bytes:
        """The rows as a JSON array; Rows and equal tuples give the same bytes."""
        interval_ms = self._timeframe.interval_ms
        if isinstance(rows, Rows):
            ascending = not rows or on_grid(rows.times, interval_ms)
        else:
            times = [row[TIME] for row in rows]
            exact = all(type(time) is int and time % interval_ms == 0 for time in times)
            ascending = exact and (not times or times[0] >= 0) and _ascending(times)
        if not ascending:
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
        """The whole document as JSON; see finish_deflated."""
        return self.finish_deflated(
            version=version, as_of_ms=as_of_ms, updated_at_ms=updated_at_ms, missing=missing
        ).inflate()

    def finish_deflated(
        self, *, version: int, as_of_ms: int, updated_at_ms: int, missing: Iterable[Missing]
    ) -> Deflated:
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
            columns=COLUMNS,
        )
        document = join_parts(
            piece if isinstance(piece, DeflatedPart) else deflate(piece)
            for piece in _pieces(header, self._fragments, missing, comma=_COMMA)
        )
        self._fragments.clear()
        self.rows = 0
        return document


def encode_funding(
    book: FundingByMarket,
    *,
    version: int,
    as_of_ms: int,
    updated_at_ms: int,
    missing: Iterable[Missing],
) -> bytes:
    """The document `global_fr`.

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
    return b"".join(_pieces(header, fragments, lacks, comma=b","))


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
    return _fragment(head, rows)


def _encode_tuples(rows: Sequence[Row]) -> bytes | None:
    """None if a row lacks a number, or holds NaN, infinity or a None that it may not hold."""
    encoded = orjson.dumps(list(rows))
    # orjson writes null for NaN and infinity, so every null must be a None of a nullable column.
    nulls = encoded.count(b"null")
    complete = not set(map(len, rows)) - {len(COLUMNS)}
    if complete and nulls:
        nulls -= sum(list(map(value, rows)).count(None) for value in _nullable)
    return encoded if complete and not nulls and b'"' not in encoded else None


def _encode_columns(rows: Rows, interval_ms: int) -> bytes:
    if not len(rows):
        return b"[]"
    # The times are spliced in as integers: orjson gives the values alone, [[1.5,null],[2.0,0.1]].
    encoded = orjson.dumps(np.ascontiguousarray(rows.values), option=orjson.OPT_SERIALIZE_NUMPY)
    lines = encoded.split(b"[")
    pieces = [b"["] * (2 * len(rows) + 1)
    pieces[1::2] = _row_starts(rows.times, interval_ms)
    pieces[2::2] = lines[2:]
    return b"".join(pieces)


def _row_starts(times: Times, interval_ms: int) -> list[bytes]:
    """`[<time>,` of each row."""
    count, last_ms = len(times), int(times[-1])
    shared = -(-count // _SHARED_STARTS) * _SHARED_STARTS
    if last_ms - int(times[0]) == (count - 1) * interval_ms:
        return _row_starts_without_gap(last_ms, interval_ms, shared)[-count:]
    return [b"[%d," % time_ms for time_ms in times.tolist()]


@lru_cache(maxsize=8)
def _row_starts_without_gap(last_ms: int, interval_ms: int, count: int) -> list[bytes]:
    """`[<time>,` of `count` rows up to `last_ms`; cached because most markets share them."""
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
    """A document's JSON in order: markets and commas as given, everything else as text."""
    pieces: list[_T | bytes] = [header[:-1] + b',"markets":[']
    for sort_key in sorted(fragments):
        pieces += (fragments[sort_key], comma)
    if fragments:
        pieces.pop()
    pieces.append(b'],"missing":%b}' % orjson.dumps(sorted(set(missing))))
    return pieces
