"""The readers make of each kind of message what the exchanges' documentation says it means."""

from typing import Final

import pytest

from live.errors import UnreadableMessage
from live.events import (
    BookEvent,
    CandleEvent,
    ClosingSoon,
    Dropped,
    Event,
    FundingEvent,
    LeftOut,
    Pong,
    Refused,
    Subscribed,
    TickerEvent,
    TradeEvent,
)
from live.exchanges import STREAM_VENUES
from tests.live.samples import all_samples, samples_of


def left_out(cause: Dropped, text: str, symbol: str | None = None) -> LeftOut:
    return LeftOut(cause, text, symbol)


OTHER: Final = Dropped.OTHER_PRODUCT
UNREAD: Final = Dropped.UNREAD_KIND
COIN_M: Final = left_out(OTHER, "BTCUSD_PERP", "BTCUSD_PERP")
DAY_OF_BINANCE: Final = {
    "last_price": "86026.40",
    "open_24h": "86016.50",
    "high_24h": "86683.90",
    "low_24h": "84910.00",
    "volume_24h": "119489.809",
    "turnover_24h": "10238568766.13",
}
DAY_OF_OKX: Final = {"open_24h": "84180.1", "high_24h": "85258.8", "low_24h": "83174.7"}
CLOSED: Final = ("85885.40", "85900.00", "85885.40", "85893.90", "30.033", "2579673.59220")

BINANCE: Final[dict[str, list[Event]]] = {
    "closed": [
        CandleEvent(
            *("BTCUSDT", "1m", 1791240000000, 1791240060493, True, *CLOSED),
            *(856, "8.679", "745444.22690"),
        )
    ],
    "raw forming": [
        CandleEvent(
            *("BTCUSDT", "5m", 1791240000000, 1791240030000, False, *CLOSED),
            *(2, "8.679", "745444.22690"),
        )
    ],
    "silent": [
        CandleEvent(
            *("ZILUSDT", "5m", 1791240000000, 1791240302000, True),
            *("0.01731", "0.01731", "0.01731", "0.01731", "0", "0.00000"),
            *(0, "0", "0"),
        )
    ],
    "other order": [
        CandleEvent(
            *("币安人生USDT", "1h", 1791237600000, 1791241200300, True),
            *("1.2", "2", "1", "1.5", "10", "15"),
        )
    ],
    "coin-m candle": [COIN_M],
    "week": [left_out(UNREAD, "candles of 1w", "BTCUSDT")],
    "mark price": [
        FundingEvent(
            *("BTCUSDT", 1791283239000, 1791302400000),
            {
                "mark_price": "86026.40000000",
                "index_price": "86059.26913043",
                "funding_rate": "-0.00003629",
            },
        )
    ],
    "mark price of 2019": [
        FundingEvent(
            *("BTCUSDT", 1569888003001, 1569916800000),
            {"mark_price": "8291.34697815", "funding_rate": "0.00010000"},
        )
    ],
    "delivered": [left_out(UNREAD, "mark price of a contract without funding", "BTCUSDT_261225")],
    "mark prices of all": [
        FundingEvent(
            *("BTCUSDT", 1791283239000, 1791302400000),
            {"mark_price": "86026.4", "index_price": "86059.2", "funding_rate": "-0.00003629"},
        ),
        COIN_M,
        FundingEvent(
            *("ETHUSDT", 1791283239000, 1791302400000),
            {"mark_price": "2713.4", "index_price": "2714", "funding_rate": "0.0001"},
        ),
    ],
    "mini tickers": [TickerEvent("BTCUSDT", 1791283239234, DAY_OF_BINANCE, True), COIN_M],
    "ticker": [
        TickerEvent(
            *("BTCUSDT", 1791283239234),
            {**DAY_OF_BINANCE, "last_size": "0.002", "trades_24h": "9533715"},
        )
    ],
    "no tickers": [],
    "best levels": [
        TickerEvent(
            *("BTCUSDT", 1791283218110),
            {
                "bid_price": "85999.90",
                "bid_size": "15.739",
                "ask_price": "86000.00",
                "ask_size": "4.613",
            },
            is_change=True,
        )
    ],
    "trade": [
        TradeEvent("BTCUSDT", 1791283227688, "3476465318", "86000.00", "4.577", "sell"),
    ],
    "trade of 2021": [
        TradeEvent("AKROUSDT", 1626992742134, "14888302", "0.01731", "312", "buy"),
    ],
    "book": [
        BookEvent(
            *("BTCUSDT", 1791283218172, False),
            [("85999.80", "0.381"), ("85999.70", "0")],
            [("86000.10", "0.702")],
            last_id=11747004264789,
            first_id=11747004259049,
            previous_id=11747004258972,
        )
    ],
    "best 5": [left_out(UNREAD, "btcusdt@depth5@100ms", "BTCUSDT")],
    "liquidation": [left_out(UNREAD, "forceOrder", "BTCUSDT")],
    "contract": [left_out(UNREAD, "contractInfo", "BTCUSDT")],
    "continuous": [left_out(UNREAD, "continuous_kline", "BTCUSDT_PERPETUAL")],
    "acknowledged": [Subscribed("1")],
    "listed": [Subscribed("3", ("btcusdt@kline_5m",))],
    "refused": [Refused("2", "code 2: Invalid request: unknown variant `NOT_A_METHOD`")],
    "refused, older": [Refused("", "code 2: Invalid request")],
    "refused, no id": [Refused("", "code 3: Invalid JSON")],
    "shutdown": [ClosingSoon("serverShutdown")],
    "shutdown, wrapped": [ClosingSoon("serverShutdown")],
}

