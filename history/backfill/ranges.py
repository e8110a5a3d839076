"""Ranges of time, from their first to before their last ms: cut, joined and on a grid. Pure."""

from collections.abc import Iterable, Sequence

Range = tuple[int, int]  # from inclusive, to exclusive, UTC ms


def floor(time_ms: int, step_ms: int) -> int:
    """The last instant of the grid at or before the time."""
    return time_ms - time_ms % step_ms


def ceil(time_ms: int, step_ms: int) -> int:
    """The first instant of the grid at or after the time."""
    return -(-time_ms // step_ms) * step_ms


def without(ranges: Iterable[Range], excluded: Sequence[Range]) -> list[Range]:
    """What of the ranges lies in none of the excluded ones, ascending as the ranges do."""
    left = [*ranges]
    for from_ms, to_ms in excluded:
        parts = [
            part
            for begin_ms, end_ms in left
            for part in ((begin_ms, min(end_ms, from_ms)), (max(begin_ms, to_ms), end_ms))
        ]
        left = [part for part in parts if part[0] < part[1]] if from_ms < to_ms else left
    return left


def length(ranges: Iterable[Range]) -> int:
    """The ms of all of them."""
    return sum(to_ms - from_ms for from_ms, to_ms in ranges)
