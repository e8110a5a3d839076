"""Unexpected exceptions: which of them end a job, and how all others are named and logged.

Whatever an exchange answers about one market, and whatever mistake of ours it meets, concerns that
market alone.
"""

from typing import Final

import structlog

from market.markets import Exchange
from stores.hot.leases import LeaseLost
from stores.hot.store import StoreUnavailable
from texts.foreign import foreign_text
from venues.errors import ExchangeError, InternalError

# Without the lease or the store no result can be kept, and without memory none can be made.
# Cancellation, KeyboardInterrupt and SystemExit are no Exceptions and end a job as well.
ENDS_JOB: Final = (LeaseLost, StoreUnavailable, MemoryError)

log = structlog.get_logger(__name__)


class InternalErrors:
    """Names the unexpected exceptions of one run, and logs each kind with its traceback once."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str, int]] = set()

    def named(
        self, error: Exception, exchange: Exchange, *, endpoint: str = "", market: str | None = None
    ) -> ExchangeError:
        """The error as one of a request: itself, or an InternalError that gives only its type."""
        if isinstance(error, ExchangeError):
            return error
        name = type(error).__name__
        named = InternalError(
            f"internal error: {name}", exchange=exchange, endpoint=endpoint, market=market
        )
        kind = (name, *_raised_at(error))
        fields = {"cause": str(named), "error": foreign_text(str(error))}
        if kind in self._logged:
            log.debug("internal_error", **fields)
        else:
            self._logged.add(kind)
            # The exception itself would log its whole text, which may be the exchange's.
            shown = named.with_traceback(error.__traceback__)
            log.error(
                "internal_error", exc_info=(type(shown), shown, error.__traceback__), **fields
            )
        return named


def _raised_at(error: Exception) -> tuple[str, int]:
    """The file and the line of the frame that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return ("", 0) if trace is None else (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
