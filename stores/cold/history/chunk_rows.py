"""The rows of the chunk tables: their columns, how they are written with COPY and how read."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from stores.cold.history.arrays import (
    MisshapenArray,
    Numbers,
    array_bytes,
    array_from,
    copy_row,
)
from stores.cold.history.codec import (
    CANDLE_COLUMNS,
    Chunk,
    DamagedChunk,
    Piece,
    decode,
    decode_times,
)
from stores.cold.history.series import CHUNK_INSTANTS, SeriesKey
from timing.clock import utc_text

_INTEGERS: Final = ("int2", "int4", "int8")
_TIMES: Final = ("steps", "known")
_HEAD: Final = (
    *("series_id", "slot", "format", "n", "first_t", "last_t", "step_ms"),
    *("newest_known_at", "checksum", "known_base"),
)
_HEAD_FORMS: Final = ("i", "i", "h", "h", *("q",) * 7)
_WIDTHS: Final = {2: "int2", 4: "int4", 8: "int8"}


@dataclass(frozen=True, slots=True)
class ChunkTable:
    """One of the two tables of chunks: for candles, or for one value."""

    name: str
    base: str
    decimals: Sequence[str]
    values: Sequence[str]

    @property
    def columns(self) -> list[str]:
        """All columns, in the order of `copy_bytes`."""
        arrays = [f"{name}_{width}" for name in _TIMES for width in _INTEGERS]
        arrays += [f"{name}_{width}" for name in self.values for width in (*_INTEGERS, "float8")]
        return [*_HEAD, self.base, *self.decimals, *arrays]

    def selected(self, *, with_values: bool = True) -> str:
        """What to select of c, the table, for `chunk_of`."""
        head = ", ".join(f"c.{name}" for name in (*_HEAD, self.base, *self.decimals))
        arrays = [_sent(name, _INTEGERS) for name in _TIMES]
        if with_values:
            arrays += [_sent(name, (*_INTEGERS, "float8")) for name in self.values]
        return ", ".join([head, *arrays])

    def copy_bytes(self, series_id: int, slot: int, chunk: Chunk) -> bytes:
        """The row of COPY in binary form."""
        head = (
            *(series_id, slot, chunk.format, chunk.n, chunk.first_t, chunk.last_t, chunk.step_ms),
            *(chunk.newest_known_at, chunk.checksum, chunk.known_base, chunk.value_base),
        )
        pairs = zip(_HEAD_FORMS, head, strict=True)
        fields: list[bytes | None] = [struct.pack(f">{form}", number) for form, number in pairs]
        fields += [None if each is None else struct.pack(">h", each) for each in chunk.decimals]
        for name in _TIMES:
            fields += _fields(chunk.arrays.get(name), _INTEGERS)
        for name in self.values:
            fields += _fields(chunk.arrays.get(name), (*_INTEGERS, "float8"))
        return copy_row(fields)

    def chunk_of(self, row: asyncpg.Record, *, with_values: bool = True) -> Chunk:
        """The chunk of a row that `selected` has read. Raises DamagedChunk."""
        arrays: dict[str, Numbers] = {}
        for name in (*_TIMES, *(self.values if with_values else ())):
            if (content := row[name]) is not None:
                try:
                    arrays[name] = array_from(content)
                except MisshapenArray as error:
                    raise DamagedChunk(f"its column {name} is {error}") from error
        return Chunk(
            row["format"], row["n"], row["first_t"], row["last_t"], row["step_ms"],
            row["newest_known_at"], row["checksum"], row["known_base"], row[self.base],
            tuple(row[name] for name in self.decimals), arrays,
        )  # fmt: skip


def _sent(name: str, widths: Sequence[str]) -> str:
    arrays = ", ".join(f"array_send(c.{name}_{width})" for width in widths)
    return f"coalesce({arrays}) AS {name}"


def _fields(numbers: Numbers | None, widths: Sequence[str]) -> list[bytes | None]:
    if numbers is None:
        return [None] * len(widths)
    held = "float8" if numbers.dtype.kind == "f" else _WIDTHS[numbers.dtype.itemsize]
    return [array_bytes(numbers) if width == held else None for width in widths]


CANDLE_CHUNKS: Final = ChunkTable(
    "history_chunks",
    "close_base",
    ("price_decimals", "volume_decimals", "turnover_decimals"),
    CANDLE_COLUMNS,
)
POINT_CHUNKS: Final = ChunkTable(
    "history_point_chunks", "value_base", ("value_decimals",), ("value",)
)


def piece_of(
    table: ChunkTable, key: SeriesKey, row: asyncpg.Record, *, with_values: bool = True
) -> Piece:
    """The rows of a chunk, or their times alone, with zeros for values. Raises DamagedChunk, with
    the series and the slot in its text."""
    try:
        chunk = table.chunk_of(row, with_values=with_values)
        return decode(chunk) if with_values else decode_times(chunk)
    except DamagedChunk as error:
        what = f"{key.exchange}:{key.symbol}, {key.kind} of {key.interval_ms} ms"
        span_ms = key.interval_ms * CHUNK_INSTANTS
        begin_ms = row["slot"] * span_ms
        span = f"from {utc_text(begin_ms)} to {utc_text(begin_ms + span_ms)}"
        raise type(error)(f"chunk {row['slot']} of {what} ({span}) is damaged: {error}") from error
