"""The log of live candles over both clients of a real store: order, take-overs, losses and caps."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from live.candle_book import CandleBook
from live.candle_changes import ClosedCandle, Delisted, FormingCandle, Lapse, Reason
from live.candle_log import CandleLogReader, CandleLogWriter
from live.live_candles import LiveCandles, Restart, Standing, catch_up
from market.candles import Candle
from stores.hot.leases import Lease, LeaseLost, try_acquire
from stores.hot.store import HotStore, StoreUnavailable
from tests.fixtures.upstash import OpenStore, UpstashEndpoint
from tests.live.candle_events import STEP_MS, event, moment

BTC, ETH = "BTCUSDT", "ETHUSDT"
Take = Callable[[], Awaitable[Lease]]
# The endpoint that loses requests and answers speaks REST.
over_rest = pytest.mark.parametrize("store_environment", ["upstash"], indirect=True)


def closed(candle: int, symbol: str = BTC, **more: Any) -> ClosedCandle:
    wanted: dict[str, Any] = {"volume": "9.50", "epoch": 1, "unproven": None} | more
    return ClosedCandle(
        symbol=symbol,
        open_time_ms=moment(candle, 0),
        open="100.10",
        high="101.20",
        low="99.90",
        close="100.40",
        turnover="954.380000000000000001",
        event_time_ms=moment(candle + 1, 0.5),
        known_ms=moment(candle + 1, 0.6),
        **wanted,
    )


def forming(candle: int, symbol: str = BTC, volume: str = "1.50") -> FormingCandle:
    prices = "100.10", "101.20", "99.90", "100.40"
    return FormingCandle(symbol, moment(candle, 0), *prices, volume, "150.6", moment(candle, 20))


@pytest.fixture
async def take(store: HotStore) -> AsyncIterator[Take]:
    """Takes the exchange's lease; the one before is released, as by a process that ends."""
    held: list[Lease] = []

    async def take() -> Lease:
        for lease in held:
            await lease.release()
        taken = await try_acquire(store, "live:binance", holder="test", ttl_s=30)
        assert taken is not None
        held.append(taken)
        return taken

    yield take
    for lease in held:
        await lease.release()


@pytest.fixture
async def writer(store: HotStore, take: Take) -> CandleLogWriter:
    writer = CandleLogWriter(store, await take(), "binance")
    await writer.send()
    return writer


@pytest.fixture
def reader(open_store: OpenStore) -> CandleLogReader:
    return CandleLogReader(open_store(), "binance")


async def sent(writer: CandleLogWriter, *changes: ClosedCandle | Lapse | Delisted) -> None:
    for change in changes:
        writer.add(change)
    await writer.send()


async def test_a_reader_has_the_writers_state(
    store: HotStore, take: Take, reader: CandleLogReader
) -> None:
    writer, candles = CandleLogWriter(store, await take(), "binance"), LiveCandles()
    book = CandleBook(writer.add, now_ms=moment(0, 1), pause_ms=STEP_MS)
    book.list_markets([BTC, ETH], moment(0, 1))
    book.begin_epoch(1, moment(0, 2))
    for candle in range(4):
        for symbol in (BTC, ETH):
            for second in (5, 150, 290):
                state = event(candle, second, f"{second}.0", symbol=symbol)
                book.take(1, state, state.event_time_ms)
            await writer.send()
            book.tick(moment(candle + 1, 0))
            closing = event(candle, 301, "500.00", closed=True, symbol=symbol)
            if (candle, symbol) != (2, ETH):
                book.take(1, closing, closing.event_time_ms)
        await writer.send()
        await catch_up(candles, reader)
        assert candles.state.markets == book.state.markets
    book.end_epoch(1, moment(4, 3))
    book.list_markets([BTC], moment(4, 4))
    await writer.send(book.forming())
    await catch_up(candles, reader)
    assert candles.state.markets == book.state.markets
    assert book.unproven()[BTC].reason is Reason.EPOCH_ENDED
    late = LiveCandles()  # reads the whole log at once
    await catch_up(late, reader)
    assert late.state.markets == book.state.markets


