"""Whatever an exchange sends, a reader gives sound events, or names what it left out or refused."""

import json
import re
from copy import deepcopy
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from live.binance import messages as binance
from live.bybit import messages as bybit
from live.errors import UnreadableMessage
from live.events import (
    BookEvent,
    CandleEvent,
    Event,
    FundingEvent,
    LeftOut,
    TickerEvent,
    TradeEvent,
)
from live.exchanges import STREAM_VENUES
from live.okx import messages as okx
from live.reading import usable
from tests.live.samples import all_samples, samples_of
from venues.numbers import is_decimal

MINUTES: Final = {
    **{"1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240},
    **{"6h": 360, "8h": 480, "12h": 720, "1d": 1440},
}
PLAIN: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
HOSTILE: Final[st.SearchStrategy[Any]] = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1, 10**30, -(10**30), 1e308, 0.1, [], {}, [[]], [{}], "", " "),
        *("NaN", "Infinity", "-0", "1e999", "1e-999", "-5", "0x10", "1_0", "１２", "٣", "1,2"),
        *("BTCUSDT", "BTCUSD_PERP", "BTC-USDT", "\x00", "‮", "a" * 70, "9" * 5_000, "0." + "0" * 99),
        *(1791240000001, "1791240000001", 253402300800000, "1791240060000", -62135596800000),
        [["1", "2"]] * 3,
        [["1"], ["2", "3", "4"]],
        {"e": "kline", "s": "BTCUSDT", "k": {}},
    ]
) | st.recursive(st.none() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3))


def places_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside a message."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, element in inner:
        found.append((*path, key))
        if isinstance(element, dict | list):
            found += places_in(element, (*path, key))
    return found


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, bytes]:
    """A real message, some of whose values are others, doubled, gone, or cut off."""
    exchange, name = draw(st.sampled_from(all_samples()))
    payload = samples_of(exchange)[name]
    if payload.startswith(b"{"):
        message = json.loads(payload)
        for _ in range(draw(st.integers(1, 3))):
            places = places_in(message)
            if not places:
                break
            *path, last = draw(st.sampled_from(places))
            holder = message
            for key in path:
                holder = holder[key]
            if draw(st.integers(0, 4)) == 0:
                del holder[last]
            else:
                holder[last] = deepcopy(draw(HOSTILE))
        payload = json.dumps(message, ensure_ascii=draw(st.booleans())).encode(
            "utf-8", "surrogatepass"
        )
        if draw(st.booleans()):
            payload = payload.replace(b'": ', b'":').replace(b", ", b",")
    way = draw(st.integers(0, 5))
    if way == 0:
        payload = payload[: draw(st.integers(0, len(payload)))]
    elif way == 1 and len(payload) > 2:  # keys twice
        payload = b"%b,%b" % (payload[:-1], payload[1:])
    elif way == 2:
        at = draw(st.integers(0, len(payload)))
        payload = payload[:at] + draw(st.binary(min_size=1, max_size=3)) + payload[at:]
    return exchange, payload


def check(event: Event) -> None:
    """What holds of every event that a reader gives."""
    if isinstance(event, LeftOut):
        assert len(event.text) <= 500
        assert event.text.isprintable()
        assert event.symbol is None or 0 < len(event.symbol) <= 64
    elif isinstance(event, CandleEvent):
        opened, high, low, closed = (
            Decimal(text) for text in (event.open, event.high, event.low, event.close)
        )
        assert 0 < low <= min(opened, closed) <= max(opened, closed) <= high
        length_ms = MINUTES[event.timeframe] * 60_000
        assert event.open_time_ms % length_ms == 0
        assert event.event_time_ms > event.open_time_ms + length_ms * event.closed - 1_001
        check_numbers(event.open, event.high, event.low, event.close, event.volume, event.turnover)
        assert is_decimal(event.volume)
        assert is_decimal(event.turnover)
    elif isinstance(event, TradeEvent):
        check_numbers(event.price, event.size)
        assert Decimal(event.price) > 0
        assert Decimal(event.size) > 0
        assert event.side in ("buy", "sell")
    elif isinstance(event, BookEvent):
        for price, size in (*event.bids, *event.asks):
            check_numbers(price, size)
            assert Decimal(price) > 0
            assert Decimal(size) >= 0
    elif isinstance(event, TickerEvent | FundingEvent):
        check_numbers(*event.values.values())
    if isinstance(event, CandleEvent | TradeEvent | BookEvent | TickerEvent | FundingEvent):
        assert event.symbol.isprintable()
        assert 0 < len(event.symbol) <= 64


