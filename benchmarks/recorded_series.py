"""Recorded series of candles from the files of RECORDED_DATA, for the rows of the record."""

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from market.rows import Floats, Times
from market.timeframes import HOUR_MS, MINUTE_MS

_UNITS: Final = {"m": MINUTE_MS, "h": HOUR_MS}


@dataclass(frozen=True, slots=True)
class RecordedSeries:
    """Candles of one market; `values` (n, 6) as they are stored."""

    name: str
    interval_ms: int
    times: Times
    values: Floats


def read_series(folder: Path) -> list[RecordedSeries]:
    """All series that were recorded with turnover, with at least a hundred candles."""
    found = []
    for path in sorted((folder / "history").glob("*_kline_*.csv*")):
        length = path.name.split("_kline_")[1].partition("_")[0]
        minutes = length.isdigit()
        interval_ms = int(length) * MINUTE_MS if minutes else int(length[:-1]) * _UNITS[length[-1]]
        by_symbol: dict[str, dict[int, tuple[float, ...]]] = {}
        for symbol, t, values in _lines(path):
            by_symbol.setdefault(symbol, {})[t] = values
        for symbol, rows in by_symbol.items():
            times = sorted(rows)
            if len(times) >= 100:
                lines = np.array([rows[t] for t in times])
                name = f"{path.name.partition('.')[0]}_{symbol}"
                found.append(RecordedSeries(name, interval_ms, np.array(times), lines))
    return found


def _lines(path: Path) -> Iterator[tuple[str, int, tuple[float, ...]]]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    for line in csv.DictReader(text.splitlines()):
        turnover = line.get("quote_volume") or line.get("turnover")
        if turnover is None:
            return
        prices = [float(line[name]) for name in ("open", "high", "low", "close", "volume")]
        t = int(line.get("open_time") or line["start_time"])
        yield line.get("symbol") or "", t, (*prices, float(turnover))
