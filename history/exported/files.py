"""ExportedFile: which series a file of an export holds, by its path, and whether it is as written.

The layouts are those of history/lake/:
candles/exchange=binance/timeframe=1h/month=2026-03/part-0.parquet, candles/binance/1h/BTCUSDT.csv;
`manifest.json` in the export's folder has the checksums.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import unquote

import orjson

from database import SeriesKey
from history.archive.errors import ArchiveError
from market.markets import Exchange
from market.timeframes import Timeframe

Form = Literal["parquet", "csv"]

MANIFEST: Final = "manifest.json"
ALLOWED: Final = (
    "candles/exchange=binance/timeframe=1h/month=2026-03/part-0.parquet or"
    " candles/binance/1h/BTCUSDT.csv, open_interest and funding without a timeframe, as `export`"
    " writes them"
)
_MOST_MANIFEST: Final = 256_000_000  # bytes: a million files
_READ_AT_ONCE: Final = 1 << 20
_KINDS: Final = ("candles", "open_interest", "funding")


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file of an export. `name`: its path below the export's folder, `root`. `symbol`: of CSV;
    Parquet has those of all markets in its rows."""

    path: Path
    root: Path
    name: str
    form: Form
    kind: str
    exchange: Exchange
    timeframe: Timeframe | None
    symbol: str | None

    def key(self, symbol: str) -> SeriesKey:
        """The series of a market."""
        if self.timeframe is not None:
            return SeriesKey.candles(self.exchange, symbol, self.timeframe)
        if self.kind == "funding":
            return SeriesKey.funding(self.exchange, symbol)
        return SeriesKey.open_interest(self.exchange, symbol)


def parse_path(path: Path) -> ExportedFile | None:
    """What the path says; None if it is of no export."""
    if path.suffix not in (".parquet", ".csv"):
        return None
    parts = path.absolute().parts
    places = [place for place, part in enumerate(parts[:-1]) if part in _KINDS]
    if not places:
        return None
    below = parts[places[-1] :]
    form: Form = "parquet" if path.suffix == ".parquet" else "csv"
    symbol = None
    folders = list(below[1:-1])
    if form == "csv":
        symbol = unquote(path.stem, errors="strict") if _is_utf8(path.stem) else None
        if symbol is None:
            return None
    else:
        named = dict(folder.split("=", 1) for folder in folders if "=" in folder)
        if len(named) != len(folders) or named.pop("month", None) is None:
            return None
        wanted = ("exchange", "timeframe") if below[0] == "candles" else ("exchange",)
        if tuple(named) != wanted:
            return None
        folders = list(named.values())
    if len(folders) != (2 if below[0] == "candles" else 1) or folders[0] not in set(Exchange):
        return None
    timeframe = folders[1] if len(folders) > 1 else None
    if timeframe is not None and timeframe not in set(Timeframe):
        return None
    return ExportedFile(
        path,
        Path(*parts[: places[-1]]),
        "/".join(below),
        form,
        below[0],
        Exchange(folders[0]),
        None if timeframe is None else Timeframe(timeframe),
        symbol,
    )


def _is_utf8(text: str) -> bool:
    try:
        unquote(text, errors="strict").encode()
    except (UnicodeDecodeError, UnicodeEncodeError):
        return False
    return True


def read_manifest(root: Path) -> Mapping[str, str]:
    """The sha256 of each file that the folder's manifest names; empty without one. Raises
    ArchiveError if it is damaged."""
    place = root / MANIFEST
    try:
        if not place.is_file():
            return {}
        with place.open("rb") as file:
            content = file.read(_MOST_MANIFEST + 1)
        files: dict[str, Any] = orjson.loads(content)["files"]
        return {name: str(entry["sha256"]) for name, entry in files.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ArchiveError(
            f"{place} cannot be read ({error}): remove it to import the files unchecked"
        ) from None


def checksum_of(path: Path) -> tuple[str, int]:
    """The sha256 of a file, and its size. Raises ArchiveError."""
    digest, size = hashlib.sha256(), 0
    try:
        if not path.is_file():
            raise ArchiveError("it is no regular file")
        with path.open("rb") as file:
            while content := file.read(_READ_AT_ONCE):
                digest.update(content)
                size += len(content)
    except OSError as error:
        raise ArchiveError(f"it cannot be read: {error.strerror or error}") from None
    return digest.hexdigest(), size
