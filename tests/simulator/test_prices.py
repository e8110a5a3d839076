"""One asset has one price: exchanges a few basis points apart, known assets at their magnitude."""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    Ints,
    aggregate,
)
from simulator.exchanges import EXCHANGES
from simulator.market import Market
from simulator.universe import GeneratorContext, build_universe
from tests.fixtures.simulator import NOW_MS

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
# Units of a contract, where its name says that it is not one coin.
UNITS = {"1000PEPE": 1e3, "1000SHIB": 1e3, "SHIB1000": 1e3, "1000CHEEMS": 1e3, "1000000CHEEMS": 1e6,
         "1000SATS": 1e3, "10000SATS": 1e4, "1000TURBO": 1e3, "1MBABYDOGE": 1e6,
         "1000000BABYDOGE": 1e6, "1000000MOG": 1e6, "1000BONK": 1e3, "1000FLOKI": 1e3,
         "1000LUNC": 1e3, "1000XEC": 1e3, "1000RATS": 1e3}  # fmt: skip
COINS = {"1000PEPE": "PEPE", "1000SHIB": "SHIB", "SHIB1000": "SHIB", "1000CHEEMS": "CHEEMS",
         "1000000CHEEMS": "CHEEMS", "1000SATS": "SATS", "10000SATS": "SATS", "BEAMX": "BEAM",
         "1000TURBO": "TURBO", "1MBABYDOGE": "BABYDOGE", "1000000BABYDOGE": "BABYDOGE",
         "1000000MOG": "MOG", "1000BONK": "BONK", "1000FLOKI": "FLOKI", "1000LUNC": "LUNC",
         "1000XEC": "XEC", "1000RATS": "RATS"}  # fmt: skip
# What one contract costs, from the exchanges' pages of 2024 and 2025: lowest and highest.
MAGNITUDES = {
    "BTCUSDT": (20_000, 200_000), "ETHUSDT": (1_000, 6_000), "SOLUSDT": (40, 400),
    "XRPUSDT": (0.3, 4), "DOGEUSDT": (0.05, 0.6), "ADAUSDT": (0.15, 2), "AVAXUSDT": (8, 70),
    "LINKUSDT": (5, 40), "LTCUSDT": (35, 250), "BNBUSDT": (200, 1_500), "TRXUSDT": (0.08, 0.6),
    "DOTUSDT": (2, 15), "1000PEPEUSDT": (0.001, 0.03), "1000BONKUSDT": (0.003, 0.06),
    "SHIB1000USDT": (0.003, 0.05), "1000SHIBUSDT": (0.003, 0.05), "ETHBTC": (0.015, 0.1),
}  # fmt: skip


@cache
def universe(seed: int) -> list[Market]:
    """60 markets of each exchange; their memories are shared by all tests that ask."""
    return build_universe(GeneratorContext.open(seed, NOW_MS, 120), dict.fromkeys(EXCHANGES, 60))


def pairs(seed: int, *, quiet: bool) -> Iterator[tuple[Market, Market]]:
    """The markets of one asset on both exchanges; `quiet`: those that pause now and then, too."""
    plain = [m for m in universe(seed) if trades_always(m, quiet=quiet)]
    binance = {COINS.get(m.base, m.base): m for m in plain if m.exchange == "binance"}
    for other in plain:
        market = binance.get(COINS.get(other.base, other.base))
        if other.exchange == "bybit" and market is not None:
            yield market, other


def trades_always(market: Market, *, quiet: bool) -> bool:
    """Without a hole, and unless `quiet` without a 5-minute candle in which nothing was traded."""
    fine = market.closed(SLOT_MS, NOW_MS - 10 * DAY_MS, NOW_MS)
    whole = market.collected and bool((np.diff(fine[TIME]) == SLOT_MS).all())
    return whole and (quiet or bool((fine[VOLUME] > 0).all()))


def usd(market: Market, column: Ints) -> Floats:
    """Prices of one coin."""
    scaled: Floats = column / 10**market.price_decimals / UNITS.get(market.base, 1.0)
    return scaled


def apart(one: Market, two: Market, interval_ms: int, end_ms: int, column: int) -> Floats:
    """By how many basis points two markets differ in candles that both traded in full."""
    span = interval_ms, end_ms - 300 * interval_ms, end_ms
    first, second = one.closed(*span), two.closed(*span)
    # The last candle before a hole ends as the hole does.
    first, second = (c[:, :-1][:, np.diff(c[TIME]) == interval_ms] for c in (first, second))
    first, second = (c[:, c[VOLUME] > 0] for c in (first, second))
    times = np.intersect1d(first[TIME], second[TIME])
    first, second = (c[:, np.isin(c[TIME], times)] for c in (first, second))
    prices = usd(one, first[column]), usd(two, second[column])
    tick = max(m.tick / 10**m.price_decimals / UNITS.get(m.base, 1.0) for m in (one, two))
    gap = np.maximum(np.abs(prices[0] - prices[1]) - tick, 0)
    share: Floats = gap / prices[0] * 1e4
    return share


