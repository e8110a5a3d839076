"""Binance USD-M futures streams: their addresses, limits, names and requests.

Source: the exchange's public WebSocket documentation as of autumn 2026, and recorded messages.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from live.binance.book import RULE
from live.binance.messages import EXCHANGE, read_message
from live.naming import checked_symbol, not_offered, take_apart
from live.reading import INTERVALS
from live.stream_venue import Channel, StreamVenue, Topic

_SUFFIXES: Final = {
    Channel.TICKER: "@ticker",
    Channel.TRADE: "@aggTrade",
    Channel.ORDERBOOK: "@depth@100ms",
    Channel.FUNDING: "@markPrice",
}


def _route(topic: Topic) -> str:
    """On the wrong route a stream is acknowledged and stays silent."""
    return "/public/stream" if topic.channel is Channel.ORDERBOOK else "/market/stream"


def _name(topic: Topic) -> str:
    """btcusdt@kline_5m"""
    if topic == (Channel.FUNDING, "", ""):
        return "!markPrice@arr"
    symbol = checked_symbol(EXCHANGE, topic).lower()
    if topic.channel is not Channel.CANDLE:
        return symbol + _SUFFIXES[topic.channel]
    if topic.timeframe not in INTERVALS:
        raise not_offered(EXCHANGE, "timeframe", topic.timeframe, INTERVALS)
    return f"{symbol}@kline_{topic.timeframe}"


def _symbol(text: str) -> str:
    written = take_apart(text)
    return f"{written.base}{written.quote}{written.rest and '_' + written.rest}"


def _request(method: str, names: Sequence[str], request_id: int) -> str:
    """{"method":"SUBSCRIBE","params":["btcusdt@kline_5m"],"id":1}"""
    return msgspec.json.encode({"method": method, "params": names, "id": request_id}).decode()


STREAM_VENUE: Final = StreamVenue(
    exchange=EXCHANGE,
    base_url="wss://fstream.binance.com",
    route=_route,
    name=_name,
    symbol=_symbol,
    heartbeat_symbol="BTCUSDT",
    subscribe=partial(_request, "SUBSCRIBE"),
    unsubscribe=partial(_request, "UNSUBSCRIBE"),
    # Frames of more than 4,096 bytes and of 437 names have failed, without an answer.
    names_a_request=150,
    bytes_a_request=4_000,
    requests_a_second=4.0,  # of 10 messages, pings and pongs included
    requests_an_hour=None,
    answers_each_name=False,
    fails_whole=False,
    names_a_connection=1_000,  # of 1024
    name_bytes_a_connection=None,
    connects=(100, 300.0),  # of 300
    ping=None,  # the server does
    ping_after_s=0.0,
    ping_when_silent=False,
    pong_within_s=0.0,
    silent_after_s=20.0,
    life_s=23 * 3600.0,  # cut at 24 h
    grace_s=30.0,
    read=read_message,
    counts_contracts=lambda symbol: False,
    book=RULE,
    rest_url="https://fapi.binance.com",
)
