"""Generated series agree with each other at every scale, in exact decimal arithmetic."""

import itertools
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from simulator.binance.wire import Binance
from simulator.bybit.wire import Bybit
from simulator.candles import (
    CLOSE,
    DAY_MS,
    HIGH,
    HOUR_MS,
    LOW,
    OPEN,
    SLOT_MS,
    TIME,
    TURNOVER,
    VOLUME,
)
from simulator.market import Market
from simulator.universe import GeneratorContext, build_universe
from tests.fixtures.simulator import NOW_MS, Simulator

BINANCE_MS = {
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "6h": 6 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
}
BYBIT = {"5m": "5", "15m": "15", "30m": "30", "1h": "60", "2h": "120", "4h": "240", "6h": "360",
         "12h": "720", "1d": "D"}  # fmt: skip
# Plain, cheap and busy, with holes, young in the middle of a group, quiet.
SYMBOLS = ["BTCUSDT", "1000PEPEUSDT", "1000SHIBUSDT", "1000CATUSDT", "BEAMXUSDT"]


def _binance(simulator: Simulator, symbol: str, interval: str, start: int) -> list[list[Any]]:
    rows: list[list[Any]] = []
    while True:
        page = simulator.get(
            "/fapi/v1/klines", symbol=symbol, interval=interval, startTime=start, limit=1500
        )
        rows += page
        if len(page) < 1500:
            return rows
        start = page[-1][0] + 1


def _combined(rows: list[list[Any]], interval_ms: int, columns: int) -> list[list[Any]]:
    """Candles put together from finer ones: text in, Decimal out."""
    groups: dict[int, list[list[Any]]] = {}
    for row in rows:
        groups.setdefault(row[0] - row[0] % interval_ms, []).append(row)
    combined = []
    for start, group in groups.items():
        numbers = [[Decimal(value) for value in row[1:columns]] for row in group]
        high, low = max(row[1] for row in numbers), min(row[2] for row in numbers)
        sums = [sum(row[i] for row in numbers) for i in range(4, columns - 1)]
        combined.append([start, numbers[0][0], high, low, numbers[-1][3], *sums])
    return combined


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_binance_scales_agree(frozen: Simulator, symbol: str) -> None:
    start = (NOW_MS - 6 * DAY_MS) // DAY_MS * DAY_MS
    finest = [[*row[:6], row[7]] for row in _binance(frozen, symbol, "5m", start)]
    for interval, interval_ms in list(BINANCE_MS.items())[1:]:
        rows = _binance(frozen, symbol, interval, start)
        wanted = _combined(finest, interval_ms, 7)
        found = [[row[0], *(Decimal(value) for value in [*row[1:6], row[7]])] for row in rows]
        assert found == wanted, interval


@pytest.mark.parametrize("symbol", ["BTCUSDT", "SHIB1000USDT", "1000RATSUSDT"])
def test_bybit_scales_agree(frozen: Simulator, symbol: str) -> None:
    start = (NOW_MS - 2 * DAY_MS) // DAY_MS * DAY_MS

    def rows(interval: str) -> list[list[Any]]:
        answer = frozen.get(
            "/v5/market/kline", symbol=symbol, interval=interval, start=start, limit=1000
        )
        return [[int(row[0]), *row[1:]] for row in reversed(answer["result"]["list"])]

    finest = rows("5")
    for interval, name in list(BYBIT.items())[1:]:
        found = [[row[0], *(Decimal(value) for value in row[1:])] for row in rows(name)]
        assert found == _combined(finest, BINANCE_MS[interval], 7), interval


def _universe(seed: int = 1, binance: int = 20, bybit: int = 20) -> list[Market]:
    context = GeneratorContext.open(seed, NOW_MS, binance + bybit)
    return build_universe(context, {Binance: binance, Bybit: bybit})


def test_candles_make_sense() -> None:
    """Inside their range, on the tick, average price inside the candle, volume with turnover."""
    for market in _universe():
        fine = market.closed(SLOT_MS, NOW_MS - 40 * DAY_MS, NOW_MS)
        low, high = fine[LOW], fine[HIGH]
        assert (np.minimum(fine[OPEN], fine[CLOSE]) >= low).all()
        assert (np.maximum(fine[OPEN], fine[CLOSE]) <= high).all()
        assert (fine[OPEN : CLOSE + 1] % market.tick == 0).all()
        assert (fine[VOLUME] % market.step == 0).all()
        assert (fine[TURNOVER] >= low * fine[VOLUME]).all()
        assert (fine[TURNOVER] <= high * fine[VOLUME]).all()
        assert ((fine[VOLUME] == 0) == (fine[TURNOVER] == 0)).all()
        quiet = fine[VOLUME] == 0
        assert (high[quiet] == low[quiet]).all()
        assert (fine[LOW] > 0).all()
        assert (np.diff(fine[TIME]) > 0).all()


def test_a_series_depends_on_its_seed_alone() -> None:
    first, again, other = _universe(7), _universe(7), _universe(8)
    for one, two, three in zip(first, again, other, strict=True):
        span = (4 * HOUR_MS, NOW_MS - 90 * DAY_MS, NOW_MS)
        assert one.symbol == two.symbol
        # Asked in another order, in pieces: the same candles.
        two.closed(SLOT_MS, NOW_MS - 2 * DAY_MS, NOW_MS)
        assert (one.closed(*span) == two.closed(*span)).all()
        if one.closed(*span).shape[1] > 5 and one.status in ("TRADING", "Trading"):
            assert not np.array_equal(one.closed(*span), three.closed(*span))


