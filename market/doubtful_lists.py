"""Rules of doubtful lists: one that would remove many markets is believed when it says so twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from market.timeframes import MINUTE_MS

# More than this many markets, and more than a tenth of the exchange's active ones.
_MANY: Final = 3
_TENTH: Final = 10
ASKED_AGAIN_AFTER_MS: Final = MINUTE_MS


@dataclass(frozen=True, slots=True)
class Doubt:
    """A list that is not believed yet: since when, and the markets that it would remove, sorted."""

    since_ms: int
    removed: tuple[str, ...]


def doubt_about(
    removed: Sequence[str], active: int, *, before: Doubt | None, seen_at_ms: int
) -> Doubt | None:
    """The doubt about a list that would remove these of an exchange's active markets; None: it is
    believed.

    `removed` is sorted. `before`: the doubt about the list before this one.
    """
    if len(removed) <= _MANY or len(removed) * _TENTH <= active:
        return None
    same = before is not None and before.removed == tuple(removed)
    if before is None or not same or seen_at_ms < before.since_ms:
        return Doubt(seen_at_ms, tuple(removed))
    return None if seen_at_ms - before.since_ms >= ASKED_AGAIN_AFTER_MS else before
