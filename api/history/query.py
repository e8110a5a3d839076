"""Parses and validates the query parameters of /api/historical; names unknown ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

import orjson

from api.documents.query import InvalidQuery, QueryReader, invalid
from api.formats import Format
from api.history.columns import JOINED, Layout, column_names, layout_of
from api.history.cursor import BadCursor, Cursor
from api.moments import read_moment
from history.selection import END_MS, Kind, MarketName, Selection
from market.markets import Exchange
from market.timeframes import Timeframe
from stores.cold.history.series import FUNDING_MS, OPEN_INTEREST_MS

_RANGE: Final = ("from", "to", "limit", "as_of", "unrecorded", "revisions")
_FORM: Final = ("columns", "format", "cursor")
MOST_SYMBOLS: Final = 1000
_PRICES_TIMEFRAME: Final = Timeframe.H1


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """A parsed query string, without the markets. `symbols`: (exchange or None, symbol) each."""

    kind: Kind
    timeframe: Timeframe | None
    from_ms: int
    to_ms: int
    as_of_ms: int | None
    unrecorded: bool
    revisions: bool
    limit: int | None
    layout: Layout
    format: Format | None
    cursor: str | None
    symbols: tuple[tuple[str | None, str], ...]

    def selection(self, markets: tuple[MarketName, ...]) -> Selection:
        candles = self.kind == "candles" and not self.revisions
        if self.timeframe is not None:
            interval_ms = self.timeframe.interval_ms
        else:
            interval_ms = FUNDING_MS if self.kind == "funding" else OPEN_INTEREST_MS
        interest, rate = (candles and name in self.layout.values for name in JOINED)
        return Selection(
            self.kind,
            markets,
            interval_ms,
            self.from_ms,
            self.to_ms,
            self.as_of_ms,
            self.unrecorded,
            self.revisions,
            interest,
            rate,
        )

    def canonical(self, asked: Sequence[tuple[str | None, str]]) -> bytes:
        """The same bytes for all pages of one request."""
        return orjson.dumps(
            [
                *(self.kind, self.timeframe, self.from_ms, self.to_ms),
                *(self.as_of_ms, self.unrecorded, self.revisions),
                sorted((exchange or "", symbol) for exchange, symbol in asked),
            ]
        )

    def decoded_cursor(self, asked: Sequence[tuple[str | None, str]]) -> Cursor | None:
        """Raises InvalidQuery for a cursor that is not of this request."""
        if not self.cursor:
            return None
        try:
            return Cursor.decode(self.cursor, self.canonical(asked))
        except BadCursor as error:
            raise InvalidQuery([invalid("cursor", "cursor", str(error))]) from None


def parameters_of(kind: Kind, *, several: bool = False) -> tuple[str, ...]:
    """The query parameters of these rows, of one market or of several."""
    first: tuple[str, ...] = ("symbols",) if several else ()
    if kind == "prices":
        first = ("exchange", "source")
    return (*first, *(("timeframe",) if kind != "funding" else ()), *_RANGE, *_FORM)


def read_history_query(query_string: bytes, kind: Kind, *, several: bool = False) -> HistoryQuery:
    """Raises InvalidQuery, with all that is wrong."""
    reader = QueryReader(query_string, parameters_of(kind, several=several))
    revisions = _one_of(reader, "revisions", ("newest", "all")) == "all"
    from_ms = _time(reader, "from") or 0
    to_ms = _time(reader, "to")
    to_ms = END_MS if to_ms is None else to_ms
    if from_ms > to_ms:
        reader.refuse("to", "order", "must not be before `from`")
    unrecorded = _one_of(reader, "unrecorded", ("omit", "closed")) == "closed"
    as_of_ms = _time(reader, "as_of")
    if unrecorded and not reader.has("as_of"):
        reader.refuse("unrecorded", "combination", "closed needs as_of, the time it is told for")
    format_ = _one_of(reader, "format", list(Format))
    query = HistoryQuery(
        kind=kind,
        timeframe=_timeframe(reader, kind),
        from_ms=from_ms,
        to_ms=to_ms,
        as_of_ms=as_of_ms,
        unrecorded=unrecorded,
        revisions=revisions,
        limit=reader.integer("limit", least=1),
        layout=_layout(reader, kind, revisions=revisions),
        format=None if format_ is None else Format(format_),
        cursor=reader.single("cursor"),
        symbols=_symbols(reader) if several else _any_exchange(reader, kind),
    )
    if reader.errors:
        raise InvalidQuery(reader.errors)
    return query


def _time(reader: QueryReader, name: str) -> int | None:
    text = reader.single(name)
    if text is None:
        return None
    try:
        return read_moment(text)
    except ValueError as error:
        reader.refuse(name, "time", str(error))
        return None


def _one_of(reader: QueryReader, name: str, allowed: Sequence[str]) -> str | None:
    value = reader.single(name)
    if value is not None and value not in allowed:
        near = get_close_matches(value[:32].lower(), allowed, 1)
        meant = f": did you mean {near[0]}?" if near else ""
        reader.refuse(name, "enum", f"must be one of {', '.join(allowed)}{meant}")
        return None
    return value


def _timeframe(reader: QueryReader, kind: Kind) -> Timeframe | None:
    if kind == "funding":
        return None
    value = _one_of(reader, "timeframe", list(Timeframe))
    if value is not None:
        return Timeframe(value)
    if kind == "candles" and not any(e["loc"] == ["query", "timeframe"] for e in reader.errors):
        reader.refuse("timeframe", "missing", f"is needed: one of {', '.join(Timeframe)}")
    return _PRICES_TIMEFRAME if kind == "prices" else None


def _layout(reader: QueryReader, kind: Kind, *, revisions: bool) -> Layout:
    names = column_names(kind, revisions=revisions)
    picked = reader.names("columns")
    unknown = sorted((picked or frozenset()) - set(names))
    if picked is not None and not picked:
        reader.refuse("columns", "empty", f"must be one or more of {', '.join(names)}")
    elif unknown:
        near = get_close_matches(unknown[0][:32].lower(), names, 1)
        meant = f": did you mean {near[0]}?" if near else ""
        reader.refuse("columns", "enum", f"must be some of {', '.join(names)}{meant}")
    return layout_of(kind, picked, revisions=revisions)


def _symbols(reader: QueryReader) -> tuple[tuple[str | None, str], ...]:
    """`symbols`: each BTCUSDT, of every exchange, or binance:BTCUSDT."""
    names = reader.names("symbols")
    if not names:
        reader.refuse(
            "symbols", "missing", "must be one or more symbols, such as BTCUSDT or bybit:BTCUSDT"
        )
        return ()
    if len(names) > MOST_SYMBOLS:
        reader.refuse("symbols", "too_many", f"must be at most {MOST_SYMBOLS} symbols")
        return ()
    found: list[tuple[str | None, str]] = []
    for name in sorted(names):
        exchange, colon, symbol = name.rpartition(":")
        if colon and exchange.lower() in list(Exchange):
            found.append((exchange.lower(), symbol))
        elif colon:
            allowed = ", ".join(Exchange)
            reader.refuse(
                "symbols", "enum", f"the exchange before a colon must be one of {allowed}"
            )
            return ()
        else:
            found.append((None, name))
    return tuple(found)


def _any_exchange(reader: QueryReader, kind: Kind) -> tuple[tuple[str | None, str], ...]:
    """For prices: the exchanges that are asked for, with no symbol; (None, "") for any."""
    exchanges = reader.exchanges() if kind == "prices" else None
    return tuple((exchange, "") for exchange in sorted(exchanges or ())) or ((None, ""),)
