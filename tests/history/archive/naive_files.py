"""A naive reading of archive files, for tests of what downloads them: a line at a time."""

import csv
import hashlib
import io
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from database import ArchiveFile, Database, FillRows, SeriesKey
from market.timeframes import Timeframe

MINUTE_MS = 60_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@dataclass
class NaiveImport:
    """Imports files as `Take` of history/archive/download.py wants it, and keeps their names."""

    database: Database
    now_ms: int
    names: list[str] = field(default_factory=list)

    async def __call__(self, path: Path, etag: str) -> str | None:
        body, beside = _read(path), _read(path.with_name(f"{path.name}.CHECKSUM"))
        sha256 = hashlib.sha256(body).hexdigest()
        assert beside == f"{sha256}  {path.name}\n".encode()
        try:
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                text = archive.read(path.name.replace(".zip", ".csv")).decode()
        except zipfile.BadZipFile as error:
            return str(error)
        key, rows = _rows(path.name, text)
        times = np.array(list(rows), np.int64)
        values = np.array(list(rows.values()), np.float64)
        filled = FillRows(key, int(times[0]), int(times[-1]) + key.interval_ms, times, values)
        file = ArchiveFile(path.name, sha256, etag, len(body), len(times), self.now_ms)
        await self.database.history.fill([filled], "archive", self.now_ms)
        await self.database.archive_files.add(file)
        self.names.append(path.name)
        return None


def _read(path: Path) -> bytes:
    return path.read_bytes()


def _rows(name: str, text: str) -> tuple[SeriesKey, dict[int, list[float]]]:
    symbol, what, *_ = name.split("-")
    lines = [line for line in csv.reader(io.StringIO(text)) if line[0][0].isdigit()]
    if what == "metrics":
        late_ms = 5 * MINUTE_MS if name >= f"{symbol}-metrics-2026-06-25" else 0
        snapshots = {ms(line[0]) + late_ms: [float(line[2])] for line in lines}
        return SeriesKey.open_interest("binance", symbol), snapshots
    if what == "fundingRate":
        return SeriesKey.funding("binance", symbol), {
            int(line[0]): [float(line[2])] for line in lines
        }
    candles = {int(line[0]): [float(line[place]) for place in (1, 2, 3, 4, 5, 7)] for line in lines}
    return SeriesKey.candles("binance", symbol, Timeframe(what)), candles
