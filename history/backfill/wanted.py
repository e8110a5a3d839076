"""Wanted: what a backfill is to bring, as requests name it and as wishes keep it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from market.markets import Exchange
from market.timeframes import DAY_MS, Timeframe

What = Literal["candles", "open_interest", "funding"]
WHAT: Final[tuple[What, ...]] = ("candles", "open_interest", "funding")
USUAL_DAYS: Final = 365
MOST_SYMBOLS: Final = 2000
LONGEST_SYMBOL: Final = 100
_FIELDS: Final = ("exchanges", "symbols", "timeframes", "what", "from", "to")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Values from `from_ms` (inclusive, UTC ms) to `to_ms` (exclusive; None: to the newest ones).

    `symbols`: those of all exchanges named; none: all markets that are collected.
    """

    exchanges: tuple[Exchange, ...]
    timeframes: tuple[Timeframe, ...]
    what: tuple[What, ...]
    from_ms: int
    to_ms: int | None = None
    symbols: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As plain data for JSON; equal wishes have equal data."""
        return {
            "exchanges": [*map(str, self.exchanges)],
            "symbols": [*self.symbols],
            "timeframes": [*map(str, self.timeframes)],
            "what": [*self.what],
            "from": self.from_ms,
            "to": self.to_ms,
        }


def stored_wish(plain: Mapping[str, Any]) -> Wanted:
    """The wish of which `plain` was stored. Raises ValueError for one that this release cannot
    read, such as one of a later release."""
    try:
        if unknown := sorted({*plain} - {*_FIELDS}):
            raise ValueError(f"unknown field {unknown[0]!r}")  # it would not be what was wished for
        to_ms = plain["to"]
        return Wanted(
            tuple(Exchange(name) for name in plain["exchanges"]),
            tuple(Timeframe(name) for name in plain["timeframes"]),
            tuple(WHAT[WHAT.index(name)] for name in plain["what"]),
            int(plain["from"]),
            None if to_ms is None else int(to_ms),
            tuple(map(str, plain["symbols"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the wish cannot be read: {error!r}") from None


def wish(
    *,
    exchanges: Sequence[str] = (),
    symbols: Sequence[str] = (),
    timeframes: Sequence[str] = (),
    what: Sequence[str] = (),
    from_ms: int | None = None,
    to_ms: int | None = None,
    collected: Sequence[Exchange],
    usual: Sequence[Timeframe],
    now_ms: int,
) -> Wanted:
    """The wish that is named so. What is not named is all: of the `collected` exchanges, in the
    `usual` timeframes, of the last year. 4h and 8h come together, as in documents.

    Raises ValueError, whose text says what is wrong and what is allowed.
    """
    if not_collected := sorted({*exchanges} - {*collected}):
        allowed = ", ".join(collected)
        raise ValueError(f"exchange: {not_collected[0]} is not collected; EXCHANGES has {allowed}")
    if from_ms is None:
        newest_ms = now_ms if to_ms is None else min(now_ms, to_ms)
        from_ms = max(0, newest_ms - newest_ms % DAY_MS - USUAL_DAYS * DAY_MS)
    if to_ms is not None and to_ms <= from_ms:
        raise ValueError(f"to: must be after from, {from_ms}, and is {to_ms}")
    if from_ms >= now_ms:
        raise ValueError(f"from: must be in the past, and is {from_ms}; it is {now_ms} now")
    return Wanted(
        tuple(each for each in collected if not exchanges or each in exchanges),
        _with_made(Timeframe(name) for name in timeframes or usual),
        tuple(each for each in WHAT if not what or each in what),
        from_ms,
        to_ms,
        _symbols(symbols),
    )


def _with_made(named: Iterable[Timeframe]) -> tuple[Timeframe, ...]:
    made = {each for timeframe in named for each in timeframe.collected_as.produces}
    return tuple(timeframe for timeframe in Timeframe if timeframe in made)


def _symbols(symbols: Sequence[str]) -> tuple[str, ...]:
    found = sorted({symbol.strip().upper() for symbol in symbols})
    if len(found) > MOST_SYMBOLS:
        raise ValueError(f"symbol: at most {MOST_SYMBOLS} may be named, not {len(found)}")
    for symbol in found:
        if not 0 < len(symbol) <= LONGEST_SYMBOL:
            raise ValueError(f"symbol: must have 1 to {LONGEST_SYMBOL} characters")
    return tuple(found)
