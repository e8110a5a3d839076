"""Coverage: ranges that were answered for, beside a set of the instants that they stand for."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market.timeframes import HOUR_MS
from stores.cold.history.coverage import is_covered, joined, uncovered
from stores.cold.history.fill_rows import Covered
from stores.cold.history.presence import grid, lacking

MOST = 60
MINUTE = HOUR_MS // 60


@st.composite
def answers(draw: st.DrawFn) -> Covered:
    begin = draw(st.integers(0, MOST - 1))
    end = draw(st.integers(begin + 1, MOST))
    return Covered(
        begin, end, draw(st.integers(0, 5)) * 40 * MINUTE, draw(st.sampled_from([1, 3, 6]))
    )


@given(st.lists(answers(), max_size=8))
def test_no_answer_is_lost_and_none_is_invented(given_: list[Covered]) -> None:
    ranges: list[Covered] = []
    for each in given_:
        ranges = joined(ranges, each)
        assert all(one.to_ms <= other.from_ms for one, other in pairwise(ranges))
    instants = np.arange(MOST, dtype=np.int64)
    # Each instant's last answer; one that a finer grid had told of may have been told of before.
    told = {int(t) for t in instants[is_covered(instants, ranges)]}
    every = {t for each in given_ for t in range(each.from_ms, each.to_ms) if t % each.step_ms == 0}
    assert told <= every
    if len({each.step_ms for each in given_}) <= 1:
        assert told == every
    for each in given_:  # what was asked for is answered on its grid
        span = range(each.from_ms, each.to_ms)
        if each is given_[-1]:
            assert {t for t in span if t % each.step_ms == 0} <= told
    for t in told:
        checks = {
            each.checked_at_ms
            for each in given_
            if each.from_ms <= t < each.to_ms and t % each.step_ms == 0
        }
        [own] = [each for each in ranges if each.from_ms <= t < each.to_ms]
        # Joined ranges tell the earliest check of theirs, never a later one than any of this time.
        assert own.checked_at_ms <= max(checks)


def test_a_later_answer_takes_the_place_of_earlier_ones() -> None:
    old = [Covered(0, 10, 0), Covered(20, 30, 0)]
    late = 2 * HOUR_MS
    assert joined(old, Covered(5, 25, late)) == [
        Covered(0, 5, 0),
        Covered(5, 25, late),
        Covered(25, 30, 0),
    ]
    # Pages of one walk are one answer, from its beginning on.
    assert joined(old, Covered(10, 20, HOUR_MS - 1)) == [Covered(0, 30, 0)]
    assert joined(old, Covered(10, 20, HOUR_MS)) == [old[0], Covered(10, 20, HOUR_MS), old[1]]
    # Coarser periods of open interest tell nothing of the instants between theirs.
    assert joined([Covered(0, 12, 0, 6)], Covered(0, 6, late, 3)) == [
        Covered(0, 6, late, 3),
        Covered(6, 12, 0, 6),
    ]
    assert joined([Covered(0, 6, 0, 3)], Covered(0, 12, late, 6)) == [
        Covered(0, 6, 0, 3),
        Covered(6, 12, late, 6),
    ]


@given(
    st.integers(0, MOST), st.integers(0, MOST), st.integers(1, 7),
    st.sets(st.integers(0, MOST)), st.lists(answers(), max_size=4),
)  # fmt: skip
def test_ranges_hold_what_is_lacking_and_nothing_else(
    from_ms: int, to_ms: int, step_ms: int, there: set[int], given_: list[Covered]
) -> None:
    instants = grid(from_ms, to_ms, step_ms)
    assert instants.tolist() == [t for t in range(from_ms, to_ms) if t % step_ms == 0]
    ranges = lacking(instants, np.array(sorted(there), np.int64), step_ms)
    found = [t for begin, end in ranges for t in range(begin, end, step_ms)]
    assert found == [t for t in instants.tolist() if t not in there]
    assert all(one[1] < other[0] for one, other in pairwise(ranges))
    covered: list[Covered] = []
    for each in given_:
        covered = joined(covered, each)
    open_ = [t for begin, end in uncovered(from_ms, to_ms, covered) for t in range(begin, end)]
    assert open_ == [
        t for t in range(from_ms, to_ms) if not any(e.from_ms <= t < e.to_ms for e in covered)
    ]