async def test_numbers_keep_their_texts(writer: CandleLogWriter, reader: CandleLogReader) -> None:
    volume = "12345678901234567890.123456789012345678"
    await sent(writer, closed(0, volume=volume), closed(0, "币安人生USDT"))
    await writer.send([forming(1, volume="0.10")])
    candles = LiveCandles()
    await catch_up(candles, reader)
    (found,) = candles.closed_since(BTC, moment(0, 0))
    assert found == closed(0, volume=volume)
    expected = Candle(moment(0, 0), 100.1, 101.2, 99.9, 100.4, volume, found.turnover)
    assert found.candle() == expected
    assert candles.standing("币安人生USDT", moment(0, 0)).proven is not None
    assert candles.forming(BTC, moment(1, 0)) == forming(1, volume="0.10")
    assert candles.forming(BTC, moment(0, 0)) is None


async def test_what_is_sent_comes_once_and_in_order(
    writer: CandleLogWriter, reader: CandleLogReader
) -> None:
    lapse = Lapse([BTC], Reason.EPOCH_ENDED, moment(1, 3))
    await sent(writer, closed(0), lapse, closed(1, unproven=Reason.NOT_WHOLE))
    await sent(writer, closed(2), Lapse([BTC], Reason.PAUSED, moment(3, 1)))
    page = await reader.read("", 0)
    assert [batch.number for batch in page.batches] == [1, 2, 3]
    assert [batch.changes for batch in page.batches] == [
        [],
        [closed(0), lapse, closed(1, unproven=Reason.NOT_WHOLE)],
        [closed(2), Lapse([BTC], Reason.PAUSED, moment(3, 1))],
    ]
    assert (await reader.read(writer.name, 2)).batches == page.batches[2:]
    assert (await reader.read(writer.name, 3)).batches == []


async def test_nothing_to_send_is_no_command(
    store: HotStore, writer: CandleLogWriter, reader: CandleLogReader
) -> None:
    await store.execute("UNLINK", "live:binance:log")
    await writer.send()  # would find that the log is lost
    assert (await reader.read("", 0)).batches == []


async def test_a_forming_candle_is_not_shown_once_it_is_closed(
    writer: CandleLogWriter, reader: CandleLogReader
) -> None:
    candles = LiveCandles()
    await writer.send([forming(0), forming(0, ETH)])
    await sent(writer, closed(0))
    await catch_up(candles, reader)
    assert candles.forming(BTC, moment(0, 0)) is None
    assert candles.forming(ETH, moment(0, 0)) == forming(0, ETH)
    await writer.send([])
    await catch_up(candles, reader)
    assert candles.forming(ETH, moment(0, 0)) is None


async def test_a_reader_that_falls_behind_the_cap_begins_with_nothing(
    store: HotStore, take: Take, reader: CandleLogReader
) -> None:
    writer = CandleLogWriter(store, await take(), "binance", kept_batches=3)
    candles = LiveCandles()
    await sent(writer, closed(0))
    await catch_up(candles, reader)
    assert candles.standing(BTC, moment(0, 0)).proven == closed(0)
    for candle in range(1, 4):
        await sent(writer, closed(candle))
    await catch_up(candles, reader)  # nothing was removed yet
    assert candles.restarts.total() == 0
    await sent(writer, closed(0, unproven=Reason.CONTRADICTED))
    for candle in range(4, 7):
        await sent(writer, closed(candle, ETH))
    await catch_up(candles, reader)
    assert candles.restarts == {Restart.FELL_BEHIND: 1}
    assert candles.standing(BTC, moment(0, 0)) == (None, Reason.NOT_TOLD, None)
    assert candles.closed_since(ETH, 0) == [closed(candle, ETH) for candle in range(4, 7)]
    assert candles.taken_back() == {(BTC, moment(candle, 0)) for candle in range(4)}
    assert candles.taken_back() == set()


