"""Time series of rows in numpy arrays that behave like an immutable list of tuples."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final, Self, SupportsIndex, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt

from market.columns import (
    CANDLE,
    CANDLE_TRADES,
    CANDLE_WIDTH,
    NULLABLE,
    NUMBERS,
    TIME,
    TRADE_VALUES,
    TRADES,
    VALUES,
    Row,
    width_of,
)

Times = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_TIME_LIMIT_MS: Final = 10**15
T_co = TypeVar("T_co", bound=tuple[Any, ...], covariant=True)


def on_grid(times: Times | Floats, interval_ms: int) -> bool:
    """Whether times (at least one, all >= 0) are whole numbers that ascend on the grid."""
    first, last = times[0], times[-1]
    if not 0 <= first <= last < _TIME_LIMIT_MS or first % interval_ms:
        return False
    steps = times[1:] - times[:-1]
    # The first check is the fast path for a series without holes.
    return bool((steps == interval_ms).all()) or (
        bool((steps > 0).all()) and not bool((steps % interval_ms).any())
    )


def located(times: Times, among: Times) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """Which of `times` are in `among`, and at which index; both ascend."""
    lines = among.searchsorted(times)
    if not len(among):
        return np.zeros(len(times), np.bool_), lines
    lines[lines == len(among)] = 0
    return among[lines] == times, lines


def are_among(times: Times, among: Times) -> npt.NDArray[np.bool_]:
    """Which of `times` are in `among`; both ascend, which makes it faster than numpy's isin."""
    return located(times, among)[0]


def widened(values: Floats, width: int) -> Floats:
    """The lines, with nulls in the columns that they lack."""
    lacking = width - values.shape[1]
    if lacking <= 0:
        return values
    return np.concatenate((values, np.full((len(values), lacking), np.nan)), axis=1)


def stacked(parts: Sequence[Floats]) -> Floats:
    """The lines of all parts, each as wide as the widest."""
    width = max(part.shape[1] for part in parts)
    return np.concatenate([widened(part, width) for part in parts])


class Columns(Sequence[T_co]):
    """`times` in ms, ascending and unique, and one line of `values` for each.

    Reads like an immutable list of tuples that begin with the time, and compares equal to one.
    A slice shares its arrays with the original.
    """

    __slots__ = ("times", "values")
    names: ClassVar[tuple[str, ...]]  # of the columns in a line of values

    def __init__(self, times: Times, values: Floats) -> None:
        self.times = times
        self.values = values

    def tuples(self) -> Iterable[T_co]:
        """The lines as tuples of Python numbers; floats are unchanged."""
        lines = zip(self.times.tolist(), *self.values.T.tolist(), strict=True)
        return cast(Iterable[T_co], lines)

    def column(self, name: str) -> Floats:
        """The values of one column, as a view."""
        return self.values[:, self.names.index(name)]

    def select(self, lines: slice | npt.NDArray[np.intp]) -> Self:
        """Some of the lines, by slice or indices."""
        return type(self)(self.times[lines], self.values[lines])

    def between(self, first_ms: int, last_ms: int) -> Self:
        """The lines from `first_ms` to `last_ms`, both included."""
        times = self.times
        if not len(times) or (first_ms <= times[0] and times[-1] <= last_ms):
            return self
        begin, end = times.searchsorted((first_ms, last_ms + 1))
        return self.select(slice(int(begin), int(end)))

    def at(self, times: Times) -> Self:
        """The lines of these times."""
        return self.select(np.flatnonzero(are_among(self.times, times)))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All lines of the parts, ascending; of two with one time the later part's is used."""
        times = np.concatenate([part.times for part in parts])
        return cls(times, stacked([part.values for part in parts]))._ascending()

    def _ascending(self) -> Self:
        times = self.times
        if bool((times[1:] > times[:-1]).all()):
            return self
        order = np.argsort(times, kind="stable")
        ordered = times[order]
        last_of_its_time = np.append(ordered[1:] != ordered[:-1], True)
        return self.select(order[last_of_its_time])

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[T_co]:
        return iter(self.tuples())

    @overload
    def __getitem__(self, index: SupportsIndex) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: SupportsIndex | slice) -> T_co | Self:
        if isinstance(index, slice):
            return self.select(index)
        position = range(len(self))[index]
        (line,) = self.select(slice(position, position + 1)).tuples()
        return line

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"


def first_time(rows: Sequence[tuple[Any, ...]]) -> int:
    """The time of the first row, without building the row, which is costly for texts."""
    time: int = int(rows.times[0]) if isinstance(rows, Columns) else rows[0][TIME]
    return time


