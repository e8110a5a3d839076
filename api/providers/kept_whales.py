"""Great transfers of the last hour from the table, where the hot store does not know them all."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import structlog

from database import Database, DatabaseUnavailable
from logging_setup import OutageLog
from providers.networks import Network
from providers.questions import STALE_LIMIT_S, Kind
from providers.records import WhaleTransfer
from providers.registry import Registry
from providers.rpc.facts import facts_of
from providers.whales.memory import Window
from stores.cold.providers.whales import WhaleCursor, WhaleFilter, WhaleRow

_HOUR_S: Final = STALE_LIMIT_S[Kind.WHALES]
_MOST: Final = 1000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeptWhales:
    """What the agent's rounds have kept of a chain; `cursor`: how far they have read it."""

    cursor: WhaleCursor
    transfers: Sequence[WhaleTransfer]

    def as_read(self, now_ms: int) -> dict[str, Any]:
        blocks = [each.block for each in self.transfers if each.block is not None]
        return {
            "chain": self.cursor.chain,
            "source": "table",
            "first_block": min(blocks, default=None),
            "last_block": self.cursor.block,
            "read_at_ms": self.cursor.changed_at_ms,
            "age_s": max(0, now_ms - self.cursor.changed_at_ms) / 1000,
            "complete": False,
            "coin_blocks_left_out": None,
        }


class WhaleTable:
    """One per process."""

    def __init__(self, database: Database, registry: Registry, min_usd: int) -> None:
        self._transactions = database.providers.whales
        self._registry = registry
        self._min_usd = Decimal(min_usd)
        self._outage = OutageLog(log, "kept_whales_not_read", "kept_whales_read_again")

    async def beside(
        self, network: Network, window: Window | None, now_ms: int
    ) -> KeptWhales | None:
        """What was kept of the last hour's blocks before the window; None where that covers the
        hour, and where nothing was read in it or the database is away."""
        if window is not None and _span_s(network, window) >= _HOUR_S:
            return None
        which = WhaleFilter(
            chain=network.id, min_usd=self._min_usd, from_ms=now_ms - round(_HOUR_S * 1000)
        )
        try:
            cursor = await self._transactions.cursor(network.id)
            if cursor is None or cursor.changed_at_ms < now_ms - _HOUR_S * 1000:
                return None
            rows = await self._transactions.listed(which, limit=_MOST)
        except DatabaseUnavailable as error:
            self._outage.failed(error)
            return None
        self._outage.recovered()
        known = {each.id: each.provider.id for each in self._registry.resources}
        return KeptWhales(
            cursor,
            [
                _transfer(row, known[row.source], cursor)
                for row in rows
                if row.source in known and (window is None or (row.block or 0) < window.first)
            ],
        )


def _span_s(network: Network, window: Window) -> float:
    return (window.cursor.block - window.first + 1) * facts_of(network.id).block_s


def _transfer(row: WhaleRow, provider: str, cursor: WhaleCursor) -> WhaleTransfer:
    return WhaleTransfer(
        provider=provider,
        resource=row.source,
        fetched_at_ms=row.known_at_ms,
        as_of_ms=row.timestamp_ms,
        stale_since_ms=cursor.changed_at_ms,
        chain=row.chain,
        tx_hash=row.tx_hash,
        index=row.index,
        type=row.type,
        asset=row.asset,
        contract=row.contract,
        amount_raw=row.amount_raw,
        decimals=row.decimals,
        value_usd=row.value_usd,
        price_source=row.price_source,
        senders=row.senders,
        receivers=row.receivers,
        sender_owner=row.sender_owner,
        receiver_owner=row.receiver_owner,
        block=row.block,
        time_ms=row.timestamp_ms,
        confirmed=row.confirmed,
    )
