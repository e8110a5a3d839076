"""What the feed makes of the events of two connections, and of too many."""

from decimal import Decimal
from typing import Any

import pytest

from live.events import BookEvent, CandleEvent, LeftOut, TickerEvent, TradeEvent
from live.events import Dropped as Cause
from live.stream_feed import StreamFeed, TickerView
from live.stream_venue import Channel, Topic
from tests.live.hand_clock import HandClock

BTC = {
    channel: Topic(channel, "BTC", "5m" if channel is Channel.CANDLE else "") for channel in Channel
}


def feed(*epochs: int, **options: Any) -> StreamFeed:
    made = StreamFeed(HandClock(), 5, **options)
    for epoch in epochs:
        made.on_epoch_began(epoch, list(BTC.values()))
    return made


def trade(number: int, size: str = "2") -> TradeEvent:
    return TradeEvent("BTC", 1000 + number, str(number), "10.10", size, "buy")


def candle(
    open_ms: int, at_ms: int, *, closed: bool = False, volume: str = "1", close: str = "1"
) -> CandleEvent:
    return CandleEvent("BTC", "5m", open_ms, at_ms, closed, "1", "2", "1", close, volume, "9")


def ticker(at_ms: int, change: bool = False, **values: str) -> TickerEvent:
    return TickerEvent("BTC", at_ms, values, change)


def taken(of: StreamFeed) -> list[Any]:
    return of.take(1000)


async def test_each_trade_once_while_two_connections_deliver() -> None:
    one = feed(1)
    for number in range(3):
        one.on_event(1, trade(number))
    one.on_epoch_began(2, list(BTC.values()))
    for epoch, number in ((1, 3), (2, 3), (2, 4), (1, 4), (1, 5), (2, 6), (1, 6)):
        one.on_event(epoch, trade(number))
    one.on_epoch_ended(1, "age")
    one.on_event(2, trade(5))  # it was behind
    one.on_event(2, trade(7))
    assert [event.trade_id for event in taken(one)] == [str(number) for number in range(8)]
    assert one.counts["repeated"] == 4


async def test_the_trades_of_an_overlap_are_forgotten_a_minute_after_it() -> None:
    one = feed(1, 2)
    one.on_event(1, trade(1))
    one.on_epoch_ended(1, "age")
    clock = one._clock
    assert isinstance(clock, HandClock)
    await clock.advance(61)
    one.on_event(2, trade(2))
    assert one._trades is None
    one.on_event(2, trade(2))  # two executions of one order may share a number on some exchanges
    assert len(taken(one)) == 3


CLOSED, LATE = candle(0, 1, closed=True), candle(0, 3, closed=True)
CANDLES = [
    ("another state", [(1, candle(0, 1)), (1, candle(0, 2))], 2),
    ("the same state", [(1, candle(0, 1)), (1, candle(0, 1))], 1),
    ("the same state twice", [(1, candle(0, 1)), (2, candle(0, 1))], 1),
    ("an older state", [(1, candle(0, 2, volume="2")), (1, candle(0, 1))], 1),
    ("behind, without times", [(1, candle(0, 0, volume="2")), (2, candle(0, 0, volume="1"))], 1),
    ("ahead, without times", [(1, candle(0, 0, volume="1")), (2, candle(0, 0, volume="2"))], 2),
    ("closed once", [(1, CLOSED), (2, CLOSED)], 1),
    ("closed at another time", [(1, CLOSED), (1, candle(0, 9, closed=True))], 1),
    ("closed otherwise", [(1, CLOSED), (1, candle(0, 1, closed=True, close="2"))], 2),
    ("forming after its close", [(1, CLOSED), (2, candle(0, 2))], 1),
    ("a late close", [(1, candle(0, 1)), (1, candle(300_000, 2)), (1, LATE)], 3),
    ("an old close", [(1, candle(300_000, 2, closed=True)), (1, LATE)], 1),
    ("an old state", [(1, candle(300_000, 2)), (1, candle(0, 3))], 1),
    ("the next candle", [(1, CLOSED), (1, candle(300_000, 2))], 2),
]  # fmt: skip


@pytest.mark.parametrize(("what", "events", "count"), CANDLES, ids=[case[0] for case in CANDLES])
async def test_candles(what: str, events: list[tuple[int, CandleEvent]], count: int) -> None:
    one = feed(1, 2)
    for epoch, event in events:
        one.on_event(epoch, event)
    assert len(taken(one)) == count, what


async def test_changes_make_whole_tickers_on_each_connection() -> None:
    one = feed(1)
    one.on_event(1, ticker(1, change=True, last_price="9"))  # before anything whole
    one.on_event(1, ticker(2, last_price="1", bid_price="0.9"))
    one.on_event(1, ticker(3, change=True, last_price="2"))
    one.on_epoch_began(2, list(BTC.values()))
    one.on_event(2, ticker(4, change=True, last_price="9"))
    one.on_event(2, ticker(3, last_price="2", bid_price="0.9"))  # told already
    one.on_epoch_ended(1, "age")
    one.on_event(1, ticker(9, change=True, last_price="9"))
    one.on_event(2, ticker(5, change=True, bid_price="1.1"))
    assert taken(one) == [
        TickerView("BTC", 2, {"last_price": "1", "bid_price": "0.9"}),
        TickerView("BTC", 3, {"last_price": "2", "bid_price": "0.9"}),
        TickerView("BTC", 5, {"last_price": "2", "bid_price": "1.1"}),
    ]


async def test_a_ticker_that_is_subscribed_again_begins_anew() -> None:
    one = feed(1)
    one.on_event(1, ticker(5, last_price="1"))
    one.on_topics_changed(1, [], [BTC[Channel.TICKER]])
    one.on_topics_changed(1, [BTC[Channel.TICKER]], [])
    one.on_event(1, ticker(2, change=True, last_price="2"))
    one.on_event(1, ticker(3, last_price="3"))
    assert [view.time_ms for view in taken(one)] == [5, 3]


async def test_sizes_in_contracts_become_base_units() -> None:
    one = feed(1)
    one.counts_contracts = {"BTC"}
    one.on_event(1, trade(1, size="30"))
    assert one.counts["without_contract_size"] == 1
    one.contract_sizes = {"BTC": Decimal("0.01")}
    one.on_event(1, trade(2, size="30.5"))
    one.on_event(1, ticker(1, last_size="7", volume_24h="8"))
    size, view = taken(one)
    assert Decimal(size.size) == Decimal("0.305")
    assert view.values == {"last_size": "0.07", "volume_24h": "8"}


async def test_the_queue_is_bounded_and_keeps_the_newest() -> None:
    one = feed(1, most_queued=3)
    for number in range(10):
        one.on_event(1, trade(number))
    assert one.counts["dropped"] == 7
    assert one.take(2) == [trade(7), trade(8)]
    assert one.take(2) == [trade(9)]
    assert one.take(2) == []


async def test_what_is_no_data_is_not_handed_on() -> None:
    one = feed(1)
    one.on_event(1, LeftOut(Cause.UNREADABLE, "x", "BTC"))
    one.on_event(1, BookEvent("BTC", 1, True, [], [], 1))  # there are no books here
    assert taken(one) == []
