"""The archive's files: their names, what time each is about, and when each appears.

data/futures/um/{daily|monthly}/klines/{SYMBOL}/{interval}/{SYMBOL}-{interval}-{period}.zip, and
without the interval's folder .../metrics/{SYMBOL}/{SYMBOL}-metrics-{period}.zip (daily alone) and
.../fundingRate/{SYMBOL}/{SYMBOL}-fundingRate-{period}.zip (monthly alone). A period is YYYY-MM-DD
or YYYY-MM.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from simulator.answers import PERIODS_MS
from simulator.candles import DAY_MS, HOUR_MS
from simulator.randomness import draw

ROOT: Final = "data/futures/um"
KLINES: Final = "klines"
METRICS: Final = "metrics"
FUNDING: Final = "fundingRate"
KINDS_OF: Final = {"daily": (KLINES, METRICS), "monthly": (FUNDING, KLINES)}
CHECKSUM: Final = ".CHECKSUM"
INTERVALS: Final = tuple(sorted(PERIODS_MS))  # 3d, 1w and 1mo are not modelled
# The first files: of candles and funding; of metrics of one symbol, and of all others.
_FIRST_DAY: Final = date(2020, 1, 1)
_FIRST_METRICS: Final = {"BTCUSDT": date(2020, 9, 1)}
_FIRST_METRICS_OF_MOST: Final = date(2021, 12, 1)
# Hours after the end of a day until its files are there (choice: some hours, a few over a day).
_DAILY_HOURS: Final = (2, 9)
_LATE_ONE_IN: Final = 20
_LATE_HOURS: Final = 26
_MONTHLY_HOURS: Final = (3, 12)  # after the beginning of the first Monday (choice)


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One file; `folder` is daily or monthly, `interval` is empty for other kinds than klines."""

    folder: str
    kind: str
    symbol: str
    interval: str
    first_day: date

    @property
    def period(self) -> str:
        return self.first_day.strftime("%Y-%m-%d" if self.folder == "daily" else "%Y-%m")

    @property
    def name(self) -> str:
        """The name without `.zip`."""
        return f"{self.symbol}-{self.interval or self.kind}-{self.period}"

    @property
    def key(self) -> str:
        return f"{folder_of(self.folder, self.kind, self.symbol, self.interval)}{self.name}.zip"

    @property
    def start_ms(self) -> int:
        return ms_of(self.first_day)

    @property
    def end_ms(self) -> int:
        """The first time that is not of this file any more."""
        return ms_of(_next(self.first_day, self.folder))

    def appears_ms(self, seed: int) -> int:
        """When the file is there for the first time."""
        if self.folder == "monthly":
            first = _next(self.first_day, "monthly")
            monday = first + timedelta(days=-first.weekday() % 7)
            low, high = _MONTHLY_HOURS
            hours = low + draw(seed, self.key, "archive hours", 0, high - low)
            return ms_of(monday) + hours * HOUR_MS
        low, high = _DAILY_HOURS
        hours = low + draw(seed, self.key, "archive hours", 0, high - low)
        if draw(seed, self.key, "archive late", 0, _LATE_ONE_IN) == 0:
            hours = _LATE_HOURS
        return self.end_ms + hours * HOUR_MS


def folder_of(folder: str, kind: str, symbol: str, interval: str) -> str:
    """The folder of a series, with a slash at its end."""
    middle = f"{interval}/" if interval else ""
    return f"{ROOT}/{folder}/{kind}/{symbol}/{middle}"


def ms_of(day: date) -> int:
    """UTC milliseconds at which a day begins."""
    return (day - date(1970, 1, 1)).days * DAY_MS


def day_of(time_ms: int) -> date:
    return datetime.fromtimestamp(time_ms / 1000, UTC).date()


def files_of(
    folder: str, kind: str, symbol: str, interval: str, listed_ms: int, now_ms: int,
    from_day: date = date.min,
) -> Iterator[ArchiveFile]:  # fmt: skip
    """The files of a series whose time is over, ascending, those before `from_day` left out."""
    day = max(first_day(folder, kind, symbol, listed_ms), from_day)
    if folder == "monthly":
        day = day.replace(day=1)
    while ms_of(_next(day, folder)) <= now_ms:
        yield ArchiveFile(folder, kind, symbol, interval, day)
        day = _next(day, folder)


def first_day(folder: str, kind: str, symbol: str, listed_ms: int) -> date:
    """The day that the first file of a series is of, or the month's first."""
    first = _FIRST_DAY
    if kind == METRICS:
        first = _FIRST_METRICS.get(symbol, _FIRST_METRICS_OF_MOST)
    day = max(first, day_of(listed_ms))
    return day.replace(day=1) if folder == "monthly" else day


def parse_key(key: str) -> ArchiveFile | None:
    """The file of a key, without `.CHECKSUM`; None for any other text."""
    parts = key.removesuffix(".zip").split("/")
    if not key.endswith(".zip") or len(parts) not in (7, 8) or "/".join(parts[:3]) != ROOT:
        return None
    folder, kind, symbol = parts[3:6]
    interval = parts[6] if kind == KLINES and len(parts) == 8 else ""
    text = parts[-1].removeprefix(f"{symbol}-{interval or kind}-")
    if kind not in KINDS_OF.get(folder, ()) or (kind == KLINES and interval not in INTERVALS):
        return None
    try:
        day = date.fromisoformat(text if folder == "daily" else f"{text}-01")
    except ValueError:
        return None
    file = ArchiveFile(folder, kind, symbol, interval, day)
    return file if file.key == key else None


def _next(day: date, folder: str) -> date:
    if folder == "daily":
        return day + timedelta(days=1)
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
