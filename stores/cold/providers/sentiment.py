"""The table sentiment_metrics: one row for each reading of an index, however often it was asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import asyncpg

from stores.cold.names import encoding_of
from stores.cold.pool import Connection, Pool
from stores.cold.providers.inserting import insert_new

_TYPES: Final = {
    "metric": "text",
    "asset": "text",
    "timestamp": "bigint",
    "value": "numeric",
    "scale_min": "numeric",
    "scale_max": "numeric",
    "label": "text",
    "source": "text",
    "known_at": "bigint",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SentimentRow:
    """`asset`: an asset's id, or MARKET; `timestamp_ms`: of the reading, UTC."""

    metric: str
    asset: str
    timestamp_ms: int
    value: Decimal
    scale_min: Decimal
    scale_max: Decimal
    label: str | None
    source: str
    known_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SentimentFilter:
    """Which readings: None stands for all. Times are UTC ms, the ends exclusive."""

    metric: str | None = None
    asset: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    as_of_ms: int | None = None


class SentimentMetrics:
    """All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, rows: Sequence[SentimentRow]) -> int:
        """Stores what is new; how many. A reading that says what the last one of its metric said,
        on the same day (UTC), is none."""

        async def write(connection: Connection) -> int:
            last = await connection.fetch(_LAST, [row.metric for row in rows])
            said = {
                (each["metric"], each["asset"]): (
                    each["timestamp"] // _DAY_MS,
                    each["value"],
                    each["label"],
                )
                for each in last
            }
            new = []
            for row in sorted(rows, key=lambda row: row.timestamp_ms):
                says = (row.timestamp_ms // _DAY_MS, row.value, row.label)
                if said.get((row.metric, row.asset)) != says:
                    said[row.metric, row.asset] = says
                    new.append(row)
            encoding = await encoding_of(connection)
            return await insert_new(
                connection, "sentiment_metrics", _TYPES, list(map(_values, new)), encoding=encoding
            )

        return await self._pool.write(write) if rows else 0

    async def listed(
        self,
        which: SentimentFilter,
        *,
        after: tuple[int, str, str] | None = None,
        limit: int = 1000,
    ) -> list[SentimentRow]:
        """Oldest first, at most `limit`. `after`: timestamp_ms, metric and asset of the last one of
        the page before."""
        after_ms, metric, asset = after or (None, None, None)

        async def read(connection: Connection) -> list[SentimentRow]:
            rows = await connection.fetch(
                _LISTED,
                *(which.metric, which.asset, which.from_ms, which.to_ms, which.as_of_ms),
                *(after_ms, metric, asset, limit),
            )
            return [_row(row) for row in rows]

        return await self._pool.read(read)


def _values(row: SentimentRow) -> tuple[object, ...]:
    return (
        *(row.metric, row.asset, row.timestamp_ms, row.value, row.scale_min, row.scale_max),
        *(row.label, row.source, row.known_at_ms),
    )


def _row(row: asyncpg.Record) -> SentimentRow:
    return SentimentRow(
        metric=row["metric"],
        asset=row["asset"],
        timestamp_ms=row["timestamp"],
        value=row["value"],
        scale_min=row["scale_min"],
        scale_max=row["scale_max"],
        label=row["label"],
        source=row["source"],
        known_at_ms=row["known_at"],
    )


_DAY_MS: Final = 86_400_000
_LAST: Final = """
    SELECT DISTINCT ON (metric, asset) metric, asset, timestamp, value, label
    FROM sentiment_metrics WHERE metric = ANY($1::text[])
    ORDER BY metric, asset, timestamp DESC
"""
_LISTED: Final = """
    SELECT * FROM sentiment_metrics
    WHERE ($1::text IS NULL OR metric = $1) AND ($2::text IS NULL OR asset = $2)
        AND ($3::bigint IS NULL OR timestamp >= $3) AND ($4::bigint IS NULL OR timestamp < $4)
        AND ($5::bigint IS NULL OR known_at <= $5)
        AND ($6::bigint IS NULL OR (timestamp, metric, asset) > ($6, $7::text, $8::text))
    ORDER BY timestamp, metric, asset LIMIT $9
"""