@pytest.mark.parametrize("interval_ms", [SLOT_MS, HOUR_MS, 4 * HOUR_MS, 8 * HOUR_MS, DAY_MS])
def test_exchanges_differ_by_basis_points(interval_ms: int) -> None:
    """Rounding to ticks aside, which is coarse on the cheapest contracts."""
    compared = 0
    # A long candle of a quiet market ends with a trade that may be old.
    for one, two in pairs(1, quiet=interval_ms == SLOT_MS):
        for ago_ms in (0, 170 * DAY_MS, 700 * DAY_MS):
            gaps = apart(one, two, interval_ms, NOW_MS - interval_ms - ago_ms, CLOSE)
            compared += gaps.size
            if gaps.size < 20:
                continue  # young on one of the exchanges
            assert np.median(gaps) < 4, (one.name, two.name)
            assert gaps.max() < 10, (one.name, two.name)
    assert compared > 3_000


@pytest.mark.parametrize("base", ["BTC", "ETH", "SOL"])
@pytest.mark.parametrize("interval_ms", [SLOT_MS, HOUR_MS, 4 * HOUR_MS, 8 * HOUR_MS, DAY_MS])
def test_busy_markets_never_part(base: str, interval_ms: int) -> None:
    for seed in (1, 2, 3):
        same = [market for market in universe(seed) if market.symbol == f"{base}USDT"]
        assert len(same) > 1
        for one, two in pairwise(same):
            for ago_ms in range(0, 1500 * DAY_MS, 101 * DAY_MS):
                end_ms = NOW_MS - interval_ms - ago_ms
                assert apart(one, two, interval_ms, end_ms, CLOSE).max() < 8
                assert apart(one, two, interval_ms, end_ms, OPEN).max() < 8
                if interval_ms > SLOT_MS * 24:
                    assert apart(one, two, interval_ms, end_ms, HIGH).max() < 12
                    assert apart(one, two, interval_ms, end_ms, LOW).max() < 12


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_known_assets_have_their_magnitude(seed: int) -> None:
    seen = set()
    for market in universe(seed):
        if market.symbol not in MAGNITUDES:
            continue
        days = market.closed(DAY_MS, NOW_MS - 1500 * DAY_MS, NOW_MS)
        prices = days[LOW : CLOSE + 1] / 10**market.price_decimals
        low, high = MAGNITUDES[market.symbol]
        assert low < prices.min(), market.name
        assert prices.max() < high, market.name
        seen.add(market.symbol)
    assert seen == set(MAGNITUDES)


@pytest.mark.parametrize("seed", [1, 2])
def test_prices_and_ticks_are_plausible(seed: int) -> None:
    for market in universe(seed):
        days = market.closed(DAY_MS, NOW_MS - 300 * DAY_MS, NOW_MS)
        if market.collected and days.shape[1] > 30:
            price = float(np.median(days[CLOSE]))
            assert 1e-5 < price / 10**market.price_decimals < 200_000, market.name
            # A tick is less than a tenth of a percent, and at least a hundredth of a basis point.
            assert 1e-6 < market.tick / price < 1e-3, market.name
            returns = np.diff(np.log(days[CLOSE]))
            assert 0.003 < np.std(returns) < 0.12, market.name


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_scale_tells_the_same(data: st.DataObject) -> None:
    """Any market, any window: coarser candles are the sums of finer ones, and all make sense."""
    market = data.draw(st.sampled_from(universe(1)))
    interval_ms = data.draw(st.sampled_from([3 * SLOT_MS, HOUR_MS, 4 * HOUR_MS, 8 * HOUR_MS]))
    first = data.draw(st.integers(0, 700 * DAY_MS // interval_ms))
    start_ms = NOW_MS - NOW_MS % interval_ms - first * interval_ms
    end_ms = start_ms + data.draw(st.integers(1, 40)) * interval_ms
    fine = market.closed(SLOT_MS, start_ms, end_ms - 1)
    coarse = market.closed(interval_ms, start_ms, end_ms - 1)
    assert np.array_equal(aggregate(fine, interval_ms), coarse)
    for candles in (fine, coarse):
        assert (candles[LOW] > 0).all()
        assert (candles[LOW] <= np.minimum(candles[OPEN], candles[CLOSE])).all()
        assert (candles[HIGH] >= np.maximum(candles[OPEN], candles[CLOSE])).all()
        assert (candles[OPEN : CLOSE + 1] % market.tick == 0).all()
        assert (candles[VOLUME] % market.step == 0).all()
        assert (candles[LOW] * candles[VOLUME] <= candles[TURNOVER]).all()
        assert (candles[TURNOVER] <= candles[HIGH] * candles[VOLUME]).all()
