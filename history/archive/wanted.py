"""Which files of Binance's archive a range of time wants, and what they are called there.

Files of candles and funding are monthly, those of candles and metrics (open interest) daily:
data/futures/um/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2026-03.zip,
data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2026-03-01.zip.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

from database import SeriesKey
from market.markets import ARCHIVED
from market.timeframes import DAY_MS, Timeframe

What = Literal["candles", "open_interest", "funding"]
Folder = Literal["daily", "monthly"]

WHATS: Final[tuple[What, ...]] = ("candles", "open_interest", "funding")
_ROOT: Final = "data/futures/um"
_KINDS: Final[dict[What, str]] = {
    "candles": "klines", "open_interest": "metrics", "funding": "fundingRate",
}  # fmt: skip
# Nothing is older (measured by third parties; REST goes back to 2019-09).
_FIRST_DAY: Final = date(2020, 1, 1)
_FIRST_METRICS: Final = date(2020, 9, 1)
_DAY: Final = timedelta(days=1)
_MOST_RUNS: Final = 6  # that a line of text names


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A day or a month, UTC; `text` as names of files have it."""

    first: date
    monthly: bool

    @property
    def text(self) -> str:
        return self.first.strftime("%Y-%m" if self.monthly else "%Y-%m-%d")

    @property
    def from_ms(self) -> int:
        return _ms_of(self.first)

    @property
    def to_ms(self) -> int:
        return _ms_of(_next_month(self.first) if self.monthly else self.first + _DAY)

    @property
    def days(self) -> list["Period"]:
        count = (self.to_ms - self.from_ms) // DAY_MS
        return [Period(self.first + day * _DAY, monthly=False) for day in range(count)]


@dataclass(frozen=True, slots=True)
class ArchiveSeries:
    """The files of one market's candles of a timeframe, open interest or funding."""

    what: What
    symbol: str
    timeframe: Timeframe | None = None  # of candles

    def __str__(self) -> str:
        return f"{ARCHIVED}:{self.symbol} {self.timeframe or self.what}"

    @property
    def key(self) -> SeriesKey:
        """The series of the record that the files' rows belong to."""
        if self.timeframe is not None:
            return SeriesKey.candles(ARCHIVED, self.symbol, self.timeframe)
        if self.what == "open_interest":
            return SeriesKey.open_interest(ARCHIVED, self.symbol)
        return SeriesKey.funding(ARCHIVED, self.symbol)

    @property
    def stem(self) -> str:
        """What the names of the files begin with, up to the period."""
        return f"{self.symbol}-{self.timeframe or _KINDS[self.what]}-"

    def folder(self, *, monthly: bool) -> str:
        """The folder of the files, without a slash at its beginning."""
        interval = f"{self.timeframe}/" if self.timeframe is not None else ""
        kind = _KINDS[self.what]
        return f"{_ROOT}/{'monthly' if monthly else 'daily'}/{kind}/{self.symbol}/{interval}"

    def name(self, period: Period) -> str:
        return f"{self.stem}{period.text}.zip"

    def months(self, from_ms: int, to_ms: int) -> list[Period]:
        """The monthly files that the range wants: of candles, of months that lie in it whole; of
        funding, which has no daily ones, of all that it touches."""
        if self.what == "open_interest":
            return []
        first, last = self._days(from_ms, to_ms)
        found = list(_months(first, last))
        if self.what == "funding":
            return found
        # A month that nothing is older than is whole, too.
        inside = max(from_ms, _ms_of(_FIRST_DAY))
        return [month for month in found if month.from_ms >= inside and month.to_ms <= to_ms]

    def days(self, from_ms: int, to_ms: int) -> list[Period]:
        """The daily files that the range touches, ascending."""
        if self.what == "funding":
            return []
        first, last = self._days(from_ms, to_ms)
        count = (last - first).days + 1
        return [Period(first + day * _DAY, monthly=False) for day in range(max(0, count))]

    def _days(self, from_ms: int, to_ms: int) -> tuple[date, date]:
        """The first and the last day of a range; the last before the first if it is empty."""
        if self.what == "open_interest":  # a day's file has the next midnight, and not its own
            step_ms = self.key.interval_ms
            first_ms = -(-from_ms // step_ms) * step_ms
            last_ms = (to_ms - 1) // step_ms * step_ms
            return max(_FIRST_METRICS, _day_of(first_ms - 1)), _day_of(last_ms - 1)
        return max(_FIRST_DAY, _day_of(from_ms)), _day_of(to_ms - 1)


def told(periods: list[Period]) -> str:
    """Periods in words, runs of them as `first to last`."""
    runs: list[list[Period]] = []
    for period in sorted(periods):
        last = runs[-1][-1] if runs else None
        if last is not None and last.monthly == period.monthly and last.to_ms == period.from_ms:
            runs[-1].append(period)
        else:
            runs.append([period])
    texts = [run[0].text if len(run) == 1 else f"{run[0].text} to {run[-1].text}" for run in runs]
    shown = ", ".join(texts[:_MOST_RUNS])
    return shown if len(texts) <= _MOST_RUNS else f"{shown} and {len(texts) - _MOST_RUNS} more"


def _months(first: date, last: date) -> Iterator[Period]:
    month = first.replace(day=1)
    while month <= last:
        yield Period(month, monthly=True)
        month = _next_month(month)


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def _ms_of(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_MS


def _day_of(time_ms: int) -> date:
    return datetime.fromtimestamp(time_ms / 1000, UTC).date()
