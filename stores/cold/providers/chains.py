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
            chains = [row.chain for row, _ in rows]
            said = {
                (each["chain"], each["source"]): (each["number"], each["what"])
                for each in await connection.fetch(last, chains)
            }
            number = list(types).index("block" if "block" in types else "height")
            what = list(types).index("fees" if "fees" in types else "metrics")
            new = [
                values
                for row, values in rows
                if said.get((row.chain, row.source)) != (values[number], values[what])
            ]
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


_LAST_GAS: Final = """
    SELECT DISTINCT ON (chain, source) chain, source, block AS number, fees::text AS what
    FROM gas_prices WHERE chain = ANY($1::text[]) ORDER BY chain, source, timestamp DESC
"""
_LAST_STATS: Final = """
    SELECT DISTINCT ON (chain, source) chain, source, height AS number, metrics::text AS what
    FROM blockchain_stats WHERE chain = ANY($1::text[]) ORDER BY chain, source, timestamp DESC
"""
