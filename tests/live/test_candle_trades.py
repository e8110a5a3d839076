"""What streams tell of trades: through the book and the log to a reader, and past earlier ones."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from live.binance.messages import read_message
from live.bybit.messages import read_message as read_bybit
from live.candle_book import CandleBook
from live.candle_changes import Way
from live.candle_log import CandleLogReader, CandleLogWriter
from live.candle_trades import CandleTrades, trades_of
from live.events import CandleEvent
from live.live_candles import LiveCandles, catch_up
from market.candles import Candle
from stores.hot.leases import Lease, try_acquire
from stores.hot.store import HotStore
from tests.live.candle_events import STEP_MS, moment

BTC = "BTCUSDT"
# As it was recorded, and what its fields say.
KLINE: dict[str, Any] = {
    **{"t": 1791240000000, "T": 1791240059999, "s": BTC, "i": "1m", "f": 8148430588},
    **{"L": 8148431450, "o": "85885.40", "c": "85893.90", "h": "85900.00", "l": "85885.40"},
    **{"v": "30.033", "n": 856, "x": True, "q": "2579673.59220", "V": "8.679"},
    **{"Q": "745444.22690", "B": "0"},
}
TOLD = CandleTrades(BTC, 1791240000000, "856", "8.679", "745444.22690")


def read(**others: Any) -> Any:
    kline = {name: value for name, value in (KLINE | others).items() if value is not ...}
    data = {"e": "kline", "E": 1791240060493, "s": BTC, "k": kline}
    (event,) = read_message(json.dumps({"stream": "btcusdt@kline_1m", "data": data}).encode())
    return event


def test_a_candle_tells_its_trades() -> None:
    assert trades_of(read()) == TOLD


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("V", "Q") for value in (..., None, "", "many", -1, 8.5)),
        *(("n", value) for value in (..., None, -1)),
    ],
)
def test_trades_that_cannot_be_read_are_not_told_and_the_candle_is(name: str, value: Any) -> None:
    event = read(**{name: value})
    assert isinstance(event, CandleEvent) and event.volume == "30.033"
    assert trades_of(event) is None


def test_bybit_tells_none() -> None:
    candle = {
        **{"start": 1791240000000, "end": 1791240299999, "interval": "5", "open": "1"},
        **{"close": "1", "high": "1", "low": "1", "volume": "2", "turnover": "2"},
        **{"confirm": True, "timestamp": 1791240300000},
    }
    message = {
        "topic": "kline.5.BTCUSDT",
        "type": "snapshot",
        "ts": 1791240300100,
        "data": [candle],
    }
    (event,) = read_bybit(json.dumps(message).encode())
    assert isinstance(event, CandleEvent) and trades_of(event) is None


def of(candle: int, second: float, count: int, *, closed: bool = False) -> CandleEvent:
    """An event of BTC; its taker volumes go with the count."""
    return CandleEvent(
        *(BTC, "5m", moment(candle, 0), moment(candle, second), closed),
        *("100.1", "101.2", "99.9", "100.4", f"{second}", f"{second}00.5"),
        trades=count,
        taker_buy_volume=f"{count}.50",
        taker_buy_turnover=f"{count}00.25",
    )


def expected(candle: int, second: float, count: int | None) -> Candle:
    made = Candle(moment(candle, 0), 100.1, 101.2, 99.9, 100.4, f"{second}", f"{second}00.5")
    if count is None:
        return made
    return Candle(*made[:7], str(count), f"{count}.50", f"{count}00.25")


@pytest.fixture
async def lease(store: HotStore) -> AsyncIterator[Lease]:
    taken = await try_acquire(store, "live:binance", holder="test", ttl_s=30)
    assert taken is not None
    yield taken
    await taken.release()


@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize("reads", [True, False])
async def test_they_come_with_the_candles_to_those_who_want_them(
    store: HotStore, lease: Lease, writes: bool, reads: bool
) -> None:
    writer = CandleLogWriter(store, lease, "binance")
    tell = writer.add_trades if writes else None
    book = CandleBook(writer.add, now_ms=moment(0, 1), pause_ms=STEP_MS, tell_trades=tell)
    book.list_markets([BTC], moment(0, 1))
    book.begin_epoch(1, moment(0, 2))
    for event in (of(0, 10, 3), of(0, 301, 7, closed=True), of(1, 11, 2)):
        book.take(1, event, event.event_time_ms)
    for event in (of(1, 302, 9, closed=True), of(2, 12, 4)):
        book.take(1, event, event.event_time_ms)
    candles = LiveCandles()
    reader = CandleLogReader(store, "binance", trade_columns=reads)
    await writer.send(book.forming(), book.forming_trades() if writes else None)
    await catch_up(candles, reader)
    is_told = writes and reads
    (closed,) = candles.closed_since(BTC, moment(0, 0))  # the first was not whole
    assert candles.with_trades(BTC, closed) == expected(1, 302, 9 if is_told else None)
    forming = candles.forming(BTC, moment(2, 0))
    assert forming is not None
    assert candles.with_trades(BTC, forming) == expected(2, 12, 4 if is_told else None)
    # What lies there for earlier releases is what lay there before: they take the fields by place.
    (batch,) = await store.execute("XRANGE", "live:binance:log", "-", "+")
    assert [bytes(each) for each in batch[1][::2]][:2] == [b"writer", b"changes"]
    told = json.loads(batch[1][3])
    assert {len(each) for each in told if each[0] == "candle"} == {14}
    assert {len(each) for each in json.loads(await text(store))[2]} == {9}
    assert len(batch[1]) == (6 if writes else 4)
    assert await store.execute("EXISTS", "live:binance:forming:trades") == int(writes)


async def text(store: HotStore) -> bytes:
    found = await store.execute("GET", "live:binance:forming")
    assert isinstance(found, bytes)
    return found


async def test_a_candle_of_rest_has_none(store: HotStore, lease: Lease) -> None:
    writer, candles = CandleLogWriter(store, lease, "binance"), LiveCandles()
    book = CandleBook(writer.add, now_ms=moment(0, 1), tell_trades=writer.add_trades)
    book.list_markets([BTC], moment(0, 1))
    book.begin_epoch(1, moment(0, 2))
    for event in (of(0, 10, 3), of(0, 301, 7, closed=True)):
        book.take(1, event, event.event_time_ms)
    book.read_by_rest(BTC, [expected(0, 400, None)], moment(2, 0))
    await writer.send()
    await catch_up(candles, CandleLogReader(store, "binance", trade_columns=True))
    closed = candles.state.closed(BTC, moment(0, 0))
    assert closed is not None and closed.way is Way.REST
    assert candles.with_trades(BTC, closed) == expected(0, 400, None)


async def test_trades_of_a_later_release_are_passed_over(store: HotStore, lease: Lease) -> None:
    writer, candles = CandleLogWriter(store, lease, "binance"), LiveCandles()
    await writer.send()
    log = "live:binance:log"
    odd = (b"writer", writer.name, b"changes", b"[]", b"trades", b'[{"another":"form"}]')
    await store.execute("XADD", log, "2-0", *odd)
    await store.execute("SET", "live:binance:forming:trades", b"?")
    await catch_up(candles, CandleLogReader(store, "binance", trade_columns=True))
    assert (candles.number, candles.restarts.total()) == (2, 0)
