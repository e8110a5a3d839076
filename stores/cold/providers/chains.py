"""The tables gas_prices and blockchain_stats: what chains cost, and how they are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stores.cold.names import encoding_of
from stores.cold.pool import Connection, Pool
from stores.cold.providers.inserting import insert_new

_GAS: Final = {
    "chain": "text",
    "timestamp": "bigint",
    "source": "text",
    "block": "bigint",
    "fees": "json",
    "known_at": "bigint",
}
_STATS: Final = {
    "chain": "text",
    "timestamp": "bigint",
    "source": "text",
    "height": "bigint",
    "head_time": "bigint",
    "metrics": "json",
    "known_at": "bigint",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GasRow:
    """`fees`: integers by the names of the fields, such as base_fee_wei, fee_fast_sat_per_kvb."""

    chain: str
    timestamp_ms: int
    source: str
    block: int | None
    fees: Mapping[str, int]
    known_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsRow:
    """`metrics`: by name, the number as exact text and its unit."""

    chain: str
    timestamp_ms: int
    source: str
    height: int | None
    head_time_ms: int | None
    metrics: Mapping[str, tuple[str, str]]
    known_at_ms: int


class ChainFigures:
    """All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add_gas(self, rows: Sequence[GasRow]) -> int:
        """Stores fees that differ from the last ones of their chain and source; how many."""
        return await self._add(
            "gas_prices", _GAS, _LAST_GAS, [(row, _gas_values(row)) for row in rows]
        )

    async def add_stats(self, rows: Sequence[StatsRow]) -> int:
        """Stores statistics that differ from the last ones of their chain and source; how many."""
        return await self._add(
            "blockchain_stats", _STATS, _LAST_STATS, [(row, _stats_values(row)) for row in rows]
        )

    async def _add(
        self,
        table: str,
        types: Mapping[str, str],
        last: str,
        rows: Sequence[tuple[GasRow | StatsRow, tuple[Any, ...]]],
    ) -> int:
        async def write(connection: Connection) -> int:
            asked = sorted({(row.chain, row.source) for row, _ in rows})
            said = {
                (each["chain"], each["source"]): (each["number"], each["what"])
                for each in await connection.fetch(last, *map(list, zip(*asked, strict=True)))
            }
            number = list(types).index("block" if "block" in types else "height")
            what = list(types).index("fees" if "fees" in types else "metrics")
            new = []
            for row, values in sorted(rows, key=lambda each: each[0].timestamp_ms):
                says = values[number], values[what]
                if said.get((row.chain, row.source)) != says:
                    said[row.chain, row.source] = says
                    new.append(values)
            encoding = await encoding_of(connection)
            return await insert_new(connection, table, types, new, encoding=encoding)

        return await self._pool.write(write) if rows else 0


def _gas_values(row: GasRow) -> tuple[Any, ...]:
    # Beyond 2^53 JSON numbers are no integers to everybody.
    fees = {name: str(fee) for name, fee in sorted(row.fees.items())}
    return (
        *(row.chain, row.timestamp_ms, row.source, row.block, json.dumps(fees)),
        row.known_at_ms,
    )


def _stats_values(row: StatsRow) -> tuple[Any, ...]:
    metrics = {
        name: {"value": value, "unit": unit} for name, (value, unit) in sorted(row.metrics.items())
    }
    return (
        *(row.chain, row.timestamp_ms, row.source, row.height, row.head_time_ms),
        *(json.dumps(metrics), row.known_at_ms),
    )


# The last one of each by the primary key, newest first, however many there are.
_LAST: Final = """
    SELECT asked.chain, asked.source, last.*
    FROM unnest($1::text[], $2::text[]) AS asked(chain, source) CROSS JOIN LATERAL (
        SELECT {number} AS number, {what}::text AS what FROM {table} AS told
        WHERE told.chain = asked.chain AND told.source = asked.source
        ORDER BY told.timestamp DESC LIMIT 1
    ) AS last
"""
_LAST_GAS: Final = _LAST.format(number="block", what="fees", table="gas_prices")
_LAST_STATS: Final = _LAST.format(number="height", what="metrics", table="blockchain_stats")
