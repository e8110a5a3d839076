"""Rule of unconfirmed lists: one that removes many markets is believed when it says so twice.

What is many holds for a market's known candles, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from market.timeframes import MINUTE_MS

# More than this many markets, and more than a tenth of the exchange's active ones (or candles).
_MANY: Final = 3
_TENTH: Final = 10
ASKED_AGAIN_AFTER_MS: Final = MINUTE_MS


@dataclass(frozen=True, slots=True)
class UnconfirmedList:
    """A list that is not believed yet: since when, and the markets that it would remove, sorted."""

    since_ms: int
    removed: tuple[str, ...]


def are_many(changed: int, known: int) -> bool:
    """Whether so many of the known ones have changed that an error is more likely."""
    return changed > _MANY and changed * _TENTH > known


def unconfirmed_list(
    removed: Sequence[str], active: int, *, before: UnconfirmedList | None, seen_at_ms: int
) -> UnconfirmedList | None:
    """The list, if it is not believed because it would remove these of an exchange's active
    markets; else None.

    `removed` is sorted. `before`: the list before this one, if that was not believed.
    """
    if not are_many(len(removed), active):
        return None
    same = before is not None and before.removed == tuple(removed)
    if before is None or not same or seen_at_ms < before.since_ms:
        return UnconfirmedList(seen_at_ms, tuple(removed))
    return None if seen_at_ms - before.since_ms >= ASKED_AGAIN_AFTER_MS else before
