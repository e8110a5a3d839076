"""Questions for candles: which rows of a market an exchange would answer with, and whether we can.

What is answered from the cache is what the exchange would answer: every instant that was asked for
has its row, none may have come since, and every text is exact. Anything else is left to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from facade.market_rows import MarketRows
from market.base import FINAL_AFTER_MS

FOR_EVER: Final = 2**62


class Keeps(Enum):
    """Which rows are told where more lie between the bounds than the limit allows."""

    NEWEST = auto()
    OLDEST = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class CandleQuestion:
    """Candles of a length that opened from `first_ms` to `last_ms`, both included, `limit` of them
    at most. `symbol`: the exchange's id of the market.

    `reach`: how many rows, the newest ones, the exchange tells at all; None: all that there are.
    `tells_forming`: whether the forming candle is among its rows, as far as is known.
    """

    symbol: str
    step_ms: int
    limit: int
    keeps: Keeps
    first_ms: int | None = None
    last_ms: int | None = None
    reach: int | None = None
    tells_forming: bool = True


@dataclass(frozen=True, slots=True)
class AnsweredRows:
    """`lines`: those of the rows that answer, ascending. `until_ms`: the exchange's time from which
    they do not any more."""

    lines: range
    until_ms: int


def answered_rows(
    rows: MarketRows,
    question: CandleQuestion,
    columns: Sequence[int],
    *,
    now_ms: int,
    forming_s: float,
) -> AnsweredRows | None:
    """What of `rows` answers the question; None if they cannot, nor will later.

    `columns`: those whose texts are told. `now_ms`: the exchange's time. `forming_s`: how old the
    forming candle may be.
    """
    step_ms = rows.interval_ms
    now_ms = max(now_ms, rows.checked_at_ms)
    forming_ms = now_ms - now_ms % step_ms
    asked = _asked(question, forming_ms, step_ms)
    if rows.is_stale or asked is None:
        return None
    first_ms, last_ms = asked
    lines = _lines(rows.times, first_ms, last_ms, step_ms)
    until_ms = _until(rows, last_ms, forming_ms, int(forming_s * 1000))
    if lines is None or now_ms >= until_ms:
        return None
    return AnsweredRows(lines, until_ms) if rows.are_exact(lines, columns) else None


def _asked(question: CandleQuestion, forming_ms: int, step_ms: int) -> tuple[int, int] | None:
    """The first and the last candle that the exchange tells, if it has all between them; None if it
    tells none, or if nobody knows which."""
    last_ms = forming_ms if question.last_ms is None else min(question.last_ms, forming_ms)
    last_ms -= last_ms % step_ms
    first_ms = question.first_ms
    of_limit_ms = (question.limit - 1) * step_ms
    if first_ms is None:
        first_ms = last_ms - of_limit_ms
    else:
        first_ms += -first_ms % step_ms  # one that opened before it is not told
    if last_ms - first_ms > of_limit_ms:
        match question.keeps:
            case Keeps.NEWEST:
                first_ms = last_ms - of_limit_ms
            case Keeps.OLDEST:
                last_ms = first_ms + of_limit_ms
            case Keeps.UNKNOWN:
                return None
    # Whether the forming one is among the rows of its reach, nobody has said.
    before = (forming_ms - first_ms) // step_ms
    if question.reach is not None and before >= question.reach - 1:
        return None
    if last_ms == forming_ms and not question.tells_forming:
        return None
    return (first_ms, last_ms) if first_ms <= last_ms and question.limit > 0 else None


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


def _until(rows: MarketRows, last_ms: int, forming_ms: int, forming_for_ms: int) -> int:
    """Until when the last row that is told is what the exchange shows.

    One that was read when it was final, for ever. One that could still change, while it is young;
    and if it is the forming one, until the next begins.
    """
    step_ms = rows.interval_ms
    young_until_ms = rows.checked_at_ms + forming_for_ms + 1
    if last_ms == forming_ms:
        return min(young_until_ms, forming_ms + step_ms)
    if rows.checked_at_ms >= last_ms + step_ms + FINAL_AFTER_MS:
        return FOR_EVER
    return young_until_ms if rows.checked_at_ms >= last_ms + step_ms else 0
