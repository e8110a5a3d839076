"""The layout of an export: which files there are, what is in each, and safe names. No I/O."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from history.lake.wanted import TIMEFRAMES, Wanted
from stores.cold.history.series import Kind, SeriesKey

# What a file holds; `mark` is freqtrade's, made from candles.
Content = Kind | Literal["mark"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_NAME: Final = 200  # bytes, of the 255 that file systems take; the rest is for what we add
_PLAIN: Final = "-_.()"


@dataclass(frozen=True, slots=True)
class LakeFile:
    """One file: the rows of these series, from `from_ms` to before `to_ms`.

    `path`: below the folder of the export, with `/`. `keys`: of one kind and interval, ascending.
    """

    path: str
    content: Content
    keys: tuple[SeriesKey, ...]
    from_ms: int
    to_ms: int

    @property
    def exchange(self) -> str:
        return self.keys[0].exchange

    @property
    def timeframe(self) -> str | None:
        """Of candles."""
        key = self.keys[0]
        return TIMEFRAMES[key.interval_ms] if key.kind == "candles" else None

    @property
    def group(self) -> str:
        """What it is told as, with others: `candles of binance, 1h`."""
        timeframe = self.timeframe
        return f"{self.content} of {self.exchange}" + (f", {timeframe}" if timeframe else "")


@dataclass(frozen=True, slots=True)
class Month:
    """A month of UTC, such as `2026-03`."""

    name: str
    from_ms: int
    to_ms: int


def months(first_ms: int, last_ms: int) -> Iterator[Month]:
    """The months from that of the first time to that of the last one."""
    first = datetime.fromtimestamp(first_ms / 1000, UTC)
    year, month = first.year, first.month
    while (begin_ms := _begin_ms(year, month)) <= last_ms:
        following = (year + month // 12, month % 12 + 1)
        yield Month(f"{year:04}-{month:02}", begin_ms, _begin_ms(*following))
        year, month = following


def _begin_ms(year: int, month: int) -> int:
    return (datetime(year, month, 1, tzinfo=UTC) - _EPOCH).days * 86_400_000


def groups(keys: Sequence[SeriesKey]) -> list[tuple[SeriesKey, ...]]:
    """The series by exchange, kind and interval, each group ascending by symbol."""
    found: dict[tuple[str, Kind, int], list[SeriesKey]] = {}
    for key in sorted(keys):
        found.setdefault((key.exchange, key.kind, key.interval_ms), []).append(key)
    return [tuple(group) for _, group in sorted(found.items())]


def parquet_files(
    group: tuple[SeriesKey, ...], first_ms: int, last_ms: int, wanted: Wanted
) -> Iterator[LakeFile]:
    """A file for each month in which the group, whose rows lie between these times, may have any.

    The layout is Hive's: DuckDB, Spark and others read what the folders' names say as columns.
    """
    key = group[0]
    folder = f"{key.kind}/exchange={key.exchange}"
    if key.kind == "candles":
        folder += f"/timeframe={TIMEFRAMES[key.interval_ms]}"
    first_ms, last_ms = max(first_ms, wanted.from_ms), min(last_ms, wanted.to_ms - 1)
    if first_ms > last_ms:
        return
    for month in months(first_ms, last_ms):
        path = f"{folder}/month={month.name}/part-0.parquet"
        from_ms, to_ms = max(month.from_ms, wanted.from_ms), min(month.to_ms, wanted.to_ms)
        yield LakeFile(path, key.kind, group, from_ms, to_ms)


def csv_file(key: SeriesKey, wanted: Wanted) -> LakeFile | None:
    """The file of one series; None if its symbol is too long for a name."""
    name = safe_name(key.symbol)
    if name is None:
        return None
    folder = f"{key.kind}/{key.exchange}"
    if key.kind == "candles":
        folder += f"/{TIMEFRAMES[key.interval_ms]}"
    return LakeFile(f"{folder}/{name}.csv", key.kind, (key,), wanted.from_ms, wanted.to_ms)


def safe_name(name: str) -> str | None:
    """The name as part of a file's name: letters and digits of any script stay, other characters
    are percent-encoded, so that no name is a path and no two are one. None if it is too long."""
    plain = "".join(
        char if char.isalnum() or (char in _PLAIN and (place or char != ".")) else _encoded(char)
        for place, char in enumerate(name)
    )
    return plain if 0 < len(plain.encode()) <= _LONGEST_NAME else None


def _encoded(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
