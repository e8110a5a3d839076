"""Makes the tools' answers of documents: whole rows within a bound, and what was left out."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mcp_tools.answers import MarketRows, Missing, Rows, utc_text
from mcp_tools.api_client import Answered

MOST_MISSING: Final = 20
LONGEST_REASON: Final = 300
_NO_MARKET: Final = "no such market is in the document: the tool `markets` lists them"


def rows_of(answered: Answered, asked: Sequence[str], left_out: str | None = None) -> Rows:
    """The rows of all markets of a document that was asked for the symbols `asked`."""
    document = answered.value
    return Rows(
        **beside_rows(answered, left_out=left_out, asked=asked),
        timeframe=document.get("timeframe"),
        last_closed_open_time=document.get("last_closed_open_time"),
        columns=document.get("columns", []),
        markets=[market_rows(market) for market in document.get("markets", [])],
    )


def market_rows(market: Mapping[str, Any]) -> MarketRows:
    rows = market["rows"]
    return MarketRows(
        exchange=market["exchange"],
        symbol=market["symbol"],
        interval_hours=market.get("interval_hours"),
        stale_since=market.get("stale_since"),
        first_utc=utc_text(int(rows[0][0])) if rows else None,
        last_utc=utc_text(int(rows[-1][0])) if rows else None,
        rows=rows,
    )


def beside_rows(
    answered: Answered,
    *,
    left_out: str | None = None,
    asked: Sequence[str] = (),
    only: str = "",
) -> dict[str, Any]:
    """The fields of Answer that a document has: as_of, age_s, missing, left_out.

    `asked`: the symbols that it was asked for; those that it has nothing of are missing. `only`:
    what is missing of symbols without this part is of no interest.
    """
    document = answered.value
    told = document.get("missing", [])
    missing = [_missing(entry) for entry in told if only in (entry["symbol"] or only)]
    known = {str(each["symbol"]).upper() for each in (*document.get("markets", []), *told)}
    missing += [
        Missing(exchange=None, symbol=symbol, part="market", reason=_NO_MARKET)
        for symbol in dict.fromkeys(each.upper() for each in asked)
        if symbol not in known
    ]
    return {
        "as_of": document.get("as_of"),
        "age_s": answered.age_s,
        **with_missing(missing, left_out),
    }


def with_missing(missing: Sequence[Missing], left_out: str | None = None) -> dict[str, Any]:
    """The fields `missing` and `left_out`, which says how many of the former there are more."""
    said = [] if left_out is None else [left_out]
    if (more := len(missing) - MOST_MISSING) > 0:
        said.append(f"{more} are missing, too: ask for one exchange or fewer markets")
    return {"missing": list(missing[:MOST_MISSING]), "left_out": "; ".join(said) or None}


def _missing(entry: Mapping[str, Any]) -> Missing:
    return Missing(
        exchange=entry["exchange"],
        symbol=entry["symbol"],
        part=entry["part"],
        reason=str(entry["reason"])[:LONGEST_REASON],
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


def cut_rows(
    document: dict[str, Any], wanted: int, most: int, *, symbols: int = 1
) -> tuple[int, str | None]:
    """Keeps as many of the newest rows of each market as fit into `most`; returns how many these
    are, and what `row_limit` says of it. `symbols`: so many were asked for, each with rows of one
    market at least."""
    rows, left_out = row_limit(wanted, max(symbols, len(document["markets"])), most)
    for market in document["markets"]:
        market["rows"] = market["rows"][-rows:]
    return rows, left_out


def told_of_more(shown: int, count: int, what: str, how: str) -> str | None:
    return None if count <= shown else f"{count - shown} more {what}: {how}"


def positions(columns: Sequence[str], *names: str) -> list[int]:
    return [columns.index(name) for name in names]
