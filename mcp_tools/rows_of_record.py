"""Makes the answer of `history` of a page of the record: its rows, their age, and what it lacks."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from market.markets import Exchange
from market.timeframes import Timeframe
from mcp_tools.answers import Missing, Rows, utc_text
from mcp_tools.api_client import Answered, Unanswered
from mcp_tools.rows_of_documents import market_rows, with_missing

# The time of the service is told in whole seconds, and a caller's clock differs a little from it.
_CLOCKS_DIFFER_MS: Final = 60_000


def recorded_rows(
    answered: Answered, exchange: Exchange, symbol: str, timeframe: Timeframe
) -> Rows:
    """Raises Unanswered for a page from, or as of, a time that is to come: nothing can be known of
    it."""
    page = answered.value
    as_of = page.get("as_of")
    for name, moment_ms in (("start", page["from"]), ("as_of", as_of)):
        if moment_ms is not None and moment_ms > answered.at_ms + _CLOCKS_DIFFER_MS:
            raise Unanswered(
                f"{name}: {utc_text(moment_ms)} is to come: give a time before now, which is"
                f" {utc_text(answered.at_ms)}"
            )
    markets = [market_rows(market) for market in page["markets"]]
    rows = [row for market in page["markets"] for row in market["rows"]]
    left_out = None
    if page.get("next") is not None and rows:
        left_out = f"later rows: ask again with start={rows[-1][0] + timeframe.interval_ms}"
    lacks = [
        Missing(exchange=exchange, symbol=symbol, part="klines", reason=reason)
        for reason in _lacking(page, [row[0] for row in rows], timeframe)
    ]
    return Rows(
        **with_missing(lacks, left_out),
        as_of=as_of,
        age_s=None if as_of is None else max(0, answered.at_ms - as_of) / 1000,
        timeframe=page.get("timeframe"),
        columns=page["columns"],
        markets=markets,
    )


def _lacking(page: Mapping[str, Any], times: list[int], timeframe: Timeframe) -> Iterator[str]:
    """What the record lacks, in words: all, what lies before the first row, runs between rows."""
    if not times:
        yield "nothing is recorded of this range, or nothing was known of it at that time"
        return
    step_ms = timeframe.interval_ms
    start_ms = -(-page["from"] // step_ms) * step_ms  # the first candle that opens then or later
    for before_ms, after_ms in zip([start_ms - step_ms, *times], times, strict=False):
        if lacking := (after_ms - before_ms) // step_ms - 1:
            first, last = utc_text(before_ms + step_ms), utc_text(after_ms - step_ms)
            yield (
                f"from {first} to {last}: {lacking} candle{'s' * (lacking > 1)} not recorded, or"
                " not known at that time"
            )