ROW: Final = ("16649.5", "16677", "16608", "16677", "2.081", "34666.4005")
BYBIT: Final[dict[str, list[Event]]] = {
    "forming": [CandleEvent("BTCUSDT", "5m", 1672324800000, 1672324988882, False, *ROW)],
    "closed and next": [
        CandleEvent("BTCUSDT", "5m", 1672324800000, 1672325100900, True, *ROW),
        CandleEvent(
            *("BTCUSDT", "5m", 1672325100000, 1672325100900, False),
            *("16677", "16677", "16677", "16677", "0", "0"),
        ),
    ],
    "month": [left_out(UNREAD, "candles of M", "BTCUSDT")],
    "ticker": [
        TickerEvent(
            *("BTCUSDT", 1786659827683),
            {
                "last_price": "63561.60",
                "bid_price": "63561.50",
                "bid_size": "1.760",
                "ask_price": "63561.60",
                "ask_size": "4.690",
                "open_24h": "63469.20",
                "high_24h": "63994.40",
                "low_24h": "62810.50",
                "volume_24h": "55362.9100",
                "turnover_24h": "3515096831.9640",
                "mark_price": "63560.80",
                "index_price": "63585.51",
                "funding_rate": "0.00005013",
                "open_interest": "29986.128",  # of one side
            },
        ),
        FundingEvent("BTCUSDT", 1786659827683, 1786665600000),
    ],
    "ticker's change": [
        TickerEvent("BTCUSDT", 1786659827983, {"index_price": "63585.74"}, is_change=True)
    ],
    "ticker's other change": [],
    "before trading": [TickerEvent("NEWUSDT", 1786659827683, {"mark_price": "0.5"})],
    "trades": [
        TradeEvent(
            *("BTCUSDT", 1672304486865, "20f43950-d8dd-5b31-9112-a178eb6023af"),
            *("16578.50", "0.001", "buy"),
        ),
        TradeEvent(
            *("BTCUSDT", 1672304486866, "20f43950-d8dd-5b31-9112-a178eb6023b0"),
            *("16578.00", "2", "sell"),
        ),
    ],
    "book": [
        BookEvent(
            *("BTCUSDT", 1709891679000, True),
            [("27450.00", "0.500"), ("27449.50", "1.000")],
            [("27451.00", "0.750")],
            last_id=123456789,
        )
    ],
    "book's change": [
        BookEvent(
            *("BTCUSDT", 1709891679500, False),
            [("27450.00", "0.400")],
            [("27451.00", "0")],
            last_id=123456790,
        )
    ],
    "book after a restart": [
        BookEvent("BTCUSDT", 1709891679500, True, [("27450.00", "0.400")], [], last_id=1)
    ],
    "liquidations": [left_out(UNREAD, "allLiquidation.BTCUSDT", "BTCUSDT")],
    "acknowledged": [Subscribed("t1")],
    "acknowledged, in words": [Subscribed("4")],
    "pong": [Pong()],
    "refused": [
        Refused(
            *("", "error:handler not found,topic:liquidations:BTCUSDT"), ("liquidations:BTCUSDT",)
        )
    ],
    "already subscribed": [
        Refused(
            *("2", "error:already subscribed,topic:publicTrade.BTCUSDT"),
            ("publicTrade.BTCUSDT",),
            is_held=True,
        )
    ],
}

