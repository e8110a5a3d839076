"""The recorded and documented messages of the exchanges, every one of them, as the files show them.

What each file holds was counted by looking at it. Values are compared with the JSON itself.
"""

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace

from live.errors import UnreadableMessage
from live.events import (
    BookEvent,
    CandleEvent,
    ClosingSoon,
    Event,
    FundingEvent,
    LeftOut,
    Level,
    Pong,
    Refused,
    Subscribed,
    TickerEvent,
    TradeEvent,
)
from live.exchanges import STREAM_VENUES
from live.order_book import OrderBook

WORDS: Final = {
    CandleEvent: "candle",
    TradeEvent: "trade",
    TickerEvent: "ticker",
    BookEvent: "book",
    FundingEvent: "funding",
    Subscribed: "ack",
    Refused: "refusal",
    Pong: "pong",
    ClosingSoon: "closing",
}
# Events of each kind, by file; "not a message" is refused as a whole.
COUNTS: Final[dict[str, dict[str, int]]] = {
    "binance/aggTrade_AKROUSDT_2021-07-22.rec": {"trade": 8},
    "binance/aggTrade_SUSHIUSDT_2021-07-22.rec": {"trade": 40},
    "binance/bookTicker_AKROUSDT_2021-07-22.rec": {"ticker": 88},
    "binance/bookTicker_SUSHIUSDT_2021-07-22.rec": {"ticker": 305},
    "binance/coinm_kline_1m_BTCUSD_PERP_closed_2026-09-25.jsonl": {"other_product": 1},
    "binance/coinm_kline_1m_ETCUSD_PERP_2021.rec": {"other_product": 9},
    "binance/coinm_kline_1m_XRPUSD_PERP_2021.rec": {"other_product": 11},
    "binance/conv_AggTrades.txt": {"ack": 1, "unreadable": 1},
    "binance/conv_Klines.txt": {"ack": 1, "unreadable": 1},
    "binance/conv_Liquidations.txt": {"ack": 1, "unread_kind": 1},
    "binance/conv_MarkPrice.txt": {"ack": 1, "funding": 1},
    "binance/conv_MiniTicker.txt": {"ack": 1, "unreadable": 1},
    "binance/depth_AKROUSDT_2021-07-22.rec": {"book": 189},
    "binance/depth_SUSHIUSDT_2021-07-22.rec.gz": {"book": 255},
    "binance/doc_book_ticker_stream.json": {"ticker": 1},
    "binance/doc_depth_update_stream.json": {"unreadable": 1},
    "binance/doc_kline_stream_closed.json": {"unreadable": 1},
    "binance/doc_kline_stream_open.json": {"unreadable": 1},
    "binance/doc_liquidation_stream.json": {"unread_kind": 1},
    "binance/doc_mark_price_stream.json": {"funding": 1},
    "binance/error_unknown_method_2026-09-26.jsonl": {"refusal": 1},
    "binance/forceOrder_XRPUSDT_2026-10-04.jsonl": {"unread_kind": 1},
    "binance/kline_1m_AKROUSDT_2021-07-22.rec": {"candle": 8},
    "binance/kline_1m_BTCUSDT_closed_2026-10-06.jsonl": {"candle": 1},
    "binance/kline_1m_SUSHIUSDT_2021-07-22.rec": {"candle": 22},
    "binance/live_all-contractInfo_2026-10-06.jsonl": {"unread_kind": 2},
    "binance/live_all-forceOrder-arr_2026-10-06.jsonl": {"unread_kind": 1},
    "binance/live_all-markPrice-arr-1s_2026-10-06.jsonl": {"funding": 1, "other_product": 1},
    "binance/live_all-miniTicker-arr_2026-10-06.jsonl": {"ticker": 3, "other_product": 1},
    "binance/live_btcusdt-aggTrade_2026-10-06.jsonl": {"trade": 1},
    "binance/live_btcusdt-bookTicker_2026-10-06.jsonl": {"ticker": 1},
    "binance/live_btcusdt-depth-100ms_2026-10-06.jsonl": {"book": 2},
    "binance/live_btcusdt-depth5-100ms_2026-10-06.jsonl": {"unread_kind": 1},
    "binance/live_btcusdt-forceOrder_2026-10-06.jsonl": {"unread_kind": 1},
    "binance/live_btcusdt-kline_1m_2026-10-06.jsonl": {"unreadable": 1},
    "binance/live_btcusdt-markPrice-1s_2026-10-06.jsonl": {"funding": 1},
    "binance/live_btcusdt_perpetual-continuousKline_1m_2026-10-06.jsonl": {"unread_kind": 1},
    "binance/live_ethusdt-aggTrade_2026-10-06.jsonl": {"trade": 1},
    "binance/rest_depth_AKROUSDT_2021-07-22.json": {"not a message": 1},
    "binance/rest_depth_SUSHIUSDT_2021-07-22.json": {"not a message": 1},
    "binance/spot-tr_kline_1m_ELFBUSD_2023-04-10.rec": {"candle": 2},
    "binance/spot-tr_kline_1m_XEMUSDT_2023-04-10.rec": {"candle": 2},
    "binance/spot_kline_1s_ETHUSDT_silent_2023-04-23.jsonl": {"unread_kind": 1},
    "binance/tardis_bookTicker_2021-02-01.jsonl": {"ticker": 1},
    "binance/tardis_forceOrder_2020-03-13.jsonl": {"unread_kind": 1},
    "binance/tardis_markPrice_2019-10-01.jsonl": {"funding": 2, "unread_kind": 1},
    "binance/tardis_trade_2019-11-22.jsonl": {"unread_kind": 3},
    "bybit/allLiquidation_BTCUSDT_2026-10-09.jsonl": {"unread_kind": 1},
    "bybit/conv_Liquidations.txt": {"ack": 1, "unread_kind": 1},
    "bybit/conv_Trades.txt": {"ack": 1, "trade": 1},
    "bybit/doc_ws_kline.json": {"candle": 1},
    "bybit/doc_ws_orderbook_delta.json": {"book": 1},
    "bybit/doc_ws_orderbook_snapshot.json": {"book": 1},
    "bybit/doc_ws_subscription_failure.json": {"refusal": 1},
    "bybit/doc_ws_ticker_linear.json": {"ticker": 1, "funding": 1},
    "bybit/error_unknown_topic_2026-09-15.jsonl": {"refusal": 1},
    "bybit/kline_1_BTCUSDT_testnet_2026-09-15.jsonl": {"candle": 1},
    "bybit/orderbook500_XRPUSDT_2024-12-01.jsonl.gz": {"book": 50},
    "bybit/session_BTCUSDT_2026-08-13.jsonl": {
        **{"ack": 1, "ticker": 2, "funding": 1, "book": 1, "pong": 1},
    },
    "bybit/subscribe-batch_already-subscribed_2026-09-05.jsonl": {"ack": 2, "refusal": 1},
    "bybit/tardis_allLiquidation_2025-02-25.jsonl": {"unread_kind": 2},
    "bybit/tardis_publicTrade_2023-04-05.jsonl": {"trade": 1},
    "bybit/tardis_tickers_2023-04-05.jsonl": {"ticker": 1, "funding": 1},
    "bybit/tickers_BTCUSDT_2024-05-15.jsonl": {"ticker": 2, "funding": 1},
    "okx/books_BTC-USDT_2022-05-13.rec.gz": {"ack": 1, "book": 98},
    "okx/books_UNI-USD-SWAP_2022-05-13.rec": {"ack": 1, "book": 93},
    "okx/candle1m_BTC-USDT-SWAP_2026-03-31.jsonl": {"candle": 1},
    "okx/candle1m_BTC-USDT_2026-09-15.jsonl": {"candle": 1},
    "okx/conv_FundingRate.txt": {"ack": 1, "unreadable": 1},
    "okx/conv_Interest.txt": {"ack": 1, "unread_kind": 1},
    "okx/conv_Klines.txt": {"ack": 1, "unread_kind": 1},
    "okx/conv_OrderBook.txt": {"ack": 1, "unreadable": 1},
    "okx/doc_http_get_candlesticks.json": {"not a message": 1},
    "okx/doc_http_get_candlesticks_full.json": {"not a message": 1},
    "okx/doc_http_get_funding_rate_history.json": {"not a message": 1},
    "okx/doc_http_get_instruments_swap.json": {"not a message": 1},
    "okx/doc_ws_books_snapshot.json": {"book": 1},
    "okx/doc_ws_books_update.json": {"book": 1},
    "okx/doc_ws_candle.json": {"unread_kind": 1},
    "okx/doc_ws_funding_rate.json": {"funding": 1},
    "okx/doc_ws_instruments.json": {"unread_kind": 1},
    "okx/doc_ws_tickers.json": {"ticker": 1},
    "okx/error_60018_candle_on_public_2026-09-25.jsonl": {"refusal": 1},
    "okx/funding-rate_BTC-USDT-SWAP_2026-09-25.jsonl": {"funding": 1},
    "okx/futures_books-l2-tbt_2021-12-22.jsonl": {"unread_kind": 2},
    "okx/futures_liquidation-orders_2023-03-30.jsonl": {"unread_kind": 2},
    "okx/futures_trades_2021-12-21.jsonl": {"other_product": 1},
    "okx/liquidation-orders_SWAP_2026-09-17.jsonl": {"unread_kind": 1},
    "okx/requests_2022-05-13.jsonl": {"not a message": 3},
    "okx/rest_candles_1H_BTC-USDT_2024-01-30.json": {"not a message": 1},
    "okx/rest_candles_5m_BTC-USDT-SWAP_2026-09-23.json": {"not a message": 1},
    "okx/rest_instruments_SWAP_2022-05-13.json.gz": {"not a message": 1},
    "okx/rest_open-interest_BTC-USDT-SWAP_2024-10-12.json": {"not a message": 1},
    "okx/swap_bbo-tbt_2022-05-05.jsonl": {"unread_kind": 2},
    "okx/swap_books-l2-tbt_2021-12-22.jsonl": {"unread_kind": 1},
    "okx/swap_funding-rate_2021-12-22.jsonl": {"unreadable": 2},
    "okx/swap_index-tickers_2021-12-22.jsonl": {"unread_kind": 1},
    "okx/swap_mark-price_2021-12-22.jsonl": {"unread_kind": 1},
    "okx/swap_trades_2021-12-22.jsonl": {"trade": 1},
    "okx/tickers_BTC-USDT_2022-05-13.rec": {"ack": 3, "ticker": 25},
    "okx/tickers_BTC-USDT_2026-09-25.jsonl": {"ack": 1, "ticker": 1},
    "okx/tickers_UNI-USD-SWAP_2022-05-13.rec": {"ack": 3, "ticker": 1},
    "okx/trades_BTC-USDT_2022-05-13.rec": {"ack": 2, "trade": 69},
    "okx/trades_UNI-USD-SWAP_2022-05-13.rec": {"ack": 2, "trade": 1},
}
# Why a message that has an exchange's form is not read: invented or shortened ones, mostly.
REASONS: Final = {
    "binance/conv_AggTrades.txt": "Expected `int` >= 1483228800000 - at `$.T`",  # 1973
    "binance/conv_Klines.txt": "impossible prices",  # open 0.0010, low 0.0015
    "binance/conv_MiniTicker.txt": "Expected `int` >= 1483228800000 - at `$.E`",
    "binance/doc_depth_update_stream.json": "Expected `int` >= 1483228800000 - at `$.E`",
    "binance/doc_kline_stream_closed.json": "closed too early",  # at its open
    "binance/doc_kline_stream_open.json": "impossible prices",
    "binance/live_btcusdt-kline_1m_2026-10-06.jsonl": "closed too early",  # `x` was set by hand
    "okx/conv_FundingRate.txt": "funding-rate of 'BTC-USD-SWAP'",  # asked for ETH-USDT
    "okx/conv_OrderBook.txt": "neither snapshot nor update",
    "okx/swap_funding-rate_2021-12-22.jsonl": "missing required field `ts`",
}


