"""How long an exchange's own answer may be given to others who ask the same.

Until it may answer otherwise: until the next candle, snapshot or settlement, if the newest one that
there can be is in the answer, and no longer than a forming candle is told from the cache.
"""

from typing import Final

from facade.candle_questions import CandleQuestion
from facade.history_questions import PUBLISHED_AFTER_MS, FundingQuestion, InterestQuestion
from facade.venue import Asked, FacadeVenue
from market.timeframes import HOUR_MS, MINUTE_MS
from venues.venue import Endpoint

_LONGEST_MS: Final = 5 * MINUTE_MS
_OVERDUE_MS: Final = 30 * MINUTE_MS  # a settlement that has not come by then was none


def lasts_until(
    venue: FacadeVenue, question: Asked, body: bytes, asked_ms: int, forming_ms: int
) -> int | None:
    """From when the answer may be another; None if that is not known, or if it has no rows.

    `asked_ms`: the exchange's time when it was asked. `forming_ms`: how long a forming candle is
    told.
    """
    try:
        match question:
            case CandleQuestion():
                return _of_candles(venue, question, body, asked_ms, forming_ms)
            case InterestQuestion():
                return _of_interest(venue, question, body, asked_ms)
            case FundingQuestion():
                return _of_funding(venue, question, body, asked_ms)
    except (ValueError, LookupError, RecursionError):
        return None


def _of_candles(
    venue: FacadeVenue, question: CandleQuestion, body: bytes, asked_ms: int, forming_for_ms: int
) -> int | None:
    newest_ms, forming_ms = venue.candles.newest(body), asked_ms - asked_ms % question.step_ms
    young_until_ms = asked_ms + forming_for_ms
    if newest_ms == forming_ms:
        return min(young_until_ms, forming_ms + question.step_ms)
    is_past = question.last_ms is not None and question.last_ms < forming_ms
    return young_until_ms if is_past else None


def _of_interest(
    venue: FacadeVenue, question: InterestQuestion, body: bytes, asked_ms: int
) -> int | None:
    due_ms = asked_ms - asked_ms % question.step_ms
    if question.last_ms is not None and question.last_ms < due_ms:
        is_late = asked_ms - question.last_ms < PUBLISHED_AFTER_MS
        return None if is_late else asked_ms + _LONGEST_MS
    if _newest(venue, Endpoint.OPEN_INTEREST, question, body) != due_ms:
        return None
    return min(due_ms + question.step_ms, asked_ms + _LONGEST_MS)


def _of_funding(
    venue: FacadeVenue, question: FundingQuestion, body: bytes, asked_ms: int
) -> int | None:
    hour_ms = asked_ms - asked_ms % HOUR_MS
    is_past = question.last_ms is not None and question.last_ms < hour_ms - _OVERDUE_MS
    has_come = _newest(venue, Endpoint.FUNDING, question, body) >= hour_ms
    if not (has_come or is_past or asked_ms - hour_ms >= _OVERDUE_MS):
        return None
    return min(hour_ms + HOUR_MS, asked_ms + _LONGEST_MS)


def _newest(venue: FacadeVenue, endpoint: Endpoint, question: Asked, body: bytes) -> int:
    """The newest row's time. Raises ValueError if there is none."""
    return max(row.time_ms for row in venue.read_rows[endpoint](body, question.symbol))
