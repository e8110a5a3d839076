"""Writes a document as a table: an Arrow stream or a Parquet file, zstd inside, or CSV.

The same document gives the same bytes in every process, so that parts of a file can be read from
several. A Parquet file has one key of metadata for that: several would be in no fixed order.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import orjson
from arro3.core import RecordBatchReader
from arro3.io import write_ipc_stream, write_parquet
from isal import isal_zlib

from api.documents.content_coding import Coding
from api.documents.table import CLOSED, DocumentTable
from api.formats import Format, csv_field
from documents.columns import column_names
from documents.text import DocumentError, DocumentText, MarketSpan

Buffer = bytes | memoryview

# What a file's own metadata says is at this key, as one JSON object.
METADATA_KEY: Final = "perpcache"
# Rows of a group, during which other threads wait, and which a reader reads at once.
_GROUP_ROWS: Final = 32 * 1024
_PART_BYTES: Final = 256 * 1024
_LEVEL: Final = 1  # isal
_BITS: Final = {Coding.DEFLATE: 15, Coding.GZIP: 31}


def write_table(format_: Format, text: DocumentText, coding: Coding) -> list[Buffer]:
    """The document in this format; `coding` is of text alone. CPU work. Raises DocumentError."""
    match format_:
        case Format.ARROW:
            return [_arrow(text)]
        case Format.PARQUET:
            return [_parquet(text)]
        case Format.CSV:
            parts = _joined(_csv(text))
            return list(parts if coding is Coding.IDENTITY else _packed(parts, coding))
        case _:
            raise ValueError(f"{format_} is no format of tables")


class _Pieces:
    """A file that keeps what is written to it; other threads may run at each piece."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self.parts.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        pass

    def seek(self, *_: int) -> int:
        raise OSError("what is written cannot be read")


def _arrow(text: DocumentText) -> bytes:
    table, file = DocumentTable(text), _Pieces()
    reader = RecordBatchReader.from_batches(table.schema, list(table.batches()))
    write_ipc_stream(reader, file, compression="zstd")  # type: ignore[arg-type]
    return b"".join(file.parts)


def _parquet(text: DocumentText) -> bytes:
    table, file = DocumentTable(text), _Pieces()
    said = {name: value for name, value in table.said.items() if name != "markets"}
    names = list(table.schema.names)
    write_parquet(
        RecordBatchReader.from_batches(table.schema, list(table.batches())),
        file,  # type: ignore[arg-type]
        compression="zstd(3)",
        # Numbers hardly repeat; times rise by one step.
        dictionary_enabled=False,
        column_dictionary_enabled={"exchange": True, "symbol": True},
        column_encoding={names[2]: "delta_binary_packed"},
        max_row_group_size=_GROUP_ROWS,
        key_value_metadata={METADATA_KEY: orjson.dumps(said).decode()},
    )
    return b"".join(file.parts)


def _csv(text: DocumentText) -> Iterator[bytes]:
    """A line of names, and one for each row, with the very numbers of JSON; null is empty."""
    last_ms: int | None = text.header.get("last_closed_open_time")
    names = ["exchange", "symbol", *column_names(text)]
    yield ",".join(names if last_ms is None else [*names, CLOSED]).encode() + b"\n"
    for span in text.markets:
        if last_ms is None:
            yield _lines(span, bytes(text.rows(span)[1:-1]), b"")
            continue
        closed, forming = text.split_rows(span, last_ms + 1)
        yield _lines(span, bytes(closed), b",true")
        yield _lines(span, bytes(forming), b",false")


def _lines(span: MarketSpan, rows: bytes, end: bytes) -> bytes:
    """Of rows in brackets, with commas between them."""
    if not rows:
        return b""
    if rows[:1] != b"[" or rows[-1:] != b"]":
        raise DocumentError("a row has no end")
    start = f"{csv_field(span.exchange)},{csv_field(span.symbol)},".encode()
    lines = rows[1:-1].replace(b"null", b"").replace(b"],[", end + b"\n" + start)
    return b"%b%b%b\n" % (start, lines, end)


def _joined(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pieces of at least _PART_BYTES, but for the last."""
    small: list[bytes] = []
    size = 0
    for piece in pieces:
        small.append(piece)
        size += len(piece)
        if size >= _PART_BYTES:
            yield b"".join(small)
            small, size = [], 0
    if small:
        yield b"".join(small)


def _packed(parts: Iterator[bytes], coding: Coding) -> Sequence[bytes]:
    packer = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _BITS[coding])
    packed = [packer.compress(part) for part in parts]
    return [part for part in (*packed, packer.flush()) if part]
