"""BookSide: one side of an order book, sorted, changed level by level.

Prices are keyed by float, which is exact for up to 15 significant digits; a level that would share
its key with another price is refused. Keys ascend towards the best price (asks are negated), so
that most changes are near the end of the list.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from decimal import Decimal

from live.events import Level


class UnusableLevel(ValueError):
    """A level that cannot be kept: its price is too fine, or not a number above 0."""


class BookSide:
    """The levels of one side. At most `most` are kept: those beyond are forgotten, and the side is
    then known as far as the worst that is left, and no further."""

    def __init__(self, *, is_bid: bool, most: int) -> None:
        self._sign = 1.0 if is_bid else -1.0
        self._most = most
        self._keys: list[float] = []  # ascending: the best is the last
        self._levels: dict[float, Level] = {}
        self._edge: float | None = None  # the worst key that is known, None: all are
        self._fewest = 0

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def best_key(self) -> float | None:
        """The best price, negative of an ask."""
        return self._keys[-1] if self._keys else None

    @property
    def is_used_up(self) -> bool:
        """Whether too few levels are left of a side of which only the best ones were ever known."""
        return self._edge is not None and len(self._keys) < self._fewest

    def best(self, count: int) -> list[Level]:
        """Price and size of the best levels, the best first, as texts."""
        levels = self._levels
        keys = self._keys[-count:] if count > 0 else []
        return [levels[key] for key in reversed(keys)]

    def replace(self, levels: Sequence[Level], *, is_cut: bool) -> None:
        """Begins anew. `is_cut`: the book goes on beyond these levels. Raises UnusableLevel."""
        self.clear()
        self.change(levels)
        if is_cut and self._keys:
            self._cut_at(self._keys[0])

    def clear(self) -> None:
        """Forgets all levels."""
        self._keys.clear()
        self._levels.clear()
        self._edge = None
        self._fewest = 0

    def change(self, levels: Iterable[Level]) -> None:
        """Sets the sizes of levels; a size of zero removes one, whether it is there or not.
        Raises UnusableLevel, and may then have changed some."""
        kept, keys, sign, edge = self._levels, self._keys, self._sign, self._edge
        for level in levels:
            key = sign * float(level[0])
            if edge is not None and key < edge:
                continue
            old = kept.get(key)
            if old is not None and old[0] != level[0] and Decimal(old[0]) != Decimal(level[0]):
                raise UnusableLevel(f"prices {old[0]} and {level[0]} are too close to each other")
            if not float(level[1]):
                if old is not None:
                    del kept[key]
                    del keys[bisect_left(keys, key)]
            else:
                if old is None:
                    keys.insert(bisect_left(keys, key), key)
                kept[key] = level
        if len(keys) > self._most:
            self._forget_worst()

    def _forget_worst(self) -> None:
        surplus = len(self._keys) - self._most
        for key in self._keys[:surplus]:
            del self._levels[key]
        del self._keys[:surplus]
        self._cut_at(self._keys[0])

    def _cut_at(self, edge: float) -> None:
        self._edge = edge
        self._fewest = max(self._fewest, min(20, len(self._keys) // 2))
