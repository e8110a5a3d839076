"""ChunkIndex: where the chunks of each market lie in a document's zlib stream and in its JSON."""

import binascii
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from documents.deflated import FRAME_BYTES, Deflated, deflate_whole, inflate_at_most
from documents.meta import DocumentCounts

_LARGEST_JSON: Final = 64 * 2**20  # bytes; an index of 1000 markets with 5000 rows has 2 MB
_COLUMNS: Final = ("deflated", "text", "first", "rows")


class Size(NamedTuple):
    """The bytes of a part of a document: in the zlib stream, and in the JSON."""

    deflated: int
    text: int


class IndexedMarket(NamedTuple):
    """A market, and which entries of the index's columns are its chunks: [first, end)."""

    exchange: str
    symbol: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """The parts of a document in order: its header, the chunks of each market with a comma between
    two markets, and its end, which holds `missing`.

    The columns have an entry for each chunk: its sizes, the open time of its first row in
    intervals since 1970, and its number of rows.
    """

    interval_ms: int
    header: Size
    comma: Size
    end: Size
    markets: Sequence[IndexedMarket]
    deflated: Sequence[int]
    text: Sequence[int]
    first: Sequence[int]
    rows: Sequence[int]

    @property
    def size(self) -> Size:
        """The size of the whole document, its zlib stream with the frame."""
        commas = max(0, len(self.markets) - 1)
        fixed = (self.header, self.end, *[self.comma] * commas)
        return Size(
            FRAME_BYTES + sum(size.deflated for size in fixed) + sum(self.deflated),
            sum(size.text for size in fixed) + sum(self.text),
        )

    @property
    def memory_bytes(self) -> int:
        """About what it takes in memory, with where each chunk begins."""
        return 24 * len(self.rows) + 250 * len(self.markets)


@dataclass(frozen=True, slots=True)
class ChunkedDocument(Deflated):
    """A document made of chunks, with their index, and the counts of its markets."""

    index: ChunkIndex
    counts: DocumentCounts | None = None


def encode_index(index: ChunkIndex, *, version: int, stored_hash: str) -> bytes:
    """The stored form: base64 of zlib of JSON, as a document's. It names its document."""
    columns = {name: list(getattr(index, name)) for name in _COLUMNS}
    json = orjson.dumps(
        {
            "version": version,
            "stored_hash": stored_hash,
            "interval_ms": index.interval_ms,
            "header": tuple(index.header),
            "comma": tuple(index.comma),
            "end": tuple(index.end),
            "markets": [
                (exchange, symbol, end - first) for exchange, symbol, first, end in index.markets
            ],
            **columns,
        }
    )
    return binascii.b2a_base64(b"".join(deflate_whole(json).pieces), newline=False)


def decode_index(stored: bytes, *, version: int, stored_hash: str, size: Size) -> ChunkIndex | None:
    """The index of the document of this version, hash and size; None if it is another's.

    Raises ValueError if it is damaged.
    """
    found = orjson.loads(inflate_at_most(binascii.a2b_base64(stored), _LARGEST_JSON))
    try:
        if (found["version"], found["stored_hash"]) != (version, stored_hash):
            return None
        index = _read(found)
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"the index of chunks is not complete: {error!r}") from None
    if index.size != size:
        raise ValueError(f"the index of chunks adds up to {index.size} instead of {size}")
    return index


def _read(found: dict[str, Any]) -> ChunkIndex:
    columns = {name: array("I", found[name]) for name in _COLUMNS}
    markets = []
    position = 0
    for exchange, symbol, count in found["markets"]:
        if not (isinstance(exchange, str) and isinstance(symbol, str) and count > 0):
            raise TypeError(f"{exchange}:{symbol} has {count} chunks")
        markets.append(IndexedMarket(exchange, symbol, position, position + count))
        position += count
    if any(len(column) != position for column in columns.values()):
        raise TypeError(f"{position} chunks")
    if found["interval_ms"] <= 0:
        raise TypeError(f"interval_ms {found['interval_ms']}")
    return ChunkIndex(
        found["interval_ms"],
        Size(*found["header"]),
        Size(*found["comma"]),
        Size(*found["end"]),
        markets,
        **columns,
    )
