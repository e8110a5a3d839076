"""Sums of candles' volumes, exact in decimal: of floats by their shortest form, or of texts."""

from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from market.candles import Candles, ExactTexts
from market.exact_sums import are_short, whole_units
from market.rows import Floats

# A decimal of at most 15 significant digits is recovered from its float64 (DBL_DIG of IEEE 754).
_RECOVERABLE_BELOW: Final = 10.0**15
# Powers of ten up to 10**22 are exact in float64; the fast path needs an exact scale.
_MAX_DECIMALS: Final = 22
_POWERS: Final = [10.0**decimals for decimals in range(_MAX_DECIMALS + 1)]
# What is smaller than this, negated, has 15 digits with one decimal, with two, and so on.
_SMALLER_WITH: Final = [-(10.0 ** (15 - decimals)) for decimals in range(1, _MAX_DECIMALS + 1)]
_EXACT_BELOW: Final = 2.0**53  # integers below it are exact in float64
_FITS_INT64: Final = 9e18
_FROM_THE_FIRST: Final = np.zeros(1, np.intp)


def decimal_sums(
    values: Floats, starts: npt.NDArray[np.intp], exact: ExactTexts | None = None
) -> Floats:
    """The float nearest to the decimal sum of each group; `starts`: each group's first row.

    `exact`: the decimal texts of each column; without them the shortest form of each float counts.
    """
    scales, units, recovered = _recovered_units(values)
    totals = np.add.reduceat(units, starts, axis=1)
    small = totals.max(axis=1) < _EXACT_BELOW
    sums: Floats = (totals / scales).T
    for column in range(values.shape[1]):
        texts = exact[column] if exact is not None else None
        if not recovered[column] or (texts is not None and not are_short(texts)):
            sums[:, column] = _sums_of_texts(values[:, column], starts, texts)
        elif not small[column]:
            sums[:, column] = _sums_of_integers(units[column], starts, int(scales[column, 0]))
    return sums


def nullable_sums(
    values: Floats, starts: npt.NDArray[np.intp], exact: ExactTexts | None = None
) -> Floats:
    """As decimal_sums; the sum of a group with a null is null. The text of a null is 0."""
    nulls = np.isnan(values)
    if not nulls.any():
        return decimal_sums(values, starts, exact)
    sums = decimal_sums(np.where(nulls, 0.0, values), starts, exact)
    sums[np.logical_or.reduceat(nulls, starts, axis=0)] = np.nan
    return sums


class RunningSums:
    """Sums of any lines of columns of volumes, each computed from two running sums of integers.

    They are exact for up to 9000 lines. NaN counts as nothing; with `nullable` it makes the sum
    null.
    """

    def __init__(self, values: Floats, *, nullable: bool = False) -> None:
        self._nulls: npt.NDArray[np.intp] | None = None
        if nullable:
            self._nulls = np.zeros((len(values) + 1, values.shape[1]), np.intp)
            np.cumsum(np.isnan(values), axis=0, out=self._nulls[1:])
        scales, units, recovered = _recovered_units(np.nan_to_num(values))
        self._values = values
        self._scales = [int(scale) for (scale,) in scales.tolist()]
        self._recovered = recovered.tolist()
        self._totals = np.zeros((len(units), len(values) + 1), np.int64)
        units[~recovered] = 0.0  # they may be too large, and are not used
        np.cumsum(units, axis=1, dtype=np.int64, out=self._totals[:, 1:])

    def between(self, begins: npt.NDArray[np.intp], ends: npt.NDArray[np.intp]) -> Floats:
        """The float nearest to the decimal sum of the lines from each begin to its end (excluded),
        one line for each."""
        sums = np.empty((len(begins), len(self._scales)))
        for column, scale in enumerate(self._scales):
            if self._recovered[column]:
                totals = self._totals[column]
                # Python divides two integers of any size with correct rounding.
                found = [total / scale for total in (totals[ends] - totals[begins]).tolist()]
            else:
                spans = zip(begins.tolist(), ends.tolist(), strict=True)
                parts = (np.nan_to_num(self._values[begin:end, column]) for begin, end in spans)
                found = [_sums_of_texts(part, _FROM_THE_FIRST, None)[0] for part in parts]
            sums[:, column] = found
        if self._nulls is not None:
            sums[self._nulls[ends] > self._nulls[begins]] = np.nan
        return sums


def lost_digits(candles: Candles) -> npt.NDArray[np.bool_]:
    """The candles of which the shortest form of a summed column's float does not equal its text."""
    lost = np.zeros(len(candles), np.bool_)
    for index, texts in zip(candles.summed, candles.texts, strict=False):
        values = np.nan_to_num(candles.values[:, index])  # the text of a null is 0
        if not len(values) or (are_short(texts) and values.max() < _RECOVERABLE_BELOW):
            continue
        pairs = zip(texts, values.tolist(), strict=True)
        lost |= [Decimal(text) != Decimal(repr(value)) for text, value in pairs]
    return lost


def _recovered_units(values: Floats) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Each column's scale, its values in whole units, and whether these are exact for texts of
    <= 15 digits.

    The unit is the finest power of ten at which the largest value still has at most 15 digits.
    The proof: each value is the float nearest to a whole number of units with at most 15 digits,
    so no other decimal of 15 digits has this float. A sum of units is exact while it is below
    2**53, and the one division at the end rounds correctly.
    """
    columns = values.T.copy()
    largest = columns.max(axis=1, keepdims=True)
    scales = np.array([[_scale(value)] for (value,) in largest.tolist()])
    units = np.rint(columns * scales)
    recovered = (units / scales == columns) & (largest * scales < _RECOVERABLE_BELOW)
    return scales, units, recovered.all(axis=1)


def _scale(largest: float) -> float:
    """The largest power of ten that keeps `largest` within 15 digits before the point."""
    decimals = bisect_left(_SMALLER_WITH, -largest)
    scale = _POWERS[decimals]
    return scale if largest * scale < _RECOVERABLE_BELOW or not decimals else scale / 10.0


def _sums_of_integers(units: Floats, starts: npt.NDArray[np.intp], scale: int) -> list[float]:
    """Sums of whole units that are each below 2**53; up to 9000 of a group fit int64."""
    totals = np.add.reduceat(units.astype(np.int64), starts).tolist()
    # Python divides two integers of any size with correct rounding.
    return [total / scale for total in totals]


def _sums_of_texts(
    values: Floats, starts: npt.NDArray[np.intp], texts: Sequence[str] | None
) -> list[float]:
    if texts is None:
        texts = [f"{Decimal(repr(value)):f}" for value in values.tolist()]
    units, scale = whole_units(texts)
    if float(np.add.reduceat(values, starts).max()) * scale < _FITS_INT64:
        whole = np.asarray(units, np.int64)
        totals = np.add.reduceat(whole, starts).tolist()
    else:
        exact = units if isinstance(units, list) else units.tolist()
        totals = [sum(exact[begin:end]) for begin, end in pairwise([*starts.tolist(), len(exact)])]
    return [total / scale for total in totals]
