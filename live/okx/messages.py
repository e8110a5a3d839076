"""The reader of OKX v5 stream messages of swaps and spot: their forms, one struct each.

Everything that OKX sends is a text, numbers and times too.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from itertools import repeat
from typing import Any, Final, NamedTuple

import msgspec

from live.events import (
    BookEvent,
    Event,
    FundingEvent,
    LeftOut,
    Pong,
    TickerEvent,
    TradeEvent,
)
from live.okx.answers import ENVELOPE, Arg, read_event
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
from venues.entries import DECODE_ERRORS, lenient
from venues.numbers import shown

EXCHANGE: Final = "okx"
# Their channels of candles. There is no 8h; 6H, 12H and 1D would open in UTC+8.
TIMEFRAMES: Final[Mapping[str, Interval]] = {
    **{f"candle{minutes}": INTERVALS[minutes] for minutes in ("1m", "3m", "5m", "15m", "30m")},
    **{f"candle{hours}H": INTERVALS[f"{hours}h"] for hours in (1, 2, 4)},
    **{f"candle{hours}Hutc": INTERVALS[f"{hours}h"] for hours in (6, 12)},
    "candle1Dutc": INTERVALS["1d"],
}
_CLOSED: Final = {"0": False, "1": True}


class _Product(Enum):
    SWAP = "swap"
    SPOT = "spot"
    OTHER = "other"
    NONE = "no usable name"


def _product(symbol: str) -> _Product:
    """BTC-USDT-SWAP, BTC-USDT; futures and options have a date: BTC-USDT-261225."""
    parts = symbol.split("-")
    if not usable(symbol) or not all(parts):
        return _Product.NONE
    if len(parts) == 2:
        return _Product.SPOT
    return _Product.SWAP if len(parts) == 3 and parts[2] == "SWAP" else _Product.OTHER


def counts_contracts(symbol: str) -> bool:
    """Whether sizes of this market are contracts; a spot market's are coins."""
    return _product(symbol) is not _Product.SPOT


# --- data ----------------------------------------------------------------------------------------


class _Candle(msgspec.Struct, array_like=True, gc=False):
    ts: Time
    open: str
    high: str
    low: str
    close: str
    vol: str  # contracts; of spot: coins
    vol_ccy: str  # coins; of spot: quote units
    vol_ccy_quote: str
    confirm: str


class _Entry(msgspec.Struct, gc=False, kw_only=True):
    """An element of `data`; it may name the market again."""

    ts: Time
    instId: str = ""


class _Ticker(_Entry, kw_only=True):
    last: str = ""
    lastSz: str = ""
    bidPx: str = ""
    bidSz: str = ""
    askPx: str = ""
    askSz: str = ""
    open24h: str = ""
    high24h: str = ""
    low24h: str = ""
    vol24h: str = ""  # contracts; of spot: coins
    volCcy24h: str = ""  # coins; of spot: quote units


class _Trade(_Entry, kw_only=True):
    tradeId: Name
    px: str
    sz: str
    side: str


class _Book(_Entry, kw_only=True):
    """`checksum` is 0 since 2026-06-23, or absent: it is not read."""

    asks: list[BookLevel]
    bids: list[BookLevel]
    seqId: Id = -1
    prevSeqId: Id | None = None


class _FundingRate(_Entry, kw_only=True):
    """`fundingTime` is the next settlement, `nextFundingTime` the one after it."""

    fundingTime: Time
    fundingRate: str = ""


class _Message(msgspec.Struct, gc=False, kw_only=True):
    arg: Arg
    action: Text = ""


class _Place(msgspec.Struct, frozen=True):
    """What a message says about its entries; `interval`: of candles."""

    channel: str
    symbol: str
    action: str
    is_spot: bool
    interval: Interval | None
    left_out: LeftOut | None  # why nothing of it is read


