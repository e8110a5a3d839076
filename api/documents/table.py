"""A document as a table: its schema with what the document says beside rows, and its batches."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from arro3.core import Array, DataType, Field, RecordBatch, Schema

from api.arrow_columns import NUMBER, TEXT, TIME, metadata_of, numbers, taken, texts, times
from documents.columns import MarketRows, column_names, read_rows
from documents.text import DocumentText
from market.columns import TRADE_VALUES, VALUES

CLOSED: Final = "closed"
_BOOLEAN: Final = DataType.bool()
_UNITS: Final = {column.name: column.unit for column in (*VALUES, *TRADE_VALUES)}
_TIME_UNIT: Final = "UTC milliseconds"


class DocumentTable:
    """The table of a document's text: `exchange`, `symbol`, the time, the numbers, and of candles
    `closed`. Raises DocumentError."""

    def __init__(self, text: DocumentText) -> None:
        self._text = text
        time, *values = column_names(text)
        # None for funding, whose rows are all settled.
        self._last_closed_ms: int | None = text.header.get("last_closed_open_time")
        self._exchanges = _Dictionary([span.exchange for span in text.markets])
        self._symbols = _Dictionary([span.symbol for span in text.markets])
        fields = [
            Field("exchange", TEXT, nullable=False),
            Field("symbol", TEXT, nullable=False),
            Field(time, TIME, nullable=False),
            *(Field(name, NUMBER) for name in values),
        ]
        if self._last_closed_ms is not None:
            fields.append(Field(CLOSED, _BOOLEAN, nullable=False))
        self.said = said_beside_rows(text)
        self.schema = Schema(fields, metadata=metadata_of(self.said))

    def batches(self) -> Iterator[RecordBatch]:
        """All rows in the order of the document. CPU work: each batch takes some milliseconds."""
        done = 0
        for rows in read_rows(self._text):
            if len(rows.times):
                yield self._batch(rows, done)
            done += len(rows.markets)

    def _batch(self, rows: MarketRows, first: int) -> RecordBatch:
        """`first`: the place of the first of these markets in the document."""
        columns: list[Array] = [
            self._exchanges.column(first, rows.counts),
            self._symbols.column(first, rows.counts),
            times(rows.times),
            *(numbers(column) for column in rows.values),
        ]
        if self._last_closed_ms is not None:
            columns.append(Array.from_numpy(rows.times <= self._last_closed_ms))
        return RecordBatch.from_arrays(columns, schema=self.schema)


def said_beside_rows(text: DocumentText) -> dict[str, Any]:
    """The document's fields but for the rows: its header, `units`, `markets` without their rows,
    and `missing`."""
    time, *values = column_names(text)
    units = {time: _TIME_UNIT} | {name: _UNITS[name] for name in values if name in _UNITS}
    return text.header | {
        "units": units,
        "markets": [text.head(span) for span in text.markets],
        "missing": text.missing(),
    }


class _Dictionary:
    """A dictionary column with one value for each market; all batches share the dictionary."""

    def __init__(self, of_markets: Sequence[str]) -> None:
        places = {value: place for place, value in enumerate(dict.fromkeys(of_markets))}
        self._values = texts([*places])
        self._places = np.array([places[value] for value in of_markets], np.int32)

    def column(self, first: int, counts: Sequence[int]) -> Array:
        return taken(self._values, np.repeat(self._places[first : first + len(counts)], counts))