async def test_a_reader_that_comes_late_knows_what_is_left(
    store: HotStore, take: Take, reader: CandleLogReader
) -> None:
    writer = CandleLogWriter(store, await take(), "binance", kept_batches=3)
    for candle in range(6):
        await sent(writer, closed(candle))
    candles = LiveCandles()
    await catch_up(candles, reader)
    assert candles.closed_since(BTC, 0) == [closed(candle) for candle in range(3, 6)]
    assert candles.restarts.total() == 0


async def test_another_writer_begins_anew(
    store: HotStore, take: Take, writer: CandleLogWriter, reader: CandleLogReader
) -> None:
    candles = LiveCandles()
    await sent(writer, closed(0), closed(1))
    await writer.send([forming(2)])
    await catch_up(candles, reader)
    assert candles.forming(BTC, moment(2, 0)) is not None
    lease = await take()  # the other one has it, and has not written yet
    await catch_up(candles, reader)
    assert candles.standing(BTC, moment(1, 0)) == (None, Reason.NOT_TOLD, None)
    assert candles.forming(BTC, moment(2, 0)) is None
    assert candles.restarts == {Restart.OTHER_WRITER: 1}
    other = CandleLogWriter(store, lease, "binance")
    await other.send()
    await catch_up(candles, reader)
    await sent(other, closed(2))
    await catch_up(candles, reader)
    assert candles.closed_since(BTC, 0) == [closed(2)]
    assert candles.taken_back() == {(BTC, moment(0, 0)), (BTC, moment(1, 0))}
    with pytest.raises(LeaseLost):
        await sent(writer, closed(3))


async def test_the_store_refuses_a_batch_without_the_lease(
    store: HotStore, take: Take, writer: CandleLogWriter, reader: CandleLogReader
) -> None:
    """By its own clock the writer still has it."""
    await sent(writer, closed(0))
    before = await reader.read("", 0)
    await store.execute("SET", "lock:live:binance", "99 abc somebody else", "PX", 30_000)
    writer.add(closed(1))
    with pytest.raises(LeaseLost):
        await writer.send([forming(2)])
    after = await reader.read("", 0)
    assert (after.batches, after.forming) == (before.batches, None)
    assert after.holder == "99 abc"
    candles = LiveCandles()
    await catch_up(candles, reader)
    assert candles.standing(BTC, moment(0, 0)) == (None, Reason.NOT_TOLD, None)


async def test_what_a_writer_proved_stays_proven_after_its_end(
    store: HotStore, writer: CandleLogWriter, reader: CandleLogReader
) -> None:
    await sent(writer, closed(0))
    await store.execute("UNLINK", "lock:live:binance")
    candles = LiveCandles()
    await catch_up(candles, reader)
    assert candles.standing(BTC, moment(0, 0)).proven == closed(0)


@pytest.mark.parametrize("foreign", [("SET", "text"), ("RPUSH", "element"), ("DEL",)])
async def test_a_log_that_is_lost_begins_anew(
    store: HotStore, writer: CandleLogWriter, reader: CandleLogReader, foreign: tuple[str, ...]
) -> None:
    candles = LiveCandles()
    await sent(writer, closed(0))
    await catch_up(candles, reader)
    await store.execute("DEL", "live:binance:log")
    if foreign != ("DEL",):
        await store.execute(foreign[0], "live:binance:log", foreign[1])
        await catch_up(candles, reader)
    await sent(writer, closed(1))
    assert writer.restarts == 1
    await sent(writer, closed(2))
    await catch_up(candles, reader)
    assert candles.restarts == {Restart.OTHER_WRITER: 1}
    assert candles.closed_since(BTC, 0) == [closed(1), closed(2)]


async def test_a_connection_that_contradicts_rest_is_not_believed_in_a_log_begun_anew(
    store: HotStore, take: Take, writer: CandleLogWriter, reader: CandleLogReader
) -> None:
    candles = LiveCandles()
    await sent(writer, closed(0))
    await catch_up(candles, reader)
    assert candles.distrust(BTC, moment(0, 0)) == 1
    await store.execute("DEL", "live:binance:log")
    await sent(writer, closed(1), closed(1, ETH, epoch=2))
    await catch_up(candles, reader)
    assert candles.closed_since(BTC, 0) == []
    assert candles.closed_since(ETH, 0) == [closed(1, ETH, epoch=2)]
    await sent(CandleLogWriter(store, await take(), "binance"), closed(2))
    await catch_up(candles, reader)
    assert candles.closed_since(BTC, 0) == [closed(2)]  # of another first connection


