"""Looks for great transfers in the blocks since the last look, and keeps them and the place."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from database import DatabaseRefuses
from providers.collecting.collected import Collected
from providers.collecting.rows import whale_row
from providers.errors import InvalidQuestion, NoAnswer, ProviderError
from providers.questions import AGENT_S
from providers.whales.scanning import Cursor, Scan
from stores.cold.providers.whales import WhaleCursor, WhaleTransactions
from timing.clock import now_ms

log = structlog.get_logger(__name__)


class Scanner(Protocol):
    """providers.whales.detector.Whales."""

    async def scan(
        self,
        chain: str,
        cursor: Cursor | None,
        *,
        within_s: float,
        min_usd: int,
        coins: bool = False,
    ) -> Scan: ...


class WhaleRounds:
    """All methods raise DatabaseUnavailable and StoreUnavailable."""

    def __init__(self, scanner: Scanner, transactions: WhaleTransactions, min_usd: int) -> None:
        self._scanner = scanner
        self._transactions = transactions
        self._min_usd = min_usd

    async def collect(self, chains: Sequence[str]) -> Collected:
        """Scans all chains at once. A chain that nobody answers for goes on where it stood."""
        found = await asyncio.gather(*map(self._of_chain, chains))
        return Collected(
            "whales",
            sum(records for records, _, _ in found),
            sum(rows for _, rows, _ in found),
            {},
            {
                chain: why
                for chain, (_, _, why) in zip(chains, found, strict=True)
                if why is not None
            },
        )

    async def _of_chain(self, chain: str) -> tuple[int, int, str | None]:
        """How many transfers there are, how many are new, and why there are none."""
        known = await self._transactions.cursor(chain)
        cursor = None if known is None else Cursor(known.block, known.block_hash)
        try:
            scan = await self._scanner.scan(
                chain, cursor, within_s=AGENT_S, min_usd=self._min_usd, coins=True
            )
        except (NoAnswer, ProviderError, InvalidQuestion) as error:
            return 0, 0, str(error)
        if scan.skipped:
            log.warning("whale_blocks_skipped", chain=chain, blocks=scan.skipped)
        if scan.coin_left:
            log.warning("whale_coin_blocks_skipped", chain=chain, blocks=scan.coin_left)
        now = now_ms()
        moved = None
        if scan.cursor is not None:
            moved = WhaleCursor(
                chain=chain,
                block=scan.cursor.block,
                block_hash=scan.cursor.block_hash,
                changed_at_ms=now,
            )
        rows = [whale_row(each, now) for each in scan.transfers]
        try:
            return len(rows), await self._transactions.add(rows, moved), None
        except DatabaseRefuses as error:
            return 0, 0, str(error)
