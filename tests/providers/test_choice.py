"""The order of asking: by level, the proven one first, and no change for a small difference."""

import random
from collections import Counter

from providers.choice import FOR_S, Choice, expected_ms, weighted
from providers.members import Member
from providers.resources import Level, Resource
from tests.providers.asking import row


def member(ms: int | None = None, rate: float = 1.0) -> Member:
    unseen = Member.unseen()
    return Member(
        *(unseen.state, 0, 0, 0, "", rate, ms, ms),
        *("", None, frozenset()),
    )


def order(found: list[tuple[Resource, Member]]) -> str:
    return "".join(resource.provider.id for resource, _ in found)


def test_levels_come_before_speed_and_the_unknown_last() -> None:
    seen = [
        (row("a"), member(None)),
        (row("b"), member(200)),
        (row("c"), member(100)),
        (row("d", level=Level.HIGH), member(1)),
    ]
    assert order(Choice().ordered(seen, 0.0)) == "cbad"


def test_the_current_one_stays_until_another_is_better_by_a_third_for_half_a_minute() -> None:
    choice = Choice()
    one, two = row("a"), row("b")

    def first(a_ms: int, b_ms: int, now_s: float) -> str:
        return order(choice.ordered([(one, member(a_ms)), (two, member(b_ms))], now_s))[0]

    assert first(100, 101, 0) == "a"
    assert first(100, 80, 1) == "a"  # a little better
    assert first(100, 50, 2) == "a"  # much better, as of now
    assert first(100, 90, 20) == "a"  # and no longer
    assert first(100, 50, 25) == "a"
    assert first(100, 50, 24 + FOR_S) == "a"
    assert first(100, 50, 25 + FOR_S) == "b"
    assert first(100, 101, 26 + FOR_S) == "b"


def test_one_that_is_out_gives_its_place_and_does_not_take_it_back_at_once() -> None:
    choice = Choice()
    one, two = row("a"), row("b")
    assert order(choice.ordered([(one, member(100)), (two, member(110))], 0)) == "ab"
    assert order(choice.ordered([(two, member(110))], 1)) == "b"
    assert order(choice.ordered([(one, member(100)), (two, member(110))], 2)) == "ba"


def test_who_fails_half_of_the_time_takes_twice_as_long() -> None:
    assert expected_ms(member(100, 0.5)) == 200
    assert expected_ms(member(None)) == float("inf")


def test_reads_are_spread_over_those_that_are_near_the_best() -> None:
    chance = random.Random(7)  # noqa: S311 - the same every time
    scored = [("a", 100.0), ("b", 92.0), ("c", 89.0)]
    drawn = Counter(weighted(scored, chance) for _ in range(1000))
    assert set(drawn) == {"a", "b"}
    assert drawn["a"] > drawn["b"] > 400
