"""The table market_lives: since when each market is the contract that it is now."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import asyncpg

from market.lives import Life, believable_launch, life_now
from market.markets import ListedMarket
from stores.cold.coin_metadata import to_columns
from stores.cold.pool import Connection


@dataclass(frozen=True, slots=True)
class KnownMarket:
    """What is stored of a market before a list is taken in. `absent_from_ms`: the first believed
    list that lacked it, None if it is listed."""

    active: bool
    quote: str
    life: Life
    absent_from_ms: int | None


async def known_markets(
    connection: Connection, exchange: str, now_ms: int
) -> dict[str, KnownMarket]:
    """The exchange's stored markets by symbol, without what a clock ahead of `now_ms` stored."""
    rows = await connection.fetch(_KNOWN, exchange)
    return {row["symbol"]: _known(row, now_ms) for row in rows}


def lives_now(
    known: Mapping[str, KnownMarket],
    listed: Mapping[str, ListedMarket],
    *,
    seen_at_ms: int,
    listed_before_ms: int,
) -> dict[str, Life]:
    """The lives of the listed markets by symbol; `listed_before_ms`: the last believed list."""
    lives = {}
    for symbol, entry in listed.items():
        launched_ms = believable_launch(entry.market.launched_ms, seen_at_ms)
        before = known.get(symbol)
        if before is None:
            lives[symbol] = Life(launched_ms)
            continue
        absent_from_ms = before.absent_from_ms
        if not before.active and absent_from_ms is None:
            absent_from_ms = listed_before_ms  # the release before does not store it
        lives[symbol] = life_now(
            before.life,
            launched_ms,
            absent_from_ms=None if before.active else absent_from_ms,
            absent_until_ms=min(listed_before_ms, seen_at_ms),  # later only by a wrong clock
        )
    return lives


async def save_lives(
    connection: Connection, exchange: str, lives: Mapping[str, Life], begun: Iterable[str]
) -> None:
    """Stores the lives of listed markets by symbol, and deletes the metadata of the rows before
    for those that have `begun` a new one."""
    columns = to_columns(
        (symbol, life.launched_ms, life.since_ms) for symbol, life in lives.items()
    )
    await connection.execute(_SAVE, exchange, *columns)
    await connection.execute(
        "DELETE FROM coin_metadata WHERE exchange = $1 AND symbol = ANY($2)", exchange, list(begun)
    )


async def mark_absent(
    connection: Connection, exchange: str, symbols: Iterable[str], *, from_ms: int
) -> None:
    """Notes the list that was the first to lack these markets, and those whose first one was of a
    time that has not come yet."""
    await connection.execute(_ABSENT, exchange, list(symbols), from_ms)
    await connection.execute(_ABSENT_LATER, exchange, from_ms)


def _known(row: asyncpg.Record, now_ms: int) -> KnownMarket:
    life = Life(
        *(moment if moment <= now_ms else 0 for moment in (row["launched_ms"], row["since_ms"]))
    )
    return KnownMarket(row["active"], row["quote"], life, row["absent_from_ms"])


# A market that the release before added has no row in market_lives yet.
_KNOWN: Final = """
    SELECT c.symbol, c.active, c.quote, coalesce(l.since_ms, 0) AS since_ms, l.absent_from_ms,
        coalesce(nullif(l.launched_ms, 0), c.launched_ms) AS launched_ms
    FROM coins AS c LEFT JOIN market_lives AS l USING (exchange, symbol)
    WHERE c.exchange = $1
"""

_SAVE: Final = """
    INSERT INTO market_lives (exchange, symbol, launched_ms, since_ms)
    SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::bigint[])
    ON CONFLICT (exchange, symbol) DO UPDATE SET (launched_ms, since_ms, absent_from_ms)
        = (excluded.launched_ms, excluded.since_ms, NULL)
"""

_ABSENT: Final = """
    INSERT INTO market_lives (exchange, symbol, launched_ms, absent_from_ms)
    SELECT exchange, symbol, launched_ms, $3 FROM coins WHERE exchange = $1 AND symbol = ANY($2)
    ON CONFLICT (exchange, symbol) DO UPDATE SET absent_from_ms = $3
"""

_ABSENT_LATER: Final = """
    UPDATE market_lives SET absent_from_ms = $2 WHERE exchange = $1 AND absent_from_ms > $2
"""