SWAP: Final = ("66898.7", "66902.1", "66884.6", "66894.5", "13.3007", "889750.68514000")
OKX: Final[dict[str, list[Event]]] = {
    "swap forming": [
        CandleEvent("BTC-USDT-SWAP", "1m", 1774964340000, 1774964340000, False, *SWAP)
    ],
    "swap closed": [
        CandleEvent("BTC-USDT-SWAP", "1m", 1774964340000, 1774964400000, True, *SWAP),
        CandleEvent(
            *("BTC-USDT-SWAP", "1m", 1774964400000, 1774964400000, False),
            *("66894.5", "66894.5", "66894.5", "66894.5", "0", "0"),
        ),
    ],
    "spot": [
        CandleEvent(
            *("BTC-USDT", "1m", 1789470120000, 1789470120000, False),
            *("77082.7", "77116.6", "77082.6", "77116.6", "1.57843610", "121697.290334104"),
        )
    ],
    "six hours": [
        CandleEvent(
            *("ETH-USDT-SWAP", "6h", 1774958400000, 1774958400000, False),
            *("1", "1", "1", "1", "0.1", "0.1"),
        )
    ],
    "six hours of UTC+8": [left_out(UNREAD, "candle6H", "ETH-USDT-SWAP")],
    "swap ticker": [
        TickerEvent(
            *("BTC-USDT-SWAP", 1790358564077),
            {
                "last_price": "83766.8",
                "last_size": "0.5",
                "bid_price": "83774.1",
                "bid_size": "65",
                "ask_price": "83774.2",
                "ask_size": "25",
                "volume_24h": "54499.54",
                **DAY_OF_OKX,
            },
        )
    ],
    "spot ticker": [
        TickerEvent(
            *("BTC-USDT", 1790358564077),
            {
                "last_price": "83766.8",
                "last_size": "0.0000102",
                "bid_price": "83774.1",
                "bid_size": "0.65302934",
                "volume_24h": "5449.95415651",
                "turnover_24h": "458903124.056360828",
                **DAY_OF_OKX,
            },
        )
    ],
    "trade": [TradeEvent("BTC-USDT-SWAP", 1640131236050, "148266905", "48938.5", "5", "buy")],
    "dated": [left_out(OTHER, "FIL-USD-220325", "FIL-USD-220325")],
    "book": [
        BookEvent(
            *("BTC-USDT-SWAP", 1597026383085, True),
            [("8476.97", "256")],
            [("8476.98", "415")],
            last_id=123456,
            previous_id=-1,
        )
    ],
    "book's change": [
        BookEvent(
            *("BTC-USDT-SWAP", 1597026383185, False),
            [],
            [("8476.98", "0")],
            last_id=123460,
            previous_id=123456,
        )
    ],
    "book of 2022": [BookEvent("BTC-USDT-SWAP", 1597026383185, False, [], [], last_id=-1)],
    "best 5": [left_out(UNREAD, "books5", "BTC-USDT-SWAP")],
    "mark price": [left_out(UNREAD, "mark-price", "WNCG-USDT-SWAP")],
    "funding": [
        FundingEvent(
            *("BTC-USDT-SWAP", 1790358563915, 1790380800000),
            {"funding_rate": "0.0000263463215391"},
        )
    ],
    "open interest": [left_out(UNREAD, "open-interest", "BTC-USDT-SWAP")],
    "instruments": [left_out(UNREAD, "instruments")],
    "acknowledged": [Subscribed("1512", ('{"channel":"candle4H","instId":"BTC-USDT-SWAP"}',))],
    "ended": [Subscribed("", ('{"channel":"tickers","instId":"BTC-USDT"}',))],
    "refused": [
        Refused(
            "",
            "code 60018: Subscribe failed, wrong URL or channel:candle1m,instId:BTC-USDT doesn't"
            " exist. Please use the correct URL, channel and parameters referring to API document.",
            ('{"channel":"candle1m","instId":"BTC-USDT"}',),
        )
    ],
    "malformed": [Refused("7", 'code 60012: Invalid request: {"op": "subscribe"}')],
    "upgrade": [
        ClosingSoon("The connection will soon be closed for a service upgrade. Please reconnect.")
    ],
    "other notice": [left_out(UNREAD, "notice 64999: Something else.")],
    "connections": [],
    "pong": [Pong()],
}
EXPECTED: Final = {"binance": BINANCE, "bybit": BYBIT, "okx": OKX}


