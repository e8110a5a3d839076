"""Makes the tools' answers of documents: whole rows within a bound, and what was left out."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mcp_tools.answers import MarketRows, Missing, Rows
from mcp_tools.api_client import Answered

MOST_MISSING: Final = 20
_LONGEST_REASON: Final = 300


def rows_of(answered: Answered, left_out: str | None = None) -> Rows:
    """The rows of all markets of a document."""
    document = answered.value
    return Rows(
        **beside_rows(answered),
        timeframe=document.get("timeframe"),
        last_closed_open_time=document.get("last_closed_open_time"),
        columns=document.get("columns", []),
        markets=[market_rows(market) for market in document.get("markets", [])],
        left_out=left_out,
    )


def market_rows(market: Mapping[str, Any]) -> MarketRows:
    return MarketRows(
        exchange=market["exchange"],
        symbol=market["symbol"],
        interval_hours=market.get("interval_hours"),
        stale_since=market.get("stale_since"),
        rows=market["rows"],
    )


def beside_rows(answered: Answered) -> dict[str, Any]:
    """The fields of Answer that a document has: as_of, age_s, missing."""
    missing = answered.value.get("missing", [])
    return {
        "as_of": answered.value.get("as_of"),
        "age_s": answered.age_s,
        "missing": [_missing(entry) for entry in missing[:MOST_MISSING]],
    }


def _missing(entry: Mapping[str, Any]) -> Missing:
    return Missing(
        exchange=entry["exchange"],
        symbol=entry["symbol"],
        part=entry["part"],
        reason=str(entry["reason"])[:_LONGEST_REASON],
    )


def row_limit(wanted: int, markets: int, most: int) -> tuple[int, str | None]:
    """How many rows of each of `markets` fit into `most`, and what to say if those are fewer than
    wanted."""
    fitting = max(1, most // max(1, markets))
    if wanted <= fitting:
        return wanted, None
    return fitting, (
        f"{fitting} of {wanted} rows of each market, {most} in all: ask for fewer markets at once,"
        " or for one exchange"
    )


def told_of_more(shown: int, count: int, what: str, how: str) -> str | None:
    return None if count <= shown else f"{count - shown} more {what}: {how}"


def positions(columns: Sequence[str], *names: str) -> list[int]:
    return [columns.index(name) for name in names]
