"""Bybit v5 streams, category linear: their addresses, limits, names and requests.

Source: the exchange's public WebSocket documentation as of autumn 2026, and recorded messages.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from live.book_rules import BookRule
from live.bybit.messages import EXCHANGE, TIMEFRAMES, read_message
from live.events import BookEvent
from live.naming import checked_symbol, not_offered, take_apart
from live.stream_venue import Channel, StreamVenue, Topic

_DEPTH: Final = 200
_PREFIXES: Final = {
    Channel.TICKER: "tickers",
    Channel.TRADE: "publicTrade",
    Channel.ORDERBOOK: f"orderbook.{_DEPTH}",
    Channel.FUNDING: "tickers",
}
_PERIODS: Final = {timeframe: period for period, (timeframe, _) in TIMEFRAMES.items()}


def _name(topic: Topic) -> str:
    """kline.5.BTCUSDT"""
    symbol = checked_symbol(EXCHANGE, topic)
    if topic.channel is not Channel.CANDLE:
        return f"{_PREFIXES[topic.channel]}.{symbol}"
    if topic.timeframe not in _PERIODS:
        raise not_offered(EXCHANGE, "timeframe", topic.timeframe, _PERIODS)
    return f"kline.{_PERIODS[topic.timeframe]}.{symbol}"


def _symbol(text: str) -> str:
    """Perpetuals settled in USDC are called BTCPERP, dated contracts BTCUSDT-26SEP25."""
    written = take_apart(text)
    if written.rest:
        return f"{written.base}{written.quote}-{written.rest}"
    return f"{written.base}{'PERP' if written.quote == 'USDC' else written.quote}"


def _request(operation: str, names: Sequence[str], request_id: int) -> str:
    """{"req_id":"1","op":"subscribe","args":["kline.5.BTCUSDT","tickers.BTCUSDT"]}"""
    request = {"req_id": str(request_id), "op": operation, "args": names}
    return msgspec.json.encode(request).decode()


def _fault(change: BookEvent, last_id: int) -> str | None:
    """Each u is the last one plus one: so in every recording, though it is not promised. A jump
    that means nothing costs a new snapshot, one that is overlooked a wrong book."""
    if change.last_id == last_id + 1:
        return None
    return f"change {change.last_id} came where {last_id} was the last"


STREAM_VENUE: Final = StreamVenue(
    exchange=EXCHANGE,
    base_url="wss://stream.bybit.com",
    route=lambda topic: "/v5/public/linear",
    name=_name,
    symbol=_symbol,
    heartbeat_symbol="BTCUSDT",
    subscribe=partial(_request, "subscribe"),
    unsubscribe=partial(_request, "unsubscribe"),
    # No limit is documented; requests of 500 names have closed connections.
    names_a_request=100,
    bytes_a_request=4_000,
    requests_a_second=5.0,
    requests_an_hour=None,
    answers_each_name=False,
    fails_whole=True,
    names_a_connection=None,
    name_bytes_a_connection=21_000,
    connects=(100, 300.0),  # of 500
    ping='{"req_id":"ping","op":"ping"}',
    ping_after_s=20.0,
    ping_when_silent=False,
    # Pongs are late under load: any message counts.
    pong_within_s=20.0,
    silent_after_s=30.0,
    life_s=23 * 3600.0,  # none is documented
    grace_s=75.0,  # states are pushed at least every 60 s
    read=read_message,
    counts_contracts=lambda symbol: False,
    # A later snapshot, or u = 1, replaces the book.
    book=BookRule(fault=_fault, sends_snapshot=True, depth=_DEPTH),
    rest_url="https://api.bybit.com",
)
