"""What is told of those who did not give an answer: why, and whether another fell in for them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from providers.errors import ErrorClass, Tried
from providers.lineup import Lineup


def once_each(
    tried: Iterable[Tried], skipped: Iterable[Tried], asked: Mapping[str, int]
) -> tuple[Tried, ...]:
    """Each member once, with its last cause and how often it was asked."""
    last = {each.resource: each for each in tried}
    for each in skipped:
        last.setdefault(each.resource, each)
    return tuple(replace(each, times=asked.get(each.resource, 0)) for each in last.values())


def fell_back(
    served: Collection[str],
    lineup: Lineup,
    tried: Iterable[Tried],
    able: Collection[str],
) -> bool:
    """Whether one of those who `served` was asked in place of a member that stands before it. Who
    cannot answer the question (is not `able`, or lacks what was asked for) was not missed."""
    line = {place.resource.id: number for number, place in enumerate(lineup.line)}
    ranks = {resource.id: number for number, (resource, _) in enumerate(lineup.members)}
    last = len(line)
    failed = [line[e.resource] for e in tried if e.resource in line and _is_missed(e)]
    out = [ranks[e.resource] for e in lineup.skipped if e.resource in able and _is_missed(e)]
    return any(
        min(failed, default=last) < line.get(each, last)
        or min(out, default=len(ranks)) < ranks[each]
        for each in served
    )


def _is_missed(tried: Tried) -> bool:
    if tried.error_class is not None:
        return tried.error_class is not ErrorClass.UNKNOWN
    return tried.skipped in ("out", "no_budget")
