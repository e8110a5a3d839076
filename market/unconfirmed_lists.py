"""Rule of unconfirmed lists: one that removes many markets is believed when it says so twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from market.timeframes import MINUTE_MS

# More than this many markets, and more than a tenth of the exchange's active ones.
_MANY: Final = 3
_TENTH: Final = 10
ASKED_AGAIN_AFTER_MS: Final = MINUTE_MS


@dataclass(frozen=True, slots=True)
class UnconfirmedList:
    """A list that is not believed yet: since when, and the markets that it would remove, sorted."""

    since_ms: int
    removed: tuple[str, ...]


def unconfirmed_list(
    removed: Sequence[str], active: int, *, before: UnconfirmedList | None, seen_at_ms: int
) -> UnconfirmedList | None:
    """The list, if it is not believed because it would remove these of an exchange's active
    markets; else None.

    `removed` is sorted. `before`: the list before this one, if that was not believed.
    """
    if len(removed) <= _MANY or len(removed) * _TENTH <= active:
        return None
    same = before is not None and before.removed == tuple(removed)
    if before is None or not same or seen_at_ms < before.since_ms:
        return UnconfirmedList(seen_at_ms, tuple(removed))
    return None if seen_at_ms - before.since_ms >= ASKED_AGAIN_AFTER_MS else before
