"""Exchanges that brought nothing to a run, and why: for `missing` and for its result."""

from collections.abc import Collection, Mapping
from typing import Final

from database import DatabaseUnavailable, ListingState
from jobs.context import JobContext
from market.markets import Exchange, Missing

_UNKNOWN: Final = "none of its markets is known, and the database is away"


async def absences(
    context: JobContext, brought: Collection[Exchange], failed: Mapping[Exchange, str]
) -> tuple[dict[Exchange, str], list[Missing]]:
    """The configured exchanges that brought nothing, with the reason; and the entries of `missing`
    about them and about markets whose names cannot be stored.

    `brought`: the exchanges of which something was fetched; `failed`: why all markets of another
    failed. An exchange all of whose markets the operator has disabled is not absent.
    """
    settings = context.settings
    try:
        states = await context.database.listings.states(settings.exchanges, settings.quote)
    except DatabaseUnavailable:
        states = {}
    absent = {
        exchange: why
        for exchange in settings.exchanges
        if exchange not in brought
        and (why := failed.get(exchange) or _why_unlisted(states.get(exchange), settings.quote))
    }
    missing = [Missing(exchange, None, "listing", why) for exchange, why in absent.items()]
    for exchange, state in states.items():
        for name in state.refused:
            symbol, _, why = name.rpartition(": ")
            missing.append(Missing(exchange, symbol, "listing", why))
    return absent, missing


def _why_unlisted(state: ListingState | None, quote: str) -> str | None:
    """Why none of an exchange's markets is collected; None if the operator has disabled them."""
    if state is None:
        return _UNKNOWN
    if state.active and not state.enabled:
        return None
    if state.failure is not None:
        return f"its list of markets could not be read: {state.failure}"
    if state.discovered_ms is None:
        return "its list of markets has not been read yet"
    return f"it lists no {quote} perpetual"
