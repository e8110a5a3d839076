"""Numbers about a market from its closed candles: Hurst exponent, entropy, volatility.

Pure computation on merged rows; storing and serving the numbers is others' work. Closes that
are not one interval apart (holes) are never compared with each other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Final

import numpy as np
import numpy.typing as npt

from columns import Floats, Rows
from market_data import DAY_MS, Meta, Row, Timeframe

Places = npt.NDArray[np.intp]

_CLOSE: Final = 3  # in a line of Rows.values
# Fewer say too little: order patterns want at least 5 x 4! observations (J. Amigó, S. Zambrano,
# M. Sanjuán 2008, EPL 83, 60005), and the line of the Hurst exponent at least four lengths.
MIN_CLOSES: Final = 120
MIN_VOLATILITY_RETURNS: Final = 20
_SHORTEST_PIECE: Final = 10
_MIN_SIZES: Final = 4
_NO_MOVEMENT: Final = 1e-12  # between two returns: rounding, not trade
_ROUNDING: Final = 1e-11  # of the squares of a walk
_YEAR_MS: Final = 365 * DAY_MS  # these markets never close
_DIGITS: Final = 6
_open_time = itemgetter(0)
_close = itemgetter(4)


def compute_metadata(rows: Sequence[Row], *, timeframe: Timeframe, as_of_ms: int) -> Meta:
    """Hurst exponent, entropy and volatility of one market; None where its rows say too little.

    rows: merged rows, ascending; those still forming at `as_of_ms` are left out.
    """
    last_closed_ms = timeframe.last_closed_open_time(as_of_ms)
    columns = Rows.of(rows)
    closed = int(np.searchsorted(columns.times, last_closed_ms, side="right"))
    if closed < 2:
        return {"hurst": None, "entropy": None, "realised_volatility": None}
    times, closes = columns.times[:closed], columns.values[:closed, _CLOSE]
    adjacent = np.diff(times) == timeframe.interval_ms
    returns = np.diff(np.log(closes))[adjacent]
    return {
        "hurst": _rounded(hurst_exponent(returns)),
        "entropy": _rounded(permutation_entropy(closes, adjacent)),
        "realised_volatility": _rounded(realised_volatility(returns, timeframe)),
    }


def hurst_exponent(returns: Floats) -> float | None:
    """Hurst exponent of log returns by detrended fluctuation analysis of first order (DFA-1).

    The summed returns are cut into pieces of equal length and each piece's line of best fit is
    taken out; the slope of log(root mean square of what is left) over log(length) is the
    exponent: C.-K. Peng et al., "Mosaic organization of DNA nucleotides", Phys. Rev. E 49 (1994)
    1685-1689; for stationary returns it is the Hurst exponent, and of all estimators that are
    cheap it leans least (Weron 2002, Physica A 312, 285-299). Lengths run from 10 to a quarter of
    the returns by factors of the root of 2. About 0.5: no memory; above: trends persist; below:
    they revert. None with fewer than 119 returns or without movement.
    """
    if len(returns) < MIN_CLOSES - 1 or float(np.ptp(returns)) < _NO_MOVEMENT:
        return None
    walk = np.cumsum(returns - returns.sum() / len(returns))
    cut = _cut(len(returns))
    # Of each piece y, with t counted from its middle: sum y and sum t y, by running sums.
    sums = _between(walk, cut)
    along = _between(walk * cut.places, cut) - cut.middles * sums
    # What the lines of best fit take away of sum y^2, summed up over the pieces of one length.
    fitted = np.add.reduceat(sums * sums / cut.lengths + along * along / cut.spreads, cut.firsts)
    squares = np.cumsum(walk * walk)[cut.covered - 1] - fitted
    # Where every piece is a line, as around a single jump, what is left is rounding.
    moving = squares > _ROUNDING * float(walk @ walk)
    if np.count_nonzero(moving) < _MIN_SIZES:
        return None
    fluctuations = 0.5 * np.log(squares[moving] / cut.covered[moving])
    x = cut.log_sizes[moving]
    x = x - x.sum() / len(x)
    return float(x @ fluctuations / (x @ x))


@dataclass(frozen=True, slots=True)
class _Cut:
    """A walk of one length cut into whole pieces, for all piece lengths one after the other.

    By piece: `begins`, `ends`, `lengths`, `middles` (the middle place) and `spreads` (the sum of
    squared distances from it). By piece length: `firsts` (its first piece), `covered` (places in
    its pieces), `log_sizes`. `places`: 0, 1, 2 ... of the walk.
    """

    places: Floats
    begins: Places
    ends: Places
    lengths: Floats
    middles: Floats
    spreads: Floats
    firsts: Places
    covered: Places
    log_sizes: Floats


@lru_cache(maxsize=64)
def _cut(count: int) -> _Cut:
    doublings = math.log2(count / 4 / _SHORTEST_PIECE)
    steps = range(int(2 * doublings) + 1)
    sizes = np.array([round(_SHORTEST_PIECE * 2 ** (step / 2)) for step in steps])
    pieces = count // sizes
    begins = np.concatenate([np.arange(n) * size for n, size in zip(pieces, sizes, strict=True)])
    lengths = np.repeat(sizes, pieces)
    return _Cut(
        places=np.arange(count, dtype=np.float64),
        begins=begins,
        ends=begins + lengths,
        lengths=lengths.astype(np.float64),
        middles=begins + (lengths - 1) / 2,
        spreads=lengths * (lengths**2 - 1.0) / 12,
        firsts=np.cumsum(pieces) - pieces,
        covered=pieces * sizes,
        log_sizes=np.log(sizes),
    )


def _between(values: Floats, cut: _Cut) -> Floats:
    """The sum of the values of each piece."""
    sums = np.zeros(len(values) + 1)
    np.cumsum(values, out=sums[1:])
    return sums[cut.ends] - sums[cut.begins]


def permutation_entropy(closes: Floats, adjacent: npt.NDArray[np.bool_]) -> float | None:
    """Normalised permutation entropy of order 4, delay 1, between 0 (regular) and 1 (random).

    Shannon entropy of the order patterns of four successive closes, divided by log 4!; equal
    closes rank by time: C. Bandt, B. Pompe, "Permutation entropy: a natural complexity measure
    for time series", Phys. Rev. Lett. 88 (2002) 174102. `adjacent[i]` tells whether closes i and
    i + 1 are one interval apart; patterns across a hole do not count. None with fewer than 120
    closes.
    """
    if len(closes) < MIN_CLOSES:
        return None
    a, b, c, d = closes[:-3], closes[1:-2], closes[2:-1], closes[3:]
    # The six comparisons tell the 24 orders apart.
    patterns = (a > b) * 1 + (a > c) * 2 + (a > d) * 4 + (b > c) * 8 + (b > d) * 16 + (c > d) * 32
    whole = adjacent[:-2] & adjacent[1:-1] & adjacent[2:]
    counts = np.bincount(patterns[whole])
    counts = counts[counts > 0]
    if counts.sum() < MIN_CLOSES - 3:
        return None
    shares = counts / counts.sum()
    return abs(float(shares @ np.log(shares))) / math.log(24)


def realised_volatility(returns: Floats, timeframe: Timeframe) -> float | None:
    """Annualised realised volatility: the root of the mean squared log return, per year of 365 d.

    T. Andersen, T. Bollerslev, "Answering the skeptics: yes, standard volatility models do
    provide accurate forecasts", Int. Economic Review 39 (1998) 885-905: no mean is subtracted.
    None with fewer than 20 returns.
    """
    if len(returns) < MIN_VOLATILITY_RETURNS:
        return None
    return math.sqrt(float(returns @ returns) / len(returns) * _YEAR_MS / timeframe.interval_ms)


def _rounded(value: float | None) -> float | None:
    return round(value, _DIGITS) if value is not None and math.isfinite(value) else None
