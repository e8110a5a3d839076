"""Questions for histories of open interest and funding: which kept rows an exchange answers with.

Pure rules on times. Where it is not known which rows an exchange tells, there is no answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from facade.candle_questions import FOR_EVER
from facade.told_rows import ToldRow
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS

# For so long after an instant its row may be there in one grid and not yet in another.
PUBLISHED_AFTER_MS: Final = 5 * MINUTE_MS
_FINEST_MS: Final = 5 * MINUTE_MS
_LONGEST_ASKED_MS: Final = 31 * DAY_MS


@dataclass(frozen=True, slots=True)
class InterestQuestion:
    """Snapshots every `step_ms` between two bounds, both included, `limit` of them at most, the
    newest.

    `symbol`: the exchange's id of the market. `kept_ms`: rows of which age at most the exchange
    tells. `has_pages`: an answer that has all rows it may have tells how to ask for the next ones.
    """

    symbol: str
    step_ms: int
    limit: int
    first_ms: int | None
    last_ms: int | None
    kept_ms: int | None = None
    has_pages: bool = False


def asked_instants(question: InterestQuestion, now_ms: int) -> range | None:
    """The instants whose rows answer the question, if there are all; None if nobody knows them."""
    step_ms = question.step_ms
    newest_ms = now_ms - now_ms % step_ms
    first_ms, last_ms = question.first_ms, question.last_ms
    if first_ms is not None and last_ms is None:
        return None  # which rows a lone beginning means differs
    last_ms = newest_ms if last_ms is None else min(newest_ms, last_ms - last_ms % step_ms)
    if last_ms == newest_ms and step_ms > _FINEST_MS and now_ms - newest_ms < PUBLISHED_AFTER_MS:
        return None
    if first_ms is None:
        first_ms = last_ms - (question.limit - 1) * step_ms
        if question.has_pages:
            return None
    first_ms += -first_ms % step_ms
    count = (last_ms - first_ms) // step_ms + 1
    if not 1 <= count <= question.limit - question.has_pages:
        return None  # which end a limit cuts is not known
    oldest_ms = now_ms - min(question.kept_ms or _LONGEST_ASKED_MS, _LONGEST_ASKED_MS)
    return range(first_ms, last_ms + 1, step_ms) if first_ms >= oldest_ms else None


def interest_rows(rows: Sequence[ToldRow], instants: range) -> list[ToldRow] | None:
    """The rows of the instants, ascending; None if one lacks."""
    by_time = {row.time_ms: row for row in rows}
    found = [by_time[instant] for instant in instants if instant in by_time]
    return found if len(found) == len(instants) else None


def interest_until(question: InterestQuestion, instants: range, now_ms: int) -> int:
    """From when the exchange may tell other rows."""
    newest_ms = now_ms - now_ms % question.step_ms
    is_newest = instants[-1] == newest_ms
    return newest_ms + question.step_ms if is_newest else FOR_EVER


@dataclass(frozen=True, slots=True)
class FundingQuestion:
    """Settlements between two bounds, both included, `limit` of them at most: from the first on, if
    there is a beginning and `forward`, else the newest.

    `symbol`: the exchange's id of the market. `kept_ms`: settlements of which age at most the
    exchange tells; None: all that there were.
    """

    symbol: str
    limit: int
    first_ms: int | None
    last_ms: int | None
    forward: bool
    kept_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Settlements:
    """What is known of a market's settlements: their times, ascending, none lacking between them,
    and up to when they are complete. None of them was left out."""

    times: Sequence[int]
    checked_at_ms: int


def funding_rows(
    question: FundingQuestion, rows: Sequence[ToldRow], known: Settlements, now_ms: int
) -> list[ToldRow] | None:
    """The rows that answer the question, ascending; None if that is not sure.

    `rows`: those that are kept, ascending. A settlement of which no row is kept, or more than one,
    as with an extra charge, leaves the question to the exchange.
    """
    last_ms = now_ms if question.last_ms is None else min(question.last_ms, now_ms)
    # A settlement's stamp may be a moment late, so the one before the full hour is of no interest.
    if last_ms - last_ms % HOUR_MS > known.checked_at_ms or not known.times:
        return None
    first_ms = question.first_ms
    if first_ms is not None and first_ms <= known.times[0]:
        return None  # there may be earlier ones
    asked = [each for each in known.times if (first_ms or 0) <= each <= last_ms]
    if first_ms is None or not question.forward:
        if first_ms is None and len(asked) < question.limit:
            return None  # the market's beginning is not known
        asked = asked[-question.limit :]
    else:
        asked = asked[: question.limit]
    if not asked or (question.kept_ms is not None and asked[0] < now_ms - question.kept_ms):
        return None
    there = [row for row in rows if asked[0] <= row.time_ms <= asked[-1]]
    return there if [row.time_ms for row in there] == asked else None


def funding_until(question: FundingQuestion, now_ms: int) -> int:
    """From when the exchange may tell another settlement."""
    hour_ms = now_ms - now_ms % HOUR_MS
    is_past = question.last_ms is not None and question.last_ms < hour_ms
    return FOR_EVER if is_past else hour_ms + HOUR_MS
