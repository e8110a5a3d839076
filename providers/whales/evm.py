"""Great transfers on EVM chains: Transfer events of known tokens, and of the chain's own coin.

The coin's transfers stand in whole blocks alone, each a request. Ethereum's are read with the
tokens'; other chains' come every second or faster, so that they are read apart, as many as there is
time for, the newest first. Only blocks that stand are read (see rpc.facts).
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import structlog

from providers.assets import Assets
from providers.errors import NoAnswer, ProviderError
from providers.exact import BadValue
from providers.networks import network_of
from providers.records import RpcAnswer, WhaleTransfer
from providers.rpc.facts import facts_of
from providers.rpc.nodes import Nodes
from providers.scattering import each
from providers.whales.evm_blocks import TRANSFER, Block, Moved, read_block, read_logs
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

NATIVE: Final = ("ethereum",)  # chains whose blocks are read whole with their tokens
MOST_WHOLE: Final = 450  # blocks of other chains that are read whole at a time: 15 min of 2 s each
_ZERO: Final = "0x" + "0" * 40
_SPAN_S: Final = 120.0  # of blocks whose logs are asked for at once
_MOST_SPAN: Final = 100
_PAUSE_S: Final = 0.5
_HEAD_TRIES: Final = 4

T = TypeVar("T")
log = structlog.get_logger(__name__)


class EvmScan:
    """One scan of one chain."""

    def __init__(self, nodes: Nodes, chain: str, assets: Assets, deadline: Deadline) -> None:
        self._nodes = nodes
        self._chain = chain
        self._assets = assets
        self._deadline = deadline
        self._network = network_of(chain)
        self._facts = facts_of(chain)
        self._tokens: dict[str, Watched] = {}
        self._coin: Watched | None = None

    async def run(self, cursor: Cursor | None, prices: Prices, min_usd: int) -> Scan:
        """Raises NoAnswer and ProviderError where not even the first blocks could be read."""
        await self._watch(prices, min_usd)
        settled = await self._settled()
        cursor = await self._standing(cursor)
        todo = stretch(cursor, settled, self._facts.block_s)
        size = max(1, min(_MOST_SPAN, round(_SPAN_S / self._facts.block_s)))
        found: list[WhaleTransfer] = []
        reached, cut = cursor, None
        for first, last in todo.spans(size):
            transfers, end, error = await self._span(first, last)
            found += transfers
            reached = end or reached
            if error is not None:
                cut = cut_short(todo, todo.first - 1 if end is None else end.block, error)
                if end is None and first == todo.first:
                    raise self._failure(cut, error)
                log.info("whale_scan_cut_short", chain=self._chain, block=first, why=cut)
                break
        return Scan(self._chain, newest_first(found), reached, todo.skipped, todo.first, cut)

    def _failure(self, cut: str, error: NoAnswer | ProviderError) -> Exception:
        """The nodes have told how far they are, so they live: no time was left, or they fail."""
        if self._deadline.left_s > _PAUSE_S:
            return error
        return NotNow(f"whales of {self._chain}: {cut}", ())

    async def coins(
        self, first: int, last: int, prices: Prices, min_usd: int
    ) -> tuple[list[WhaleTransfer], int]:
        """The transfers of the chain's own coin in these blocks, which its scan does not read: in
        the newest MOST_WHOLE of them, as far as there is time; and how many are left unread."""
        count, coin = max(0, last - first + 1), self._network.coin
        known = {} if self._chain in NATIVE or not count else await prices([coin])
        if coin not in known:
            return [], 0 if self._chain in NATIVE else count
        great = watched(coin, self._network.decimals, known[coin], min_usd)
        read: list[Block] = []

        async def one(number: int) -> None:
            read.append(await self._block(number, great))

        try:
            await each(range(last, max(first, last - MOST_WHOLE + 1) - 1, -1), one)
        except (NoAnswer, ProviderError) as error:
            log.info("whale_coin_cut_short", chain=self._chain, blocks=len(read), error=str(error))
        found = [self._transfer(moved, block) for block in read for moved in block.moved]
        return found, count - len(read)

    async def _watch(self, prices: Prices, min_usd: int) -> None:
        tokens = {
            asset.tokens[self._chain].contract.lower(): (asset.id, asset.tokens[self._chain])
            for asset in self._assets
            if self._chain in asset.tokens
        }
        known = await prices({self._network.coin, *(id_ for id_, _ in tokens.values())})
        self._tokens = {
            contract: watched(id_, token.decimals, known[id_], min_usd)
            for contract, (id_, token) in tokens.items()
            if id_ in known
        }
        coin = known.get(self._network.coin)
        if coin is not None and self._chain in NATIVE:
            self._coin = watched(self._network.coin, self._network.decimals, coin, min_usd)
        if not self._tokens and self._coin is None:
            raise NotNow(f"whales of {self._chain}: nothing has a price", ())

    async def _settled(self) -> int:
        """The last block that stands; nodes whose budget is used up for a moment are waited for."""
        for _ in range(_HEAD_TRIES - 1):
            try:
                left_s = self._deadline.left_s
                return await self._nodes.settled_block(self._chain, within_s=left_s)
            except NoAnswer:
                await self._nodes.clock.sleep(min(_PAUSE_S, self._deadline.left_s))
        return await self._nodes.settled_block(self._chain, within_s=self._deadline.left_s)

    async def _standing(self, cursor: Cursor | None) -> Cursor | None:
        """The cursor, or one some blocks before it where its block was taken back."""
        if cursor is None or cursor.block_hash is None:
            return cursor
        if (await self._block(cursor.block, None)).hash == cursor.block_hash:
            return cursor
        log.warning("whale_block_taken_back", chain=self._chain, block=cursor.block)
        return Cursor(max(0, cursor.block - 2 * self._facts.confirmations))

    async def _span(
        self, first: int, last: int
    ) -> tuple[list[WhaleTransfer], Cursor | None, NoAnswer | ProviderError | None]:
        """What was found, the last block up to which all was read (None: no block), and what ended
        it before the last."""
        blocks: dict[int, Block] = {}
        failed: NoAnswer | ProviderError | None = None
        numbers: Sequence[int] = ()
        moved: list[Moved] = []

        async def read(number: int) -> None:
            blocks[number] = await self._block(number, self._coin)

        try:
            moved = await self._logs(first, last)
            whole = self._coin is not None
            numbers = range(first, last + 1) if whole else sorted({*(m.block for m in moved), last})
            await each(numbers, read)
        except (NoAnswer, ProviderError) as error:
            failed = error
        end: Block | None = None
        for number in numbers:
            if number not in blocks:
                break
            end = blocks[number]
        if end is None:
            return [], None, failed
        moved += [native for block in blocks.values() for native in block.moved]
        found = [self._transfer(m, blocks[m.block]) for m in moved if m.block <= end.number]
        return found, Cursor(end.number, end.hash), failed

    async def _logs(self, first: int, last: int) -> list[Moved]:
        """The great transfers of tokens; in two halves where nobody gives so many logs at once."""
        if not self._tokens:
            return []
        wanted = {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "address": list(self._tokens),
            "topics": [TRANSFER],
        }
        try:
            return await self._read(
                "eth_getLogs", (wanted,), lambda logs: read_logs(logs, first, last, self._tokens)
            )
        except NoAnswer:
            if first == last or self._deadline.left_s <= 0:
                raise
        middle = (first + last) // 2
        return await self._logs(first, middle) + await self._logs(middle + 1, last)

    async def _block(self, number: int, coin: Watched | None) -> Block:
        return await self._read(
            "eth_getBlockByNumber",
            (hex(number), coin is not None),
            lambda block: read_block(block, number, coin),
        )

    async def _read(self, method: str, params: tuple[Any, ...], parse: Callable[[Any], T]) -> T:
        def of_answer(answer: RpcAnswer) -> T:
            if answer.error is not None or answer.result is None:
                raise BadValue("it has no such block")
            return parse(answer.result)

        while True:
            left_s = self._deadline.left_s
            try:
                return await self._nodes.parsed(
                    self._chain, method, params, of_answer, within_s=left_s
                )
            except NoAnswer as error:
                # Budgets of a second come back; those of a day do not.
                used_up = any(tried.skipped == "no_budget" for tried in error.tried)
                if not used_up or self._deadline.left_s <= _PAUSE_S:
                    raise
            await self._nodes.clock.sleep(_PAUSE_S)

    def _transfer(self, moved: Moved, block: Block) -> WhaleTransfer:
        minted, burnt = moved.sender == _ZERO, moved.receiver == _ZERO
        return WhaleTransfer(
            provider="rpc",
            resource="whales.evm/own",
            fetched_at_ms=self._nodes.clock.wall_ms(),
            as_of_ms=block.time_ms,
            chain=self._chain,
            tx_hash=moved.tx_hash,
            index=moved.index,
            type="mint" if minted else "burn" if burnt else "transfer",
            asset=moved.watched.asset,
            contract=moved.contract,
            amount_raw=moved.raw,
            decimals=moved.watched.decimals,
            value_usd=moved.watched.value(moved.raw),
            price_source=moved.watched.price.source,
            senders=() if minted else (moved.sender,),
            receivers=() if burnt else (moved.receiver,),
            block=block.number,
            time_ms=block.time_ms,
            confirmed=True,
        )