@pytest.fixture(scope="module")
def streams(recorded_data: Path) -> Path:
    folder = recorded_data / "streams"
    if not folder.is_dir():
        pytest.skip("no recorded streams in RECORDED_DATA")
    return folder


def text_of(file: Path) -> str:
    raw = file.read_bytes()
    return (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode()


def messages_of(file: Path) -> list[bytes]:
    """The received messages of a file; what a client sent in a conversation is not among them."""
    text = text_of(file)
    if ".json" in file.suffixes:
        return [text.encode()]
    if file.suffix == ".txt":
        said = re.split(r"^(?=[<>=])", text, flags=re.MULTILINE)
        # Its placeholder |1| is the id of the request.
        return [part[1:].replace("|1|", "1").encode() for part in said if part[:1] in ("<", "=")]
    return [line.split("\t")[-1].encode() for line in text.splitlines() if line]


def events_of(streams: Path, name: str) -> Iterator[Event]:
    read = STREAM_VENUES[name.partition("/")[0]].read
    for message in messages_of(streams / name):
        yield from read(message)


def word_of(event: Event) -> str:
    return event.cause.value if isinstance(event, LeftOut) else WORDS[type(event)]


def test_no_file_is_passed_by(streams: Path) -> None:
    files = {
        file.relative_to(streams).as_posix()
        for folder in ("binance", "bybit", "okx")
        for file in (streams / folder).iterdir()
    }
    assert files == set(COUNTS)
    assert len(COUNTS) == 104


@pytest.mark.parametrize("name", COUNTS)
def test_a_file_is_read_to_its_end(streams: Path, name: str) -> None:
    found: Counter[str] = Counter()
    read = STREAM_VENUES[name.partition("/")[0]].read
    for message in messages_of(streams / name):
        try:
            events = read(message)
        except UnreadableMessage as error:
            assert "unexpected message" in error.cause
            found["not a message"] += 1
        else:
            found.update(map(word_of, events))
    assert found == COUNTS[name]


@pytest.mark.parametrize("name", [name for name in COUNTS if "unreadable" in COUNTS[name]])
def test_what_is_not_read_is_left_out_for_its_reason(streams: Path, name: str) -> None:
    reasons = [
        event.text
        for event in events_of(streams, name)
        if isinstance(event, LeftOut) and event.cause == "unreadable"
    ]
    assert reasons
    assert all(REASONS[name] in reason for reason in reasons), reasons


# --- values ---------------------------------------------------------------------------------------


def test_candles_of_binance_are_those_of_the_json(streams: Path) -> None:
    names = [name for name in COUNTS if name.startswith("binance/") and "candle" in COUNTS[name]]
    sent = [json.loads(m)["data"] for name in names for m in messages_of(streams / name)]
    read = [event for name in names for event in events_of(streams, name)]
    assert read == [
        CandleEvent(
            *(data["s"], k["i"], k["t"], data["E"], k["x"]),
            *(k["o"], k["h"], k["l"], k["c"], k["v"], k["q"]),
            *(k["n"], k["V"], k["Q"]),
        )
        for data in sent
        for k in [data["k"]]
    ]


def test_a_closing_event_may_show_what_no_forming_one_did(streams: Path) -> None:
    """AKRO's came 2.0 s after the end with one trade more; SUSHI's after 0.2 s."""
    for market, late_ms, more in (("AKROUSDT", 2004, 1), ("SUSHIUSDT", 204, None)):
        events = list(events_of(streams, f"binance/kline_1m_{market}_2021-07-22.rec"))
        candles = [event for event in events if isinstance(event, CandleEvent)]
        (at,) = [index for index, candle in enumerate(candles) if candle.closed]
        closing, before = candles[at], candles[at - 1]
        assert closing.event_time_ms - (closing.open_time_ms + 59_999) == late_ms
        assert closing.open_time_ms == before.open_time_ms
        if more is not None:
            assert closing.trades is not None
            assert before.trades is not None
            assert (before.trades, closing.trades) == (28, 28 + more)


def test_a_silent_minute_has_no_trades_and_the_price_before_it(streams: Path) -> None:
    closed, forming = events_of(streams, "binance/spot-tr_kline_1m_ELFBUSD_2023-04-10.rec")
    assert isinstance(closed, CandleEvent)
    assert isinstance(forming, CandleEvent)
    assert (closed.closed, closed.trades, forming.closed, forming.trades) == (True, 0, False, 0)
    assert {closed.open, closed.low, closed.close, forming.close} == {"0.31170000"}


def test_trades_of_okx_are_those_of_the_json(streams: Path) -> None:
    name = "okx/trades_BTC-USDT_2022-05-13.rec"
    sent = [json.loads(message) for message in messages_of(streams / name)]
    rows = [row for message in sent for row in message.get("data", ())]
    assert [event for event in events_of(streams, name) if isinstance(event, TradeEvent)] == [
        TradeEvent(row["instId"], int(row["ts"]), row["tradeId"], row["px"], row["sz"], row["side"])
        for row in rows
    ]


def test_volumes_of_okx_are_coins(streams: Path) -> None:
    (swap,) = events_of(streams, "okx/candle1m_BTC-USDT-SWAP_2026-03-31.jsonl")
    (spot,) = events_of(streams, "okx/candle1m_BTC-USDT_2026-09-15.jsonl")
    for candle, volume in ((swap, "13.3007"), (spot, "1.57843610")):
        assert isinstance(candle, CandleEvent)
        assert candle.volume == volume
        price = Decimal(candle.turnover) / Decimal(candle.volume)
        assert Decimal(candle.low) <= price <= Decimal(candle.high)


def test_the_name_of_a_refused_candle_is_found(streams: Path) -> None:
    (refused,) = events_of(streams, "okx/error_60018_candle_on_public_2026-09-25.jsonl")
    assert isinstance(refused, Refused)
    assert refused.names == ('{"channel":"candle1m","instId":"BTC-USDT"}',)
    assert "60018" in refused.reason


# --- order books ----------------------------------------------------------------------------------

Side = dict[Decimal, Level]


def book_events(streams: Path, name: str) -> list[BookEvent]:
    return [event for event in events_of(streams, name) if isinstance(event, BookEvent)]


def naive(side: Side, levels: Any) -> None:
    """Applies levels as JSON has them."""
    for price, size, *_ in levels:
        side.pop(Decimal(price), None)
        if Decimal(size):
            side[Decimal(price)] = (price, size)


def best_of(bids: Side, asks: Side, count: int) -> tuple[list[Level], list[Level]]:
    highest = [bids[price] for price in sorted(bids, reverse=True)[:count]]
    return highest, [asks[price] for price in sorted(asks)[:count]]


@pytest.mark.parametrize(
    ("market", "file", "applied"),
    [
        ("AKROUSDT", "binance/depth_AKROUSDT_2021-07-22.rec", 188),
        ("SUSHIUSDT", "binance/depth_SUSHIUSDT_2021-07-22.rec.gz", 252),
    ],
)
@pytest.mark.parametrize("buffered", [1, 7])
def test_recorded_books_of_binance_have_no_gap(
    streams: Path, market: str, file: str, applied: int, buffered: int
) -> None:
    venue = STREAM_VENUES["binance"]
    body = (streams / f"binance/rest_depth_{market}_2021-07-22.json").read_bytes()
    assert venue.book.read_snapshot is not None
    book = OrderBook(market, venue.book)
    rest, bids, asks = json.loads(body), Side(), Side()
    naive(bids, rest["bids"])
    naive(asks, rest["asks"])
    lowest, highest = min(bids), max(asks)  # beyond, the snapshot may have been cut
    compared = 0
    for number, message in enumerate(messages_of(streams / file)):
        data = json.loads(message)["data"]
        (event,) = venue.read(message)
        assert isinstance(event, BookEvent)
        book.apply(event)
        if number + 1 == buffered:
            book.load(venue.book.read_snapshot(market, body))
        if data["u"] < rest["lastUpdateId"]:
            assert not book.is_live
            continue
        naive(bids, data["b"])
        naive(asks, data["a"])
        compared += 1
        if number + 1 < buffered:
            continue
        assert book.is_live, book.reason
        assert book.top(50) == best_of(bids, asks, 50)
    assert (compared, book.breaks) == (applied, 0)
    sent = book.top(5_000)
    if len(rest["bids"]) == 1000:
        bids = {price: level for price, level in bids.items() if price >= lowest}
    if len(rest["asks"]) == 1000:
        asks = {price: level for price, level in asks.items() if price <= highest}
    assert sent == best_of(bids, asks, 5_000)


def test_a_lost_change_of_a_recorded_book_is_noticed(streams: Path) -> None:
    venue = STREAM_VENUES["binance"]
    body = (streams / "binance/rest_depth_AKROUSDT_2021-07-22.json").read_bytes()
    assert venue.book.read_snapshot is not None
    events = book_events(streams, "binance/depth_AKROUSDT_2021-07-22.rec")
    for lost in range(2, len(events) - 1, 5):
        book = OrderBook("AKROUSDT", venue.book)
        book.load(venue.book.read_snapshot("AKROUSDT", body))
        for event in events[:lost]:
            book.apply(event)
        assert book.is_live
        assert not book.apply(events[lost + 1])
        assert book.breaks == 1


def test_the_recorded_book_of_bybit_rises_by_one(streams: Path) -> None:
    book = OrderBook("XRPUSDT", STREAM_VENUES["bybit"].book)
    bids, asks = Side(), Side()
    for message in messages_of(streams / "bybit/orderbook500_XRPUSDT_2024-12-01.jsonl.gz"):
        (event,) = STREAM_VENUES["bybit"].read(message)
        assert isinstance(event, BookEvent)
        assert book.apply(event), book.reason
        data = json.loads(message)["data"]
        naive(bids, data["b"])
        naive(asks, data["a"])
        assert book.top(1000) == best_of(bids, asks, 1000)
        assert max(map(len, book.top(1000))) <= 500
    assert (len(bids), book.breaks) == (500, 0)


def checksum(bids: list[Level], asks: list[Level]) -> int:
    """OKX's former rule: CRC32, signed, of bid and ask in turn, 25 levels, price:size."""
    texts = []
    for rank in range(25):
        texts += [":".join(side[rank]) for side in (bids, asks) if rank < len(side)]
    crc = zlib.crc32(":".join(texts).encode())
    return crc - (1 << 32) if crc >= 1 << 31 else crc


@pytest.mark.parametrize(
    ("file", "checksums"),
    [
        ("okx/books_UNI-USD-SWAP_2022-05-13.rec", 93),
        ("okx/books_BTC-USDT_2022-05-13.rec.gz", 98),
    ],
)
def test_recorded_books_of_okx_have_their_checksums(
    streams: Path, file: str, checksums: int
) -> None:
    """The messages of those days had no numbers: the test gives them some."""
    venue = STREAM_VENUES["okx"]
    messages = [m for m in messages_of(streams / file) if b'"action"' in m]
    assert len(messages) == checksums
    (first,) = venue.read(messages[0])
    assert isinstance(first, BookEvent)
    book = OrderBook(first.symbol, venue.book)
    for number, message in enumerate(messages):
        (event,) = venue.read(message)
        assert isinstance(event, BookEvent)
        assert (event.last_id, event.previous_id) == (-1, None)
        assert book.apply(replace(event, last_id=number, previous_id=number - 1)), book.reason
        assert checksum(*book.top(25)) == json.loads(message)["data"][0]["checksum"]


def test_a_book_without_numbers_is_not_served_on(streams: Path) -> None:
    book = OrderBook("UNI-USD-SWAP", STREAM_VENUES["okx"].book)
    first, second, *_ = book_events(streams, "okx/books_UNI-USD-SWAP_2022-05-13.rec")
    assert book.apply(first)
    assert not book.apply(second)
    assert "without prevSeqId" in book.reason