@pytest.mark.parametrize(("exchange", "name"), all_samples())
def test_a_message_is_read(exchange: str, name: str) -> None:
    assert STREAM_VENUES[exchange].read(samples_of(exchange)[name]) == EXPECTED[exchange][name]


def test_every_expectation_has_its_message() -> None:
    assert {exchange: set(samples_of(exchange)) for exchange in EXPECTED} == {
        exchange: set(expected) for exchange, expected in EXPECTED.items()
    }


# --- what is left out, and why --------------------------------------------------------------------

CANDLES: Final = {"binance": "closed", "bybit": "forming", "okx": "swap closed"}
PRICES: Final = {
    "binance": (b'"l":"85885.40"', b'"l":"%s"'),
    "bybit": (b'"low":"16608"', b'"low":"%s"'),
    "okx": (b'"66884.6"', b'"%s"'),
}


@pytest.mark.parametrize("exchange", CANDLES)
@pytest.mark.parametrize(
    ("low", "reason"),
    [
        (b"99999", "impossible prices"),
        (b"0", "impossible prices"),
        (b"0.00", "impossible prices"),
        (b"-1", "low is not a number of at least 0: '-1'"),
        (b"NaN", "low is not a number of at least 0: 'NaN'"),
        (b"Infinity", "low is not a number of at least 0: 'Infinity'"),
        (b"1_000", "low is not a number of at least 0: '1_000'"),
        (b" 1", "low is not a number of at least 0"),
        (b"1.2.3", "low is not a number of at least 0: '1.2.3'"),
        (b"1.", "low is not a number of at least 0: '1.'"),
        (b".5", "low is not a number of at least 0: '.5'"),
        (b"", "low is not a number of at least 0: blank"),
        (b"1,5", "low is not a number of at least 0: '1,5'"),
        ("١".encode(), "low is not a number of at least 0"),
        (b"1e999", "low is not a number of at least 0: '1e999'"),
        (b"9" * 50, "impossible prices"),
        (b"9" * 500, "low is not a number of at least 0"),
    ],
)
def test_an_impossible_candle_is_left_out_with_its_reason(
    exchange: str, low: bytes, reason: str
) -> None:
    old, new = PRICES[exchange]
    message = samples_of(exchange)[CANDLES[exchange]]
    assert message.count(old) == 1
    (event, *_) = STREAM_VENUES[exchange].read(message.replace(old, new % low))
    assert isinstance(event, LeftOut)
    assert event.cause is Dropped.UNREADABLE
    assert reason in event.text
    assert event.symbol is not None
    assert event.symbol.startswith("BTC")


def test_a_candle_that_does_not_name_its_market_is_told_by_its_stream() -> None:
    """So that it is known which market is not proven any more."""
    message = samples_of("binance")["closed"].replace(b'"s":"BTCUSDT"', b'"s":7')
    (event,) = STREAM_VENUES["binance"].read(message)
    assert isinstance(event, LeftOut)
    assert event.symbol == "BTCUSDT"


