"""Changes: what a version of a candle document changes, as the hot store keeps it for readers.

The stored form is JSON: `markets` is a list of [exchange, symbol, rows that have closed, rows that
are others now, open times of rows that are gone, whether the market is gone], or null if they are
too many; `stale` a list of [exchange, symbol, stale_since] of all markets that are carried over;
`recovered` a list of [exchange, symbol] of those that are so no longer, with null for an exchange
that was not there at all; `absent` a list of [exchange, reason]; `counts` the number of markets of
each exchange.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since the version `base` (0: there was none).

    `rows`: how many rows have closed, changed or gone; `stale`: how many markets and exchanges are
    carried over, absent, or no longer so. Without either there is no text.
    """

    base: int
    rows: int
    stale: int
    text: bytes


class MarketChange(NamedTuple):
    """The rows of one market; the rows' columns are those of documents."""

    exchange: str
    symbol: str
    closed: Sequence[Sequence[float | None]] = ()
    corrected: Sequence[Sequence[float | None]] = ()
    removed: Sequence[int] = ()
    is_gone: bool = False


class StaleMarket(NamedTuple):
    """A market whose rows are carried over since then (UTC ms)."""

    exchange: str
    symbol: str
    stale_since: int


class AbsentExchange(NamedTuple):
    """An exchange that brought nothing at all."""

    exchange: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReadChanges:
    """The stored form, read; `markets` is None if they are too many."""

    markets: Sequence[MarketChange] | None
    stale: Sequence[StaleMarket]
    recovered: Sequence[tuple[str, str | None]]
    absent: Sequence[AbsentExchange]
    counts: Mapping[str, int]


def encode_change(change: MarketChange) -> bytes:
    """One of `markets` in the stored form."""
    return orjson.dumps(tuple(change))


def encode_changes(
    markets: Sequence[bytes] | None,
    stale: Sequence[StaleMarket],
    recovered: Sequence[tuple[str, str | None]],
    absent: Sequence[AbsentExchange],
    counts: Mapping[str, int],
) -> bytes:
    """The stored form; `markets` are encoded already, None if they are too many."""
    return orjson.dumps(
        {
            "markets": None if markets is None else [orjson.Fragment(each) for each in markets],
            "stale": [tuple(each) for each in stale],
            "recovered": recovered,
            "absent": [tuple(each) for each in absent],
            "counts": counts,
        }
    )


def decode_changes(text: bytes) -> ReadChanges:
    """Raises ValueError for anything else."""
    try:
        found: Any = orjson.loads(text)
        markets = found["markets"]
        return ReadChanges(
            None if markets is None else [MarketChange(*each) for each in markets],
            [StaleMarket(*each) for each in found["stale"]],
            [(exchange, symbol) for exchange, symbol in found["recovered"]],
            [AbsentExchange(*each) for each in found["absent"]],
            dict(found["counts"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the changes of a document: {error!r}") from None
