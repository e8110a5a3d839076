"""Finds recorded markets by the names that a request gives them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from history.selection import MarketName
from stores.cold.history.series import SeriesKey
from stores.cold.history.tables import Snapshot

# Up to so many symbols are looked up one by one; for more, all series are read.
_FEW: Final = 8


@dataclass(frozen=True, slots=True)
class FoundMarkets:
    """The markets that have a record, ascending; and the symbols asked for that none has."""

    markets: tuple[MarketName, ...]
    unknown: tuple[str, ...]


async def find_markets(snapshot: Snapshot, asked: Sequence[tuple[str | None, str]]) -> FoundMarkets:
    """The markets of these exchanges (None: of any) and symbols. A symbol in another case than the
    recorded one is found, too."""
    # No text of PostgreSQL has a NUL, so that it is not asked for one.
    known = await _known(snapshot, [symbol for _, symbol in asked if "\0" not in symbol])
    found: set[MarketName] = set()
    unknown: dict[str, None] = {}
    for exchange, symbol in asked:
        named = [m for m in known.get(symbol.upper(), ()) if exchange in (None, m.exchange)]
        found.update([m for m in named if m.symbol == symbol] or named)
        if not named:
            unknown[symbol] = None
    return FoundMarkets(tuple(sorted(found)), tuple(unknown))


async def _known(snapshot: Snapshot, symbols: Sequence[str]) -> dict[str, list[MarketName]]:
    """At least the recorded markets with these symbols, by the symbol in upper case."""
    keys: list[SeriesKey] = []
    if len(symbols) <= _FEW:
        for name in sorted({name for symbol in symbols for name in (symbol, symbol.upper())}):
            keys += await snapshot.series(symbol=name)
    if {symbol.upper() for symbol in symbols} - {key.symbol.upper() for key in keys}:
        keys = await snapshot.series()
    found: dict[str, list[MarketName]] = {}
    for market in sorted({MarketName(key.exchange, key.symbol) for key in keys}):
        found.setdefault(market.symbol.upper(), []).append(market)
    return found
