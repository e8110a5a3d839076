"""What was found in the last hour's blocks of a chain, for all processes and the next scan."""

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from providers.codec import Unreadable, as_json, from_json
from providers.questions import STALE_LIMIT_S, Kind
from providers.records import WhaleTransfer
from providers.whales.scanning import Cursor, Scan, newest_first
from stores.hot.replies import whole_number
from stores.hot.store import HotStore

_KEPT_S: Final = STALE_LIMIT_S[Kind.WHALES]
_MOST: Final = 2_000  # transfers
# KEYS: a window. ARGV: its last block, ms that it is kept, its text. What is further stays.
_KEEP: Final = """
local last = redis.call('HGET', KEYS[1], 'last')
if last and tonumber(last) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'last', ARGV[1], 'text', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""


@dataclass(frozen=True, slots=True)
class Window:
    """All blocks from `first` to the cursor were read, and `transfers` are what was found in them.
    `read_at_ms`: when the last of them was; `complete_at_ms`: when nothing was left to read.
    `coins_left`: in how many of them transfers of the chain's own coin were not looked for, each
    number with the last block of its scan."""

    first: int
    cursor: Cursor
    transfers: tuple[WhaleTransfer, ...]
    read_at_ms: int
    complete_at_ms: int | None
    coins_left: tuple[tuple[int, int], ...] = ()

    @property
    def coin_blocks_left(self) -> int:
        return sum(count for _, count in self.coins_left)

    def after(self, cursor: Cursor | None, back: int) -> tuple[Cursor, tuple[WhaleTransfer, ...]]:
        """Where a scan that stood at the cursor goes on, and what is known on the way there. Who
        names a block by its hash may have read it before it was taken back: `back` blocks before it
        are told again."""
        if cursor is None:
            return self.cursor, self.transfers
        last = self.cursor.block
        known = cursor.block_hash in (None, self.cursor.block_hash)
        floor = cursor.block if known or cursor.block < last else cursor.block - back
        if not self.first - 1 <= floor <= last or cursor.block > last:
            return cursor, ()
        return self.cursor, tuple(each for each in self.transfers if (each.block or 0) > floor)

    def stale(self) -> tuple[WhaleTransfer, ...]:
        since_ms = self.complete_at_ms or self.read_at_ms
        return tuple(
            replace(each, fetched_at_ms=self.read_at_ms, stale_since_ms=since_ms)
            for each in self.transfers
        )


def grown(known: Window | None, scan: Scan, now_ms: int) -> Window | None:
    """The window after a scan: longer where the scan went on from it, another where it did not."""
    if scan.cursor is None or scan.first is None:
        return known
    first, transfers = scan.first, scan.transfers
    complete_at_ms = now_ms if scan.cut is None else None
    coins_left: tuple[tuple[int, int], ...] = ()
    if scan.coin_left:
        coins_left = ((scan.cursor.block, scan.coin_left),)
    if known is not None and known.first <= scan.first <= known.cursor.block + 1:
        first = known.first
        older = (e for e in known.transfers if (e.block or 0) < scan.first)
        transfers = tuple({_place(e): e for e in (*older, *transfers)}.values())
        complete_at_ms = complete_at_ms or known.complete_at_ms
        coins_left = (*known.coins_left, *coins_left)
    young = [e for e in transfers if (e.time_ms or now_ms) > now_ms - _KEPT_S * 1000]
    kept = newest_first(young)[:_MOST]
    left_out = set(transfers).difference(kept)
    first = max([first, *((each.block or 0) + 1 for each in left_out)])
    kept = tuple(e for e in kept if (e.block or 0) >= first)
    coins_left = tuple(each for each in coins_left if each[0] >= first)
    return Window(first, scan.cursor, kept, now_ms, complete_at_ms, coins_left)


def _place(transfer: WhaleTransfer) -> tuple[str, int]:
    return transfer.tx_hash, transfer.index


class Memory:
    """All methods raise StoreUnavailable."""

    def __init__(self, store: HotStore) -> None:
        self._store = store
        self._keep = store.script("whales_keep", _KEEP)

    async def read(self, chain: str, min_usd: int) -> Window | None:
        text = await self._store.execute("HGET", _key(chain, min_usd), "text")
        return _decoded(text) if text else None

    async def keep(self, chain: str, min_usd: int, window: Window) -> None:
        fields = {
            "first": window.first,
            "cursor": [window.cursor.block, window.cursor.block_hash],
            "transfers": [as_json(each) for each in window.transfers],
            "read_at_ms": window.read_at_ms,
            "complete_at_ms": window.complete_at_ms,
            "coins_left": window.coins_left,
        }
        text = json.dumps(fields, separators=(",", ":")).encode()
        words: list[str | bytes | int] = [window.cursor.block, round(_KEPT_S * 1000), text]
        await self._keep.run([_key(chain, min_usd)], words, reply=whole_number())


def _key(chain: str, min_usd: int) -> str:
    return f"provider:whales:{chain}:{min_usd}"


def _decoded(text: bytes) -> Window | None:
    """None for what another release has stored."""
    try:
        told: Any = json.loads(text)
        records = [from_json(each) for each in told["transfers"]]
        return Window(
            int(told["first"]),
            Cursor(int(told["cursor"][0]), told["cursor"][1]),
            tuple(each for each in records if isinstance(each, WhaleTransfer)),
            int(told["read_at_ms"]),
            told["complete_at_ms"],
            tuple((int(block), int(count)) for block, count in told.get("coins_left", ())),
        )
    except (Unreadable, ValueError, KeyError, TypeError, IndexError):
        return None
