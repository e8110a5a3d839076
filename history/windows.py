"""Windows: what documents tell by themselves, and so is left to them by what fills in the record.

What a document's window has and the document has not, the record takes for removed; a row that
something else stored there would be shown by documents of a past time that did not have it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from database import (
    Cursor,
    CursorMoved,
    DocumentWindow,
    FillRows,
    HistoryPublishes,
    SeriesKey,
    check_cursor,
    read_windows,
)
from documents.names import GLOBAL_FR
from history.backfill.bounds import told_range
from market.rows import Times
from market.timeframes import MINUTE_MS, Timeframe
from stores.cold.pool import Connection

_FRESH_MS: Final = 10_000  # documents move on while an import runs
_BY_INTERVAL: Final = {timeframe.interval_ms: timeframe for timeframe in Timeframe}


class Windows:
    """Asks the record for the windows every now and then."""

    def __init__(self, publishes: HistoryPublishes) -> None:
        self._publishes = publishes
        self._windows: Mapping[str, DocumentWindow] = {}
        self._cursors: Mapping[str, Cursor] = {}
        self._read_at_ms: int | None = None

    async def left(self, key: SeriesKey, times: Times, now_ms: int) -> npt.NDArray[np.bool_]:
        """Which of these times are left to the documents; of open interest none, as no document
        removes any. Raises DatabaseUnavailable."""
        if key.kind == "open_interest":
            return np.zeros(len(times), np.bool_)
        if self._read_at_ms is None or not 0 <= now_ms - self._read_at_ms < _FRESH_MS:
            self._cursors = await self._publishes.cursors()
            self._windows, self._read_at_ms = await self._publishes.windows(), now_ms
        return self._left(key, times, now_ms)

    async def check(self, rows: Sequence[FillRows], now_ms: int, connection: Connection) -> None:
        """Raises CursorMoved if versions were recorded since the windows were read that tell some
        of the rows, after which `left` says which. Called under the lock of all writers: no
        document's rows come in between."""
        names = {_document_of(each.key) for each in rows if each.key.kind != "open_interest"}
        try:
            for name in sorted(names):
                cursor = self._cursors.get(name)
                await check_cursor(connection, name, None if cursor is None else cursor.version)
        except CursorMoved:
            self._windows = await read_windows(connection)
            if any(self._left(each.key, each.times, now_ms).any() for each in rows):
                raise

    def _left(self, key: SeriesKey, times: Times, now_ms: int) -> npt.NDArray[np.bool_]:
        none = np.zeros(len(times), np.bool_)
        if key.kind == "open_interest":
            return none
        window = self._windows.get(_document_of(key))
        length_ms = key.interval_ms if key.kind == "candles" else MINUTE_MS
        told = told_range(window, (key.exchange, key.symbol), length_ms, now_ms)
        return none if told is None else (times >= told[0]) & (times < told[1])


def _document_of(key: SeriesKey) -> str:
    """The document that tells the series, if there is one."""
    return str(_BY_INTERVAL.get(key.interval_ms, "")) if key.kind == "candles" else GLOBAL_FR
