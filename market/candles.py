"""Candles as the exchanges send them: one as a tuple, many as columns. Judges nothing."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Self

import numpy as np

from market.exact_decimals import Lines, floats, taken
from market.rows import Columns, Floats, Times


class Candle(NamedTuple):
    """One candle as the exchange sent it.

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


# The decimal texts of volume and of turnover, each as long as the rows they belong to.
ExactTexts = tuple[Sequence[str], Sequence[str]]


class Candles(Columns[Candle]):
    """Candles in columns: open, high, low, close, volume, turnover as float64, and the exact
    texts of the last two."""

    __slots__ = ("texts",)
    width = 6

    def __init__(self, times: Times, values: Floats, texts: ExactTexts) -> None:
        super().__init__(times, values)
        self.texts = texts

    @classmethod
    def of(cls, candles: Sequence[Candle]) -> "Candles":
        if isinstance(candles, Candles):
            return candles
        if not candles:
            return cls(np.empty(0, np.int64), np.empty((0, cls.width)), ((), ()))
        times, *prices, volumes, turnovers = zip(*candles, strict=True)
        return cls.of_columns(times, prices, volumes, turnovers)

    @classmethod
    def of_columns(
        cls,
        times: Sequence[int],
        prices: Sequence[Sequence[float]],
        volumes: Sequence[str],
        turnovers: Sequence[str],
    ) -> "Candles":
        """Of `prices`, four columns, and plain decimals; one line at least."""
        values = np.empty((len(times), cls.width))
        for index, column in enumerate((*prices, floats(volumes), floats(turnovers))):
            values[:, index] = column
        return cls(np.array(times, np.int64), values, (volumes, turnovers))

    def tuples(self) -> Iterable[Candle]:
        prices = self.values[:, :4].T.tolist()
        return map(new_candle, zip(self.times.tolist(), *prices, *self.texts, strict=True))

    def taken(self, lines: Lines) -> Self:
        volumes, turnovers = (taken(texts, lines) for texts in self.texts)
        return type(self)(self.times[lines], self.values[lines], (volumes, turnovers))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        times = np.concatenate([part.times for part in parts])
        values = np.concatenate([part.values for part in parts])
        volumes, turnovers = (
            [text for part in parts for text in part.texts[which]] for which in (0, 1)
        )
        return cls(times, values, (volumes, turnovers))._ascending()
