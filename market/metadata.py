"""Statistics of a market's closed candles: Hurst exponent, entropy, realised volatility.

Pure computation on merged rows. Closes that are not one interval apart (holes) are never
compared with each other.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from market.markets import Meta, Row
from market.rows import Floats, Rows, Times
from market.timeframes import DAY_MS, Timeframe

Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

# The minimum: order patterns need at least 5 x 4! observations (J. Amigó, S. Zambrano,
# M. Sanjuán 2008, EPL 83, 60005), and the Hurst exponent's line at least four piece lengths.
MIN_CLOSES: Final = 120
MIN_VOLATILITY_RETURNS: Final = 20
_SHORTEST_PIECE: Final = 10
_MIN_SIZES: Final = 4
_NO_MOVEMENT: Final = 1e-12  # smaller differences of returns are rounding
_ROUNDING: Final = 1e-11  # relative to the sum of squares of a walk
_YEAR_MS: Final = 365 * DAY_MS  # the markets trade every day
_DIGITS: Final = 6
_BATCH_SIZE: Final = 64  # markets whose arrays fit a processor's cache together
_PATTERNS: Final = 64  # 2**6: six comparisons, one bit each
_NOTHING: Final[Meta] = {"hurst": None, "entropy": None, "realised_volatility": None}
NAMES: Final = tuple(_NOTHING)


class MetadataBatch:
    """Computes the metadata of many markets in batches.

    On a few hundred candles each, numpy's calls cost more than its arithmetic.
    """

    def __init__(self, timeframe: Timeframe) -> None:
        self._timeframe = timeframe
        self._waiting: dict[int, list[tuple[str, Floats]]] = {}  # by the number of closes
        self._computed: dict[str, Meta] = {}

    def add(self, key: str, rows: Sequence[Row], as_of_ms: int) -> None:
        """Adds one market's merged rows, ascending; stores no reference to them.

        Rows still forming at `as_of_ms` are left out. A number is None with too few rows.
        """
        times, closes = _closed(rows, self._timeframe.last_closed_open_time(as_of_ms))
        count = len(closes)
        if count < 2:
            self._computed[key] = _NOTHING
        elif times[-1] - times[0] != (count - 1) * self._timeframe.interval_ms:
            adjacent = np.diff(times) == self._timeframe.interval_ms
            (self._computed[key],) = self._compute(closes[None, :], adjacent)
        else:
            batch = self._waiting.setdefault(count, [])
            batch.append((key, closes))
            if len(batch) == _BATCH_SIZE:
                self._flush(count)

    def finish(self) -> dict[str, Meta]:
        """The metadata of all added markets, by key."""
        for count in tuple(self._waiting):
            self._flush(count)
        return self._computed

    def _flush(self, count: int) -> None:
        keys, closes = zip(*self._waiting.pop(count), strict=True)
        self._computed.update(zip(keys, self._compute(np.stack(closes), None), strict=True))

    def _compute(self, closes: Floats, adjacent: Flags | None) -> Iterator[Meta]:
        returns = np.diff(np.log(closes))
        if adjacent is not None:
            returns = returns[:, adjacent]
        numbers = zip(
            hurst_exponents(returns),
            permutation_entropies(closes, adjacent),
            realised_volatilities(returns, self._timeframe),
            strict=True,
        )
        return (
            {
                "hurst": _rounded(hurst),
                "entropy": _rounded(entropy),
                "realised_volatility": _rounded(volatility),
            }
            for hurst, entropy, volatility in numbers
        )


def have_same_closes(one: Sequence[Row], other: Sequence[Row], last_closed_ms: int) -> bool:
    """Whether the closed rows of both have the same metadata."""
    pairs = zip(_closed(one, last_closed_ms), _closed(other, last_closed_ms), strict=True)
    return all(np.array_equal(ours, theirs) for ours, theirs in pairs)


def _closed(rows: Sequence[Row], last_closed_ms: int) -> tuple[Times, Floats]:
    """Open times and closes of the rows that have closed."""
    columns = Rows.of(rows)
    count = int(columns.times.searchsorted(last_closed_ms, side="right"))
    return columns.times[:count], columns.column("close")[:count].copy()


def hurst_exponents(returns: Floats) -> list[float | None]:
    """Hurst exponent of each line of log returns by detrended fluctuation analysis (DFA-1).

    The summed returns are cut into pieces of equal length and each piece's line of best fit is
    subtracted; the exponent is the slope of log(root mean square of the residuals) over
    log(length): C.-K. Peng et al., "Mosaic organization of DNA nucleotides", Phys. Rev. E 49 (1994)
    1685-1689; for stationary returns it is the Hurst exponent, and among cheap estimators it has
    the least bias (Weron 2002, Physica A 312, 285-299). Lengths run from 10 to a quarter of the
    returns by factors of the root of 2. About 0.5: no memory; above: trends persist; below: they
    revert. None with fewer than 119 returns or without movement.
    """
    lines, count = returns.shape
    if count < MIN_CLOSES - 1:
        return [None] * lines
    walk = np.cumsum(returns - returns.mean(axis=1, keepdims=True), axis=1)
    cut = _cut(count)
    # For each piece y, with t counted from its middle: sum y and sum t y, by cumulative sums.
    sums = _piece_sums(walk, cut)
    along = _piece_sums(walk * cut.positions, cut) - cut.middles * sums
    # The part of sum y^2 that the lines of best fit explain, per piece length.
    fitted = np.add.reduceat(
        sums * sums / cut.lengths + along * along / cut.spreads, cut.firsts, axis=1
    )
    squares = np.cumsum(walk * walk, axis=1)
    residuals = squares[:, cut.covered - 1] - fitted
    # Where every piece is a line, as around a single jump, the residuals are rounding errors.
    bent = residuals > _ROUNDING * squares[:, -1:]
    bent &= np.ptp(returns, axis=1, keepdims=True) >= _NO_MOVEMENT
    fluctuations = 0.5 * np.log(np.where(bent, residuals, 1.0) / cut.covered)
    # The slope over the lengths that count.
    counted = np.maximum(bent.sum(axis=1, keepdims=True), 1)
    x = np.where(bent, cut.log_sizes, 0.0)
    x = np.where(bent, x - x.sum(axis=1, keepdims=True) / counted, 0.0)
    spread = (x * x).sum(axis=1)
    slopes = (x * fluctuations).sum(axis=1) / np.where(spread > 0, spread, 1.0)
    return _where(bent.sum(axis=1) >= _MIN_SIZES, slopes)


@dataclass(frozen=True, slots=True)
class _Cut:
    """How a walk of one length is cut into whole pieces, for each piece length in turn.

    By piece: `begins`, `ends`, `lengths`, `middles` (the middle position) and `spreads` (the sum of
    squared distances from it). By piece length: `firsts` (index of its first piece), `covered`
    (positions in its pieces), `log_sizes`. `positions`: 0, 1, 2 ... of the walk.
    """

    positions: Floats
    begins: Indices
    ends: Indices
    lengths: Floats
    middles: Floats
    spreads: Floats
    firsts: Indices
    covered: Indices
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
        positions=np.arange(count, dtype=np.float64),
        begins=begins,
        ends=begins + lengths,
        lengths=lengths.astype(np.float64),
        middles=begins + (lengths - 1) / 2,
        spreads=lengths * (lengths**2 - 1.0) / 12,
        firsts=np.cumsum(pieces) - pieces,
        covered=pieces * sizes,
        log_sizes=np.log(sizes),
    )


def _piece_sums(values: Floats, cut: _Cut) -> Floats:
    """The sum of the values of each piece."""
    sums = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums[:, cut.ends] - sums[:, cut.begins]


def permutation_entropies(closes: Floats, adjacent: Flags | None = None) -> list[float | None]:
    """Normalised permutation entropy of each line, of order 4, delay 1, between 0 (regular) and 1.

    Shannon entropy of the order patterns of four successive closes, divided by log 4!; equal
    closes rank by time: C. Bandt, B. Pompe, "Permutation entropy: a natural complexity measure
    for time series", Phys. Rev. Lett. 88 (2002) 174102. `adjacent[i]` says whether closes i and
    i + 1 are one interval apart (None: all are); patterns across a hole do not count. None with
    fewer than 120 closes.
    """
    lines, count = closes.shape
    if count < MIN_CLOSES:
        return [None] * lines
    a, b, c, d = closes[:, :-3], closes[:, 1:-2], closes[:, 2:-1], closes[:, 3:]
    # The six comparisons tell the 24 orders apart.
    patterns = np.zeros((lines, count - 3), np.uint8)
    for bit, (one, other) in enumerate(((a, b), (a, c), (a, d), (b, c), (b, d), (c, d))):
        patterns |= (one > other).view(np.uint8) << np.uint8(bit)
    if adjacent is not None:
        patterns = patterns[:, adjacent[:-2] & adjacent[1:-1] & adjacent[2:]]
    whole = len(patterns[0])
    if whole < MIN_CLOSES - 3:
        return [None] * lines
    numbered = patterns + (np.arange(lines) * _PATTERNS)[:, None]
    counts = np.bincount(numbered.ravel(), minlength=lines * _PATTERNS).reshape(lines, _PATTERNS)
    shares = counts / whole
    entropies = -(shares * np.log(np.where(counts > 0, shares, 1.0))).sum(axis=1) / math.log(24)
    return [abs(entropy) for entropy in entropies.tolist()]


def realised_volatilities(returns: Floats, timeframe: Timeframe) -> list[float | None]:
    """Annualised realised volatility of each line: the root of the mean squared log return, per
    year of 365 d.

    T. Andersen, T. Bollerslev, "Answering the skeptics: yes, standard volatility models do
    provide accurate forecasts", Int. Economic Review 39 (1998) 885-905: no mean is subtracted.
    None with fewer than 20 returns.
    """
    lines, count = returns.shape
    if count < MIN_VOLATILITY_RETURNS:
        return [None] * lines
    variances = (returns * returns).sum(axis=1) / count * _YEAR_MS / timeframe.interval_ms
    volatilities: list[float | None] = np.sqrt(variances).tolist()
    return volatilities


def _where(known: Flags, values: Floats) -> list[float | None]:
    pairs = zip(known.tolist(), values.tolist(), strict=True)
    return [value if there else None for there, value in pairs]


def _rounded(value: float | None) -> float | None:
    return round(value, _DIGITS) if value is not None and math.isfinite(value) else None