@lru_cache(8192)
def _place(channel: str, symbol: str, action: str) -> _Place:
    product = _product(symbol)
    left_out = None
    if product is _Product.NONE:
        left_out = unreadable(f"unusable name: {shown(symbol)}", None)
    elif product is _Product.OTHER:
        left_out = other_product(symbol)
    is_spot = product is _Product.SPOT
    return _Place(channel, symbol, action, is_spot, TIMEFRAMES.get(channel), left_out)


def _read_candle(row: _Candle, place: _Place) -> Event:
    """{"arg":{"channel":"candle1m","instId":"BTC-USDT-SWAP"},"data":[["1774964340000","66898.7",
    "66902.1","66884.6","66894.5","1330.07","13.3007","889750.68514000","0"]]}; the message has no
    time of its own."""
    interval, closed = place.interval, _CLOSED.get(row.confirm)
    if interval is None or closed is None:
        return unreadable(f"confirm is {shown(row.confirm)}", place.symbol)
    return candle_event(
        place.symbol,
        interval,
        row.ts,
        row.ts + interval[1] if closed else row.ts,
        closed,
        row.open,
        row.high,
        row.low,
        row.close,
        row.vol if place.is_spot else row.vol_ccy,
        row.vol_ccy_quote,
    )


def _read_ticker(row: _Ticker, place: _Place) -> Event:
    """{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instType":"SPOT","instId":
    "BTC-USDT","last":"83766.8","lastSz":"0.0000102","askPx":"83774.2","askSz":"0.25697131",
    "bidPx":"83774.1","bidSz":"0.65302934","open24h":"84180.1","high24h":"85258.8",
    "low24h":"83174.7","sodUtc0":"84409.9","sodUtc8":"83800","volCcy24h":"458903124.056360828",
    "vol24h":"5449.95415651","ts":"1790358564077"}]}"""
    values = {
        "last_price": row.last,
        "last_size": row.lastSz,
        "bid_price": row.bidPx,
        "bid_size": row.bidSz,
        "ask_price": row.askPx,
        "ask_size": row.askSz,
        "open_24h": row.open24h,
        "high_24h": row.high24h,
        "low_24h": row.low24h,
        "volume_24h": row.vol24h if place.is_spot else row.volCcy24h,
        "turnover_24h": row.volCcy24h if place.is_spot else "",
    }
    told = ticker_values(values)
    if isinstance(told, str):
        return unreadable(told, place.symbol)
    return TickerEvent(place.symbol, row.ts, told)


def _read_trade(row: _Trade, place: _Place) -> Event:
    """{"arg":{"channel":"trades","instId":"BTC-USDT-SWAP"},"data":[{"instId":"BTC-USDT-SWAP",
    "tradeId":"148266905","px":"48938.5","sz":"5","side":"buy","ts":"1640131236050"}]}"""
    price, size = positive(row.px), positive(row.sz)
    if price is None or size is None or row.side not in ("buy", "sell"):
        sent = ", ".join(map(shown, (row.side, row.px, row.sz)))
        return unreadable(f"impossible trade: {sent}", place.symbol)
    return TradeEvent(place.symbol, row.ts, row.tradeId, price, size, row.side)


def _read_book(row: _Book, place: _Place) -> Event:
    """{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":[{"asks":[[
    "8476.98","415","0","13"]],"bids":[["8476.97","256","0","12"]],"ts":"1597026383085",
    "checksum":0,"prevSeqId":-1,"seqId":123456}]}; a level ends with its number of orders."""
    if place.action not in ("snapshot", "update"):
        return unreadable(f"neither snapshot nor update: {shown(place.action)}", place.symbol)
    bids, asks = levels_of(row.bids), levels_of(row.asks)
    if isinstance(bids, str):
        return unreadable(bids, place.symbol)
    if isinstance(asks, str):
        return unreadable(asks, place.symbol)
    is_snapshot = place.action == "snapshot"
    return BookEvent(
        place.symbol, row.ts, is_snapshot, bids, asks, row.seqId, previous_id=row.prevSeqId
    )


