"""What passes learn of streams: closed and forming candles, and for which closings they wait."""

from collections.abc import AsyncIterator

import pytest

from data_collector.stream_reader import Streamed
from data_collector.stream_reads import StreamReads
from jobs.live_rows import LiveRows
from live.candle_changes import ClosedCandle, Delisted, FormingCandle, Lapse, Reason
from live.candle_log import CandleLogWriter
from market.base import extended
from market.candles import Candles
from market.markets import Exchange, Market
from stores.hot.leases import Lease, try_acquire
from stores.hot.store import HotStore
from tests.live.candle_events import moment
from tests.live.test_candle_log import closed, forming

BINANCE = Exchange.BINANCE
# The exchange's own name is another.
BTC = Market(BINANCE, "BTC", "BTC", "USDT", native="BTCUSDT")
ETH = Market(BINANCE, "ETH", "ETH", "USDT", native="ETHUSDT")
MARKETS = [BTC, ETH]


class Sleeping:
    """A clock on which time passes by sleeping alone."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_ms(self) -> int:
        raise NotImplementedError

    async def sleep(self, delay_s: float) -> None:
        self.now_s += delay_s


@pytest.fixture
async def lease(store: HotStore) -> AsyncIterator[Lease]:
    lease = await try_acquire(store, "live:binance", holder="test", ttl_s=30)
    assert lease is not None
    yield lease
    await lease.release()


@pytest.fixture
async def writer(store: HotStore, lease: Lease) -> CandleLogWriter:
    writer = CandleLogWriter(store, lease, "binance")
    await writer.send()
    return writer


@pytest.fixture
def clock() -> Sleeping:
    return Sleeping()


def _streamed(rows: LiveRows) -> list[Streamed]:
    found = [rows.streamed(each, moment(0, 0), moment(2, 0)) for each in MARKETS]
    return [each for each in found if each is not None]


@pytest.fixture
def rows(store: HotStore, clock: Sleeping) -> LiveRows:
    return LiveRows(store, [BINANCE, Exchange.BYBIT], clock)


async def tell(writer: CandleLogWriter, *changes: ClosedCandle | Lapse | Delisted) -> None:
    for change in changes:
        writer.add(change)
    await writer.send([forming(2)])


async def test_while_nobody_feeds_there_are_none(
    rows: LiveRows, lease: Lease, writer: CandleLogWriter, clock: Sleeping
) -> None:
    await tell(writer, closed(0), closed(1))
    await lease.release()
    await rows.catch_up(MARKETS, moment(2, 0), moment(2, 0.1))
    assert rows.streamed(BTC, moment(0, 0), moment(2, 0)) is None
    assert clock.now_s == 0


async def test_what_has_closed_and_what_forms(rows: LiveRows, writer: CandleLogWriter) -> None:
    await tell(
        writer, *(closed(candle, symbol) for candle in (0, 1) for symbol in ("BTCUSDT", "ETHUSDT"))
    )
    await rows.catch_up(MARKETS, moment(2, 0), moment(2, 0.1))
    found = rows.streamed(BTC, moment(1, 0), moment(2, 0))
    assert found is not None
    assert found.closed == Candles.of([closed(1).candle()])
    assert found.forming == forming(2).candle()
    assert not found.is_awaited
    found = rows.streamed(ETH, moment(0, 0), moment(1, 0))  # as a pass before the close sees it
    assert found is not None
    assert [candle.open_time_ms for candle in found.closed] == [moment(0, 0)]
    assert found.forming == closed(1).candle()


async def test_one_market_of_many_is_awaited_until_shortly_after_the_close(
    rows: LiveRows, writer: CandleLogWriter, clock: Sleeping
) -> None:
    await tell(writer, closed(0), closed(0, "ETHUSDT"), closed(1))
    await rows.catch_up(MARKETS, moment(2, 0), moment(2, 0.5))
    assert clock.now_s == pytest.approx(2.0, abs=0.01)
    found = rows.streamed(ETH, moment(1, 0), moment(2, 0))
    assert found is not None
    assert (len(found.closed), found.is_awaited) == (0, True)
    await rows.wait([ETH], moment(2, 0), moment(2, 2.5), _never)
    assert clock.now_s == pytest.approx(2.0 + 30 + 1 - 2.5, abs=0.01)
    # A pass that begins later does not wait, and asks.
    await rows.catch_up(MARKETS, moment(2, 0), moment(2, 30))
    found = rows.streamed(ETH, moment(1, 0), moment(2, 0))
    assert found is not None and not found.is_awaited


async def test_markets_come_in_turn_as_they_close(rows: LiveRows, writer: CandleLogWriter) -> None:
    await tell(writer, closed(0), closed(0, "ETHUSDT"), closed(1))
    arriving = rows.arriving(MARKETS, moment(2, 0), moment(2, 0.5))
    assert await anext(arriving) == [BTC]
    await tell(writer, closed(1, "ETHUSDT"))
    assert await anext(arriving) == [ETH]
    assert [each async for each in arriving] == []
    found = rows.streamed(ETH, moment(1, 0), moment(2, 0))
    assert found is not None and len(found.closed) == 1


async def test_most_markets_are_not_awaited(
    rows: LiveRows, writer: CandleLogWriter, clock: Sleeping
) -> None:
    """Then the streams are in trouble."""
    await tell(writer, closed(0), closed(0, "ETHUSDT"))
    await rows.catch_up(MARKETS, moment(2, 0), moment(2, 0))
    found = rows.streamed(BTC, moment(1, 0), moment(2, 0))
    assert found is not None and not found.is_awaited


async def test_a_market_that_was_not_proven_for_long_is_not_awaited(
    rows: LiveRows, writer: CandleLogWriter, clock: Sleeping
) -> None:
    await tell(writer, closed(0), closed(1), Lapse(["ETHUSDT"], Reason.STARTING, moment(-1, 0)))
    await rows.catch_up(MARKETS, moment(2, 0), moment(2, 0.5))
    assert clock.now_s == 0


async def test_a_feed_to_which_nothing_comes_is_never_waited_for(
    rows: LiveRows, writer: CandleLogWriter, clock: Sleeping
) -> None:
    """As behind a firewall that lets requests through and no streams."""
    writer.add(Lapse(["BTCUSDT", "ETHUSDT"], Reason.STARTING, moment(0, 120)))
    await writer.send([])
    for candle in (1, 2, 3):  # at the second close a candle might have come whole
        await rows.catch_up(MARKETS, moment(candle, 0), moment(candle, 0.1))
        found = rows.streamed(BTC, moment(0, 0), moment(candle, 0))
        assert found is not None
        assert (len(found.closed), found.is_awaited) == (0, False)
    assert clock.now_s == 0


async def test_waiting_gives_way_to_others(
    rows: LiveRows, writer: CandleLogWriter, clock: Sleeping
) -> None:
    await tell(writer, closed(0), closed(0, "ETHUSDT"), closed(1))
    answers = [False, False, True]

    async def others_wait() -> bool:
        return answers.pop(0)

    await rows.wait([ETH], moment(2, 0), moment(2, 2.5), others_wait)
    assert answers == []
    assert clock.now_s < 15


async def test_what_is_taken_back_is_told_once(rows: LiveRows, writer: CandleLogWriter) -> None:
    await tell(writer, closed(0), closed(1), closed(1, "ETHUSDT", epoch=2))
    await rows.catch_up(MARKETS, moment(2, 0), moment(2, 0.1))
    await tell(writer, closed(0).contradicted(moment(2, 1)))
    await rows.catch_up(MARKETS, moment(2, 0), moment(2, 2))
    assert rows.take_back(BTC) == {moment(0, 0)}
    assert rows.take_back(BTC) == rows.take_back(ETH) == frozenset()
    rows.differs(BTC, moment(1, 0))  # all of its connection, but of no other
    assert rows.take_back(BTC) == {moment(1, 0)}
    assert rows.take_back(ETH) == frozenset()
    found = rows.streamed(BTC, moment(0, 0), moment(2, 0))
    assert found is not None and not len(found.closed)


async def test_another_worker_learns_what_differed(
    store: HotStore, clock: Sleeping, rows: LiveRows, lease: Lease, writer: CandleLogWriter
) -> None:
    await tell(writer, closed(0), closed(1), closed(1, "ETHUSDT", epoch=2))
    await rows.catch_up(MARKETS, moment(2, 0), moment(2, 0.1))
    rows.differs(BTC, moment(1, 0))
    other = LiveRows(store, [BINANCE], clock)
    await other.read()
    assert [len(each.closed) for each in _streamed(other)] == [2, 1]  # it is not told yet
    await rows.tell_distrusted()
    await other.read()
    newcomer = LiveRows(store, [BINANCE], clock)
    await newcomer.read()
    for each in (other, newcomer):
        assert [len(found.closed) for found in _streamed(each)] == [0, 1]
    assert other.take_back(BTC) == {moment(0, 0), moment(1, 0)}
    # Of another feed the numbers mean other connections.
    await lease.release()
    again = await try_acquire(store, "live:binance", holder="another", ttl_s=15)
    assert again is not None
    await tell(CandleLogWriter(store, again, BINANCE), closed(0), closed(1))
    for each in (rows, other, newcomer):
        await each.read()
        assert [len(found.closed) for found in _streamed(each)] == [2, 0]
    await again.release()


async def test_candles_that_differ_are_counted_once(
    store: HotStore, clock: Sleeping, writer: CandleLogWriter
) -> None:
    counted: list[tuple[Exchange, int]] = []
    rows = LiveRows(
        *(store, [BINANCE, Exchange.BYBIT], clock),
        on_compared=lambda exchange, candles: counted.append((exchange, candles)),
        on_differing=lambda exchange: counted.append((exchange, -1)),
    )
    assert list(rows.exchanges) == [BINANCE, Exchange.BYBIT]
    await tell(writer, closed(0), closed(1))
    await rows.catch_up(MARKETS, moment(2, 0), moment(2, 0.1))
    rows.compared(BTC, 12)
    rows.differs(BTC, moment(1, 0))
    rows.differs(BTC, moment(1, 0))  # an audit, and the pass that reads the base anew
    rows.differs(ETH, moment(1, 0))
    assert counted == [(BINANCE, 12), (BINANCE, -1), (BINANCE, -1)]
    assert rows.comparisons == {BINANCE: 12}
    assert rows.differing == {BINANCE: 2}


async def test_the_forming_candle_of_a_market_that_was_unproven_for_long_is_asked_for(
    rows: LiveRows, writer: CandleLogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection has ended: what it has shown last stands still."""
    monkeypatch.setattr("data_collector.stream_reads._SAMPLED", 10**9)
    read_ms = moment(2, 0)
    asked = [closed(candle).candle() for candle in (0, 1)]
    base = extended(None, asked, asked_ms=moment(0, 0), as_of_ms=read_ms)
    now_ms = moment(2, 40)
    await tell(writer, closed(0), closed(1), Lapse(["BTCUSDT"], Reason.EPOCH_ENDED, now_ms))
    await rows.catch_up([BTC], moment(2, 0), now_ms)
    soon = StreamReads(rows, now_ms + 5_000).whole(BTC, base)
    assert soon is not None
    assert soon.rows.times.tolist() == [moment(candle, 0) for candle in (0, 1, 2)]
    assert StreamReads(rows, now_ms + 60_000).whole(BTC, base) is None
    # Nothing was told of the other: it may have been unproven for an hour.
    assert StreamReads(rows, now_ms + 5_000).whole(ETH, base) is None


