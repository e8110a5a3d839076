"""The trades of a tape make exactly its candle, whole and in minutes."""

import itertools

import numpy as np
import pytest

from simulator.binance.wire import Binance
from simulator.bybit.wire import Bybit
from simulator.candles import (
    HIGH,
    HOUR_MS,
    LOW,
    MINUTE_MS,
    OPEN,
    SLOT_MS,
    TAKER_TURNOVER,
    TAKER_VOLUME,
    TRADES,
    TURNOVER,
    VOLUME,
    aggregate,
)
from simulator.market import Market
from simulator.tape import Tape
from simulator.universe import GeneratorContext, build_universe
from tests.fixtures.simulator import NOW_MS

END_MS = NOW_MS - NOW_MS % HOUR_MS
START_MS = END_MS - 2 * HOUR_MS


@pytest.fixture(scope="module")
def markets() -> list[Market]:
    context = GeneratorContext.open(5, NOW_MS, 40)
    return [m for m in build_universe(context, {Binance: 20, Bybit: 20}) if m.collected]


def test_minutes_are_the_five_minutes_in_parts(markets: list[Market]) -> None:
    silent = 0
    for market in markets:
        fives = market.closed(SLOT_MS, START_MS, END_MS - SLOT_MS)
        ones = market.closed(MINUTE_MS, START_MS, END_MS - MINUTE_MS)
        assert ones.shape[1] == 5 * fives.shape[1]
        assert (aggregate(ones, SLOT_MS) == fives).all()
        assert (ones[VOLUME:] >= 0).all()
        assert (ones[VOLUME] % market.step == 0).all()
        assert (ones[OPEN:VOLUME] % market.tick == 0).all()
        # A trade's turnover is its price times its volume: parts have no more places than the sum.
        assert (ones[[TURNOVER, TAKER_TURNOVER]] % (market.tick * market.step) == 0).all()
        forming = market.forming(4 * HOUR_MS, END_MS - HOUR_MS + 150_000)
        assert (forming[TURNOVER] % (market.tick * market.step) == 0).all()
        assert (ones[TAKER_VOLUME] <= ones[VOLUME]).all()
        assert ((ones[VOLUME] == 0) == (ones[TRADES] == 0)).all()
        assert (ones[LOW] * ones[VOLUME] <= ones[TURNOVER]).all()
        assert (ones[TURNOVER] <= ones[HIGH] * ones[VOLUME]).all()
        silent += int((ones[VOLUME] == 0).sum())
        # Threes open where minutes do, across the ends of 5 minutes too.
        threes = market.closed(3 * MINUTE_MS, START_MS, END_MS - MINUTE_MS)
        assert (aggregate(ones, 3 * MINUTE_MS) == threes).all()
    assert silent > 100


def test_the_forming_minute_ends_as_the_closed_one(markets: list[Market]) -> None:
    for market in markets[:6]:
        for open_ms in range(START_MS, START_MS + 2 * SLOT_MS, MINUTE_MS):
            closed = market.closed(MINUTE_MS, open_ms, open_ms)
            assert (market.forming(MINUTE_MS, open_ms + MINUTE_MS - 1) == closed).all()


def test_trades_make_the_candle(markets: list[Market]) -> None:
    seen = 0
    for market in markets:
        for slot_ms in range(START_MS, START_MS + 3 * SLOT_MS, SLOT_MS):
            tape = market.candles.tape(slot_ms + 1)
            if tape is None or not tape.events:
                continue
            final = market.closed(SLOT_MS, slot_ms, slot_ms)[:, 0]
            trades = [tape.trade(event) for event in range(1, tape.events + 1)]
            assert sum(trade.volume for trade in trades) == final[VOLUME]
            assert min(trade.volume for trade in trades) >= market.step
            assert trades[-1].price == final[4]
            if len(trades) >= 3:  # with fewer of them the range has extremes of its own
                prices = [int(final[OPEN]), *(trade.price for trade in trades)]
                assert (max(prices), min(prices)) == (final[HIGH], final[LOW])
            assert trades[-1].last_id - trades[0].first_id + 1 == final[TRADES]
            for before, after in itertools.pairwise(trades):
                assert before.time_ms <= after.time_ms
                assert after.first_id == before.last_id + 1
                assert after.number == before.number + 1
            assert slot_ms < trades[0].time_ms
            assert trades[-1].time_ms < slot_ms + SLOT_MS
            seen += len(trades)
    assert seen > 2_000


def test_an_event_has_happened_from_its_time_on(markets: list[Market]) -> None:
    tape = markets[0].candles.tape(START_MS)
    assert tape is not None
    for event in range(1, tape.events + 1):
        at_ms = tape.time_of(event)
        assert tape.count_at(at_ms) >= event > tape.count_at(at_ms - 1)
    assert tape.count_at(START_MS) == 0
    assert tape.state(0)[OPEN:VOLUME] == [tape.values[OPEN]] * 4
    assert tape.state(tape.events) == tape.values


@pytest.mark.parametrize(
    "numbers",
    [
        (0, 0, 0),  # silent
        (1, 1, 1),  # one trade of one step
        (2, 7, 2),
        (5, 3, 900),  # more fills than steps
        (400, 90_000, 0),  # fills that nobody counted
    ],
)
def test_odd_candles_have_tapes_too(numbers: tuple[int, int, int]) -> None:
    steps, turnover_extra, fills = numbers
    step, tick = 10, 5
    volume = steps * step
    prices = [1_000, 1_050, 950, 1_010] if steps else [1_000] * 4
    turnover = volume * 990 + min(turnover_extra, volume * 10)
    values = [START_MS, *prices, volume, turnover, fills, volume // 20 * 10, turnover // 2]
    tape = Tape(values, SLOT_MS, tick, step)
    assert tape.events <= max(fills, SLOT_MS // 5_000)
    states = np.array([tape.state(event) for event in range(tape.events + 1)])
    assert states[-1].tolist() == values
    assert (np.diff(states[:, VOLUME]) > 0).all()
    assert (np.diff(states[:, TURNOVER]) >= 0).all()
    of_price = int(np.gcd.reduce([tick * step, turnover]))
    assert (states[:, TURNOVER] % of_price == 0).all()
    assert (states[:, LOW] * states[:, VOLUME] <= states[:, TURNOVER]).all()
    assert (states[:, TURNOVER] <= states[:, HIGH] * states[:, VOLUME]).all()
    assert (np.diff(states[:, HIGH]) >= 0).all()
    assert (np.diff(states[:, LOW]) <= 0).all()
