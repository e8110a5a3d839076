"""Table: rows of markets in Arrow columns, with what the service says beside them."""

import time
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import arro3.core
from arro3.core import Table as ArrowTable

from perpcache_client.errors import MissingPackage
from perpcache_client.records import Market, Missing

# Some of arro3's functions return something else than its stubs say.
_arro3: Any = arro3.core
_Kind: Any = _arro3.DataType

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import polars as pl


class Table:
    """Rows of markets in columns, market by market, each market's in the order of time.

    It is an Arrow stream (`__arrow_c_stream__`), so that polars, DuckDB, pyarrow and others take
    it as it is, without copies; `to_pandas`, `to_polars` and `to_numpy` do it in a word. Times are
    timestamp[ms, UTC], numbers float64 with nulls, exchange and symbol dictionaries.

    `name` is the document ("4h"), None for history. `version` and `as_of` (UTC ms) are those of the
    document; `markets` are those of the document, also those without rows, with when each was read
    (`checked_at`) and since when its rows are carried over (`stale_since`), if they are. `missing`
    says what it lacks; `unknown` are symbols that were asked for and that the
    service does not know. `next_cursor`, of history with `limit`, leads to the next page.
    """

    def __init__(
        self,
        arrow: ArrowTable,
        *,
        name: str | None = None,
        version: int | None = None,
        as_of: int | None = None,
        markets: Sequence[Market] = (),
        missing: Sequence[Missing] = (),
        unknown: Sequence[str] = (),
        age_s: float | None = None,
        next_cursor: str | None = None,
    ) -> None:
        self._arrow = arrow
        self._made_s = time.monotonic()
        self._age_s = age_s
        self.name = name
        self.version = version
        self.as_of = as_of
        self.markets = tuple(markets)
        self.missing = tuple(missing)
        self.unknown = tuple(unknown)
        self.next_cursor = next_cursor

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return self._arrow.column_names

    @property
    def age_s(self) -> float:
        """Seconds since the rows were published, by the service's clock when it answered and this
        machine's monotonic one since then. It goes on growing. Infinite where it is not known."""
        if self._age_s is None:
            return float("inf")
        return self._age_s + time.monotonic() - self._made_s

    def __len__(self) -> int:
        return self._arrow.num_rows

    def __repr__(self) -> str:
        what = "history" if self.name is None else f"{self.name}, version {self.version}"
        return f"<Table of {what}: {len(self)} rows of {', '.join(self.columns)}>"

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._arrow.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self._arrow.schema.__arrow_c_schema__()

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows as tuples in the order of `columns`; times as UTC milliseconds, nulls as None.

        For some rows it is handy; of many, columns are faster.
        """
        names = self.columns
        return zip(*(_plain(self._column(name)) for name in names), strict=True)

    def to_numpy(self) -> "dict[str, np.ndarray[Any, Any]]":
        """An array for each column: datetime64[ms] in UTC (NaT where null), float64 (NaN where
        null), bool, and objects for texts."""
        numpy = _package("numpy")
        return {name: _array(self._column(name), numpy) for name in self.columns}

    def to_pandas(self) -> "pd.DataFrame":
        """A DataFrame; texts are categories, times datetime64[ms, UTC], nulls NaN or NaT."""
        numpy, pandas = _package("numpy", extra="pandas"), _package("pandas")
        series: dict[str, Any] = {}
        for name in self.columns:
            column = self._column(name)
            if _Kind.is_dictionary(column.type):
                codes, words = _codes(column, numpy)
                series[name] = pandas.Categorical.from_codes(codes, words)
            elif _Kind.is_timestamp(column.type):
                times = pandas.Series(_array(column, numpy))
                series[name] = times.dt.tz_localize("UTC")
            else:
                series[name] = _array(column, numpy)
        frame: pd.DataFrame = pandas.DataFrame(series)
        return frame

    def to_polars(self) -> "pl.DataFrame":
        """A DataFrame of polars, which takes the columns as they are."""
        frame: pl.DataFrame = _package("polars").DataFrame(self)
        return frame

    def _column(self, name: str) -> Any:
        """A ChunkedArray."""
        return self._arrow.column(name)


def _plain(column: Any) -> list[Any]:
    if _Kind.is_timestamp(column.type):
        column = column.cast(_Kind.int64())
    values: list[Any] = column.to_pylist()
    return values


def _array(column: Any, numpy: ModuleType) -> Any:
    kind = column.type
    if _Kind.is_dictionary(kind):
        codes, words = _codes(column, numpy)
        return numpy.array(words, dtype=object)[codes]
    if _Kind.is_timestamp(kind):
        whole = column.cast(_Kind.int64())
        if not whole.null_count and len(whole):
            return whole.to_numpy().view("datetime64[ms]")
        return numpy.array(whole.to_pylist(), dtype="datetime64[ms]")
    if _Kind.is_string(kind):
        return numpy.array(column.to_pylist(), dtype=object)
    if not column.null_count and len(column):
        return column.to_numpy()
    dtype = numpy.float64 if _Kind.is_floating(kind) else numpy.bool_
    return numpy.array(column.to_pylist(), dtype=dtype)


def _codes(column: Any, numpy: ModuleType) -> tuple[Any, list[str]]:
    """The indices of a dictionary column, and the words that they stand for, each once."""
    places: dict[str, int] = {}
    parts: list[Any] = []
    for chunk in column.chunks:
        words: list[str] = _arro3.dictionary_dictionary(chunk).to_pylist()
        own = [places.setdefault(word, len(places)) for word in words]
        if len(chunk):
            indices = _arro3.dictionary_indices(chunk).to_numpy()
            parts.append(numpy.array(own, numpy.int32)[indices])
    return numpy.concatenate([numpy.empty(0, numpy.int32), *parts]), list(places)


def _package(name: str, extra: str | None = None) -> ModuleType:
    try:
        return __import__(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        wanted = extra or name
        raise MissingPackage(
            f"{name} is not installed: pip install 'perpcache-client[{wanted}]'"
        ) from None
