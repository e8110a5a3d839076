"""The table whale_transactions, and how far whale detection has read each chain.

Transfers and cursor are stored in one transaction: blocks are read once, and none is left out.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import asyncpg

from stores.cold.names import encoding_of
from stores.cold.pool import Connection, Pool
from stores.cold.providers.inserting import insert_new

_TYPES: Final = {
    "chain": "text",
    "tx_hash": "text",
    "index": "integer",
    "type": "text",
    "asset": "text",
    "contract": "text",
    "amount_raw": "numeric",
    "decimals": "integer",
    "value_usd": "numeric",
    "price_source": "text",
    "senders": "json",
    "receivers": "json",
    "sender_owner": "text",
    "receiver_owner": "text",
    "block": "bigint",
    "timestamp": "bigint",
    "confirmed": "boolean",
    "source": "text",
    "known_at": "bigint",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WhaleRow:
    """A transfer of much. `index`: of the log or output in its transaction; `amount_raw` in units
    of 10^-`decimals`; `value_usd`: at the time, None where the asset had no price."""

    chain: str
    tx_hash: str
    index: int
    type: str
    asset: str
    contract: str | None
    amount_raw: int
    decimals: int
    value_usd: Decimal | None
    price_source: str | None
    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    sender_owner: str | None
    receiver_owner: str | None
    block: int | None
    timestamp_ms: int
    confirmed: bool
    source: str
    known_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WhaleCursor:
    """The last block of a chain that was read, and its hash where that is known."""

    chain: str
    block: int
    block_hash: str | None
    changed_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WhaleFilter:
    """Which transfers: None stands for all. Times are UTC ms, the ends exclusive. `min_usd`: of at
    least this value; those without a price are left out then."""

    chain: str | None = None
    asset: str | None = None
    min_usd: Decimal | None = None
    from_ms: int | None = None
    to_ms: int | None = None


class WhaleTransactions:
    """All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, rows: Sequence[WhaleRow], cursor: WhaleCursor | None = None) -> int:
        """Stores what is new, and with it how far the chain was read; how many are new. A cursor
        never goes back."""

        async def write(connection: Connection) -> int:
            encoding = await encoding_of(connection)
            async with connection.transaction():
                if cursor is not None:
                    await connection.execute(
                        _MOVE, cursor.chain, cursor.block, cursor.block_hash, cursor.changed_at_ms
                    )
                return await insert_new(
                    connection,
                    "whale_transactions",
                    _TYPES,
                    list(map(_values, rows)),
                    encoding=encoding,
                )

        return await self._pool.write(write)

    async def cursor(self, chain: str) -> WhaleCursor | None:
        async def read(connection: Connection) -> WhaleCursor | None:
            row = await connection.fetchrow("SELECT * FROM whale_cursor WHERE chain = $1", chain)
            if row is None:
                return None
            return WhaleCursor(
                chain=row["chain"],
                block=row["block"],
                block_hash=row["block_hash"],
                changed_at_ms=row["changed_at"],
            )

        return await self._pool.read(read)

    async def listed(
        self,
        which: WhaleFilter,
        *,
        before: tuple[int, str, int] | None = None,
        limit: int = 100,
    ) -> list[WhaleRow]:
        """Newest first, at most `limit`. `before`: timestamp_ms, tx_hash and index of the last one
        of the page before."""
        before_ms, tx_hash, index = before or (None, None, None)

        async def read(connection: Connection) -> list[WhaleRow]:
            rows = await connection.fetch(
                _LISTED,
                *(which.chain, which.asset, which.min_usd, which.from_ms, which.to_ms),
                *(before_ms, tx_hash, index, limit),
            )
            return [_row(row) for row in rows]

        return await self._pool.read(read)


def _values(row: WhaleRow) -> tuple[Any, ...]:
    return (
        *(row.chain, row.tx_hash, row.index, row.type, row.asset, row.contract),
        *(Decimal(row.amount_raw), row.decimals, row.value_usd, row.price_source),
        *(json.dumps(list(row.senders)), json.dumps(list(row.receivers))),
        *(row.sender_owner, row.receiver_owner, row.block, row.timestamp_ms, row.confirmed),
        *(row.source, row.known_at_ms),
    )


def _row(row: asyncpg.Record) -> WhaleRow:
    return WhaleRow(
        chain=row["chain"],
        tx_hash=row["tx_hash"],
        index=row["index"],
        type=row["type"],
        asset=row["asset"],
        contract=row["contract"],
        amount_raw=int(row["amount_raw"]),
        decimals=row["decimals"],
        value_usd=row["value_usd"],
        price_source=row["price_source"],
        senders=tuple(json.loads(row["senders"])),
        receivers=tuple(json.loads(row["receivers"])),
        sender_owner=row["sender_owner"],
        receiver_owner=row["receiver_owner"],
        block=row["block"],
        timestamp_ms=row["timestamp"],
        confirmed=row["confirmed"],
        source=row["source"],
        known_at_ms=row["known_at"],
    )


_MOVE: Final = """
    INSERT INTO whale_cursor AS old (chain, block, block_hash, changed_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (chain) DO UPDATE SET
        block = excluded.block, block_hash = excluded.block_hash, changed_at = excluded.changed_at
    WHERE excluded.block > old.block
"""
_LISTED: Final = """
    SELECT * FROM whale_transactions
    WHERE ($1::text IS NULL OR chain = $1) AND ($2::text IS NULL OR asset = $2)
        AND ($3::numeric IS NULL OR value_usd >= $3)
        AND ($4::bigint IS NULL OR timestamp >= $4) AND ($5::bigint IS NULL OR timestamp < $5)
        AND ($6::bigint IS NULL OR (timestamp, tx_hash, index) < ($6, $7::text, $8::integer))
    ORDER BY timestamp DESC, tx_hash DESC, index DESC LIMIT $9
"""
