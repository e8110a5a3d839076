"""Names of archive files: the kind, symbol, interval and span of time that a name says.

The archive's layout, for USD-M futures:
data/futures/um/{daily|monthly}/klines/BTCUSDT/1h/BTCUSDT-1h-2026-03.zip,
…/daily/metrics/BTCUSDT/BTCUSDT-metrics-2026-03-01.zip,
…/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2026-03.zip.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Final, Literal

from database import SeriesKey
from history.archive.errors import UnknownFile
from market.markets import ARCHIVED
from market.timeframes import DAY_MS, HOUR_MS, Timeframe

ArchiveKind = Literal["klines", "metrics", "fundingRate"]

CHECKSUM: Final = ".CHECKSUM"
ALLOWED: Final = (
    f"klines of {', '.join(Timeframe)} (BTCUSDT-1h-2026-03.zip), metrics"
    " (BTCUSDT-metrics-2026-03-01.zip) and fundingRate (BTCUSDT-fundingRate-2026-03.zip) of USD-M"
    " perpetuals, by day or month, as .zip or .csv"
)
_AFTER_SYMBOL: Final = re.compile(r"(\w{1,20})-(\d{4})-(\d\d)(?:-(\d\d))?\.(zip|csv)", re.ASCII)
_SYMBOL: Final = re.compile(r"[^\W_]{1,40}")
_OTHER_KINDS: Final = frozenset(("markPriceKlines", "indexPriceKlines", "premiumIndexKlines"))
_INTERVAL: Final = re.compile(r"\d{1,2}(s|m|h|d|w|mo)")
_PERIODS: Final = ("daily", "monthly")


@dataclass(frozen=True, slots=True)
class ArchiveName:
    """What the name of an archive file says of its rows.

    They are of `from_ms` to before `to_ms` (UTC). `timeframe`: of klines. `packed`: a zip archive.
    """

    name: str
    kind: ArchiveKind
    symbol: str
    timeframe: Timeframe | None
    from_ms: int
    to_ms: int
    packed: bool

    @property
    def is_monthly(self) -> bool:
        return self.to_ms - self.from_ms > DAY_MS

    @property
    def key(self) -> SeriesKey:
        """The series that the rows belong to."""
        if self.timeframe is not None:
            return SeriesKey.candles(ARCHIVED, self.symbol, self.timeframe)
        if self.kind == "metrics":
            return SeriesKey.open_interest(ARCHIVED, self.symbol)
        return SeriesKey.funding(ARCHIVED, self.symbol)

    @property
    def instants(self) -> int:
        """How many rows the span has at most; of settlements those of every hour."""
        step_ms = HOUR_MS if self.kind == "fundingRate" else self.key.interval_ms
        return (self.to_ms - self.from_ms) // step_ms

    @property
    def member(self) -> str:
        """The name of the one file in the zip archive."""
        return f"{self.name.rpartition('.')[0]}.csv"

    @property
    def order(self) -> tuple[object, ...]:
        """The order of import: klines before the metrics that their prices explain; a month before
        its days."""
        kinds = ("klines", "fundingRate", "metrics")
        length = -self.key.interval_ms if self.kind == "klines" else 0
        return (
            kinds.index(self.kind), self.symbol, length, not self.is_monthly, self.from_ms,
            self.name,
        )  # fmt: skip


def parse_name(path: PurePath | str) -> ArchiveName:
    """What the path of a file says. Raises UnknownFile for other names, and for folders of the
    archive whose files have the same names but other values."""
    path = PurePath(path)
    _check_folders(path.parts[:-1])
    symbol, _, rest = path.name.partition("-")
    found = _AFTER_SYMBOL.fullmatch(rest)
    if found is None or not _SYMBOL.fullmatch(symbol):
        raise UnknownFile(_explained(path.name, symbol))
    if symbol != symbol.upper():  # it would be recorded as a market of its own
        raise UnknownFile(f"its name must begin with {symbol.upper()}, as the exchange writes it")
    what, year, month, day, suffix = found.groups()
    try:
        begin = datetime(int(year), int(month), int(day or 1), tzinfo=UTC)
        end = begin + timedelta(days=1 if day else 32)
    except (ValueError, OverflowError):
        raise UnknownFile("its name has no valid date") from None
    end = end if day else end.replace(day=1)
    timeframe: Timeframe | None = None
    kind: ArchiveKind
    if what == "metrics":
        kind = "metrics"
    elif what == "fundingRate":
        kind = "fundingRate"
    elif what in set(Timeframe):
        kind, timeframe = "klines", Timeframe(what)
    elif _INTERVAL.fullmatch(what):
        raise UnknownFile(f"candles of {what} are not recorded, only {', '.join(Timeframe)}")
    else:
        raise UnknownFile(f"{what} is not imported, only {ALLOWED}")
    from_ms, to_ms = (int(moment.timestamp()) * 1000 for moment in (begin, end))
    packed = suffix == "zip"
    return ArchiveName(path.name, kind, symbol, timeframe, from_ms, to_ms, packed)


def _check_folders(parts: tuple[str, ...]) -> None:
    """Spot and coin-margined markets, and mark and index prices, have files of the same names."""
    for place, part in enumerate(parts):
        if part in _OTHER_KINDS:
            raise UnknownFile(f"{part} are not imported, only {ALLOWED}")
        if part in _PERIODS and place:
            market = parts[place - 1]
            if market in ("spot", "cm", "option"):
                raise UnknownFile(
                    f"it is of {market} markets: only those of data/futures/um are imported"
                )


def _explained(name: str, symbol: str) -> str:
    if "_" in symbol:
        return f"{symbol[:50]} is no perpetual contract; imported are {ALLOWED}"
    if name.endswith(CHECKSUM):
        return "a checksum is read with the file that lies beside it"
    return f"imported are {ALLOWED}, and files that `export` wrote"
