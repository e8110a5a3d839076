"""Metadata against independent packages, known processes and awkward markets."""

import csv
import gzip
import math
import statistics
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import ordpy
import pytest

from market.markets import Row
from market.metadata import (
    MetadataBatch,
    hurst_exponents,
    permutation_entropies,
    realised_volatilities,
)
from market.timeframes import HOUR_MS, Timeframe

with warnings.catch_warnings():  # it still imports pkg_resources, which says it is on its way out
    warnings.simplefilter("ignore")
    import nolds

H4 = 4 * HOUR_MS
MIDNIGHT = 1_767_225_600_000
EMPTY = {"hurst": None, "entropy": None, "realised_volatility": None}


def hurst_exponent(returns: Any) -> float | None:
    return hurst_exponents(returns[None, :])[0]


def permutation_entropy(closes: Any, adjacent: Any) -> float | None:
    return permutation_entropies(closes[None, :], adjacent)[0]


def realised_volatility(returns: Any, timeframe: Timeframe) -> float | None:
    return realised_volatilities(returns[None, :], timeframe)[0]


def rows_of(closes: Any, *, slots: Any = None) -> list[Row]:
    slots = range(len(closes)) if slots is None else slots
    return [
        (MIDNIGHT + slot * H4, c, c, c, c, 0.0, 0.0, None, None)
        for slot, c in zip(slots, map(float, closes), strict=True)
    ]


def metadata(rows: list[Row], as_of_ms: int | None = None) -> dict[str, float | None]:
    """Of one market alone; all its rows are closed unless `as_of_ms` says otherwise."""
    if as_of_ms is None:
        as_of_ms = rows[-1][0] + H4 if rows else MIDNIGHT
    batch = MetadataBatch(Timeframe.H4)
    batch.add("", rows, as_of_ms)
    return dict(batch.finish()[""])


def random_walk(seed: int, count: int = 499) -> Any:
    steps = np.random.default_rng(seed).normal(0, 0.01, count)
    return 100 * np.exp(np.cumsum(steps))


def fractional_noise(hurst: float, count: int, seed: int) -> Any:
    """Fractional Gaussian noise of a given Hurst exponent, by Cholesky of its autocovariance."""
    lags = np.arange(count, dtype=float)
    power = 2 * hurst
    covariance = 0.5 * (np.abs(lags - 1) ** power - 2 * lags**power + (lags + 1) ** power)
    matrix = covariance[np.abs(np.subtract.outer(np.arange(count), np.arange(count)))]
    return np.linalg.cholesky(matrix) @ np.random.default_rng(seed).normal(size=count)


@pytest.fixture
def bitcoin(recorded_data: Path) -> Any:
    """499 recorded closes of BTCUSDT, 4h."""
    path = recorded_data / "history" / "binance_BTCUSDT_kline_4h_2025-09-13_2026-03-19.csv.gz"
    with gzip.open(path, "rt") as lines:
        return np.array([float(row["close"]) for row in csv.DictReader(lines)][-499:])


# --- against other implementations ---------------------------------------------------------------


# 10 * 2 ** (n / 2), up to a quarter of 4999 returns.
PIECES = (10, 14, 20, 28, 40, 57, 80, 113, 160, 226, 320, 453, 640, 905)


def assert_hurst_agrees(returns: Any) -> None:
    sizes = [size for size in PIECES if size <= len(returns) / 4]
    theirs = nolds.dfa(returns, nvals=sizes, overlap=False, order=1, fit_exp="poly")
    assert hurst_exponent(returns) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("count", [119, 120, 257, 498, 680, 4999])
def test_hurst_equals_nolds(count: int) -> None:
    for seed in range(5):
        assert_hurst_agrees(np.random.default_rng(seed).standard_t(3, count))


def test_hurst_equals_nolds_on_recorded_closes(bitcoin: Any) -> None:
    assert_hurst_agrees(np.diff(np.log(bitcoin)))


@pytest.mark.parametrize("count", [120, 499, 1500])
def test_entropy_equals_ordpy(count: int) -> None:
    for seed in range(5):
        closes = np.round(random_walk(seed, count), 1)  # rounded: equal closes do occur
        ours = permutation_entropy(closes, np.ones(count - 1, bool))
        assert ours == pytest.approx(ordpy.permutation_entropy(closes, dx=4), abs=1e-9)


def test_entropy_equals_ordpy_on_recorded_closes(bitcoin: Any) -> None:
    ours = permutation_entropy(bitcoin, np.ones(len(bitcoin) - 1, bool))
    assert ours == pytest.approx(ordpy.permutation_entropy(bitcoin, dx=4), abs=1e-9)


def test_volatility_is_the_textbooks(bitcoin: Any) -> None:
    returns = [math.log(b / a) for a, b in pairwise(bitcoin)]
    a_year = 365 * 24 / 4
    expected = math.sqrt(statistics.fmean(r * r for r in returns) * a_year)
    measured = realised_volatility(np.array(returns), Timeframe.H4)
    assert measured == pytest.approx(expected, rel=1e-12)
    assert 0.2 < expected < 1.0  # what bitcoin's volatility is


# --- against what is known -----------------------------------------------------------------------


