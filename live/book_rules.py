"""BookRule: by which numbers one exchange's order book events follow each other."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from live.events import BookEvent


class Place(StrEnum):
    """Where a change lies against a snapshot that was fetched beside the stream."""

    BEFORE = "before"  # the snapshot has it already
    JOINS = "joins"  # the first change to apply
    AFTER = "after"  # changes between the two are missing


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRule:
    """The rule of one exchange; a table of functions, kept beside its other facts.

    `fault(event, last_id)`: why a change cannot follow the book numbered `last_id`, None: it does.
    `sends_snapshot`: the stream begins with a snapshot; else one is fetched over REST from
    `snapshot_path(symbol)`, path and query, and read by `read_snapshot(symbol, body)`, which raises
    errors.UnreadableMessage; `snapshot_weight` is what the request counts against the REST limit.
    `place(event, snapshot_id)`: where a buffered change lies against such a snapshot; None: there
    is none.
    `depth`: the most levels of each side that the exchange tells of.
    `cut_depths`: the numbers of levels at which snapshots end though the book goes on, while the
    changes do tell of levels beyond: the book is known as far as the snapshot reached.
    """

    fault: Callable[[BookEvent, int], str | None]
    sends_snapshot: bool
    depth: int
    place: Callable[[BookEvent, int], Place] | None = None
    snapshot_path: Callable[[str], str] | None = None
    read_snapshot: Callable[[str, bytes], BookEvent] | None = None
    snapshot_weight: int = 0
    cut_depths: frozenset[int] = frozenset()