class TimedValues(Columns[tuple[int, float]]):
    """A series of one number per time: open interest snapshots, settlements."""

    __slots__ = ()
    names = ("value",)

    @property
    def numbers(self) -> Floats:
        return self.values[:, 0]

    @classmethod
    def of(cls, pairs: Sequence[tuple[int, float]]) -> "TimedValues":
        if isinstance(pairs, TimedValues):
            return pairs
        if not pairs:
            return cls(np.empty(0, np.int64), np.empty((0, 1)))
        times, values = zip(*pairs, strict=True)
        return cls(np.array(times, np.int64), np.array(values, np.float64)[:, None])


_EVERY: Final = (*VALUES, *TRADE_VALUES)
_NULLABLE: Final = [index for index, column in enumerate(_EVERY) if column.nullable]
_PLACES: Final = {column.name: index for index, column in enumerate(_EVERY)}


class Rows(Columns[Row]):
    """Rows of candles, narrow or wide; NaN in a nullable column stands for None.

    Wide ones are told by values or tuples that are as long as a wide row.
    """

    __slots__ = ()
    names = tuple(column.name for column in VALUES)

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Rows":
        if isinstance(rows, Rows):
            return rows
        if not rows:
            return cls(np.empty(0, np.int64), np.empty((0, len(cls.names))))
        times, *columns = zip(*rows, strict=True)
        values = np.empty((len(rows), width_of(len(columns) > len(cls.names))))
        for index, column in enumerate(columns):
            values[:, index] = column  # None becomes NaN
        return cls(np.array(times, np.int64), values)

    @property
    def is_wide(self) -> bool:
        return len(self.values.T) > len(self.names)

    def fitted(self, trade_columns: bool) -> "Rows":
        """The rows in this width: with nulls, or without what they tell of trades."""
        if self.is_wide is trade_columns:
            return self
        if trade_columns:
            return Rows(self.times, widened(self.values, width_of(True)))
        return Rows(self.times, np.ascontiguousarray(self.values[:, : len(self.names)]))

    def column(self, name: str) -> Floats:
        place = _PLACES[name]
        if place >= self.values.shape[1]:
            return np.full(len(self), np.nan)  # a narrow row tells nothing of trades
        return self.values[:, place]

    def tuples(self) -> Iterable[Row]:
        columns = self.values.T.tolist()
        for index in _NULLABLE[: len(columns) - _NULLABLE[0]]:
            columns[index] = [None if value != value else value for value in columns[index]]
        return cast(Iterable[Row], zip(self.times.tolist(), *columns, strict=True))

    def non_null(self, name: str) -> TimedValues:
        """The values of one column by time, nulls left out."""
        column = self.column(name)
        there = np.flatnonzero(~np.isnan(column))
        return TimedValues(self.times[there], column[there, None])

    def is_finite(self) -> bool:
        """Whether every value is finite, or null in a nullable column."""
        numbers, nullable = self.values[:, NUMBERS], self.values[:, NULLABLE]
        if not np.isfinite(numbers).all() or np.isinf(nullable).any():
            return False
        return not (self.is_wide and np.isinf(self.values[:, TRADES]).any())


def rows_of(candles: Columns[Any]) -> Rows:
    """Candles (market/candles.py) as rows, without open interest and funding rates."""
    wide = candles.values.shape[1] > CANDLE_WIDTH
    values = np.full((len(candles), width_of(wide)), np.nan)
    values[:, CANDLE] = candles.values[:, :CANDLE_WIDTH]
    if wide:
        values[:, TRADES] = candles.values[:, CANDLE_TRADES]
    return Rows(candles.times, values)


def candle_values(values: Floats) -> Floats:
    """The columns of candles in lines of rows, in the order of candles."""
    if values.shape[1] <= TRADES.start:
        return values[:, CANDLE]
    return np.concatenate((values[:, CANDLE], values[:, TRADES]), axis=1)


def are_same_candles(ours: Floats, theirs: Floats) -> npt.NDArray[np.bool_]:
    """Which lines have the same candles; lines of `candle_values`. What one side does not tell of
    trades is no difference."""
    same: npt.NDArray[np.bool_] = (ours[:, :CANDLE_WIDTH] == theirs[:, :CANDLE_WIDTH]).all(axis=1)
    if ours.shape[1] > CANDLE_WIDTH < theirs.shape[1]:
        one, other = ours[:, CANDLE_TRADES], theirs[:, CANDLE_TRADES]
        same &= ((one == other) | np.isnan(one) | np.isnan(other)).all(axis=1)
    return same
