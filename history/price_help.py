"""PriceHelp: the 5m candles that tell which moment a metrics file's labels mean.

From the record, and where it lacks them from the kline files of the same import.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from database import HistoryTables, SeriesKey
from history.archive.container import read_file
from history.archive.errors import ArchiveError
from history.archive.klines import read_klines
from history.archive.metrics import STEP_MS, Opens
from history.archive.names import ArchiveName
from market.timeframes import Timeframe

_OPEN: Final = 0
_ENOUGH: Final = 0.5  # of the candles of a day


class PriceHelp:
    """`files`: of the import, of which those of 5m klines are read."""

    def __init__(
        self, tables: HistoryTables, files: Sequence[tuple[ArchiveName, Path]] = ()
    ) -> None:
        self._tables = tables
        self._files: dict[str, list[tuple[ArchiveName, Path]]] = {}
        for name, path in files:
            if name.timeframe == Timeframe.M5:
                self._files.setdefault(name.symbol, []).append((name, path))
        # Metrics come market by market and day by day, so the last month's file is the next one's.
        self._last: tuple[Path, Opens] | None = None

    async def opens(self, name: ArchiveName, now_ms: int) -> Opens | None:
        """The opens of the market's candles over the file's day and the 5 minutes after it; None
        without any. Raises DatabaseUnavailable, DamagedRecord."""
        from_ms, to_ms = name.from_ms, name.to_ms + 2 * STEP_MS
        key = SeriesKey.candles(name.key.exchange, name.symbol, Timeframe.M5)
        async with self._tables.snapshot() as snapshot:
            found = (await snapshot.versions([key], from_ms, to_ms))[key]
        opens = Opens(found.times, found.values[:, _OPEN])
        if len(opens.times) < _ENOUGH * (to_ms - from_ms) / STEP_MS:
            for kline_name, path in self._files.get(name.symbol, ()):
                if kline_name.from_ms < to_ms and from_ms < kline_name.to_ms:
                    read = await self._read(kline_name, path, now_ms)
                    opens = _joined(opens, _between(read, from_ms, to_ms))
        return opens if len(opens.times) else None

    async def _read(self, name: ArchiveName, path: Path, now_ms: int) -> Opens:
        if self._last is None or self._last[0] != path:
            self._last = path, await asyncio.to_thread(_opens_of, path, name, now_ms)
        return self._last[1]


def _opens_of(path: Path, name: ArchiveName, now_ms: int) -> Opens:
    try:
        rows = read_klines(read_file(path, name).text, name, now_ms)
    except ArchiveError:  # told where the file itself is imported
        return Opens(np.empty(0, np.int64), np.empty(0))
    return Opens(rows.times, rows.values[:, _OPEN])


def _between(opens: Opens, from_ms: int, to_ms: int) -> Opens:
    begin, end = opens.times.searchsorted((from_ms, to_ms))
    return Opens(opens.times[begin:end], opens.prices[begin:end])


def _joined(first: Opens, other: Opens) -> Opens:
    """All of the first, and of the other what it lacks."""
    times, places = np.unique(np.concatenate([first.times, other.times]), return_index=True)
    return Opens(times, np.concatenate([first.prices, other.prices])[places])
