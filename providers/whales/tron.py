"""Great transfers on Tron: events of USDT in blocks that stand, from TronGrid, 200 a page.

A quarter of an hour has some 25,000 of them. Some parts of the time are read at once, so that its
limits count and not how long an answer takes. Without a key they are 3 requests a second, which is
45 s for that many: a scan that has less time reads what it can, and the next goes on there.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
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
_BLOCK_MS: Final = 3_000
_PAGE: Final = 200
_AT_ONCE: Final = 4  # parts of the time that are read at once
_PART: Final = 4  # pages of a part: what was read behind one that fails is read again
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


@dataclass(slots=True)
class _Found:
    """What is great in these blocks, by its place."""

    first: int
    last: int
    least_raw: int
    great: dict[tuple[str, int], Moved] = field(default_factory=dict)

    def take(self, moved: Sequence[Moved]) -> None:
        fresh = (each for each in moved if self.first <= each.block <= self.last)
        self.great |= {(m.tx_hash, m.index): m for m in fresh if m.raw >= self.least_raw}


@dataclass(slots=True)
class _Part:
    """A time, both ends included, of which events are read from the beginning. `newest`: the last
    block of which there are any, at `seen_ms`; `done`: there are no more."""

    from_ms: int
    to_ms: int
    newest: int = -1
    seen_ms: int = 0
    done: bool = False
    began_ms: int = field(init=False)

    def __post_init__(self) -> None:
        self.began_ms = self.from_ms

    def rest(self) -> "list[_Part]":
        """What is left after one page, in parts of about as many events as _PART pages have, or of
        less where that is little for all who read. The block at an end is in both parts."""
        page_ms = max(_BLOCK_MS, self.seen_ms - self.began_ms)
        left_ms = self.to_ms - self.seen_ms
        step_ms = max(page_ms, min(_PART * page_ms, -(-left_ms // _AT_ONCE)))
        return [
            _Part(from_ms, min(from_ms + step_ms, self.to_ms))
            for from_ms in range(self.seen_ms, self.to_ms + 1, step_ms)
        ]


def _last_whole(parts: Sequence[_Part], last: int) -> int:
    """The last block that was read with all before it: a part that ends early has its newest block
    in part. `last`: where nothing was read."""
    for part in parts:
        last = max(last, part.newest if part.done else part.newest - 1)
        if not part.done and part is not parts[0]:
            break
    return last


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
        found = _Found(begin.number, head.number, least_raw)
        start = _Part(begin.time_ms, head.time_ms)
        parts = [start]
        error = await self._until_failed([start], found, pages=1)
        if error is None and not start.done:
            parts += start.rest()
            error = await self._until_failed(parts[1:], found)
        if error is None:
            return list(found.great.values()), Cursor(head.number, head.hash), None
        last = _last_whole(parts, begin.number - 1)
        cut = cut_short(todo, last, error)
        if last < begin.number and self._deadline.left_s <= 0:
            raise NotNow(f"whales of {CHAIN}: {cut}", ()) from None
        if last < begin.number:
            raise error
        log.info("whale_scan_cut_short", chain=CHAIN, block=last, why=cut)
        whole = [moved for moved in found.great.values() if moved.block <= last]
        return whole, Cursor(last), cut

    async def _until_failed(
        self, parts: Sequence["_Part"], found: "_Found", pages: int | None = None
    ) -> ProviderError | Skipped | None:
        """Reads the parts, some at once, the oldest first; None, or what has ended it."""
        waiting, failures = deque(parts), list[ProviderError | Skipped]()

        async def work() -> None:
            while waiting and not failures:
                try:
                    await self._pages(waiting.popleft(), found, pages)
                except (ProviderError, Skipped) as error:
                    failures.append(error)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(_AT_ONCE, len(parts))):
                group.create_task(work())
        return failures[0] if failures else None

    async def _pages(self, part: "_Part", found: "_Found", most: int | None) -> None:
        """Reads a part to its end, or as many pages of it."""
        path, more = f"/v1/contracts/{self._token.contract}/events", ""
        for _ in count() if most is None else range(most):
            query = {
                "event_name": "Transfer",
                "only_confirmed": "true",
                "order_by": "block_timestamp,asc",
                "min_block_timestamp": str(part.from_ms),
                "max_block_timestamp": str(part.to_ms),
                "limit": str(_PAGE),
                **({"fingerprint": more} if more else {}),
            }
            page = await self._explorers.get(self._row, path, _page, self._deadline, query=query)
            found.take(page.moved)
            part.newest = max((each.block for each in page.moved), default=part.newest)
            to_ms = max((each.time_ms for each in page.moved), default=part.from_ms)
            if page.more is None and len(page.moved) < _PAGE:
                part.done = True
                return
            if page.more is None and to_ms <= part.from_ms:
                raise ProviderError(ErrorClass.BAD_PAYLOAD, f"{self._row.id}: no next page")
            part.seen_ms, more = to_ms, page.more or ""
            if page.more is None:
                part.from_ms = to_ms  # the block at the end of a page is read again

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
