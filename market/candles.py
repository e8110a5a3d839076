"""Candles as the exchanges send them: one as a tuple, many as columns; nothing is validated."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Self

import numpy as np

from market.columns import CANDLE_WIDTH, TRADE_VALUES, VALUES, Aggregation
from market.exact_sums import Lines, floats, select
from market.rows import Columns, Floats, Times, stacked


class Candle(NamedTuple):
    """One candle: its open time, then the columns of market/columns.py that belong to a candle.

    Volume (base units) and turnover (quote units) keep the exchange's plain non-negative decimal
    text: sums over several candles must not start from rounded numbers. So do the columns of
    trades, which are None where they are not told, or not wanted.
    """

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: str
    turnover: str
    trades: str | None = None
    taker_buy_volume: str | None = None
    taker_buy_turnover: str | None = None


# Makes a Candle of a tuple from zip without unpacking it.
new_candle: Final[Callable[[Iterable[Any]], Candle]] = partial(tuple.__new__, Candle)


# For each summed column the decimal texts, one per row; the text of a null is 0.
ExactTexts = tuple[Sequence[str], ...]

_COLUMNS: Final = [column for column in VALUES if column.candle]
_SUMMED: Final = tuple(
    index for index, column in enumerate(_COLUMNS) if column.aggregation is Aggregation.SUM
)
_TRADES: Final = tuple(range(CANDLE_WIDTH, CANDLE_WIDTH + len(TRADE_VALUES)))
NO_TEXTS: Final[ExactTexts] = ((),) * len(_SUMMED)


class Candles(Columns[Candle]):
    """Candles in columns: every value as float64, plus the exact texts of the summed columns.

    Wide ones have the columns of trades too; NaN where one is not told.
    """

    __slots__ = ("texts",)
    names = tuple(column.name for column in _COLUMNS)
    summed = (*_SUMMED, *_TRADES)  # indices of the columns whose texts are stored, as far as told

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
        if all(text is None for column in columns[CANDLE_WIDTH:] for text in column):
            columns = columns[:CANDLE_WIDTH]
        return cls.from_columns(times, columns)

    @classmethod
    def from_columns(cls, times: Sequence[int], columns: Sequence[Sequence[Any]]) -> "Candles":
        """From at least one row; summed columns hold plain decimal texts, the others numbers. Those
        of trades are all there, with None where they are not told, or none is."""
        values = np.empty((len(times), len(columns)))
        for index, column in enumerate(columns[:CANDLE_WIDTH]):
            values[:, index] = floats(column) if index in _SUMMED else column
        texts = [columns[index] for index in _SUMMED]
        for index in _TRADES[: len(columns) - CANDLE_WIDTH]:
            told = ["0" if text is None else text for text in columns[index]]
            values[:, index] = floats(told)
            values[[text is None for text in columns[index]], index] = np.nan
            texts.append(told)
        return cls(np.array(times, np.int64), values, tuple(texts))

    @property
    def is_wide(self) -> bool:
        return len(self.values.T) > CANDLE_WIDTH

    def tuples(self) -> Iterable[Candle]:
        columns: list[Sequence[Any]] = self.values.T.tolist()
        for index, texts in zip((*_SUMMED, *_TRADES), self.texts, strict=False):
            columns[index] = texts
        if not self.is_wide:
            columns += [(None,) * len(self)] * len(_TRADES)
        for index in _TRADES if self.is_wide else ():
            nulls = np.isnan(self.values[:, index]).tolist()
            told = zip(columns[index], nulls, strict=True)
            columns[index] = [None if is_null else text for text, is_null in told]
        return map(new_candle, zip(self.times.tolist(), *columns, strict=True))

    def select(self, lines: Lines) -> Self:
        texts = tuple(select(column, lines) for column in self.texts)
        return type(self)(self.times[lines], self.values[lines], texts)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        times = np.concatenate([part.times for part in parts])
        values = stacked([part.values for part in parts])
        texts = tuple(
            [text for part in parts for text in part._texts_of(which)]
            for which in range(max(len(part.texts) for part in parts))
        )
        return cls(times, values, texts)._ascending()

    def _texts_of(self, which: int) -> Sequence[str]:
        return self.texts[which] if which < len(self.texts) else ("0",) * len(self)
