"""OKX v5 public streams of swaps and spot: their addresses, limits, names and requests.

Source: the exchange's public WebSocket documentation as of autumn 2026, and recorded messages.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from live.naming import checked_symbol, not_offered, take_apart, with_quote
from live.okx.answers import arg_text
from live.okx.book import RULE
from live.okx.contract_list import CONTRACTS
from live.okx.messages import EXCHANGE, TIMEFRAMES, counts_contracts, read_message
from live.stream_venue import Channel, StreamVenue, Topic

_CHANNELS: Final = {
    Channel.TICKER: "tickers",
    Channel.TRADE: "trades",
    Channel.ORDERBOOK: "books",
    Channel.FUNDING: "funding-rate",
}
_CANDLES: Final = {timeframe: channel for channel, (timeframe, _) in TIMEFRAMES.items()}


def _route(topic: Topic) -> str:
    """Candles on /public, and all else on /business, are refused with code 60018."""
    return "/ws/v5/business" if topic.channel is Channel.CANDLE else "/ws/v5/public"


def _name(topic: Topic) -> str:
    """{"channel":"candle5m","instId":"BTC-USDT-SWAP"}, as it stands in requests and answers."""
    symbol = checked_symbol(EXCHANGE, topic)
    if topic.channel is not Channel.CANDLE:
        return arg_text(_CHANNELS[topic.channel], symbol)
    if topic.timeframe not in _CANDLES:
        raise not_offered(EXCHANGE, "timeframe", topic.timeframe, _CANDLES)
    return arg_text(_CANDLES[topic.timeframe], symbol)


def _symbol(text: str) -> str:
    """With its parts separated a name means what it means on this exchange: BTC-USDT is spot,
    BTC-USDT-SWAP the perpetual. BTCUSDT is the perpetual, as on the other exchanges."""
    written = take_apart(text)
    if written.rest:
        raise ValueError(f"{EXCHANGE}: dated contracts are not streamed: {text}")
    is_perpetual = written.is_perpetual or not written.quote
    written = with_quote(written)
    return f"{written.base}-{written.quote}{'-SWAP' if is_perpetual else ''}"


def _request(operation: str, names: Sequence[str], request_id: int) -> str:
    """{"id":"1512","op":"subscribe","args":[{"channel":"candle4H","instId":"BTC-USDT-SWAP"}]}"""
    return f'{{"id":"{request_id}","op":"{operation}","args":[{",".join(names)}]}}'


STREAM_VENUE: Final = StreamVenue(
    exchange=EXCHANGE,
    base_url="wss://ws.okx.com:8443",
    route=_route,
    name=_name,
    symbol=_symbol,
    heartbeat_symbol="BTC-USDT-SWAP",
    subscribe=partial(_request, "subscribe"),
    unsubscribe=partial(_request, "unsubscribe"),
    names_a_request=100,
    bytes_a_request=10_000,
    requests_a_second=3.0,
    requests_an_hour=480,  # of one connection, counted by message
    answers_each_name=True,
    fails_whole=False,
    names_a_connection=None,
    name_bytes_a_connection=64_000,  # of 64 KB
    books_a_connection=25,  # fewer than 30 are advised
    connects=(2, 1.0),  # of 3
    ping="ping",
    ping_after_s=20.0,  # without a push for 30 s the connection is closed with 4004
    ping_when_silent=True,
    pong_within_s=10.0,
    silent_after_s=30.0,
    life_s=None,
    grace_s=30.0,
    read=read_message,
    counts_contracts=counts_contracts,
    book=RULE,
    contracts=CONTRACTS,
    rest_url="https://www.okx.com",
)
