"""The table coin_metadata: its upsert, and the conversion of markets and metadata to rows."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import asyncpg

from market.markets import Exchange, Market, Meta
from market.timeframes import Timeframe
from stores.cold.pool import Connection

# Metadata with a column of its own; everything else goes to `other` (jsonb).
_NUMBERS: Final = ("hurst", "entropy", "realised_volatility")

_UPSERT_METADATA: Final = """
    INSERT INTO coin_metadata AS m (exchange, symbol, timeframe, computed_at_ms,
        hurst, entropy, realised_volatility, other)
    SELECT e, s, t, c, h, n, v, o::jsonb
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::float8[], $6::float8[],
        $7::float8[], $8::text[]) AS given(e, s, t, c, h, n, v, o)
    ON CONFLICT (exchange, symbol, timeframe) DO UPDATE SET
        hurst = excluded.hurst,
        entropy = excluded.entropy,
        realised_volatility = excluded.realised_volatility,
        other = m.other || excluded.other,
        computed_at_ms = excluded.computed_at_ms
    WHERE m.computed_at_ms <= excluded.computed_at_ms
        OR m.computed_at_ms > excluded.computed_at_ms + $9
"""


async def write_metadata(
    connection: Connection,
    rows: Iterable[tuple[str, Timeframe, int, Meta]],
    *,
    most_ahead_ms: int | None = None,
) -> None:
    """Stores metadata unless what is stored was computed later; but by more than `most_ahead_ms`
    only a wrong clock was later, and it is replaced."""
    columns = to_columns(
        (
            *split_key(key),
            timeframe,
            computed_at_ms,
            *(finite_or_none(meta.get(name)) for name in _NUMBERS),
            json.dumps({n: finite_or_none(v) for n, v in meta.items() if n not in _NUMBERS}),
        )
        for key, timeframe, computed_at_ms, meta in rows
    )
    if columns:
        await connection.execute(_UPSERT_METADATA, *columns, most_ahead_ms)


def to_columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def split_key(key: str) -> tuple[str, str]:
    exchange, _, symbol = key.partition(":")
    return exchange, symbol


def finite_or_none(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def market_from_row(row: asyncpg.Record) -> Market:
    """The market of a row of coins with `since_ms`, `native` and `contract_size` joined to it."""
    return Market(
        Exchange(row["exchange"]),
        row["symbol"],
        row["base"],
        row["quote"],
        row["launched_ms"],
        native=row["native"] or "",
        contract_size=row["contract_size"] or 1.0,
        since_ms=row["since_ms"],
    )


def meta_from_row(row: asyncpg.Record) -> Meta:
    other: dict[str, float | None] = json.loads(row["other"] or "{}")
    return {name: row[name] for name in _NUMBERS} | dict(sorted(other.items()))
