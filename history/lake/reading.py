"""Reads the rows of a file from the record, in batches of bounded size, market by market."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from history.lake.layout import LakeFile
from market.rows import Floats, Times, located
from market.timeframes import HOUR_MS
from stores.cold.history.series import SeriesKey, Versions
from stores.cold.history.tables import Snapshot

# Rows that are read at once at most, but for a market with more in a month: none has.
BATCH_ROWS: Final = 30_000
_MOST_KEYS: Final = 500


@dataclass(frozen=True, slots=True)
class MarketRows:
    """Rows of one market, ascending by `times` (n); `values` (n, width), `known_at` (n)."""

    symbol: str
    times: Times
    values: Floats
    known_at: Times

    def __len__(self) -> int:
        return len(self.times)

    def select(self, kept: npt.NDArray[np.bool_]) -> "MarketRows":
        return MarketRows(self.symbol, self.times[kept], self.values[kept], self.known_at[kept])

    def between(self, begin: int, end: int) -> "MarketRows":
        lines = slice(begin, end)
        return MarketRows(self.symbol, self.times[lines], self.values[lines], self.known_at[lines])


Batch = list[MarketRows]


async def read_batches(
    snapshot: Snapshot, file: LakeFile, as_of_ms: int
) -> AsyncGenerator[Batch, None]:
    """The rows of the file as they were known at that time; markets ascend, none is empty."""
    span = (file.from_ms, file.to_ms)
    if len(file.keys) == 1:
        pieces = snapshot.stream(file.keys, *span, as_of_ms=as_of_ms)
        async with aclosing(pieces):
            async for key, rows in pieces:
                yield [_rows_of(key, rows)]
        return
    for keys in _batches(file):
        found = await snapshot.versions(keys, *span, as_of_ms=as_of_ms)
        batch = [_rows_of(key, found[key]) for key in keys if len(found[key].times)]
        if batch:
            yield batch


def _batches(file: LakeFile) -> list[Sequence[SeriesKey]]:
    """The series in groups whose rows are read at once."""
    # Settlements may come every hour, whatever their series' nominal interval is.
    step_ms = HOUR_MS if file.content == "funding" else file.keys[0].interval_ms
    most = max(1, (file.to_ms - file.from_ms) // step_ms)
    count = min(_MOST_KEYS, max(1, BATCH_ROWS // most))
    return [file.keys[begin : begin + count] for begin in range(0, len(file.keys), count)]


def _rows_of(key: SeriesKey, rows: Versions) -> MarketRows:
    return MarketRows(key.symbol, rows.times, rows.values, rows.known_at)


async def rows_gone(snapshot: Snapshot, file: LakeFile, rows: MarketRows) -> MarketRows:
    """Those of the rows of a written file of whose instants the record has nothing any more. One
    that was taken back is in its revisions, so that only retention, and damage, leave nothing."""
    key = next((key for key in file.keys if key.symbol == rows.symbol), None)
    if key is None:
        return rows
    span = (int(rows.times[0]), int(rows.times[-1]) + 1)
    found = (await snapshot.revisions([key], *span))[key].times
    there, _ = located(rows.times, np.unique(found))
    return rows.select(~there)
