"""Candle books over connections to the simulated exchanges: what is proven is what REST has."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from live.candle_book import CandleBook, Count
from live.candle_changes import Change, ClosedCandle, Lapse, Reason
from live.candle_feed import CandleFeed
from live.exchanges import STREAM_VENUES
from live.pacing import SharedPace
from live.stream_address import ExchangeAddress
from live.stream_pool import StreamPool
from live.stream_venue import Channel, Topic
from tests.day.clock import DayClock
from tests.fixtures.simulator import Simulator, StartSimulator

CLOSE_MS = 1_795_185_600_000  # 2026-11-20 14:40 UTC: a 5m candle closes
STEP_MS = 300_000
MARKETS = 10
EXCHANGES = ("binance", "bybit", "okx")
FAULTS = {
    "stream_lose_closing": 2,
    "stream_duplicate": 30,
    "stream_reorder": 3,
    "stream_garbage": 1,
    "stream_cut": 1,
}


@dataclass
class Followed:
    """One exchange: its markets, the book, and what it told."""

    symbols: list[str]
    book: CandleBook
    changes: list[Change]
    pool: StreamPool

    def proven(self) -> Iterator[ClosedCandle]:
        for market in self.book.state.markets.values():
            yield from (candle for candle in market.closed.values() if candle.is_proven)

    def proven_at(self, close_ms: int) -> int:
        """How many candles that closed then are proven."""
        return sum(candle.open_time_ms + STEP_MS == close_ms for candle in self.proven())


async def followed(
    stack: AsyncExitStack, simulator: Simulator, exchange: str, clock: DayClock,
    life_s: float | None = None,
) -> Followed:  # fmt: skip
    venue, changes = STREAM_VENUES[exchange], list[Change]()
    venue = replace(venue, life_s=life_s or venue.life_s)
    truth = simulator.truth("5m", exchange=exchange)
    symbols = [key.partition(":")[2] for key in truth]
    grace_ms = round(venue.grace_s * 1000)
    book = CandleBook(changes.append, now_ms=clock.now_ms, grace_ms=grace_ms)
    book.list_markets(symbols, clock.now_ms)
    address = ExchangeAddress(simulator.base_url.replace("http://", "ws://"))
    pool = StreamPool(
        *(venue, CandleFeed(book, clock.wall_ms), address),
        connects=SharedPace(*venue.connects),
        clock=clock.beside,
    )
    await stack.enter_async_context(pool)
    pool.add(Topic(Channel.CANDLE, symbol, "5m") for symbol in symbols)
    return Followed(symbols, book, changes, pool)


async def tick(clock: DayClock, books: list[CandleBook]) -> None:
    while True:
        for book in books:
            book.tick(clock.now_ms)
        await clock.beside.sleep(0.25)


async def test_what_is_proven_is_what_rest_has(start_simulator: StartSimulator) -> None:
    counts = dict.fromkeys(EXCHANGES, MARKETS)
    simulator = start_simulator(**counts, now=CLOSE_MS - 60_000, frozen=True)
    clock = DayClock(simulator, CLOSE_MS - 60_000)
    async with AsyncExitStack() as stack:
        exchanges = {
            exchange: await followed(stack, simulator, exchange, clock) for exchange in EXCHANGES
        }
        ticking = asyncio.create_task(tick(clock, [each.book for each in exchanges.values()]))
        stack.callback(ticking.cancel)
        await clock.pass_to(CLOSE_MS + STEP_MS + 10_000)
        for exchange, one in exchanges.items():
            # Of those that were heard before the candle's open.
            assert one.proven_at(CLOSE_MS + STEP_MS) >= MARKETS * 0.6, exchange
            for kind, count in FAULTS.items():
                fault = {"kind": kind, "exchange": exchange, "count": count}
                simulator.post("/sim/faults", fault)
        await clock.pass_to(CLOSE_MS + 4 * STEP_MS + 10_000)
        for exchange, one in exchanges.items():
            assert one.proven_at(CLOSE_MS + 4 * STEP_MS) >= MARKETS * 0.6, exchange
            check(simulator, exchange, one)


def check(simulator: Simulator, exchange: str, one: Followed) -> None:
    truth = simulator.truth("5m", exchange=exchange)
    rows = {(key.partition(":")[2], row[0]): row for key, found in truth.items() for row in found}
    proven = list(one.proven())
    assert len(proven) > MARKETS
    for candle in proven:
        row = rows[candle.symbol, candle.open_time_ms]
        assert list(candle.candle()[:5]) == row[:5]
        assert [float(candle.volume), float(candle.turnover)] == row[5:7]
    lapses = Counter(change.reason for change in one.changes if isinstance(change, Lapse))
    assert lapses[Reason.EPOCH_ENDED] or lapses[Reason.UNREADABLE], lapses
    assert one.book.counts[Reason.UNREADABLE] > 0
    assert one.book.counts[Count.UNKNOWN_SYMBOL] == 0
    assert one.book.counts[Count.UNKNOWN_EPOCH] == 0
    assert one.pool.counts.owner_errors == 0


async def test_a_connection_is_replaced_before_its_life_ends_and_no_market_becomes_unproven(
    start_simulator: StartSimulator,
) -> None:
    # A connection is cut shortly after the fifth close, or a minute later where notice is given: a
    # candle that runs when it is cut was brought whole by none.
    kept_s = 1580.0
    # So old they get before another one takes their place; who gives notice sets them no age.
    ages = {"binance": 700.0, "bybit": 700.0, "okx": None}
    simulator = start_simulator(
        **dict.fromkeys(EXCHANGES, 4),
        now=CLOSE_MS - 60_000,
        frozen=True,
        streams={
            "life_s": dict.fromkeys(EXCHANGES, kept_s),
            "silent_closings": dict.fromkeys(EXCHANGES, True),
        },
    )
    clock = DayClock(simulator, CLOSE_MS - 60_000)
    async with AsyncExitStack() as stack:
        exchanges = {
            exchange: await followed(stack, simulator, exchange, clock, ages[exchange])
            for exchange in EXCHANGES
        }
        ticking = asyncio.create_task(tick(clock, [each.book for each in exchanges.values()]))
        stack.callback(ticking.cancel)
        closes = [CLOSE_MS + place * STEP_MS for place in range(1, 6)]
        for close_ms in closes:
            await clock.pass_to(close_ms + 100_000)
            for one in exchanges.values():
                assert one.proven_at(close_ms) == len(one.symbols), close_ms
        for exchange, one in exchanges.items():
            why = "age" if ages[exchange] else "notice"
            assert one.pool.counts.reconnects[why] >= 1
            assert one.pool.counts.failures == 0
            lapses = [change for change in one.changes if isinstance(change, Lapse)]
            assert [lapse.reason for lapse in lapses] == [Reason.STARTING]
    streams = simulator.stats()["streams"]
    assert {streams[each]["closed"].get("1001", 0) for each in EXCHANGES} == {0}
