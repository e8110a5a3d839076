"""The reader of Bybit v5 stream messages, category linear: their forms, one struct each."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

from live.bybit.answers import ENVELOPE, Envelope, read_answer
from live.events import (
    BookEvent,
    Event,
    FundingEvent,
    TickerEvent,
    TradeEvent,
)
from live.reading import (
    INTERVALS,
    MOST_ENTRIES,
    BookLevel,
    Id,
    Interval,
    Name,
    Text,
    Time,
    candle_event,
    is_time,
    levels_of,
    not_in_format,
    parts_of,
    positive,
    ticker_values,
    unread_kind,
    unreadable,
    usable,
    why,
)
from venues.entries import DECODE_ERRORS
from venues.numbers import int_or_0, shown

EXCHANGE: Final = "bybit"
# Their names of candles' sizes; there is no 8h.
TIMEFRAMES: Final[Mapping[str, Interval]] = {
    **{"1": INTERVALS["1m"], "3": INTERVALS["3m"], "5": INTERVALS["5m"], "15": INTERVALS["15m"]},
    **{"30": INTERVALS["30m"], "60": INTERVALS["1h"], "120": INTERVALS["2h"]},
    **{"240": INTERVALS["4h"], "360": INTERVALS["6h"], "720": INTERVALS["12h"]},
    "D": INTERVALS["1d"],
}
_SIDES: Final = {"Buy": "buy", "Sell": "sell"}

# --- data ----------------------------------------------------------------------------------------


class _Head(msgspec.Struct, gc=False, kw_only=True):
    """What every message of data has; `ts` is the time of the message."""

    topic: Text
    ts: Time
    type: str = "snapshot"


class _Candle(msgspec.Struct, gc=False):
    start: Time
    interval: str
    open: str
    close: str
    high: str
    low: str
    volume: str
    turnover: str
    confirm: bool


_start: Final = attrgetter("start")


class _Klines(_Head, kw_only=True):
    data: list[_Candle]


class _Trade(msgspec.Struct, gc=False):
    T: Time
    s: str
    S: str
    v: str
    p: str
    i: Name


class _Trades(_Head, kw_only=True):
    data: list[_Trade]


class _Ticker(
    msgspec.Struct,
    gc=False,
    rename={
        "last_price": "lastPrice",
        "bid_price": "bid1Price",
        "bid_size": "bid1Size",
        "ask_price": "ask1Price",
        "ask_size": "ask1Size",
        "open_24h": "prevPrice24h",
        "high_24h": "highPrice24h",
        "low_24h": "lowPrice24h",
        "volume_24h": "volume24h",
        "turnover_24h": "turnover24h",
        "mark_price": "markPrice",
        "index_price": "indexPrice",
        "funding_rate": "fundingRate",
        "open_interest": "singleOpenInterest",  # openInterest counts both sides
    },
):
    """The fields of a TickerEvent, by our names."""

    last_price: str = ""
    bid_price: str = ""
    bid_size: str = ""
    ask_price: str = ""
    ask_size: str = ""
    open_24h: str = ""
    high_24h: str = ""
    low_24h: str = ""
    volume_24h: str = ""
    turnover_24h: str = ""
    mark_price: str = ""
    index_price: str = ""
    funding_rate: str = ""
    open_interest: str = ""


class _SentTicker(_Ticker):
    symbol: str = ""
    nextFundingTime: str = ""


class _Tickers(_Head, kw_only=True):
    data: _SentTicker


class _Levels(msgspec.Struct, gc=False):
    s: str
    b: list[BookLevel]
    a: list[BookLevel]
    u: Id


class _Book(_Head, kw_only=True):
    data: _Levels


def _read_klines(message: _Klines, symbol: str) -> list[Event]:
    """{"topic":"kline.5.BTCUSDT","data":[{"start":1672324800000,"end":1672325099999,
    "interval":"5","open":"16649.5","close":"16677","high":"16677","low":"16608","volume":"2.081",
    "turnover":"34666.4005","confirm":false,"timestamp":1672324988882}],"ts":1672324988882,
    "type":"snapshot"}; the closing candle and the first state of the next may come in one, in
    any order."""
    events: list[Event] = []
    for row in sorted(message.data, key=_start):
        interval = TIMEFRAMES.get(row.interval)
        if interval is None:
            events.append(unread_kind(f"candles of {row.interval}", symbol))
            continue
        events.append(
            candle_event(
                symbol,
                interval,
                row.start,
                message.ts,
                row.confirm,
                row.open,
                row.high,
                row.low,
                row.close,
                row.volume,
                row.turnover,
            )
        )
    return events


def _read_trades(message: _Trades, symbol: str) -> list[Event]:
    """{"topic":"publicTrade.LTCUSDT","type":"snapshot","ts":1680688979985,"data":[{
    "T":1680688979983,"s":"LTCUSDT","S":"Buy","v":"0.4","p":"94.53","L":"ZeroMinusTick",
    "i":"4c7b6bdc-b4a3-5716-9c7b-bbe01dc7072f","BT":false}]}"""
    return [_read_trade(row, symbol) for row in message.data]


def _read_trade(row: _Trade, symbol: str) -> Event:
    price, size, side = positive(row.p), positive(row.v), _SIDES.get(row.S)
    if price is None or size is None or side is None or row.s != symbol:
        sent = ", ".join(map(shown, (row.s, row.S, row.p, row.v)))
        return unreadable(f"impossible trade: {sent}", symbol)
    return TradeEvent(symbol, row.T, row.i, price, size, side)


def _read_ticker(message: _Tickers, symbol: str) -> list[Event]:
    """{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT",
    "indexPrice":"63585.74"},"cs":764144450620,"ts":1786659827983}; a delta has what changed."""
    sent = message.data
    if sent.symbol != symbol or message.type not in ("snapshot", "delta"):
        return [unreadable(f"{shown(message.type)} of {shown(sent.symbol)}", symbol)]
    values = ticker_values({name: getattr(sent, name) for name in _Ticker.__struct_fields__})
    if isinstance(values, str):
        return [unreadable(values, symbol)]
    is_change = message.type == "delta"
    events: list[Event] = []
    if values or not is_change:
        events.append(TickerEvent(symbol, message.ts, values, is_change))
    if sent.nextFundingTime.strip("0"):
        next_ms = int_or_0(sent.nextFundingTime)
        if is_time(next_ms):
            events.append(FundingEvent(symbol, message.ts, next_ms))
        else:
            events.append(unreadable(f"next funding at {shown(sent.nextFundingTime)}", symbol))
    return events


def _read_book(message: _Book, symbol: str) -> list[Event]:
    """{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1709891679500,"data":{"s":"BTCUSDT",
    "b":[["27450.00","0.400"]],"a":[["27451.00","0"]],"u":123456790,"seq":987654322}}; u = 1 is a
    snapshot after a restart of the service."""
    sent = message.data
    if sent.s != symbol or message.type not in ("snapshot", "delta"):
        return [unreadable(f"{shown(message.type)} of {shown(sent.s)}", symbol)]
    bids, asks = levels_of(sent.b), levels_of(sent.a)
    if isinstance(bids, str):
        return [unreadable(bids, symbol)]
    if isinstance(asks, str):
        return [unreadable(asks, symbol)]
    is_snapshot = message.type == "snapshot" or sent.u == 1
    return [BookEvent(symbol, message.ts, is_snapshot, bids, asks, sent.u)]


# --- messages ------------------------------------------------------------------------------------


_Reader = Callable[[Any, str], list[Event]]  # of a message and the symbol in its topic


class _Kind(NamedTuple):
    """How messages of one kind are read; `part` decodes one entry of those that are lists."""

    message: type[Any]
    decoder: msgspec.json.Decoder[Any]
    read: _Reader
    part: msgspec.json.Decoder[Any] | None = None


def _kind(message: type[Any], read: _Reader, part: type[Any] | None = None) -> _Kind:
    decoder = msgspec.json.Decoder(part) if part is not None else None
    return _Kind(message, msgspec.json.Decoder(message), read, decoder)


_KINDS: Final[Mapping[bytes, _Kind]] = {
    b"kline": _kind(_Klines, _read_klines, _Candle),
    b"tickers": _kind(_Tickers, _read_ticker),
    b"publicTrade": _kind(_Trades, _read_trades, _Trade),
    b"orderbook": _kind(_Book, _read_book),
}
_BEGIN: Final = len(b'{"topic":"')


def read_message(payload: bytes) -> list[Event]:
    """{"topic":...,"data":...}, or the answer to a request or ping."""
    kind = _KINDS.get(payload[_BEGIN : payload.find(b".", _BEGIN, _BEGIN + 20)])
    if kind is not None:
        try:
            message = kind.decoder.decode(payload)
        except DECODE_ERRORS:
            return _read_odd(payload)
        of, symbol = _taken_apart(message.topic)
        # A payload that begins in another way, or names it twice, may mean another topic.
        if of is kind and symbol and (kind.part is None or len(message.data) <= MOST_ENTRIES):
            return kind.read(message, symbol)
    return _read_odd(payload)


@lru_cache(8192)
def _taken_apart(topic: str) -> tuple[_Kind | None, str]:
    """The kind of kline.5.BTCUSDT, and BTCUSDT; "" where that is no usable name."""
    symbol = topic.rpartition(".")[2]
    kind = _KINDS.get(topic.partition(".")[0].encode("utf-8", "replace"))
    return kind, symbol if usable(symbol) else ""


def _read_odd(payload: bytes) -> list[Event]:
    """An answer, a kind that nobody reads, or a message with something that cannot be read."""
    try:
        envelope = ENVELOPE.decode(payload)
    except DECODE_ERRORS as error:
        raise not_in_format(EXCHANGE, payload, error) from None
    topic = envelope.topic
    if not topic:
        answer = read_answer(envelope)
        if answer is None:
            raise not_in_format(EXCHANGE, payload)
        return [answer]
    kind, symbol = _taken_apart(topic)
    if kind is None:
        return [unread_kind(topic, symbol)]
    if not symbol:
        return [unreadable(f"unusable name: {shown(topic)}", None)]
    if kind.part is not None and bytes(envelope.data).startswith(b"["):
        return _read_parts(envelope, kind, symbol)
    try:
        return kind.read(kind.decoder.decode(payload), symbol)
    except DECODE_ERRORS as error:
        return [unreadable(f"{topic}: {why(error)}", symbol)]


def _read_parts(envelope: Envelope, kind: _Kind, symbol: str) -> list[Event]:
    """The entries of a list one by one, so that one that cannot be read is left out alone."""
    topic, ts, type_ = envelope.topic, envelope.ts, envelope.type
    if not isinstance(ts, int) or not is_time(ts) or not isinstance(type_, str):
        return [unreadable(f"{topic}: its time or type cannot be read", symbol)]
    assert kind.part is not None  # noqa: S101 - the caller's condition
    events: list[Event] = []
    for part in parts_of(EXCHANGE, envelope.data):
        try:
            message = kind.message(topic=topic, ts=ts, type=type_, data=[kind.part.decode(part)])
        except DECODE_ERRORS as error:
            events.append(unreadable(f"{topic}: {why(error)}", symbol))
        else:
            events += kind.read(message, symbol)
    return events