@pytest.mark.parametrize("hurst", [0.3, 0.5, 0.7, 0.85])
def test_hurst_finds_the_exponent_of_fractional_noise(hurst: float) -> None:
    measured = [hurst_exponent(fractional_noise(hurst, 498, seed)) for seed in range(30)]
    average = statistics.fmean(value for value in measured if value is not None)
    # One series scatters by 0.04 to 0.09, so the mean of thirty by a sixth of that.
    assert average == pytest.approx(hurst, abs=0.03)


def test_volatility_of_a_known_walk() -> None:
    meta = metadata(rows_of(random_walk(1, 2000)))
    assert meta["realised_volatility"] == pytest.approx(0.01 * math.sqrt(365 * 6), rel=0.05)


def test_entropy_of_order_and_of_noise() -> None:
    adjacent = np.ones(498, bool)
    assert permutation_entropy(np.arange(499.0), adjacent) == 0.0
    # Two patterns of equal share (up-down-up-down): one bit out of log2(24).
    zigzag = np.array([1.0, 2.0] * 251)[:499] + np.arange(499) * 1e-6
    assert permutation_entropy(zigzag, adjacent) == pytest.approx(1 / math.log2(24), abs=1e-3)
    noise = np.random.default_rng(3).normal(size=20_000)
    assert permutation_entropy(noise, np.ones(19_999, bool)) == pytest.approx(1.0, abs=1e-3)


# --- awkward markets -----------------------------------------------------------------------------


def test_too_few_rows_say_nothing() -> None:
    assert metadata([]) == EMPTY
    assert metadata(rows_of([1.0])) == EMPTY
    assert metadata(rows_of(random_walk(1, 20))) == EMPTY
    young = metadata(rows_of(random_walk(1, 21)))
    assert young["realised_volatility"] is not None
    assert (young["hurst"], young["entropy"]) == (None, None)
    older = metadata(rows_of(random_walk(1, 119)))
    assert (older["hurst"], older["entropy"]) == (None, None)
    assert None not in metadata(rows_of(random_walk(1, 120))).values()


def test_a_flat_market_has_no_memory_to_measure() -> None:
    assert metadata(rows_of([0.00001234] * 499)) == {
        "hurst": None,
        "entropy": 0.0,
        "realised_volatility": 0.0,
    }


def test_a_market_flat_for_most_of_the_time_still_gives_finite_numbers() -> None:
    closes = [5.0] * 499
    closes[250:280] = list(random_walk(2, 30))
    meta = metadata(rows_of(closes))
    assert all(value is not None and math.isfinite(value) for value in meta.values())


def test_the_forming_candle_does_not_count() -> None:
    closes = random_walk(4, 300)
    as_of_ms = MIDNIGHT + 299 * H4 + HOUR_MS
    forming = [*closes[:-1], closes[-1] * 3]
    assert metadata(rows_of(forming), as_of_ms) == metadata(rows_of(closes[:-1]))


def test_no_return_spans_a_hole() -> None:
    """A price that jumps while there are no candles leaves the numbers of both sides alone."""
    before, after = random_walk(5, 250), random_walk(6, 249)
    slots = [*range(250), *range(300, 549)]
    level, jumped = (
        metadata(rows_of([*before, *(after * factor)], slots=slots)) for factor in (1, 50)
    )
    assert level == jumped
    assert level["realised_volatility"] == pytest.approx(0.01 * math.sqrt(365 * 6), rel=0.1)


def test_rows_that_never_touch_say_nothing() -> None:
    assert metadata(rows_of(random_walk(7, 300), slots=range(0, 600, 2))) == EMPTY


def test_a_length_whose_pieces_are_all_lines_does_not_count() -> None:
    """A single jump between two pieces of length 57 leaves nothing there but rounding."""
    for jump in (-5.5e-05, 1e-3, 0.02, 0.3):
        returns = np.zeros(536)
        returns[57] = jump
        bent = [size for size in PIECES if size <= len(returns) / 4 and size != 57]
        theirs = nolds.dfa(returns, nvals=bent, overlap=False, order=1, fit_exp="poly")
        assert hurst_exponent(returns) == pytest.approx(theirs, abs=1e-6), jump


def test_returns_that_never_differ_have_no_memory() -> None:
    assert hurst_exponent(np.full(498, 0.1) + 1e-17) is None


def test_many_markets_at_once_are_each_what_they_are_alone() -> None:
    """Full histories, more than are computed at a time, among young, flat and broken ones."""
    markets = {f"full-{seed}": rows_of(random_walk(seed)) for seed in range(150)}
    markets |= {
        f"young-{count}": rows_of(random_walk(count, count)) for count in (0, 1, 2, 119, 300)
    }
    markets["flat"] = rows_of(np.full(499, 3.0))
    markets["hole"] = rows_of(random_walk(7), slots=[*range(250), *range(251, 500)])
    batch = MetadataBatch(Timeframe.H4)
    for key, rows in markets.items():
        batch.add(key, rows, MIDNIGHT + 600 * H4)
    computed = batch.finish()
    assert computed.keys() == markets.keys()
    for key, rows in markets.items():
        assert computed[key] == metadata(rows), key
    assert computed["young-1"] == EMPTY
    assert None not in computed["full-149"].values()
