"""Columns of Arrow: their types, and how they are made of arrays. NaN stands for null."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
from arro3.core import Array, ChunkedArray, DataType

from market.rows import Floats, Times

TIME: Final = DataType.timestamp("ms", tz="UTC")
NUMBER: Final = DataType.float64()
TEXT: Final = DataType.dictionary(DataType.int32(), DataType.string())
_NULL: Final = Array([None], type=NUMBER)


def numbers(column: Floats) -> Array:
    unknown = np.isnan(column)
    values = np.ascontiguousarray(column)
    if not unknown.any():
        return Array.from_numpy(values)
    # Nulls are taken from behind the values.
    count = len(values)
    lines = np.where(unknown, count, np.arange(count)).astype(np.uint32)
    with_null = ChunkedArray([Array.from_numpy(values), _NULL]).combine_chunks()
    return with_null.take(Array.from_numpy(lines))


def times(column: Times) -> Array:
    return Array.from_numpy(np.ascontiguousarray(column)).cast(TIME)


def texts(values: Sequence[str]) -> Array:
    """A dictionary of these values, which differ; `take` its places."""
    return Array(list(values), type=DataType.string()).cast(TEXT)


def repeated(text: str, count: int) -> Array:
    return taken(texts([text]), np.zeros(count, np.int32))


def taken(values: Array, places: npt.NDArray[np.int32]) -> Array:
    return values.take(Array.from_numpy(places))


def metadata_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """A head's fields; those that are no text as JSON."""
    return {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in fields.items()
    }
