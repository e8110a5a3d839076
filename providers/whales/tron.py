"""Great transfers on Tron: events of USDT in blocks that stand, from TronGrid, 200 a page.

A quarter of an hour has some 25,000 of them. Without a key TronGrid gives that many in about 45 s:
a scan that has less time reads what it can, and the next goes on there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from providers.accounts import tron_address
from providers.assets import Assets
from providers.errors import ErrorClass, InvalidQuestion, ProviderError
from providers.exact import BadValue, shown, whole_of
from providers.gate import Skipped
from providers.records import WhaleTransfer
from providers.resources import Resource
from providers.rpc.facts import facts_of
from providers.whales.explorers import Explorers
from providers.whales.scanning import (
    Cursor,
    Deadline,
    NotNow,
    Prices,
    Scan,
    Stretch,
    Watched,
    cut_short,
    newest_first,
    stretch,
    watched,
)

CHAIN: Final = "tron"
ASSET: Final = "usdt"
_PAGE: Final = 200
_NOBODY: Final = "T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb"  # twenty zero bytes

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Block:
    number: int
    hash: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class Moved:
    block: int
    time_ms: int
    tx_hash: str
    index: int
    sender: str
    receiver: str
    raw: int


@dataclass(frozen=True, slots=True)
class Page:
    """`more`: the mark of the next page, None at the end."""

    moved: tuple[Moved, ...]
    more: str | None


class TronScan:
    """One scan, of the row of TronGrid."""

    def __init__(
        self, explorers: Explorers, row: Resource, assets: Assets, deadline: Deadline
    ) -> None:
        self._explorers = explorers
        self._row = row
        self._token = assets.find(ASSET).tokens[CHAIN]
        self._deadline = deadline

    async def run(self, cursor: Cursor | None, prices: Prices, min_usd: int) -> Scan:
        """Raises ProviderError and Skipped where nothing could be read."""
        known = await prices([ASSET])
        if ASSET not in known:
            raise NotNow("whales of tron: USDT has no price", ())
        token = watched(ASSET, self._token.decimals, known[ASSET], min_usd)
        head = await self._ask("/walletsolidity/getnowblock", {})
        todo = stretch(cursor, head.number, facts_of(CHAIN).block_s)
        if todo.first > todo.last:
            return Scan(CHAIN, (), cursor, 0, todo.first)
        begin = await self._ask("/wallet/getblockbynum", {"num": todo.first})
        great, reached, cut = await self._read(todo, begin, head, token.least_raw)
        transfers = [self._transfer(moved, token) for moved in great]
        return Scan(CHAIN, newest_first(transfers), reached, todo.skipped, todo.first, cut)

    async def _read(
        self, todo: Stretch, begin: Block, head: Block, least_raw: int
    ) -> tuple[list[Moved], Cursor, str | None]:
        """What is great of all that moved between the blocks, the last block read whole, and why it
        is not the last of all."""
        great: dict[tuple[str, int], Moved] = {}
        from_ms, more, last = begin.time_ms, "", begin.number - 1
        while True:
            query = {
                "event_name": "Transfer",
                "only_confirmed": "true",
                "order_by": "block_timestamp,asc",
                "min_block_timestamp": str(from_ms),
                "max_block_timestamp": str(head.time_ms),
                "limit": str(_PAGE),
                **({"fingerprint": more} if more else {}),
            }
            path = f"/v1/contracts/{self._token.contract}/events"
            try:
                page = await self._explorers.get(
                    self._row, path, _page, self._deadline, query=query
                )
            except (ProviderError, Skipped) as error:
                cut = cut_short(todo, last, error)
                if last < begin.number and self._deadline.left_s <= 0:
                    raise NotNow(f"whales of {CHAIN}: {cut}", ()) from None
                if last < begin.number:
                    raise
                log.info("whale_scan_cut_short", chain=CHAIN, block=last, why=cut)
                break
            fresh = [each for each in page.moved if begin.number <= each.block <= head.number]
            great |= {(m.tx_hash, m.index): m for m in fresh if m.raw >= least_raw}
            if page.more is None and len(page.moved) < _PAGE:
                return list(great.values()), Cursor(head.number, head.hash), None
            newest = max((each.block for each in page.moved), default=last)
            if page.more is not None:
                more = page.more
            elif (to_ms := max(each.time_ms for each in page.moved)) > from_ms:
                from_ms = to_ms  # the block at the end of a page is read again
            else:
                raise ProviderError(ErrorClass.BAD_PAYLOAD, f"{self._row.id}: no next page")
            last = max(last, newest - 1)
        whole = [moved for moved in great.values() if moved.block <= last]
        return whole, Cursor(last), cut

    async def _ask(self, path: str, body: Any) -> Block:
        return await self._explorers.get(self._row, path, _block, self._deadline, body=body)

    def _transfer(self, moved: Moved, token: Watched) -> WhaleTransfer:
        minted, burnt = moved.sender == _NOBODY, moved.receiver == _NOBODY
        return WhaleTransfer(
            provider=self._row.provider.id,
            resource=self._row.id,
            fetched_at_ms=self._explorers.clock.wall_ms(),
            as_of_ms=moved.time_ms,
            chain=CHAIN,
            tx_hash=moved.tx_hash,
            index=moved.index,
            type="mint" if minted else "burn" if burnt else "transfer",
            asset=ASSET,
            contract=self._token.contract,
            amount_raw=moved.raw,
            decimals=token.decimals,
            value_usd=token.value(moved.raw),
            price_source=token.price.source,
            senders=() if minted else (moved.sender,),
            receivers=() if burnt else (moved.receiver,),
            block=moved.block,
            time_ms=moved.time_ms,
            confirmed=True,
        )


def _block(told: Any) -> Block:
    """{"blockID","block_header":{"raw_data":{"number","timestamp": ms}}}."""
    header = told["block_header"]["raw_data"]
    return Block(_whole(header["number"]), str(told["blockID"]), _whole(header["timestamp"]))


def _page(told: Any) -> Page:
    """{"data":[{"block_number","block_timestamp": ms,"transaction_id","event_index","result":
    {"from","to","value"}}],"success":true,"meta":{"fingerprint": where there are more}}."""
    if told.get("success") is not True or not isinstance(told.get("data"), list):
        raise BadValue(f"it has no events: {shown(told.get('error'))}")
    more = told.get("meta", {}).get("fingerprint")
    return Page(tuple(_moved(each) for each in told["data"]), more or None)


def _moved(event: Mapping[str, Any]) -> Moved:
    result = event["result"]
    try:
        sender, receiver = tron_address(result["from"]), tron_address(result["to"])
    except InvalidQuestion as error:
        raise BadValue(str(error)) from None
    return Moved(
        block=_whole(event["block_number"]),
        time_ms=_whole(event["block_timestamp"]),
        tx_hash=str(event["transaction_id"]),
        index=_whole(event["event_index"]),
        sender=sender,
        receiver=receiver,
        raw=_whole(result["value"]),
    )


def _whole(value: Any) -> int:
    found = whole_of(value) if value != 0 else 0
    if found is None:
        raise BadValue("a number is missing")
    return found