async def test_a_batch_that_cannot_be_read_proves_nothing(
    store: HotStore, writer: CandleLogWriter, reader: CandleLogReader
) -> None:
    candles = LiveCandles()
    await sent(writer, closed(0))
    await catch_up(candles, reader)
    name = ("writer", writer.name, "changes")
    await store.execute("XADD", "live:binance:log", "3-0", *name, '[["candle","BTCUSDT"]]')
    await store.execute("XADD", "live:binance:log", "4-0", *name, "[]")
    await catch_up(candles, reader)
    assert candles.restarts == {Restart.UNREADABLE: 1}
    assert candles.number == 4
    assert candles.standing(BTC, moment(0, 0)) == (None, Reason.NOT_TOLD, None)
    await store.execute("XADD", "live:binance:log", "5-0", "only", "one")
    await catch_up(candles, reader)  # of nobody that we know
    assert candles.closed_since(BTC, 0) == []


@over_rest
async def test_a_batch_whose_answer_was_lost_is_there_once(
    upstash: UpstashEndpoint, writer: CandleLogWriter, reader: CandleLogReader
) -> None:
    upstash.fail("lost reply", times=1, match="live:binance")
    writer.add(closed(0))
    with pytest.raises(StoreUnavailable):
        await writer.send()
    writer.add(closed(1))
    await writer.send()
    page = await reader.read(writer.name, 1)
    assert [batch.changes for batch in page.batches] == [[closed(0)], [closed(1)]]


@over_rest
async def test_a_batch_that_did_not_arrive_is_sent_again(
    upstash: UpstashEndpoint, writer: CandleLogWriter, reader: CandleLogReader
) -> None:
    upstash.fail("reset", times=1, match="live:binance")
    writer.add(closed(0))
    with pytest.raises(StoreUnavailable):
        await writer.send([forming(1)])
    await writer.send()
    page = await reader.read(writer.name, 1)
    assert [batch.changes for batch in page.batches] == [[closed(0)]]


async def test_changes_that_wait_for_the_store_are_bounded(
    writer: CandleLogWriter, reader: CandleLogReader
) -> None:
    candles = LiveCandles()
    await sent(writer, closed(0))
    await catch_up(candles, reader)
    for candle in range(10_001):
        writer.add(closed(candle % 8, ETH))
    assert writer.restarts == 1
    await writer.send()
    await catch_up(candles, reader)
    assert candles.restarts == {Restart.OTHER_WRITER: 1}
    assert candles.standing(BTC, moment(0, 0)) == (None, Reason.NOT_TOLD, None)
    assert candles.closed_since(ETH, 0) == [closed(0, ETH)]


async def test_what_is_added_while_a_batch_is_under_way_follows_it(
    writer: CandleLogWriter, reader: CandleLogReader
) -> None:
    writer.add(closed(0))
    sending = asyncio.create_task(writer.send())
    await asyncio.sleep(0)  # the command is under way
    writer.add(closed(1))
    await sending
    await writer.send()
    page = await reader.read(writer.name, 1)
    assert [batch.changes for batch in page.batches] == [[closed(0)], [closed(1)]]


async def test_a_log_that_begins_anew_under_way_holds_nothing_from_before(
    writer: CandleLogWriter, reader: CandleLogReader
) -> None:
    writer.add(closed(0))
    sending = asyncio.create_task(writer.send([forming(1)]))
    await asyncio.sleep(0)
    for candle in range(10_001):
        writer.add(closed(candle % 8, ETH))
    await sending
    await writer.send()
    page = await reader.read("", 0)
    assert [(batch.number, batch.changes) for batch in page.batches] == [(1, [closed(0, ETH)])]
    assert page.forming is None


