"""Candles as the exchanges send them: one as a tuple, many as columns; nothing is validated."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Self

import numpy as np

from market.columns import VALUES, Aggregation
from market.exact_sums import Lines, floats, select
from market.rows import Columns, Floats, Times


class Candle(NamedTuple):
    """One candle: its open time, then the columns of market/columns.py that belong to a candle.

    Volume (base units) and turnover (quote units) keep the exchange's plain non-negative decimal
    text: sums over several candles must not start from rounded numbers.
    """

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: str
    turnover: str


# Makes a Candle of a tuple from zip without unpacking it.
new_candle: Final[Callable[[Iterable[Any]], Candle]] = partial(tuple.__new__, Candle)


# For each summed column the decimal texts, one per row.
ExactTexts = tuple[Sequence[str], ...]

_COLUMNS: Final = [column for column in VALUES if column.candle]
_SUMMED: Final = tuple(
    index for index, column in enumerate(_COLUMNS) if column.aggregation is Aggregation.SUM
)
NO_TEXTS: Final[ExactTexts] = ((),) * len(_SUMMED)


class Candles(Columns[Candle]):
    """Candles in columns: every value as float64, plus the exact texts of the summed columns."""

    __slots__ = ("texts",)
    names = tuple(column.name for column in _COLUMNS)
    summed = _SUMMED  # indices of the columns whose texts are stored

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
        return cls.from_columns(times, columns)

    @classmethod
    def from_columns(cls, times: Sequence[int], columns: Sequence[Sequence[Any]]) -> "Candles":
        """From at least one row; summed columns hold plain decimal texts, the others numbers."""
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

    def select(self, lines: Lines) -> Self:
        texts = tuple(select(column, lines) for column in self.texts)
        return type(self)(self.times[lines], self.values[lines], texts)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        times = np.concatenate([part.times for part in parts])
        values = np.concatenate([part.values for part in parts])
        texts = tuple(
            [text for part in parts for text in part.texts[which]] for which in range(len(_SUMMED))
        )
        return cls(times, values, texts)._ascending()
