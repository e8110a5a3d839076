"""Candle books over connections to the simulated exchanges: what is proven is what REST has."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from live.candle_book import CandleBook, Count
from live.candle_changes import Change, ClosedCandle, Lapse, Reason
from live.candle_feed import CandleFeed
from live.exchanges import STREAM_VENUES
from live.pacing import SharedPace
from live.stream_address import ExchangeAddress
from live.stream_pool import StreamPool
from live.stream_venue import Channel, Topic
from tests.fixtures.signals import until_true
from tests.fixtures.simulator import Simulator, StartSimulator

CLOSE_MS = 1_795_185_600_000  # 2026-11-20 14:40 UTC: a 5m candle closes
STEP_MS = 300_000
MARKETS = 12
SPEED = 240
# OKX ends a connection after 30 s without data: of this time that is an eighth of a second.
EXCHANGES = ("binance", "bybit")
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

    def most_proven(self) -> int:
        """The newest candle of which most markets' are proven; 0 without any."""
        counted = Counter(candle.open_time_ms for candle in self.proven())
        most = [open_ms for open_ms, count in counted.items() if count > MARKETS * 0.6]
        return max(most, default=0)


class SimulatedTime:
    """The simulator's time, read once."""

    def __init__(self, simulator: Simulator) -> None:
        self._at_s = time.monotonic()
        self._then_ms = simulator.get("/sim/clock")["now_ms"]

    def __call__(self) -> int:
        return int(self._then_ms + (time.monotonic() - self._at_s) * 1000 * SPEED)


async def followed(
    stack: AsyncExitStack, simulator: Simulator, exchange: str, now_ms: SimulatedTime
) -> Followed:
    venue, changes = STREAM_VENUES[exchange], list[Change]()
    truth = simulator.truth("5m", exchange=exchange)
    symbols = [key.partition(":")[2] for key in truth]
    # The machine's pauses are minutes of the simulated time.
    book = CandleBook(changes.append, now_ms=now_ms(), grace_ms=STEP_MS - 1, pause_ms=2 * STEP_MS)
    book.list_markets(symbols, now_ms())
    address = ExchangeAddress(simulator.base_url.replace("http://", "ws://"))
    connects = SharedPace(1000, 1.0)
    pool = StreamPool(venue, CandleFeed(book, now_ms), address, connects=connects)
    await stack.enter_async_context(pool)
    pool.add(Topic(Channel.CANDLE, symbol, "5m") for symbol in symbols)
    return Followed(symbols, book, changes, pool)


async def test_what_is_proven_is_what_rest_has(
    start_simulator: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("live.stream_shard.FIRST_PAUSE_S", 0.05)
    counts = dict.fromkeys(EXCHANGES, MARKETS)
    simulator = start_simulator(**counts, now=CLOSE_MS - 60_000, speed=SPEED)
    now_ms = SimulatedTime(simulator)
    async with AsyncExitStack() as stack:
        exchanges = {
            exchange: await followed(stack, simulator, exchange, now_ms) for exchange in EXCHANGES
        }

        def ticked() -> bool:
            for one in exchanges.values():
                one.book.tick(now_ms())
            return True

        await until_true(lambda: ticked() and all(o.most_proven() for o in exchanges.values()))
        for exchange in exchanges:
            for kind, count in FAULTS.items():
                fault = {"kind": kind, "exchange": exchange, "count": count}
                simulator.post("/sim/faults", fault)
        struck_ms = now_ms()
        await until_true(
            lambda: ticked() and all(o.most_proven() > struck_ms for o in exchanges.values())
        )
        for exchange, one in exchanges.items():
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
