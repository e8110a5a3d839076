"""The order in which members are asked: level by level, in each the one that has proved itself."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from providers.members import Member
from providers.resources import Level, Resource

BETTER: Final = 0.7  # of the expected time: the current one gives way to who needs less
FOR_S: Final = 30.0  # and has done so for this long
NEAR: Final = 10  # points of the score, within which reads are spread

T = TypeVar("T")


@dataclass(slots=True)
class _Current:
    """`rival`: who has been better since `since_s`."""

    resource: str
    rival: str | None = None
    since_s: float = 0.0


class Choice:
    """Which member is asked first of each level. It stays until another is much better for a while,
    so that two good ones do not alternate."""

    def __init__(self) -> None:
        self._current: dict[tuple[str, Level], _Current] = {}

    def ordered(
        self, members: Sequence[tuple[Resource, Member]], now_s: float
    ) -> list[tuple[Resource, Member]]:
        """Those of one chain in the order of asking. In a level the rest follow by what an answer
        of theirs takes; who was never asked, in the order of the registry, last."""
        found: list[tuple[Resource, Member]] = []
        for level in sorted({resource.level for resource, _ in members}):
            peers = [each for each in members if each[0].level == level]
            peers.sort(key=lambda each: expected_ms(each[1]))
            first = self._first(peers, (peers[0][0].chain, level), now_s)
            found += [first, *(each for each in peers if each is not first)]
        return found

    def _first(
        self, peers: list[tuple[Resource, Member]], place: tuple[str, Level], now_s: float
    ) -> tuple[Resource, Member]:
        by_id = {each[0].id: each for each in peers}
        current = self._current.get(place)
        if current is None or current.resource not in by_id:
            # It is out, or there was none: the best takes its place, and keeps it.
            self._current[place] = _Current(peers[0][0].id)
            return peers[0]
        mine = by_id[current.resource]
        best = peers[0]
        if expected_ms(best[1]) > BETTER * expected_ms(mine[1]):
            current.rival = None
            return mine
        if current.rival != best[0].id:
            current.rival, current.since_s = best[0].id, now_s
        if now_s - current.since_s < FOR_S:
            return mine
        self._current[place] = _Current(best[0].id)
        return best


def expected_ms(member: Member) -> float:
    """What an answer takes, tries that fail included; without an end where none was ever seen, for
    who refuses quickly is not quick."""
    if member.p70_ms is None:
        return float("inf")
    return max(1, member.p70_ms) / max(0.01, member.success_rate)


def weighted(scored: Sequence[tuple[T, float]], chance: random.Random, near: float = NEAR) -> T:
    """One of those whose score is within `near` of the best, by chance, in proportion to it."""
    best = max(score for _, score in scored)
    close = [(each, score) for each, score in scored if score >= best - near]
    weights = [max(score, 1.0) for _, score in close]
    return chance.choices([each for each, _ in close], weights)[0]
