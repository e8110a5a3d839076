"""Great transfers on Bitcoin: blocks that stand, from explorers.

How far the chain is, esplora tells (mempool.space, blockstream.info). What is in a block,
blockchain.info tells in one request; where it does not, pages of esplora do, 25 transactions each.
"""

from collections.abc import Sequence
from typing import Any, Final

import structlog

from providers.errors import ErrorClass, ProviderError
from providers.exact import BadValue
from providers.gate import Skipped
from providers.records import WhaleTransfer
from providers.resources import Resource
from providers.rpc.facts import facts_of
from providers.whales.bitcoin_blocks import Block, Paid, read_esplora, read_raw_block
from providers.whales.explorers import Explorers, text_of
from providers.whales.scanning import (
    Cursor,
    Deadline,
    NotNow,
    Prices,
    Scan,
    Watched,
    cut_short,
    newest_first,
    stretch,
    watched,
)

RAW_BLOCKS: Final = "/rawblock"  # how the URL ends of a row that gives blocks whole
CHAIN: Final = "bitcoin"
COIN: Final = "btc"
_DECIMALS: Final = 8
_PAGE: Final = 25
_LONGEST_S: Final = 7_200.0  # blocks come irregularly: an hour may have ten
_BACK: Final = 6  # blocks, where the last one that was read does not stand any more

log = structlog.get_logger(__name__)


class BitcoinScans:
    """One per process."""

    def __init__(self, explorers: Explorers) -> None:
        self._explorers = explorers
        # Of a block that took longer than a scan: its pages so far, by its hash.
        self._begun: dict[str, list[Block]] = {}

    async def run(
        self,
        rows: Sequence[Resource],
        cursor: Cursor | None,
        prices: Prices,
        min_usd: int,
        deadline: Deadline,
    ) -> Scan:
        """Raises ProviderError and Skipped where no block could be read."""
        known = await prices([COIN])
        if COIN not in known:
            raise NotNow("whales of bitcoin: it has no price", ())
        coin = watched(COIN, _DECIMALS, known[COIN], min_usd)
        failed: ProviderError | Skipped | None = None
        whole = next((row for row in rows if row.url.endswith(RAW_BLOCKS)), None)
        for row in rows:
            if row is whole:
                continue
            try:
                return await self._scan(row, whole, cursor, coin, deadline)
            except (ProviderError, Skipped) as error:
                failed = failed or error
        raise failed or ProviderError(ErrorClass.UNKNOWN, "whales of bitcoin: nobody to ask")

    async def _scan(
        self,
        row: Resource,
        whole: Resource | None,
        cursor: Cursor | None,
        coin: Watched,
        deadline: Deadline,
    ) -> Scan:
        facts = facts_of(CHAIN)
        tip = await self._explorers.get(row, "/blocks/tip/height", _height, deadline)
        if cursor is not None and not await self._stands(row, cursor, deadline):
            log.warning("whale_block_taken_back", chain=CHAIN, block=cursor.block)
            cursor = Cursor(cursor.block - _BACK)
        todo = stretch(cursor, tip - facts.confirmations, facts.block_s, _LONGEST_S)
        found: list[WhaleTransfer] = []
        reached, cut = cursor, None
        for number in range(todo.first, todo.last + 1):
            try:
                hash_ = await self._hash(row, number, deadline)
                least = coin.least_raw
                blocks = await self._whole(whole, number, hash_, least, deadline)
                if blocks is None:
                    blocks = await self._pages(row, number, hash_, least, deadline)
            except (ProviderError, Skipped) as error:
                cut = cut_short(todo, number - 1, error)
                if number == todo.first and deadline.left_s <= 0:
                    raise NotNow(f"whales of {CHAIN}: {cut}", ()) from None
                if number == todo.first:
                    raise
                log.info("whale_scan_cut_short", chain=CHAIN, block=number, why=cut)
                break
            found += [
                self._transfer(row, paid, block, coin) for block in blocks for paid in block.paid
            ]
            reached = Cursor(number, hash_)
        return Scan(CHAIN, newest_first(found), reached, todo.skipped, todo.first, cut)

    async def _stands(self, row: Resource, cursor: Cursor, deadline: Deadline) -> bool:
        if cursor.block_hash is None:
            return True
        return await self._hash(row, cursor.block, deadline) == cursor.block_hash

    async def _hash(self, row: Resource, number: int, deadline: Deadline) -> str:
        path = f"/block-height/{number}"
        return await self._explorers.get(row, path, _hash, deadline, decode=text_of)

    async def _whole(
        self,
        row: Resource | None,
        number: int,
        hash_: str,
        least_raw: int,
        deadline: Deadline,
    ) -> list[Block] | None:
        """The block in one request; None where nobody gives it so."""
        if row is None:
            return None
        try:
            return [
                await self._explorers.get(
                    *(row, f"/{hash_}"),
                    lambda block: read_raw_block(block, number, hash_, least_raw),
                    deadline,
                )
            ]
        except (ProviderError, Skipped) as error:
            log.info("whale_block_by_pages", block=number, error=str(error))
            return None

    async def _pages(
        self, row: Resource, number: int, hash_: str, least_raw: int, deadline: Deadline
    ) -> list[Block]:
        """The block in pages; those that came before the time was over are kept for the next
        scan."""
        count = await self._explorers.get(row, f"/block/{hash_}", _count, deadline)
        pages = self._begun.setdefault(hash_, [])
        while (start := sum(page.transactions for page in pages)) < count:
            page = await self._explorers.get(
                *(row, f"/block/{hash_}/txs/{start}"),
                lambda told: read_esplora(told, number, hash_, least_raw),
                deadline,
            )
            if page.transactions != min(_PAGE, count - start):
                raise ProviderError(ErrorClass.BAD_PAYLOAD, f"{row.id}: a page is not full")
            pages.append(page)
        del self._begun[hash_]
        return pages

    def _transfer(self, row: Resource, paid: Paid, block: Block, coin: Watched) -> WhaleTransfer:
        return WhaleTransfer(
            provider=row.provider.id,
            resource=row.id,
            fetched_at_ms=self._explorers.clock.wall_ms(),
            as_of_ms=block.time_ms,
            chain=CHAIN,
            tx_hash=paid.tx_hash,
            index=paid.index,
            type="transfer",
            asset=COIN,
            contract=None,
            amount_raw=paid.raw,
            decimals=_DECIMALS,
            value_usd=coin.value(paid.raw),
            price_source=coin.price.source,
            senders=paid.senders,
            receivers=() if paid.receiver is None else (paid.receiver,),
            block=block.number,
            time_ms=block.time_ms,
            confirmed=True,
        )


def _height(told: Any) -> int:
    if type(told) is not int or told < 0:
        raise BadValue("it tells no height")
    return told


def _count(told: Any) -> int:
    return _height(told["tx_count"])


def _hash(told: str) -> str:
    if len(told) != 64 or not set(told) <= set("0123456789abcdef"):
        raise BadValue("it tells no hash")
    return told
