"""The facts of each exchange's streams: names, routes, requests, limits and writings of markets."""

import json
from typing import Final

import pytest

from live.events import TIMEFRAMES
from live.exchanges import STREAM_VENUES
from live.stream_venue import Channel, StreamVenue, Topic

NAMES: Final = {
    ("binance", "candle"): ("btcusdt@kline_5m", "/market/stream"),
    ("binance", "ticker"): ("btcusdt@ticker", "/market/stream"),
    ("binance", "trade"): ("btcusdt@aggTrade", "/market/stream"),
    ("binance", "orderbook"): ("btcusdt@depth@100ms", "/public/stream"),
    ("binance", "funding"): ("btcusdt@markPrice", "/market/stream"),
    ("bybit", "candle"): ("kline.5.BTCUSDT", "/v5/public/linear"),
    ("bybit", "ticker"): ("tickers.BTCUSDT", "/v5/public/linear"),
    ("bybit", "trade"): ("publicTrade.BTCUSDT", "/v5/public/linear"),
    ("bybit", "orderbook"): ("orderbook.200.BTCUSDT", "/v5/public/linear"),
    ("bybit", "funding"): ("tickers.BTCUSDT", "/v5/public/linear"),
    ("okx", "candle"): ('{"channel":"candle5m","instId":"BTC-USDT-SWAP"}', "/ws/v5/business"),
    ("okx", "ticker"): ('{"channel":"tickers","instId":"BTC-USDT-SWAP"}', "/ws/v5/public"),
    ("okx", "trade"): ('{"channel":"trades","instId":"BTC-USDT-SWAP"}', "/ws/v5/public"),
    ("okx", "orderbook"): ('{"channel":"books","instId":"BTC-USDT-SWAP"}', "/ws/v5/public"),
    ("okx", "funding"): ('{"channel":"funding-rate","instId":"BTC-USDT-SWAP"}', "/ws/v5/public"),
}
SUFFIXES: Final = {
    "binance": {
        **{"1m": "1m", "3m": "3m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1h"},
        **{"2h": "2h", "4h": "4h", "6h": "6h", "8h": "8h", "12h": "12h", "1d": "1d"},
    },
    "bybit": {
        **{"1m": "1", "3m": "3", "5m": "5", "15m": "15", "30m": "30", "1h": "60", "2h": "120"},
        **{"4h": "240", "6h": "360", "12h": "720", "1d": "D"},
    },
    "okx": {
        **{"1m": "1m", "3m": "3m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1H"},
        **{"2h": "2H", "4h": "4H", "6h": "6Hutc", "12h": "12Hutc", "1d": "1Dutc"},
    },
}


@pytest.fixture(params=list(STREAM_VENUES))
def venue(request: pytest.FixtureRequest) -> StreamVenue:
    return STREAM_VENUES[request.param]


def test_the_table_has_the_three_exchanges() -> None:
    assert {name: venue.exchange for name, venue in STREAM_VENUES.items()} == {
        name: name for name in ("binance", "bybit", "okx")
    }
    assert [venue.base_url for venue in STREAM_VENUES.values()] == [
        "wss://fstream.binance.com",
        "wss://stream.bybit.com",
        "wss://ws.okx.com:8443",
    ]


@pytest.mark.parametrize("channel", list(Channel))
def test_a_topic_has_its_name_and_its_route(venue: StreamVenue, channel: Channel) -> None:
    timeframe = "5m" if channel is Channel.CANDLE else ""
    topic = Topic(channel, venue.heartbeat_symbol, timeframe)
    assert (venue.name(topic), venue.route(topic)) == NAMES[venue.exchange, channel]


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_a_timeframe_has_its_name_or_is_refused(venue: StreamVenue, timeframe: str) -> None:
    topic = Topic(Channel.CANDLE, venue.heartbeat_symbol, timeframe)
    suffix = SUFFIXES[venue.exchange].get(timeframe)
    if suffix is None:
        with pytest.raises(ValueError, match=f"no timeframe '{timeframe}'; it has 1m, 3m, 5m"):
            venue.name(topic)
        return
    name = {
        "binance": f"btcusdt@kline_{suffix}",
        "bybit": f"kline.{suffix}.BTCUSDT",
        "okx": f'{{"channel":"candle{suffix}","instId":"BTC-USDT-SWAP"}}',
    }
    assert venue.name(topic) == name[venue.exchange]


def test_binance_alone_streams_the_funding_of_all_markets() -> None:
    topic = Topic(Channel.FUNDING, "")
    assert STREAM_VENUES["binance"].name(topic) == "!markPrice@arr"
    for exchange in ("bybit", "okx"):
        with pytest.raises(ValueError, match=f"{exchange} has no stream of all markets"):
            STREAM_VENUES[exchange].name(topic)


@pytest.mark.parametrize("symbol", ["", 'X"', "A B", "a@kline_1m", "x" * 65, "a/b", "\n"])
def test_a_name_that_is_none_is_never_sent(venue: StreamVenue, symbol: str) -> None:
    with pytest.raises(ValueError, match=f"^{venue.exchange}"):
        venue.name(Topic(Channel.TRADE, symbol))


