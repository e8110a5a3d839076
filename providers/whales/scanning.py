"""What all scans share: from where to where, what is great enough, and what was found."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final

from providers.errors import NoAnswer
from providers.exact import EXACT
from providers.records import WhaleTransfer

FIRST_SCAN_S: Final = 300.0  # of blocks, where nothing was read before
LONGEST_SCAN_S: Final = 1_800.0  # what is older than this is left out, and counted


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last block that was read, with all before it. Its hash says whether it still stands."""

    block: int
    block_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Priced:
    """The price of one coin in USD, and the resource that told it."""

    usd: Decimal
    source: str


# Of assets, by id; those without a price are missing.
Prices = Callable[[Collection[str]], Awaitable[Mapping[str, Priced]]]


@dataclass(frozen=True, slots=True)
class Scan:
    """`cursor`: where the next scan goes on, None if nothing was read; `first`: the first block
    that was. `skipped`: blocks before this scan that nobody has read. `cut`: why it ended before
    all that stands was read, and how far it came. `coin_left`: blocks of which the transfers of the
    chain's own coin were not read."""

    chain: str
    transfers: tuple[WhaleTransfer, ...]
    cursor: Cursor | None
    skipped: int = 0
    first: int | None = None
    cut: str | None = None
    coin_left: int = 0


class NotNow(NoAnswer):
    """Those who were asked live: no time was left to read a first block, or nothing has a price."""


@dataclass(frozen=True, slots=True)
class Watched:
    """An asset whose transfers are looked at. `least_raw`: in its smallest unit, what is worth the
    least that counts."""

    asset: str
    decimals: int
    price: Priced
    least_raw: int

    def value(self, raw: int) -> Decimal:
        """In USD, to the cent."""
        amount = EXACT.multiply(Decimal(raw).scaleb(-self.decimals, EXACT), self.price.usd)
        return EXACT.quantize(amount, Decimal("0.01"))


def watched(asset: str, decimals: int, price: Priced, min_usd: int) -> Watched:
    least = EXACT.divide(Decimal(min_usd).scaleb(decimals, EXACT), price.usd)
    return Watched(asset, decimals, price, int(least.to_integral_value(ROUND_CEILING)))


@dataclass(frozen=True, slots=True)
class Stretch:
    """Blocks to read, both ends included; none where `first` is after `last`."""

    first: int
    last: int
    skipped: int

    def spans(self, size: int) -> list[tuple[int, int]]:
        starts = range(self.first, self.last + 1, size)
        return [(start, min(start + size - 1, self.last)) for start in starts]


def stretch(
    cursor: Cursor | None, settled: int, block_s: float, longest_s: float = LONGEST_SCAN_S
) -> Stretch:
    """What is left to read up to the last block that stands."""
    if cursor is None:
        return Stretch(max(0, settled - max(1, round(FIRST_SCAN_S / block_s)) + 1), settled, 0)
    oldest = settled - max(2, round(longest_s / block_s)) + 1
    first = cursor.block + 1
    return Stretch(max(first, oldest), settled, max(0, oldest - first))


class Deadline:
    def __init__(self, within_s: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._at_s = self._clock() + within_s

    @property
    def left_s(self) -> float:
        return max(0.0, self._at_s - self._clock())


def newest_first(transfers: Sequence[WhaleTransfer]) -> tuple[WhaleTransfer, ...]:
    return tuple(
        sorted(
            transfers,
            key=lambda each: (each.block or 0, each.tx_hash, each.index),
            reverse=True,
        )
    )


def cut_short(todo: Stretch, reached: int, error: Exception) -> str:
    """Why a scan ended before its end, and how far it came."""
    read, all_ = reached - todo.first + 1, todo.last - todo.first + 1
    return f"{read} of {all_} blocks were read in time: {error}"