def check_numbers(*texts: str) -> None:
    for text in texts:
        assert PLAIN.fullmatch(text), text
        assert len(text) <= 120


def read_and_check(exchange: str, payload: bytes) -> None:
    try:
        events = STREAM_VENUES[exchange].read(payload)
    except UnreadableMessage as error:
        assert error.exchange == exchange
        assert len(str(error)) < 400
        return
    for event in events:
        check(event)


@settings(max_examples=200)
@given(spoilt())
@example(("binance", b'{"stream":"x","data":{"e":"serverShutdown","e":["kline"]}}'))
def test_a_spoilt_message_harms_nobody(message: tuple[str, bytes]) -> None:
    read_and_check(*message)


@settings(max_examples=100)
@given(st.sampled_from(list(STREAM_VENUES)), st.binary(max_size=60))
def test_any_bytes_harm_nobody(exchange: str, payload: bytes) -> None:
    read_and_check(exchange, payload)


@pytest.mark.parametrize(("exchange", "name"), all_samples())
def test_no_message_can_be_cut_short(exchange: str, name: str) -> None:
    """A message that ends early is refused, at whichever byte."""
    payload = samples_of(exchange)[name]
    for end in range(len(payload)):
        with pytest.raises(UnreadableMessage):
            STREAM_VENUES[exchange].read(payload[:end])


DEEP: Final = b"[" * 50_000 + b"]" * 50_000


@pytest.mark.parametrize(
    ("exchange", "payload"),
    [
        ("binance", b'{"stream":"x","data":%b}' % DEEP),
        ("binance", b'{"stream":"x","data":{"e":"kline","new":%b,"s":"A"}}' % DEEP),
        ("binance", b'{"result":%b,"id":1}' % DEEP),
        ("bybit", b'{"topic":"kline.5.BTCUSDT","ts":1672324988882,"data":%b}' % DEEP),
        ("bybit", b'{"topic":"tickers.BTCUSDT","new":%b}' % DEEP),
        ("okx", b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":%b}' % DEEP),
        ("okx", b'{"event":"notice","new":%b}' % DEEP),
    ],
)
def test_deep_nesting_harms_nobody(exchange: str, payload: bytes) -> None:
    read_and_check(exchange, payload)


CACHES: Final = (usable, bybit._taken_apart, okx._place, binance._is_ours)


@pytest.mark.parametrize("exchange", list(STREAM_VENUES))
def test_names_that_never_end_do_not_stay(exchange: str) -> None:
    """Of any number of symbols only so many are remembered, and none that is long."""
    name = {"binance": "closed", "bybit": "forming", "okx": "trade"}[exchange]
    payload = samples_of(exchange)[name]
    symbol = b"BTC-USDT-SWAP" if exchange == "okx" else b"BTCUSDT"
    for number in range(10_000):
        STREAM_VENUES[exchange].read(payload.replace(symbol, b"X%d-USDT-SWAP" % number))
    long_one = b"X" * 1_000_000 + b"-USDT-SWAP"
    remembered = [cache.cache_info().currsize for cache in CACHES]
    read_and_check(exchange, payload.replace(symbol, long_one))
    assert [cache.cache_info().currsize for cache in CACHES] == remembered
    assert max(remembered) <= 8192
