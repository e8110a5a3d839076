"""The reader of Binance USD-M futures stream messages: their forms, one struct each."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, get_args

import msgspec

from live.binance.answers import ENVELOPE, read_answer
from live.events import (
    BookEvent,
    ClosingSoon,
    Event,
    FundingEvent,
    LeftOut,
    TickerEvent,
    TradeEvent,
)
from live.reading import (
    INTERVALS,
    MOST_ENTRIES,
    BookLevel,
    Id,
    Name,
    Time,
    candle_event,
    is_time,
    levels_of,
    not_in_format,
    other_product,
    parts_of,
    positive,
    ticker_values,
    unread_kind,
    unreadable,
    usable,
    why,
)
from venues.entries import DECODE_ERRORS
from venues.numbers import shown

EXCHANGE: Final = "binance"

# --- data ----------------------------------------------------------------------------------------


class _Candle(msgspec.Struct, gc=False):
    t: Time
    i: str
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - the exchange's name
    v: str
    x: bool
    q: str
    n: int | None = None
    V: Any = ""
    Q: Any = ""


class _Row(msgspec.Struct, gc=False, kw_only=True, tag_field="e"):
    """`st`: 1 USD-M, 2 COIN-M; absent in candles, and everywhere before 2026-06-30."""

    s: Name
    st: int = 1


class _Kline(_Row, tag="kline", kw_only=True):
    E: Time
    k: _Candle


class _AggTrade(_Row, tag="aggTrade", kw_only=True):
    a: Id
    p: str
    q: str
    T: Time
    m: bool  # the buyer is the maker


class _Depth(_Row, tag="depthUpdate", kw_only=True):
    E: Time
    U: Id
    u: Id
    b: list[BookLevel]
    a: list[BookLevel]
    pu: Id | None = None


class _MarkPrice(_Row, tag="markPriceUpdate", kw_only=True):
    """`T` is 0 and `r` empty on contracts that are delivered."""

    E: Time
    p: str = ""
    i: str = ""
    r: str = ""
    T: int = 0


class _MiniTicker(_Row, tag="24hrMiniTicker", kw_only=True):
    E: Time
    c: str
    o: str
    h: str
    l: str  # noqa: E741
    v: str
    q: str


class _Ticker(_Row, tag="24hrTicker", kw_only=True):
    E: Time
    c: str
    o: str
    h: str
    l: str  # noqa: E741
    v: str
    q: str
    Q: str = ""
    n: int | None = None


class _BookTicker(_Row, tag="bookTicker", kw_only=True):
    E: Time
    b: str
    B: str
    a: str
    A: str


class _Shutdown(msgspec.Struct, tag_field="e", tag="serverShutdown"):
    """Seen on spot shortly before its cuts."""


_AnyRow = _Kline | _AggTrade | _Depth | _MarkPrice | _MiniTicker | _Ticker | _BookTicker | _Shutdown


class _Wrapped(msgspec.Struct, gc=False):
    data: _AnyRow | list[_AnyRow]
    stream: str = ""


def _read_kline(row: _Kline) -> Event:
    """{"e":"kline","E":1791240060493,"s":"BTCUSDT","k":{"t":1791240000000,"T":1791240059999,
    "s":"BTCUSDT","i":"1m","f":8148430588,"L":8148431450,"o":"85885.40","c":"85893.90",
    "h":"85900.00","l":"85885.40","v":"30.033","n":856,"x":true,"q":"2579673.59220","V":"8.679",
    "Q":"745444.22690","B":"0"}}"""
    k = row.k
    if not _is_ours(row.s):
        return _not_ours(row.s)
    interval = INTERVALS.get(k.i)
    if interval is None:
        return unread_kind(f"candles of {k.i}", row.s)
    return candle_event(
        row.s, interval, k.t, row.E, k.x, k.o, k.h, k.l, k.c, k.v, k.q, k.n, k.V, k.Q
    )  # fmt: skip


def _read_trade(row: _AggTrade) -> Event:
    """{"e":"aggTrade","E":1791283227690,"a":3476465318,"s":"BTCUSDT","p":"86000.00","q":"4.577",
    "nq":"4.571","f":8149533714,"l":8149533773,"T":1791283227688,"m":true,"st":1}"""
    price, size = positive(row.p), positive(row.q)
    if price is None or size is None:
        return unreadable(f"impossible trade: {shown(row.p)}, {shown(row.q)}", row.s)
    return TradeEvent(row.s, row.T, str(row.a), price, size, "sell" if row.m else "buy")


def _read_depth(row: _Depth) -> Event:
    """{"e":"depthUpdate","E":1791283218172,"T":1791283218171,"s":"BTCUSDT","ps":"BTCUSDT",
    "U":11747004259049,"u":11747004264789,"pu":11747004258972,"b":[["85999.80","0.381"]],
    "a":[["86000.10","0.702"]],"st":1}"""
    bids, asks = levels_of(row.b), levels_of(row.a)
    if isinstance(bids, str):
        return unreadable(bids, row.s)
    if isinstance(asks, str):
        return unreadable(asks, row.s)
    return BookEvent(row.s, row.E, False, bids, asks, row.u, row.U, row.pu)


def _ticker(row: _Row, time_ms: int, values: dict[str, str], *, is_change: bool) -> Event:
    told = ticker_values(values)
    if isinstance(told, str):
        return unreadable(told, row.s)
    return TickerEvent(row.s, time_ms, told, is_change)


def _read_mini_ticker(row: _MiniTicker | _Ticker) -> Event:
    """{"e":"24hrTicker","E":1791283239234,"s":"BTCUSDT","p":"9.9","P":"0.01","w":"86000","c":
    "86026.40","Q":"0.1","o":"86016.50","h":"86683.90","l":"84910.00","v":"119489.809",
    "q":"10238568766.13","O":1791196839000,"C":1791283239233,"F":1,"L":9,"n":9,"st":1}"""
    values = {
        "last_price": row.c,
        "open_24h": row.o,
        "high_24h": row.h,
        "low_24h": row.l,
        "volume_24h": row.v,
        "turnover_24h": row.q,
    }
    if isinstance(row, _MiniTicker):
        return _ticker(row, row.E, values, is_change=True)
    values["last_size"] = row.Q
    if row.n is not None:
        values["trades_24h"] = str(row.n)
    return _ticker(row, row.E, values, is_change=False)


def _read_book_ticker(row: _BookTicker) -> Event:
    """{"e":"bookTicker","u":11747004261523,"s":"BTCUSDT","ps":"BTCUSDT","b":"85999.90",
    "B":"15.739","a":"86000.00","A":"4.613","T":1791283218109,"E":1791283218110,"st":1}"""
    values = {"bid_price": row.b, "bid_size": row.B, "ask_price": row.a, "ask_size": row.A}
    return _ticker(row, row.E, values, is_change=True)


def _read_mark_price(row: _MarkPrice) -> Event:
    """{"e":"markPriceUpdate","E":1791283239000,"s":"BTCUSDT","p":"86026.40000000",
    "i":"86059.26913043","P":"86090.55903865","r":"-0.00003629","ap":"86026.30000000",
    "T":1791302400000,"st":1}"""
    if not row.T:
        return unread_kind("mark price of a contract without funding", row.s)
    told = ticker_values({"mark_price": row.p, "index_price": row.i, "funding_rate": row.r})
    if isinstance(told, str):
        return unreadable(told, row.s)
    if not is_time(row.T):
        return unreadable(f"next funding at {shown(row.T)}", row.s)
    return FundingEvent(row.s, row.E, row.T, told)


_READERS: Final[Mapping[type[Any], Callable[[Any], Event]]] = {
    _Kline: _read_kline,
    _AggTrade: _read_trade,
    _Depth: _read_depth,
    _MarkPrice: _read_mark_price,
    _MiniTicker: _read_mini_ticker,
    _Ticker: _read_mini_ticker,
    _BookTicker: _read_book_ticker,
}


def _read_row(row: _AnyRow, stream: str) -> list[Event]:
    if isinstance(row, _Shutdown):
        return [ClosingSoon("serverShutdown")]
    if row.st != 1:
        return [other_product(row.s)]
    if not _is_ours(row.s):
        return [_not_ours(row.s)]
    if isinstance(row, _Depth) and not _is_whole_depth(stream):
        return [unread_kind(stream, row.s)]
    return [_READERS[type(row)](row)]


@lru_cache(4096)
def _is_ours(symbol: str) -> bool:
    """Candles do not tell `st`: the perpetuals of COIN-M are called BTCUSD_PERP."""
    return usable(symbol) and not symbol.endswith("_PERP")


def _not_ours(symbol: str) -> LeftOut:
    if usable(symbol):
        return other_product(symbol)
    return unreadable(f"unusable name: {shown(symbol)}", None)


def _is_whole_depth(stream: str) -> bool:
    """Whether these are the changes of all levels: the best 5, 10 or 20 come in the same form."""
    return "@depth@" in stream or stream.endswith("@depth") or not stream


# --- messages ------------------------------------------------------------------------------------


class _Peek(msgspec.Struct):
    e: Any = None
    s: Any = None


_WRAPPED: Final = msgspec.json.Decoder(_Wrapped)
_ROW: Final[msgspec.json.Decoder[_AnyRow]] = msgspec.json.Decoder(_AnyRow)
_PEEK: Final = msgspec.json.Decoder(_Peek)
_KINDS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(_AnyRow))


def read_message(payload: bytes) -> list[Event]:
    """{"stream":"btcusdt@kline_1m","data":{...}}, data without that, or an answer to a request."""
    try:
        message = _WRAPPED.decode(payload)
    except DECODE_ERRORS:
        return _read_odd(payload)
    data = message.data
    if type(data) is _Kline:
        return [_read_kline(data)]
    if isinstance(data, list):
        return _read_odd(payload) if len(data) > MOST_ENTRIES else _read_rows(data, message.stream)
    return _read_row(data, message.stream)


def _read_rows(rows: Iterable[_AnyRow], stream: str) -> list[Event]:
    return [event for row in rows for event in _read_row(row, stream)]


def _read_odd(payload: bytes) -> list[Event]:
    """A message without the wrapping, an answer, or one with something that cannot be read."""
    if payload.startswith(b"["):
        return _read_parts(payload, "")
    try:
        envelope = ENVELOPE.decode(payload)
    except DECODE_ERRORS as error:
        raise not_in_format(EXCHANGE, payload, error) from None
    if data := bytes(envelope.data):
        read = _read_parts if data.startswith(b"[") else _read_part
        return read(data, envelope.stream)
    if envelope.e is not None:
        return _read_part(payload, envelope.stream)
    answer = read_answer(envelope)
    if answer is None:
        raise not_in_format(EXCHANGE, payload)
    return [answer]


def _read_parts(array: bytes, stream: str) -> list[Event]:
    parts = parts_of(EXCHANGE, array)
    return [event for part in parts for event in _read_part(part, stream)]


def _read_part(part: bytes | msgspec.Raw, stream: str) -> list[Event]:
    try:
        return _read_row(_ROW.decode(part), stream)
    except DECODE_ERRORS as error:
        return [_what_is_it(part, stream, error)]


def _what_is_it(part: bytes | msgspec.Raw, stream: str, error: Exception) -> Event:
    """Whether an entry is of a kind that nobody reads, or cannot be read."""
    try:
        peek = _PEEK.decode(part)
    except DECODE_ERRORS:
        return unreadable(why(error), _symbol_in(stream))
    symbol = peek.s if isinstance(peek.s, str) else _symbol_in(stream)
    if isinstance(peek.e, str) and peek.e not in _KINDS:
        return unread_kind(peek.e, symbol)
    return unreadable(f"{shown(peek.e or stream)}: {why(error)}", symbol)


def _symbol_in(stream: str) -> str | None:
    """BTCUSDT of btcusdt@kline_1m; a stream of all markets begins with !."""
    return None if stream.startswith("!") else stream.partition("@")[0].upper()
