"""History as text, block by block: JSON, NDJSON and CSV. Numbers have the form of documents."""

from collections.abc import Iterator
from typing import Final, Protocol

import numpy as np
import orjson

from api.formats import csv_field
from api.history.head import Head
from history.selection import Block, MarketName
from market.rows import Times
from stores.cold.history.series import NEVER_MS

_NULL: Final = b"null"


class Writer(Protocol):
    """Writes one answer: `begin`, any number of blocks, market by market, and `end`."""

    def begin(self) -> bytes: ...

    def rows(self, block: Block) -> bytes: ...

    def end(self) -> bytes: ...


class JsonWriter:
    """One object: the head's fields, and `markets`, each with its rows as arrays."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._begun = 0  # how many of the markets

    def begin(self) -> bytes:
        return orjson.dumps(self._head.fields)[:-1] + b',"markets":['

    def rows(self, block: Block) -> bytes:
        if self._begun and self._head.markets[self._begun - 1] == block.market:
            opening = b","
        else:
            opening = b"".join(self._opened(self._head.markets.index(block.market) + 1))
        lines = map(b",".join, _cells(self._head, block))
        return b"%b[%b]" % (opening, b"],[".join(lines))

    def end(self) -> bytes:
        opened = b"".join(self._opened(len(self._head.markets)))
        return opened + (b"]}]}" if self._begun else b"]}")

    def _opened(self, until: int) -> Iterator[bytes]:
        """The beginnings of the markets up to there; those between have no rows."""
        for market in self._head.markets[self._begun : until]:
            yield b"]}," if self._begun else b""
            yield orjson.dumps(_named(self._head, market))[:-1] + b',"rows":['
            self._begun += 1


class NdjsonWriter:
    """One object for each row."""

    def __init__(self, head: Head) -> None:
        self._head = head

    def begin(self) -> bytes:
        return b""

    def rows(self, block: Block) -> bytes:
        # A sign of percent in a name would be read as part of the template.
        named = orjson.dumps(_named(self._head, block.market)).replace(b"%", b"%%")
        fields = b",".join(b'"%b":%%b' % name.encode() for name in self._head.layout.names)
        template = b"%b,%b}\n" % (named[:-1], fields)
        return b"".join([template % cells for cells in _cells(self._head, block, apart=True)])

    def end(self) -> bytes:
        return b""


class CsvWriter:
    """A line of names, and a line for each row; null is an empty field."""

    def __init__(self, head: Head) -> None:
        self._head = head

    def begin(self) -> bytes:
        names = ["exchange", "symbol", *self._head.layout.names]
        names += ["source"] if self._head.source else []
        return ",".join(names).encode() + b"\n"

    def rows(self, block: Block) -> bytes:
        market = ",".join(map(csv_field, block.market)).encode()
        source = b",%b" % self._head.source.encode() if self._head.source else b""
        lines = map(b",".join, _cells(self._head, block, null=b""))
        return b"".join([b"%b,%b%b\n" % (market, line, source) for line in lines])

    def end(self) -> bytes:
        return b""


def _named(head: Head, market: MarketName) -> dict[str, str]:
    named = {"exchange": market.exchange, "symbol": market.symbol}
    return named | ({"source": head.source} if head.source else {})


def _cells(
    head: Head, block: Block, null: bytes = _NULL, *, apart: bool = False
) -> Iterator[tuple[bytes, ...]]:
    """The texts of each row's columns, in the layout's order; those of its numbers are joined by
    commas already, unless `apart`, which takes twice as long."""
    layout = head.layout
    columns: list[list[bytes]] = [_integers(block.times, null)]
    if layout.places:
        picked = block.values[:, list(layout.places)]
        picked = np.ascontiguousarray(picked.T if apart else picked)
        # orjson writes the shortest form of each float, and null for NaN.
        text = orjson.dumps(picked, option=orjson.OPT_SERIALIZE_NUMPY)
        if null != _NULL:
            text = text.replace(_NULL, null)
        lines = text[2:-2].split(b"],[")
        columns += [line.split(b",") for line in lines] if apart else [lines]
    stamps = {"known_at": block.known_at, "known_from": block.known_at, "known_to": block.known_to}
    for name in layout.known:
        column = stamps[name]
        columns.append(_integers(block.known_at if column is None else column, null))
    return zip(*columns, strict=True)


def _integers(column: Times, null: bytes) -> list[bytes]:
    return [null if number == NEVER_MS else b"%d" % number for number in column.tolist()]