async def test_nothing_is_left_of_a_service_that_is_gone(
    store: HotStore, writer: CandleLogWriter
) -> None:
    await sent(writer, closed(0))
    await writer.send([forming(1)])
    for key, longest_ms in (("log", 3_600_000), ("forming", 20_000)):
        left_ms = await store.execute("PTTL", f"live:binance:{key}")
        assert longest_ms - 30_000 < left_ms <= longest_ms


async def test_many_batches_are_read_in_pages(
    writer: CandleLogWriter, reader: CandleLogReader
) -> None:
    for candle in range(205):
        await sent(writer, closed(candle % 8, ETH))
    page = await reader.read("", 0)
    assert (len(page.batches), page.has_more) == (100, True)
    candles = LiveCandles()
    await catch_up(candles, reader)
    assert candles.number == 206
    assert candles.restarts.total() == 0


async def test_large_batches_are_read_one_by_one(
    writer: CandleLogWriter, reader: CandleLogReader
) -> None:
    for start in (0, 100_000):
        await sent(writer, *(closed(1, f"M{start + number}") for number in range(7_000)))
    page = await reader.read(writer.name, 1)
    assert (len(page.batches), page.has_more) == (1, True)
    candles = LiveCandles()
    await catch_up(candles, reader)
    assert len(candles.state.markets) == 14_000


def test_standings() -> None:
    """What is known of one candle, by what has been told."""
    candles = LiveCandles()
    for change in (
        Lapse(["NEW"], Reason.STARTING, moment(0, 10)),
        closed(0),
        closed(1),
        Lapse([BTC], Reason.EPOCH_ENDED, moment(2, 10)),
        closed(2, unproven=Reason.NOT_WHOLE),
        closed(0, ETH),
        Lapse([ETH], Reason.SILENT, moment(2, 0)),
    ):
        candles.state.apply(change)
    standings = {
        (symbol, candle): candles.standing(symbol, moment(candle, 0))
        for symbol in (BTC, ETH, "NEW", "XRPUSDT")
        for candle in range(4)
    }
    awaited = Standing(None)
    not_told = Standing(None, Reason.NOT_TOLD)
    starting = Standing(None, Reason.STARTING, moment(0, 10))
    silent = Standing(None, Reason.SILENT, moment(2, 0))
    assert standings == {
        (BTC, 0): Standing(closed(0)),
        (BTC, 1): Standing(closed(1)),
        (BTC, 2): Standing(None, Reason.NOT_WHOLE, moment(3, 0.6)),
        (BTC, 3): awaited,
        (ETH, 0): Standing(closed(0, ETH)),
        (ETH, 1): silent,
        (ETH, 2): awaited,
        (ETH, 3): awaited,
        ("NEW", 0): starting,
        ("NEW", 1): awaited,
        ("NEW", 2): awaited,
        ("NEW", 3): awaited,
        ("XRPUSDT", 0): not_told,
        ("XRPUSDT", 1): not_told,
        ("XRPUSDT", 2): not_told,
        ("XRPUSDT", 3): not_told,
    }
    everything = [BTC, ETH, "NEW", "XRPUSDT"]
    assert candles.awaited(everything, moment(2, 0)) == [ETH, "NEW"]
    assert candles.expected(everything, moment(2, 0)) == [ETH]  # the new one was not proven by 1
    assert candles.expected(everything, moment(1, 0)) == ["NEW"]


def test_a_connection_that_differs_from_rest_proves_nothing_any_more() -> None:
    candles = LiveCandles()
    for change in (closed(0), closed(0, ETH, epoch=2), closed(1, ETH)):
        candles.state.apply(change)
    assert candles.distrust(BTC, moment(5, 0)) is None
    assert candles.distrust(BTC, moment(0, 0)) == 1
    assert candles.taken_back() == {(BTC, moment(0, 0)), (ETH, moment(1, 0))}
    assert candles.standing(BTC, moment(0, 0)).reason is Reason.CONTRADICTED
    assert candles.closed_since(ETH, 0) == [closed(0, ETH, epoch=2)]
    candles.state.apply(closed(2))
    assert candles.standing(BTC, moment(2, 0)).proven is None


def test_the_step_is_that_of_the_base() -> None:
    assert LiveCandles().state.interval_ms == STEP_MS