def test_requests_are_those_of_the_documentation() -> None:
    binance, bybit, okx = STREAM_VENUES.values()
    assert binance.subscribe(["btcusdt@kline_5m"], 1) == (
        '{"method":"SUBSCRIBE","params":["btcusdt@kline_5m"],"id":1}'
    )
    assert binance.unsubscribe(["btcusdt@kline_5m"], 2) == (
        '{"method":"UNSUBSCRIBE","params":["btcusdt@kline_5m"],"id":2}'
    )
    assert bybit.subscribe(["kline.5.BTCUSDT", "tickers.BTCUSDT"], 1) == (
        '{"req_id":"1","op":"subscribe","args":["kline.5.BTCUSDT","tickers.BTCUSDT"]}'
    )
    assert json.loads(bybit.unsubscribe(["kline.5.BTCUSDT"], 3))["op"] == "unsubscribe"
    names = [okx.name(Topic(Channel.CANDLE, f"{coin}-USDT-SWAP", "4h")) for coin in ("BTC", "ETH")]
    assert okx.subscribe(names, 1512) == (
        '{"id":"1512","op":"subscribe","args":[{"channel":"candle4H","instId":"BTC-USDT-SWAP"},'
        '{"channel":"candle4H","instId":"ETH-USDT-SWAP"}]}'
    )
    assert json.loads(okx.unsubscribe(names[:1], 4)) == {
        "id": "4",
        "op": "unsubscribe",
        "args": [{"channel": "candle4H", "instId": "BTC-USDT-SWAP"}],
    }


def test_a_full_request_is_within_the_bytes(venue: StreamVenue) -> None:
    """Of names as long as 1000LUNCUSDT's; longer ones make a request hold fewer."""
    symbol = "1000LUNC-USDT-SWAP" if venue.exchange == "okx" else "1000LUNCUSDT"
    name = venue.name(Topic(Channel.CANDLE, symbol, "15m"))
    text = venue.subscribe([name] * venue.names_a_request, 999)
    assert len(text.encode()) <= venue.bytes_a_request


def test_limits_are_within_those_of_the_documentation() -> None:
    binance, bybit, okx = STREAM_VENUES.values()
    assert binance.names_a_connection is not None
    assert binance.names_a_connection <= 1024
    assert (binance.bytes_a_request, binance.names_a_request) <= (4096, 436)
    assert binance.requests_a_second < 10
    assert binance.life_s is not None
    assert binance.life_s < 24 * 3600
    assert binance.ping is None
    assert bybit.name_bytes_a_connection == 21_000
    assert bybit.ping is not None
    assert json.loads(bybit.ping)["op"] == "ping"
    assert bybit.ping_after_s <= 20
    assert not bybit.ping_when_silent
    assert okx.name_bytes_a_connection is not None
    assert okx.name_bytes_a_connection <= 64 * 1024
    assert okx.requests_an_hour == 480
    assert okx.ping == "ping"
    assert okx.ping_when_silent
    assert okx.ping_after_s < 30
    for venue, (most, seconds) in ((binance, (100, 300)), (bybit, (100, 300)), (okx, (3, 1))):
        assert venue.connects[0] / venue.connects[1] <= most / seconds


WRITINGS: Final = [
    ("BTCUSDT", "BTCUSDT", "BTCUSDT", "BTC-USDT-SWAP"),
    ("btcusdt", "BTCUSDT", "BTCUSDT", "BTC-USDT-SWAP"),
    ("BTC-USDT", "BTCUSDT", "BTCUSDT", "BTC-USDT"),
    ("BTC/USDT", "BTCUSDT", "BTCUSDT", "BTC-USDT"),
    ("btc_usdt", "BTCUSDT", "BTCUSDT", "BTC-USDT"),
    ("BTC-USDT-SWAP", "BTCUSDT", "BTCUSDT", "BTC-USDT-SWAP"),
    ("BTC/USDT:USDT", "BTCUSDT", "BTCUSDT", "BTC-USDT-SWAP"),
    (" ETH-USDC-PERP ", "ETHUSDC", "ETHPERP", "ETH-USDC-SWAP"),
    ("1000PEPE-USDT", "1000PEPEUSDT", "1000PEPEUSDT", "1000PEPE-USDT"),
    ("币安人生USDT", "币安人生USDT", "币安人生USDT", "币安人生-USDT-SWAP"),
]


@pytest.mark.parametrize(("text", *STREAM_VENUES), WRITINGS)
def test_markets_are_known_by_any_usual_writing(
    text: str, binance: str, bybit: str, okx: str
) -> None:
    symbols = [venue.symbol(text) for venue in STREAM_VENUES.values()]
    assert symbols == [binance, bybit, okx]


def test_dated_contracts_keep_their_date_where_they_are_streamed() -> None:
    binance, bybit, okx = STREAM_VENUES.values()
    assert binance.symbol("BTCUSDT_261225") == "BTCUSDT_261225"
    assert bybit.symbol("BTCUSDT-25DEC26") == "BTCUSDT-25DEC26"
    with pytest.raises(ValueError, match="dated"):
        okx.symbol("BTC-USDT-261225")


@pytest.mark.parametrize(
    "text", ["", " ", "-", "BTC-", "a b", "BTC/USDT:USDC", "BTC-USDT-X-Y", "x" * 65, "B\x1bC-USDT"]
)
def test_other_texts_are_no_markets(venue: StreamVenue, text: str) -> None:
    with pytest.raises(ValueError, match="not the name of a market"):
        venue.symbol(text)


@pytest.mark.parametrize("text", ["BTC-PERP", "USDT-SWAP"])
def test_a_perpetual_needs_its_quote(venue: StreamVenue, text: str) -> None:
    with pytest.raises(ValueError, match=r"the quote of .* is unknown"):
        venue.symbol(text)


def test_okx_counts_contracts_of_swaps() -> None:
    counts = {
        (exchange, symbol): venue.counts_contracts(symbol)
        for exchange, venue in STREAM_VENUES.items()
        for symbol in ("BTCUSDT", "BTC-USDT", "BTC-USDT-SWAP")
        if ("-" in symbol) == (exchange == "okx")
    }
    assert counts == {
        ("binance", "BTCUSDT"): False,
        ("bybit", "BTCUSDT"): False,
        ("okx", "BTC-USDT"): False,
        ("okx", "BTC-USDT-SWAP"): True,
    }