def _read_funding(row: _FundingRate, place: _Place) -> Event:
    """{"arg":{"channel":"funding-rate","instId":"BTC-USDT-SWAP"},"data":[{"fundingRate":
    "0.0000263463215391","fundingTime":"1790380800000","instId":"BTC-USDT-SWAP","instType":"SWAP",
    "method":"current_period","nextFundingRate":"","nextFundingTime":"1790409600000",
    "prevFundingTime":"1790352000000","settFundingRate":"0.0000341625964238","settState":
    "settled","ts":"1790358563915"}]}"""
    told = ticker_values({"funding_rate": row.fundingRate})
    if isinstance(told, str):
        return unreadable(told, place.symbol)
    return FundingEvent(place.symbol, row.ts, row.fundingTime, told)


# --- messages ------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    """How messages of one channel are read: as a whole, or entry by entry."""

    whole: msgspec.json.Decoder[Any]
    entry: msgspec.json.Decoder[Any]
    read: Callable[[Any, _Place], Event]


def _kind(entry: type[Any], read: Callable[[Any, _Place], Event]) -> _Kind:
    data = ("data", list[entry])  # type: ignore[valid-type]
    whole = msgspec.defstruct("Message", [data], bases=(_Message,), gc=False, kw_only=True)
    return _Kind(lenient(whole), lenient(entry), read)


_CANDLE: Final = _kind(_Candle, _read_candle)
_KINDS: Final[Mapping[str, _Kind]] = {
    **dict.fromkeys(TIMEFRAMES, _CANDLE),
    "tickers": _kind(_Ticker, _read_ticker),
    "trades": _kind(_Trade, _read_trade),
    "books": _kind(_Book, _read_book),
    "funding-rate": _kind(_FundingRate, _read_funding),
}
_KINDS_SENT: Final = {channel.encode(): kind for channel, kind in _KINDS.items()}
_BEGIN: Final = len(b'{"arg":{"channel":"')


def read_message(payload: bytes) -> list[Event]:
    """{"arg":{"channel":...,"instId":...},"data":[...]}, an event, or the text `pong`."""
    kind = _KINDS_SENT.get(payload[_BEGIN : payload.find(b'"', _BEGIN, _BEGIN + 40)])
    if kind is not None:
        try:
            message = kind.whole.decode(payload)
        except DECODE_ERRORS:
            return _read_odd(payload)
        # A payload that begins in another way, or names it twice, may mean another channel.
        if len(message.data) <= MOST_ENTRIES and kind is _KINDS.get(message.arg.channel):
            return _read_entries(message.data, kind, message.arg, message.action)
    return _read_odd(payload)


def _read_entries(entries: list[Any], kind: _Kind, arg: Arg, action: str) -> list[Event]:
    place = _place(arg.channel, arg.instId, action)
    if place.left_out is not None:
        return [place.left_out]
    if place.interval is not None:
        return list(map(_read_candle, entries, repeat(place)))
    return [
        kind.read(entry, place)
        if entry.instId in ("", place.symbol)
        else unreadable(f"{arg.channel} of {shown(entry.instId)}", place.symbol)
        for entry in entries
    ]


def _read_odd(payload: bytes) -> list[Event]:
    """An event, a channel that nobody reads, or a message with something that cannot be read."""
    if payload == b"pong":
        return [Pong()]
    try:
        envelope = ENVELOPE.decode(payload)
    except DECODE_ERRORS as error:
        raise not_in_format(EXCHANGE, payload, error) from None
    arg = envelope.arg
    if envelope.event:
        return read_event(envelope)
    if arg is None:
        raise not_in_format(EXCHANGE, payload)
    kind = _KINDS.get(arg.channel)
    if kind is None:
        return [unread_kind(arg.channel, arg.instId)]
    events: list[Event] = []
    for part in parts_of(EXCHANGE, envelope.data):
        try:
            entry = kind.entry.decode(part)
        except DECODE_ERRORS as error:
            events.append(unreadable(f"{arg.channel}: {why(error)}", arg.instId))
        else:
            events += _read_entries([entry], kind, arg, envelope.action)
    return events
