"""Reads the folder of recorded data: series as their original text, lists as JSON.

Layout: `history/<exchange>_<symbol>_<kind>_...csv[.gz]` with kind kline_<interval>, oi_<period> or
funding; `<exchange>_ALL_*` with a symbol column; answer bodies under `<exchange>/`.
"""

import csv
import gzip
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_NAME: Final = re.compile(
    r"(?P<exchange>[a-z]+)_(?P<symbol>[^_]+)_(?:(?P<kind>kline|oi)_(?P<period>\w+?)|funding)"
    r"(?:_full)?_\d{4}-\d\d(?:-\d\d)?(?:_.*)?\.csv(?:\.gz)?"
)
_PERIODS_MS: Final = {
    "5m": 300_000, "1h": 3_600_000, "4h": 14_400_000, "8h": 28_800_000, "1d": 86_400_000,
    "5": 300_000, "60": 3_600_000, "240": 14_400_000,
}  # fmt: skip
_TIMES: Final = ("open_time", "start_time", "timestamp", "funding_time")


@dataclass(slots=True)
class RecordedSeries:
    """One series as recorded: rows of text by column name, ascending."""

    exchange: str
    symbol: str
    kind: str  # kline, oi, funding
    period_ms: int  # 0 for funding
    source: str
    times: list[int] = field(default_factory=list)
    columns: dict[str, list[str]] = field(default_factory=dict)

    def add(self, time_ms: int, values: dict[str, str]) -> None:
        self.times.append(time_ms)
        for name, value in values.items():
            self.columns.setdefault(name, []).append(value)

    @property
    def end_ms(self) -> int:
        return self.times[-1] + self.period_ms


def read_series(folder: Path) -> list[RecordedSeries]:
    """All series in the folder's `history`."""
    found: list[RecordedSeries] = []
    for path in sorted((folder / "history").iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        kind = match["kind"] or "funding"
        period_ms = _PERIODS_MS.get(match["period"] or "", 0)
        found += _split(path, match["exchange"], match["symbol"], kind, period_ms)
    return [series for series in found if series.times]


def read_json(folder: Path, pattern: str) -> Any:
    """The newest recorded body whose name matches. Raises FileNotFoundError."""
    paths = sorted(path for path in folder.glob(pattern) if path.suffix == ".json")
    if not paths:
        raise FileNotFoundError(f"{folder} has no {pattern}")
    return json.loads(paths[-1].read_bytes())


def _rows(path: Path) -> Iterator[dict[str, str]]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from csv.DictReader(file)
    else:
        with path.open(encoding="utf-8") as file:
            yield from csv.DictReader(file)


def _split(
    path: Path, exchange: str, symbol: str, kind: str, period_ms: int
) -> Iterable[RecordedSeries]:
    series: dict[str, RecordedSeries] = {}
    for row in _rows(path):
        name = row.pop("symbol", symbol)
        if name not in series:
            series[name] = RecordedSeries(exchange, name, kind, period_ms, path.name)
        time_name = next(column for column in _TIMES if column in row)
        series[name].add(int(row.pop(time_name)), row)
    return series.values()


def decimals_of(texts: Iterable[str]) -> int:
    """The largest number of decimals in these texts."""
    return max((len(text.partition(".")[2]) for text in texts), default=0)


def to_integer(text: str, decimals: int) -> int:
    """The exact value in units of 10^-decimals. to_integer("-0.50", 2) == -50."""
    whole, _, part = text.partition(".")
    return int(whole + part.ljust(decimals, "0"))
