"""Candles as the exchanges send them: one as a tuple, many as columns. Judges nothing."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Self

import numpy as np

from market.columns import VALUES, Aggregation
from market.exact_decimals import Lines, floats, taken
from market.rows import Columns, Floats, Times


class Candle(NamedTuple):
    """One candle as the exchange sent it: its time, and the candle's columns in their order.

    Volume (base units) and turnover (quote units) stay its exact decimal text, a plain
    non-negative decimal: sums over several candles must not start from rounded numbers.
    """

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: str
    turnover: str


# Of what zip gives, without unpacking it.
new_candle: Final[Callable[[Iterable[Any]], Candle]] = partial(tuple.__new__, Candle)


# The decimal texts of the columns that are summed, each as long as the rows they belong to.
ExactTexts = tuple[Sequence[str], ...]

_COLUMNS: Final = [column for column in VALUES if column.candle]
_SUMMED: Final = tuple(
    index for index, column in enumerate(_COLUMNS) if column.aggregation is Aggregation.SUM
)
NO_TEXTS: Final[ExactTexts] = ((),) * len(_SUMMED)


class Candles(Columns[Candle]):
    """Candles in columns: all values as float64, and the exact texts of those that are summed."""

    __slots__ = ("texts",)
    names = tuple(column.name for column in _COLUMNS)
    summed = _SUMMED  # where those lie whose texts are kept

    def __init__(self, times: Times, values: Floats, texts: ExactTexts) -> None:
        super().__init__(times, values)
        self.texts = texts

    @classmethod
    def of(cls, candles: Sequence[Candle]) -> "Candles":
        if isinstance(candles, Candles):
            return candles
        if not candles:
            return cls(np.empty(0, np.int64), np.empty((0, len(cls.names))), NO_TEXTS)
        times, *columns = zip(*candles, strict=True)
        return cls.of_columns(times, columns)

    @classmethod
    def of_columns(cls, times: Sequence[int], columns: Sequence[Sequence[Any]]) -> "Candles":
        """Of the columns in their order, plain decimals where they are summed; not of none."""
        values = np.empty((len(times), len(cls.names)))
        for index, column in enumerate(columns):
            values[:, index] = floats(column) if index in _SUMMED else column
        texts = tuple(columns[index] for index in _SUMMED)
        return cls(np.array(times, np.int64), values, texts)

    def tuples(self) -> Iterable[Candle]:
        columns: list[Sequence[Any]] = self.values.T.tolist()
        for index, texts in zip(_SUMMED, self.texts, strict=True):
            columns[index] = texts
        return map(new_candle, zip(self.times.tolist(), *columns, strict=True))

    def taken(self, lines: Lines) -> Self:
        texts = tuple(taken(column, lines) for column in self.texts)
        return type(self)(self.times[lines], self.values[lines], texts)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        times = np.concatenate([part.times for part in parts])
        values = np.concatenate([part.values for part in parts])
        texts = tuple(
            [text for part in parts for text in part.texts[which]] for which in range(len(_SUMMED))
        )
        return cls(times, values, texts)._ascending()
