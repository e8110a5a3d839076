"""Windows: what documents tell by themselves, and so is left to them by what fills in the record.

What a document's window has and the document has not, the record takes for removed; a row that
something else stored there would be shown by documents of a past time that did not have it.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from database import DocumentWindow, HistoryPublishes, SeriesKey
from documents.names import GLOBAL_FR
from history.backfill.bounds import told_range
from market.rows import Times
from market.timeframes import MINUTE_MS, Timeframe

_FRESH_MS: Final = 10_000  # documents move on while an import runs
_BY_INTERVAL: Final = {timeframe.interval_ms: timeframe for timeframe in Timeframe}


class Windows:
    """Asks the record for the windows every now and then."""

    def __init__(self, publishes: HistoryPublishes) -> None:
        self._publishes = publishes
        self._windows: Mapping[str, DocumentWindow] = {}
        self._read_at_ms: int | None = None

    async def left(self, key: SeriesKey, times: Times, now_ms: int) -> npt.NDArray[np.bool_]:
        """Which of these times are left to the documents; of open interest none, as no document
        removes any. Raises DatabaseUnavailable."""
        none = np.zeros(len(times), np.bool_)
        if key.kind == "open_interest":
            return none
        if self._read_at_ms is None or not 0 <= now_ms - self._read_at_ms < _FRESH_MS:
            self._windows, self._read_at_ms = await self._publishes.windows(), now_ms
        candles = key.kind == "candles"
        name = str(_BY_INTERVAL.get(key.interval_ms, "")) if candles else GLOBAL_FR
        length_ms = key.interval_ms if candles else MINUTE_MS
        told = told_range(self._windows.get(name), (key.exchange, key.symbol), length_ms, now_ms)
        return none if told is None else (times >= told[0]) & (times < told[1])