def test_kinds_of_markets() -> None:
    """A small universe already holds every kind that breaks naive collectors."""
    markets = {market.name: market for market in _universe()}
    named = markets["binance:1000PEPEUSDT"], markets["bybit:SHIB1000USDT"]
    assert [m.collected for m in named] == [True, True]
    collected = [m for m in markets.values() if m.collected]
    assert sum(m.exchange == "binance" for m in collected) == 20
    assert sum(m.exchange == "bybit" for m in collected) == 20
    assert any(not m.symbol.isascii() for m in collected)
    hours = {m.funding.hours_at(NOW_MS) for m in collected}
    assert hours == {1, 2, 4, 8}

    window = 4 * HOUR_MS, NOW_MS - 499 * 4 * HOUR_MS, NOW_MS - 4 * HOUR_MS
    counts = {name: m.closed(*window).shape[1] for name, m in markets.items() if m.collected}
    # closed 4h candles and the forming one: none at all, one alone, less than the window
    forming = {n: m.forming(4 * HOUR_MS, NOW_MS).shape[1] for n, m in markets.items()}
    assert any(count == 0 and forming[name] == 0 for name, count in counts.items())
    assert any(count == 0 and forming[name] == 1 for name, count in counts.items())
    assert any(100 < count < 250 for count in counts.values())
    firsts = [m.candles.first_ms for m in collected if m.candles.first_ms > NOW_MS - 80 * DAY_MS]
    assert any(first % (4 * HOUR_MS) for first in firsts)

    holes = [m for m in collected if counts[m.name] and _has_hole(m)]
    assert holes
    quiet = [m for m in collected if (m.closed(*window)[VOLUME] == 0).any()]
    assert quiet
    digits = [len(str(int(m.closed(*window)[TURNOVER].max(initial=0)))) for m in collected]
    assert max(digits) >= 17
    missing = [m for m in collected if _misses_snapshots(m)]
    assert missing
    specials = [m for m in collected if any(i.special for i in m.funding.newest(100, NOW_MS))]
    assert specials
    assert all(m.exchange == "binance" for m in specials)
    changed = [
        m for m in collected
        if m.funding.hours_at(NOW_MS - 40 * DAY_MS) != m.funding.hours_at(NOW_MS)
    ]  # fmt: skip
    assert changed


def _has_hole(market: Market) -> bool:
    times = market.closed(4 * HOUR_MS, NOW_MS - 80 * DAY_MS, NOW_MS)[TIME]
    return bool((np.diff(times) > 4 * HOUR_MS).any())


def _misses_snapshots(market: Market) -> bool:
    times = market.snapshots(4 * HOUR_MS, NOW_MS - 20 * DAY_MS, NOW_MS)[0]
    return bool((np.diff(times) > 4 * HOUR_MS).any())


def test_the_forming_candle_grows_into_the_final_one() -> None:
    market = next(m for m in _universe() if m.name == "bybit:SHIB1000USDT")
    open_ms = NOW_MS - NOW_MS % HOUR_MS
    final = market.closed(HOUR_MS, open_ms, open_ms)[:, 0]
    seen = [market.forming(HOUR_MS, open_ms + at)[:, 0] for at in range(0, HOUR_MS, 9_000)]
    for before, after in itertools.pairwise(seen):
        assert after[VOLUME] >= before[VOLUME]
        assert after[HIGH] >= before[HIGH]
        assert after[LOW] <= before[LOW]
        assert after[OPEN] == before[OPEN] == final[OPEN]
        assert after[LOW] * after[VOLUME] <= after[TURNOVER] <= after[HIGH] * after[VOLUME]
    assert seen[0][VOLUME] == 0
    assert 0 < seen[-1][VOLUME] <= final[VOLUME]
    assert (seen[-1][HIGH], seen[-1][LOW]) == (final[HIGH], final[LOW])


def test_open_interest_is_one_series_at_every_period() -> None:
    for market in _universe(3, 10, 0)[:10]:
        fine = dict(market.snapshots(SLOT_MS, NOW_MS - 3 * DAY_MS, NOW_MS).T.tolist())
        for hours in (1, 2, 4, 12, 24):
            points = market.snapshots(hours * HOUR_MS, NOW_MS - 3 * DAY_MS, NOW_MS).T.tolist()
            assert points == [[time, fine[time]] for time in fine if time % (hours * HOUR_MS) == 0]


def test_settlements_fall_on_their_grid_a_little_late() -> None:
    binance = next(m for m in _universe() if m.symbol == "BTCUSDT" and m.exchange == "binance")
    found = binance.funding.settlements(NOW_MS - 300 * DAY_MS, NOW_MS)
    late = [item.time_ms % (8 * HOUR_MS) for item in found]
    assert len(found) == 900
    assert max(late) == 47
    assert 0.4 < late.count(0) / len(late) < 0.6  # recorded: 49 %
    assert binance.funding.newest(5, NOW_MS) == found[-5:]
    bybit = next(m for m in _universe() if m.symbol == "BTCUSDT" and m.exchange == "bybit")
    stamps = [item.time_ms for item in bybit.funding.settlements(NOW_MS - 30 * DAY_MS, NOW_MS)]
    assert len(stamps) == 90
    assert all(stamp % (8 * HOUR_MS) == 0 for stamp in stamps)
