"""Open interest of the archive: files of metrics, and which moment the label of a row means.

`create_time,symbol,sum_open_interest,sum_open_interest_value,...`, a row each 5 minutes of a day.
Until 2026-06-25 a row labelled T is the snapshot at T; since then it is the snapshot at T + 5 min,
and the label 00:00 of that day is in two files. The API has always meant T.
(binance/binance-public-data, issue 491)
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from history.archive.errors import ArchiveError, Refusals
from history.archive.names import ArchiveName
from history.archive.numbers import settled, shown, split_header, split_lines
from history.archive.rows import ArchiveRows, Lines, check_plausible, refuse_outside
from market.rows import Floats, Times, located
from market.timeframes import MINUTE_MS

COLUMNS: Final = (
    "create_time", "symbol", "sum_open_interest", "sum_open_interest_value",
    "count_toptrader_long_short_ratio", "sum_toptrader_long_short_ratio", "count_long_short_ratio",
    "sum_taker_long_short_vol_ratio",
)  # fmt: skip
_WANTED: Final = COLUMNS[:4]
STEP_MS: Final = 5 * MINUTE_MS
CHANGED_MS: Final = 1_782_345_600_000  # 2026-06-25 00:00 UTC
_STAMP: Final = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_NUMBER: Final = re.compile(rb"\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,3})?")
# The price that a row tells is the mark price: within 0.005 % of the candle's open at the moment
# that is meant, and by half a percent off at another (samples of the API, at the median).
_MOST_APART: Final = 0.01
# With fewer rows to compare, or two readings that fit nearly alike, prices say nothing.
_FEWEST: Final = 6
_NEARER: Final = 0.5


@dataclass(frozen=True, slots=True)
class Opens:
    """Opens of 5m candles: `times` (n) ascend, `prices` (n)."""

    times: Times
    prices: Floats


@dataclass(frozen=True, slots=True)
class Labelled:
    """The rows of a metrics file by their labels: open interest, and its value in USDT (n, 2)."""

    name: ArchiveName
    labels: Times
    values: Floats
    refusals: Refusals
    doubled: int
    zeros: int


def read_metrics(text: bytes, name: ArchiveName) -> Labelled:
    """The rows of the file; those with an open interest of zero, which say that there is none, are
    counted and left out. Raises ArchiveError."""
    refusals = Refusals()
    body, begin, names = split_header(text, COLUMNS, _WANTED)
    stamp, symbol, interest, value = (names.index(column) for column in _WANTED)
    labels: list[int] = []
    values: list[tuple[float, float]] = []
    lines: list[int] = []
    for line, fields in split_lines(body, begin, len(names), refusals):
        try:
            label = _label(fields[stamp])
            if fields[symbol] != name.symbol.encode():
                raise ValueError(f"it is of {shown(fields[symbol])}, not {name.symbol}")
            values.append((_number(fields[interest]), _number(fields[value])))
        except ValueError as error:
            refusals.add(line, str(error))
            continue
        labels.append(label)
        lines.append(line)
    return _labelled(name, labels, values, np.array(lines, np.int64), refusals)


def _labelled(
    name: ArchiveName,
    labels: list[int],
    values: list[tuple[float, float]],
    lines: Lines,
    refusals: Refusals,
) -> Labelled:
    times, found = np.array(labels, np.int64), np.array(values, np.float64).reshape(-1, 2)
    kept = np.ones(len(times), np.bool_)
    # The last label of a day's file is the next midnight, or the first one is its own.
    refuse_outside(refusals, kept, times, lines, name.from_ms, name.to_ms + 1)
    check_plausible(int(kept.sum()), refusals)
    there = kept & (found[:, 0] > 0)
    zeros = int((kept & ~there).sum())
    times, found = times[there], found[there]
    which, doubled = settled(times, found, lines[there], refusals)
    return Labelled(name, times[which], found[which], refusals, doubled, zeros)


def snapshots(file: Labelled, opens: Opens | None, now_ms: int) -> ArchiveRows:
    """The snapshots of the file, at the moments that its labels mean.

    `opens`: of the market's 5m candles from the first label to 5 minutes after the last, as many as
    there are. The reading whose prices are nearer to them over the day counts; without enough of
    them the day of the file decides. Raises ArchiveError if neither fits, or if the day decides and
    the span of the labels is that of files of the other side of the change.
    """
    shift_ms, note = _meaning(file, opens)
    times = file.labels + shift_ms
    rows = ArchiveRows(
        file.name.key, times, file.values[:, :1], file.refusals, file.doubled, file.zeros,
        notes=[note] if note else [],
    )  # fmt: skip
    come = times <= now_ms
    rows.forming = int((~come).sum())
    rows.select(come)
    expected = max(0, min(file.name.to_ms, now_ms) - file.name.from_ms) // STEP_MS
    rows.lacking = max(0, expected - len(rows.times))
    return rows


def _meaning(file: Labelled, opens: Opens | None) -> tuple[int, str | None]:
    """What is to be added to the labels, and what is to be told of how that was found."""
    by_day = STEP_MS if file.name.from_ms >= CHANGED_MS else 0
    told = f"its day says that labels mean {_words(by_day)}"
    if opens is None or not len(opens.times):
        return _checked(file, by_day), f"no 5m candles helped: {told}"
    apart = {shift: _apart(file, opens, shift) for shift in (0, STEP_MS)}
    found = {shift: value for shift, value in apart.items() if value is not None}
    if len(found) < len(apart):
        return _checked(file, by_day), f"too few 5m candles helped: {told}"
    nearer, farther = sorted(found, key=lambda shift: found[shift])
    if found[nearer] > _MOST_APART:
        raise ArchiveError(
            f"its value per open interest is {100 * found[0]:.2f} % off the opens of the 5m"
            f" candles at its labels, and {100 * found[STEP_MS]:.2f} % off those 5 minutes later:"
            " neither reading of its labels fits"
        )
    if found[nearer] > _NEARER * found[farther]:
        return _checked(file, by_day), f"5m candles fit both readings alike: {told}"
    return nearer, None if nearer == by_day else f"5m candles say that labels mean {_words(nearer)}"


def _checked(file: Labelled, by_day_ms: int) -> int:
    """Raises ArchiveError if the midnight among the labels is not that of the day's files, the next
    one before the change and its own since: the file was made anew in the other form."""
    has_first = bool((file.labels == file.name.from_ms).any())
    has_last = bool((file.labels == file.name.to_ms).any())
    if has_first != has_last and has_first != bool(by_day_ms):
        raise ArchiveError(
            f"its labels run to {'23:55' if has_first else 'the next 00:00'}, as in files of the"
            " other side of 2026-06-25, and no 5m candles tell which moments they mean: import"
            " those of that day first"
        )
    return by_day_ms


def _words(shift_ms: int) -> str:
    return "the snapshot 5 minutes later" if shift_ms else "the snapshot at that time"


def _apart(file: Labelled, opens: Opens, shift_ms: int) -> float | None:
    """How far the prices of rows are from the opens at their labels and so much later, as a
    fraction, at the median; None with too few of them."""
    there, at = located(file.labels + shift_ms, opens.times)
    there = there & (file.values[:, 1] > 0)
    if int(there.sum()) < _FEWEST:
        return None
    prices = file.values[there, 1] / file.values[there, 0]
    return float(np.median(np.abs(prices / opens.prices[at[there]] - 1)))


def _label(field: bytes) -> int:
    """The UTC ms of a stamp such as 2026-03-01 00:05:00."""
    if not _STAMP.fullmatch(field):
        raise ValueError(f"its create_time {shown(field)!r} is not of the form 2026-03-01 00:05:00")
    try:
        moment = datetime.fromisoformat(field.decode()).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"its create_time {shown(field)} is no time") from None
    label = round(moment.timestamp()) * 1000
    if label % STEP_MS:
        raise ValueError(f"its create_time {shown(field)} is not on the grid of 5 minutes")
    return label


def _number(field: bytes) -> float:
    """A number that is not negative; an empty field is 0: there is none."""
    if field in (b"", b'""'):
        return 0.0
    if not _NUMBER.fullmatch(field):
        raise ValueError(f"{shown(field)!r} is no amount")
    return float(field)
