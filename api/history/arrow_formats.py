"""History as tables: an Arrow stream block by block, and Parquet as a whole; zstd inside.

The numbers are float64 with nulls, times are timestamp[ms, UTC], exchange and symbol dictionaries.
"""

from collections.abc import Iterable
from io import BytesIO
from typing import IO, Final

from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema
from arro3.io import write_ipc_stream, write_parquet

from api.arrow_columns import NUMBER, TEXT, TIME, metadata_of, numbers, repeated, times
from api.history.head import Head
from history.selection import Block
from market.rows import Times
from stores.cold.history.series import NEVER_MS

# The end of a stream: no further message (Arrow columnar format, IPC streaming).
_END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
# Rows that the writer keeps until their group is complete, and that a reader reads at once.
_GROUP_ROWS: Final = 64 * 1024


class ArrowWriter:
    """The IPC stream: the schema, a message for each block, the end."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._schema = schema_of(head)
        self._opening = _stream_of(self._schema, ())

    def begin(self) -> bytes:
        return self._opening

    def rows(self, block: Block) -> bytes:
        # Of a stream of its own, without the schema that each stream begins with.
        stream = _stream_of(self._schema, [batch_of(self._head, self._schema, block)])
        return stream[len(self._opening) :]

    def end(self) -> bytes:
        return _END


def write_whole_parquet(head: Head, blocks: Iterable[Block], file: IO[bytes]) -> None:
    """Writes a Parquet file; blocks are taken one by one."""
    schema = schema_of(head)
    batches = (batch_of(head, schema, block) for block in blocks)
    write_parquet(
        RecordBatchReader.from_batches(schema, batches),
        file,
        compression="zstd(3)",
        max_row_group_size=_GROUP_ROWS,
        key_value_metadata=metadata_of(head.fields),
    )


def schema_of(head: Head) -> Schema:
    layout = head.layout
    fields = [
        Field("exchange", TEXT, nullable=False),
        Field("symbol", TEXT, nullable=False),
        Field(layout.time, TIME, nullable=False),
        *(Field(name, NUMBER) for name in layout.values),
        *(Field(name, TIME) for name in layout.known),
    ]
    if head.source:
        fields.append(Field("source", TEXT, nullable=False))
    return Schema(fields, metadata=metadata_of(head.fields))


def batch_of(head: Head, schema: Schema, block: Block) -> RecordBatch:
    stamps = {"known_at": block.known_at, "known_from": block.known_at, "known_to": block.known_to}
    texts = [*block.market]
    columns: list[Array] = [repeated(text, len(block)) for text in texts]
    columns.append(_times(block.times))
    columns += (numbers(block.values[:, place]) for place in head.layout.places)
    for name in head.layout.known:
        column = stamps[name]
        columns.append(_times(block.known_at if column is None else column))
    if head.source:
        columns.append(repeated(head.source, len(block)))
    return RecordBatch.from_arrays(columns, schema=schema)


def _stream_of(schema: Schema, batches: Iterable[RecordBatch]) -> bytes:
    """An IPC stream without its end."""
    file = BytesIO()
    reader = RecordBatchReader.from_batches(schema, list(batches))
    write_ipc_stream(reader, file, compression="zstd")
    return file.getvalue()[: -len(_END)]


def _times(column: Times) -> Array:
    if not len(column) or column.max() != NEVER_MS:
        return times(column)
    values = [None if time_ms == NEVER_MS else time_ms for time_ms in column.tolist()]
    return Array(values, type=DataType.int64()).cast(TIME)
