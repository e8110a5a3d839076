"""Arrays of numbers in PostgreSQL's binary form, from numpy and back; rows of COPY in binary form.

The form is that of array_send and array_recv: number of dimensions, whether there are nulls, the
element's type, length, first index; then each element, its length in bytes before it.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]
_HEADER: Final = struct.Struct(">iiIii")
_LENGTH: Final = struct.Struct(">i")
_NULL: Final = _LENGTH.pack(-1)
COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END: Final = b"\xff\xff"
# The object ids of the types smallint, integer, bigint and double precision, which never change.
_OIDS: Final = {"i2": 21, "i4": 23, "i8": 20, "f8": 701}
_ELEMENTS: Final = {
    oid: np.dtype([("length", ">i4"), ("number", f">{kind}")]) for kind, oid in _OIDS.items()
}


class MisshapenArray(ValueError):
    """The bytes are not those of an array that this module makes."""


def array_bytes(numbers: Numbers) -> bytes:
    """One array of at least one element, of int16, int32, int64 or float64."""
    oid = _OIDS[numbers.dtype.str[1:]]
    elements = np.empty(len(numbers), _ELEMENTS[oid])
    elements["length"] = numbers.dtype.itemsize
    elements["number"] = numbers
    return _HEADER.pack(1, 0, oid, len(numbers), 1) + elements.tobytes()


def array_from(content: bytes) -> Numbers:
    """The elements as int64 or float64. Raises MisshapenArray."""
    if len(content) < _HEADER.size:
        raise MisshapenArray("an array without elements")
    dimensions, nulls, oid, length, _ = _HEADER.unpack_from(content)
    if dimensions != 1 or nulls or oid not in _ELEMENTS:
        raise MisshapenArray("an array of another form")
    kind = _ELEMENTS[oid]
    if len(content) != _HEADER.size + length * kind.itemsize:
        raise MisshapenArray("an array of another length than it tells")
    numbers = np.frombuffer(content, kind, offset=_HEADER.size)["number"]
    return numbers.astype(np.float64 if oid == _OIDS["f8"] else np.int64)


def copy_row(fields: Sequence[bytes | None]) -> bytes:
    """One row of COPY in binary form from its fields' bytes; None is null."""
    parts = [struct.pack(">h", len(fields))]
    for field in fields:
        parts += [_NULL] if field is None else [_LENGTH.pack(len(field)), field]
    return b"".join(parts)


def copy_columns(columns: Sequence[Numbers]) -> bytes:
    """The rows of COPY in binary form whose columns are given, of int32, int64 or float64."""
    fields: list[tuple[str, str]] = [("count", ">i2")]
    for place, column in enumerate(columns):
        kind = column.dtype.newbyteorder(">").str
        fields += [(f"length{place}", ">i4"), (f"number{place}", kind)]
    rows = np.empty(len(columns[0]), np.dtype(fields))
    rows["count"] = len(columns)
    for place, column in enumerate(columns):
        rows[f"length{place}"] = column.dtype.itemsize
        rows[f"number{place}"] = column
    return rows.tobytes()


def int2_field(number: int) -> bytes:
    return struct.pack(">h", number)


def int4_field(number: int) -> bytes:
    return struct.pack(">i", number)


def int8_field(number: int) -> bytes:
    return struct.pack(">q", number)


def copy_text(rows: Iterable[bytes]) -> bytes:
    """What COPY ... WITH (FORMAT binary) reads."""
    return b"".join([COPY_HEAD, *rows, COPY_END])
