"""Questions for candles: which rows of a market an exchange would answer with, and whether we can.

What is answered from the cache is what the exchange would answer: every instant that was asked for
has its row, none may have come since, and every text is exact. Anything else is left to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from facade.market_rows import MarketRows


class Keeps(Enum):
    """Which rows are told where more lie between the bounds than the limit allows."""

    NEWEST = auto()
    OLDEST = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class CandleQuestion:
    """Candles that opened from `first_ms` to `last_ms`, both included, `limit` of them at most."""

    symbol: str
    timeframe: str
    limit: int
    keeps: Keeps
    first_ms: int | None = None
    last_ms: int | None = None


def answered_rows(
    rows: MarketRows,
    question: CandleQuestion,
    columns: Sequence[int],
    *,
    now_ms: int,
    forming_s: float,
) -> range | None:
    """The lines of `rows` that answer the question, ascending; None if they cannot.

    `columns`: those whose texts are told. `now_ms`: the exchange's time. `forming_s`: how old the
    forming candle may be.
    """
    step_ms = rows.interval_ms
    forming_ms = now_ms - now_ms % step_ms
    last_ms = forming_ms if question.last_ms is None else min(question.last_ms, forming_ms)
    last_ms -= last_ms % step_ms
    first_ms = question.first_ms
    if first_ms is not None:
        first_ms += -first_ms % step_ms  # one that opened before it is not told
    of_limit_ms = (question.limit - 1) * step_ms
    if first_ms is None:
        first_ms = last_ms - of_limit_ms
    elif last_ms - first_ms > of_limit_ms:
        match question.keeps:
            case Keeps.NEWEST:
                first_ms = last_ms - of_limit_ms
            case Keeps.OLDEST:
                last_ms = first_ms + of_limit_ms
            case Keeps.UNKNOWN:
                return None
    if rows.is_stale or last_ms < first_ms or question.limit < 1:
        return None
    lines = _lines(rows.times, first_ms, last_ms, step_ms)
    if lines is None or not _is_settled(rows, last_ms, forming_ms, now_ms, forming_s):
        return None
    return lines if all(rows.is_exact(line, columns) for line in lines) else None


def _lines(times: Sequence[int], first_ms: int, last_ms: int, step_ms: int) -> range | None:
    """The lines of all instants from the first to the last; None if one has no row."""
    count = (last_ms - first_ms) // step_ms + 1
    try:
        begin = times.index(first_ms)
    except ValueError:
        return None
    lines = range(begin, begin + count)
    if lines.stop > len(times) or times[lines.stop - 1] != last_ms:
        return None
    return lines  # as many rows as instants, from the first to the last: none lacks


def _is_settled(
    rows: MarketRows, last_ms: int, forming_ms: int, now_ms: int, forming_s: float
) -> bool:
    """Whether the last row that is told shows what the exchange shows: it was read after its close,
    or it is forming and was read a moment ago."""
    if last_ms < forming_ms:
        return rows.checked_at_ms >= last_ms + rows.interval_ms
    return now_ms - rows.checked_at_ms <= forming_s * 1000
