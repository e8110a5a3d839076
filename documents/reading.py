"""Reads documents: the series of a candle document, and the funding of all markets."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from documents.columns import NO_NUMBER, lines_of
from documents.missing import Lacks, lacks_by_market
from documents.text import DocumentError, DocumentText, MarketSpan
from market.columns import WIDE_COLUMNS
from market.markets import (
    COLUMNS,
    FUNDING_COLUMNS,
    Exchange,
    FundingRow,
    FundingSeries,
    Market,
    MarketSeries,
    Meta,
)
from market.previous_series import PreviousSeries
from market.rows import Rows, TimedValues

KNOWN_EXCHANGES: Final = frozenset(map(str, Exchange))
NO_TIME: Final = 2.0**53  # a float does not tell such integers apart
_funding_decoder: Final = msgspec.json.Decoder(list[FundingRow])


def decode_funding(document: bytes) -> dict[str, FundingSeries]:
    """The funding of all markets by Market.key. Raises DocumentError for any other document."""
    text = DocumentText(document)
    if text.header.get("columns") != list(FUNDING_COLUMNS):
        raise DocumentError("not a funding document")
    book = {}
    lacks = lacks_by_market(text.missing())
    for span in _of_known_exchanges(text):
        head = text.head(span)
        market, rows = _market(head), _decode_settlements(text.rows(span))
        book[market.key] = FundingSeries(
            market,
            TimedValues.of(rows),
            head["interval_hours"],
            head["checked_at"],
            tuple(lacks.get(market.key, Lacks()).left_out.get("funding_rate", ())),
        )
    return book


# Decoded series that are held: those of the markets in progress on all exchanges.
_RECENT_SERIES: Final = 100


class StoredSeries(PreviousSeries):
    """The series of a candle document by Market.key, decoded when they are asked for.

    A thousand markets are 40 MB of text and several times that as rows, but a collection needs
    only the rows of the markets in progress at a time.
    """

    def __init__(self, text: DocumentText, width: int) -> None:
        self._text = text
        self._width = width  # columns of a row
        self._spans = {f"{span.exchange}:{span.symbol}": span for span in _of_known_exchanges(text)}
        self._lacks = lacks_by_market(text.missing())
        self._recent: dict[str, MarketSeries] = {}

    @property
    def version(self) -> int | None:
        version = self._text.header.get("version")
        return version if isinstance(version, int) else None

    def __getitem__(self, key: str) -> MarketSeries:
        series = self._recent.get(key)
        if series is None:
            self._recent[key] = series = self._decoded(key)
            if len(self._recent) > _RECENT_SERIES:
                del self._recent[next(iter(self._recent))]
        return series

    def _decoded(self, key: str) -> MarketSeries:
        span = self._spans[key]
        rows = decode_rows(self._text.rows(span), self._width)
        return series_of(self._text.head(span), rows, self._lacks.get(key, Lacks()))

    def metas(self) -> dict[str, Meta]:
        return {key: self._meta(span) for key, span in self._spans.items()}

    def _meta(self, span: MarketSpan) -> Meta:
        try:
            return meta_of(self._text.head(span))
        except DocumentError:
            return {}  # access to the market tells of it

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)


def decode_series(document: bytes) -> StoredSeries:
    """The rows of an earlier document, for carry-over and incremental refresh.

    They are as wide as the document's columns. Raises DocumentError if this is not a candle
    document. Access to a market raises it if the market's rows are unreadable.
    """
    text = DocumentText(document)
    return StoredSeries(text, row_width(text.header))


def row_width(header: Mapping[str, Any]) -> int:
    """How many columns a candle document has. Raises DocumentError for another document."""
    columns = header.get("columns")
    if columns not in (list(COLUMNS), list(WIDE_COLUMNS)):
        raise DocumentError("not a candle document")
    return len(columns)


def meta_of(head: Mapping[str, Any]) -> Meta:
    """The numbers of a market's `meta`, from its fields."""
    meta = head.get("meta")
    if not isinstance(meta, dict):
        return {}
    return {n: v for n, v in meta.items() if v is None or isinstance(v, int | float)}


def series_of(head: Mapping[str, Any], rows: Rows, lacks: Lacks) -> MarketSeries:
    """A market's series, from its fields. Raises DocumentError."""
    market = _market(head)
    if not head.keys() >= {"checked_at", "stale_since"}:
        raise DocumentError(f"{market.key}: it has no checked_at or no stale_since")
    return MarketSeries(
        market,
        rows,
        head["checked_at"],
        head["stale_since"],
        lacks_open_interest=lacks.open_interest,
        left_out=lacks.left_out,
        awaits_open_interest=lacks.awaits_open_interest,
    )


def _of_known_exchanges(text: DocumentText) -> Iterator[MarketSpan]:
    """All markets but those of exchanges that only a later release knows, which shares the store:
    they are none of what is collected here."""
    return (span for span in text.markets if span.exchange in KNOWN_EXCHANGES)


def _market(head: Mapping[str, Any]) -> Market:
    try:
        exchange = Exchange(head["exchange"])
        return Market(exchange, head["symbol"], head["base"], head["quote"])
    except (KeyError, ValueError) as error:
        raise DocumentError(f"{head.get('symbol')}: unreadable market: {error}") from None


def decode_rows(rows: memoryview, width: int) -> Rows:
    """The rows of a market in the JSON of a document with so many columns. Raises DocumentError."""
    counts, lines = lines_of(b"[%b]" % bytes(rows).replace(b"null", NO_NUMBER), width)
    if len(lines) != sum(counts):
        raise DocumentError("a row has not as many numbers as there are columns")
    times, values = lines[:, 0], lines[:, 1:].copy()
    values[values == float(NO_NUMBER)] = np.nan
    if not (np.abs(times) < NO_TIME).all():
        raise DocumentError("a row has no time")
    return Rows(times.astype(np.int64), values)


def _decode_settlements(rows: memoryview) -> list[FundingRow]:
    try:
        return _funding_decoder.decode(rows)
    except msgspec.DecodeError as error:
        raise DocumentError(f"unreadable rows: {error}") from None