@pytest.mark.parametrize("volume", [b"9" * 41, b"0." + b"1" * 41, b"1e-99", b"-1"])
def test_a_volume_that_cannot_be_summed_exactly_is_left_out(volume: bytes) -> None:
    message = samples_of("binance")["closed"].replace(b'"30.033"', b'"%b"' % volume)
    (event,) = STREAM_VENUES["binance"].read(message)
    assert isinstance(event, LeftOut)
    assert "volume is not a number of at least 0" in event.text


def test_an_exponent_is_written_out() -> None:
    message = samples_of("binance")["closed"].replace(b'"30.033"', b'"3.0033e+1"')
    message = message.replace(b'"2579673.59220"', b'"-0.0"')
    (event,) = STREAM_VENUES["binance"].read(message.replace(b'"85885.40"', b'"8.58854E4"'))
    assert isinstance(event, CandleEvent)
    assert (event.volume, event.open, event.low) == ("30.033", "85885.4", "85885.4")
    assert event.turnover == "0"


@pytest.mark.parametrize(
    ("exchange", "name", "old", "new", "reason"),
    [
        ("binance", "closed", b'"t":1791240000000', b'"t":1791240000001', "grid of 60000 ms"),
        ("binance", "closed", b'"t":1791240000000', b'"t":1791240000', "Expected `int` >= 14"),
        ("binance", "closed", b'"E":1791240060493', b'"E":1791240060493000', "Expected `int` <"),
        ("binance", "closed", b'"E":1791240060493', b'"E":1791240030000', "closed too early"),
        ("binance", "raw forming", b'"E":1791240030000', b'"E":1791239990000', "sent too early"),
        ("binance", "closed", b'"x":true', b'"x":1', "Expected `bool`"),
        ("binance", "closed", b'"v":"30.033"', b'"v":30.033', "Expected `str`"),
        ("binance", "closed", b'"v":"30.033",', b"", "missing required field `v`"),
        ("binance", "closed", b'"s":"BTCUSDT"', b'"s":"BTC USDT"', "unusable name"),
        ("binance", "trade", b'"p":"86000.00"', b'"p":"0"', "impossible trade"),
        ("binance", "trade", b'"q":"4.577"', b'"q":"-4.577"', "impossible trade"),
        ("binance", "book", b'"85999.80"', b'"0.00"', "impossible level: '0.00', '0.381'"),
        ("binance", "book", b'"0.702"', b'"1,2"', "impossible level"),
        ("binance", "book", b'["86000.10","0.702"]', b'["86000.10"]', "Expected `array`"),
        ("binance", "ticker", b'"o":"86016.50"', b'"o":"x"', "open_24h is not a number: 'x'"),
        ("binance", "mark price", b'"T":1791302400000', b'"T":17913024', "next funding at"),
        ("bybit", "forming", b'"start":1672324800000', b'"start":1672324800500', "off the grid"),
        ("bybit", "forming", b'"ts":1672324988882', b'"ts":"soon"', "its time or type"),
        ("bybit", "forming", b'"confirm":false', b'"confirm":"false"', "Expected `bool`"),
        ("bybit", "forming", b'"confirm":false', b'"confirm":true', "closed too early"),
        ("bybit", "forming", b'"data":[', b'"data":5,"was":[', "Expected `array`"),
        ("bybit", "trades", b'"S":"Buy"', b'"S":"Both"', "impossible trade"),
        ("bybit", "trades", b'"s":"BTCUSDT","S":"Buy"', b'"s":"X","S":"Buy"', "impossible trade"),
        ("bybit", "book", b'"type":"snapshot"', b'"type":"other"', "'other' of 'BTCUSDT'"),
        ("bybit", "book", b'"s":"BTCUSDT"', b'"s":"ETHUSDT"', "'snapshot' of 'ETHUSDT'"),
        ("bybit", "ticker", b'"63560.80"', b'"6.3.5"', "mark_price is not a number"),
        ("bybit", "ticker", b'"1786665600000"', b'"17"', "next funding at '17'"),
        ("okx", "swap forming", b'"0"]', b'"2"]', "confirm is '2'"),
        ("okx", "swap forming", b',"0"]', b"]", "Expected `array` of at least length 9"),
        ("okx", "swap forming", b'"1774964340000"', b'"1774964340001"', "off the grid"),
        ("okx", "swap forming", b'"1774964340000"', b'"now"', "Expected `int`"),
        ("okx", "trade", b'"side":"buy"', b'"side":"?"', "impossible trade"),
        ("okx", "trade", b'"instId":"BTC-USDT-SWAP","t', b'"instId":"E","t', "trades of 'E'"),
        ("okx", "book", b'"action":"snapshot",', b"", "neither snapshot nor update: blank"),
        ("okx", "book", b'"8476.98"', b'"NaN"', "impossible level: 'NaN', '415'"),
        ("okx", "funding", b'"fundingTime":"1790380800000"', b'"f":""', "`fundingTime`"),
    ],
)
def test_an_entry_that_cannot_be_is_left_out(
    exchange: str, name: str, old: bytes, new: bytes, reason: str
) -> None:
    message = samples_of(exchange)[name]
    assert old in message
    events = STREAM_VENUES[exchange].read(message.replace(old, new))
    dropped = [event for event in events if isinstance(event, LeftOut)]
    assert len(dropped) == 1
    assert dropped[0].cause is Dropped.UNREADABLE
    assert reason in dropped[0].text