@pytest.mark.parametrize(
    "shown", [[forming(2, volume="1.49")], [forming(2, "ETHUSDT")]], ids=["smaller", "nothing"]
)
async def test_a_forming_candle_does_not_go_backwards(
    rows: LiveRows,
    writer: CandleLogWriter,
    shown: list[FormingCandle],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What REST has shown of it is more than what the streams have brought: they are behind."""
    monkeypatch.setattr("data_collector.stream_reads._SAMPLED", 10**9)
    asked = [closed(0).candle(), closed(1).candle(), forming(2, volume="1.5").candle()]
    base = extended(None, asked, asked_ms=moment(0, 0), as_of_ms=moment(2, 61))
    now_ms = moment(2, 130)
    await tell(writer, closed(0), closed(1))  # with the forming one, of the same volume
    await rows.catch_up([BTC], moment(2, 0), now_ms)
    same = StreamReads(rows, now_ms).whole(BTC, base)
    assert same is not None
    await writer.send(shown)
    await rows.catch_up([BTC], moment(2, 0), now_ms)
    assert StreamReads(rows, now_ms).whole(BTC, base) is None


async def test_forming_candles_that_are_not_told_are_asked_for(
    store: HotStore, rows: LiveRows, writer: CandleLogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is full: whoever feeds keeps its lease and can write nothing."""
    monkeypatch.setattr("data_collector.stream_reads._SAMPLED", 10**9)
    asked = [closed(0).candle(), closed(1).candle()]
    base = extended(None, asked, asked_ms=moment(0, 0), as_of_ms=moment(2, 2.5))
    now_ms = moment(2, 130)
    await tell(writer, closed(0), closed(1))
    await rows.catch_up([BTC], moment(2, 0), now_ms)
    assert StreamReads(rows, now_ms).whole(BTC, base) is not None
    lives_ms = await store.execute("PTTL", "live:binance:forming")
    assert isinstance(lives_ms, int) and 5_000 < lives_ms <= 20_000
    await store.execute("DEL", "live:binance:forming")
    await rows.catch_up([BTC], moment(2, 0), now_ms)
    assert StreamReads(rows, now_ms).whole(BTC, base) is None


async def _never() -> bool:
    return False