@pytest.mark.parametrize(
    ("exchange", "name", "old", "new"),
    [
        ("binance", "mark prices of all", b'"p":"2713.4"', b'"p":[]'),
        ("bybit", "closed and next", b'"start":1672325100000', b'"start":null'),
        ("okx", "swap closed", b'"1774964400000"', b"{}"),
    ],
)
def test_one_unreadable_entry_leaves_the_others(
    exchange: str, name: str, old: bytes, new: bytes
) -> None:
    message = samples_of(exchange)[name]
    assert old in message
    before = EXPECTED[exchange][name]
    *events, last = STREAM_VENUES[exchange].read(message.replace(old, new))
    assert events == before[:-1]
    assert isinstance(last, LeftOut)
    assert last.cause is Dropped.UNREADABLE


@pytest.mark.parametrize("exchange", EXPECTED)
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[",
        b"null",
        b"5",
        b'"pong"',
        b"{}",
        b"<html>busy</html>",
        b"\xff\xfe",
        b'{"a":' * 100_000,
        b'{"topic":5}',
        b'{"stream":{}}',
        b'{"arg":[]}',
        b'{"arg":{"channel":"trades","instId":"BTC-USDT"}}',
    ],
)
def test_what_is_not_in_the_format_is_refused(exchange: str, payload: bytes) -> None:
    with pytest.raises(UnreadableMessage, match=f"^{exchange}: ") as caught:
        STREAM_VENUES[exchange].read(payload)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("exchange", EXPECTED)
def test_a_message_of_countless_entries_is_refused(exchange: str) -> None:
    message = samples_of(exchange)[
        {"binance": "no tickers", "bybit": "trades", "okx": "trade"}[exchange]
    ]
    before, _, after = message.partition(b"[")
    entries = b"[" + b",".join([b"0"] * 5_001) + after[after.rindex(b"]") :]
    with pytest.raises(UnreadableMessage, match="5001 entries in one message"):
        STREAM_VENUES[exchange].read(before + entries)


@pytest.mark.parametrize(
    ("exchange", "name", "old", "new"),
    [
        ("bybit", "forming", b'{"topic":', b'{"topic":"publicTrade.X","topic":'),
        ("bybit", "trades", b'{"topic":', b'{"topic":"kline.5.X","topic":'),
        ("okx", "trade", b'{"channel":', b'{"channel":"candle1m","channel":'),
        ("okx", "swap closed", b'{"channel":', b'{"channel":"tickers","channel":'),
        ("binance", "closed", b'"e":"kline"', b'"e":"aggTrade","e":"kline"'),
    ],
)
def test_of_a_key_that_comes_twice_the_last_counts_or_none(
    exchange: str, name: str, old: bytes, new: bytes
) -> None:
    message = samples_of(exchange)[name]
    assert old in message
    events = STREAM_VENUES[exchange].read(message.replace(old, new, 1))
    assert events == EXPECTED[exchange][name] or [type(event) for event in events] == [LeftOut]
