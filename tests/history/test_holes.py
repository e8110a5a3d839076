"""The rule of holes, against a count of single instants."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from database import Listing, NotedHole, SeriesKey
from history.holes import (
    Checks,
    Evidence,
    Range,
    expected_ranges,
    find_holes,
    interest_grid,
    intersected,
    lives_of,
    settlement_gaps,
)
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe

STEP_MS = 6 * HOUR_MS
END = 40  # instants
H6 = SeriesKey.candles("binance", "BTCUSDT", Timeframe.H6)

edges = st.integers(0, END * 4).map(lambda n: n * STEP_MS // 4 + n % 3)
times = st.integers(0, 16).map(lambda n: n * DAY_MS // 2)


@st.composite
def ranges(draw: st.DrawFn) -> list[Range]:
    """Ascending ranges that do not overlap; some of them touch."""
    found = sorted(draw(st.sets(edges, max_size=8)))
    kept = [pair for pair in pairwise(found) if draw(st.booleans())]
    return [*kept]


@st.composite
def checks(draw: st.DrawFn) -> list[Checks]:
    """Ascending, without overlaps."""
    found = []
    for from_ms, to_ms in draw(ranges()):
        first_ms, last_ms = sorted([draw(times), draw(times)])
        step_ms = draw(st.sampled_from([1, STEP_MS // 2, STEP_MS, 2 * STEP_MS]))
        found.append(Checks(from_ms, to_ms, first_ms, last_ms, step_ms))
    return found


def within(at_ms: int, some: Sequence[Range]) -> bool:
    return any(begin <= at_ms < end for begin, end in some)


def state_of(at_ms: int, evidence: Evidence, now_ms: int) -> tuple[str, int | None, int | None]:
    """The state of one instant, by the words of docs/history.md."""
    asked = [
        each
        for some in evidence.checks
        for check in some
        if check.from_ms <= at_ms < check.to_ms and STEP_MS % check.step_ms == 0
        for each in (check.first_ms, check.last_ms)
        if each <= now_ms
    ]
    first_ms, last_ms = (min(asked), max(asked)) if asked else (None, None)
    if asked and max(asked) >= min(asked) + 24 * 3_600_000:
        return "exchange", first_ms, last_ms
    if evidence.window is not None and within(at_ms, [evidence.window]):
        return "document", first_ms, last_ms
    if evidence.horizon_ms is not None and at_ms < evidence.horizon_ms:
        return "out_of_reach", first_ms, last_ms
    return ("asked" if asked else "not_asked"), first_ms, last_ms


@given(
    empty=ranges(),
    expected=ranges(),
    window=st.none() | st.tuples(edges, edges),
    horizon_ms=st.none() | edges,
    asked=st.lists(checks(), max_size=3),
    now_ms=times,
)
def test_holes_are_the_maximal_runs_of_alike_instants(
    empty: list[Range],
    expected: list[Range],
    window: Range | None,
    horizon_ms: int | None,
    asked: list[list[Checks]],
    now_ms: int,
) -> None:
    evidence = Evidence(window, horizon_ms, asked)
    wanted: list[NotedHole] = []
    for number in range(END + 1):
        at_ms = number * STEP_MS
        if not (within(at_ms, empty) and within(at_ms, expected)):
            continue
        state, first_ms, last_ms = state_of(at_ms, evidence, now_ms)
        hole = NotedHole(at_ms, at_ms + STEP_MS, STEP_MS, state, first_ms, last_ms)  # type: ignore[arg-type]
        joined = wanted[-1] if wanted else None
        if (
            joined is not None
            and joined.to_ms == at_ms
            and (joined.state, joined.first_asked_ms, joined.asked_ms) == (state, first_ms, last_ms)
        ):
            wanted.pop()
            begin = joined.from_ms
            hole = NotedHole(begin, at_ms + STEP_MS, STEP_MS, state, first_ms, last_ms)  # type: ignore[arg-type]
        wanted.append(hole)
    assert find_holes(empty, STEP_MS, expected, evidence, now_ms) == wanted


@given(ranges(), ranges())
def test_what_is_in_both(left: list[Range], right: list[Range]) -> None:
    found = intersected(left, right)
    for at_ms in sorted(
        {edge + near for pair in left + right for edge in pair for near in (-1, 0)}
    ):
        assert within(at_ms, found) == (within(at_ms, left) and within(at_ms, right))
    assert all(begin < end for begin, end in found)


def listing(launched_ms: int, from_ms: int, to_ms: int | None) -> Listing:
    return Listing("binance", "BTCUSDT", "BTC", "USDT", launched_ms, from_ms, to_ms)


@pytest.mark.parametrize(
    ("listings", "lives"),
    [
        ([], []),
        # Trading may begin before the launch; of an unknown launch whatever is stored counts.
        ([listing(10 * DAY_MS, 20 * DAY_MS, None)], [(9 * DAY_MS, 99 * DAY_MS)]),
        ([listing(0, 20 * DAY_MS, None)], [(0, 99 * DAY_MS)]),
        # A suspension: the same contract, away for a while.
        (
            [
                listing(10 * DAY_MS, 20 * DAY_MS, 30 * DAY_MS),
                listing(10 * DAY_MS, 33 * DAY_MS, None),
            ],
            [(9 * DAY_MS, 30 * DAY_MS), (33 * DAY_MS, 99 * DAY_MS)],
        ),
        # Another contract under the same name, since its own launch.
        (
            [
                listing(40 * DAY_MS, 41 * DAY_MS, 50 * DAY_MS),
                listing(10 * DAY_MS, 20 * DAY_MS, 30 * DAY_MS),
            ],
            [(9 * DAY_MS, 30 * DAY_MS), (40 * DAY_MS, 50 * DAY_MS)],
        ),
        # What a clock that was ahead has told is not over yet.
        ([listing(10 * DAY_MS, 20 * DAY_MS, 200 * DAY_MS)], [(9 * DAY_MS, 99 * DAY_MS)]),
        ([listing(0, 120 * DAY_MS, None)], [(0, 99 * DAY_MS)]),
    ],
)
def test_a_market_lives_while_it_is_listed(listings: list[Listing], lives: list[Range]) -> None:
    assert lives_of(listings, 99 * DAY_MS) == lives


NOW_MS = 90 * DAY_MS + 7 * HOUR_MS + 1


@pytest.mark.parametrize(
    ("lives", "goes_on", "last_seen_ms", "expected"),
    [
        # A candle that closed an hour ago, at 06:00, is the last that is expected.
        ([(0, NOW_MS)], True, 0, [(60 * DAY_MS, 90 * DAY_MS + 2)]),
        # Collected no more: up to its last row. Nothing is known of its listings: so, too.
        ([(0, NOW_MS)], False, 0, [(60 * DAY_MS, 80 * DAY_MS + 1)]),
        ([], False, 0, [(60 * DAY_MS, 80 * DAY_MS + 1)]),
        # Gone: up to the end of its trading, which the next list tells up to a day late.
        (
            [(0, 85 * DAY_MS)],
            False,
            84 * DAY_MS + 9 * HOUR_MS,
            [(60 * DAY_MS, 84 * DAY_MS + 9 * HOUR_MS)],
        ),
        ([(0, 85 * DAY_MS)], False, 86 * DAY_MS, [(60 * DAY_MS, 85 * DAY_MS)]),
        # Between two lives nothing is expected.
        (
            [(0, 65 * DAY_MS), (70 * DAY_MS, NOW_MS)],
            True,
            0,
            [(60 * DAY_MS, 65 * DAY_MS), (70 * DAY_MS, 90 * DAY_MS + 2)],
        ),
    ],
)
def test_rows_are_expected_while_the_market_lives(
    lives: list[Range], goes_on: bool, last_seen_ms: int, expected: list[Range]
) -> None:
    found = expected_ranges(
        H6,
        lives,
        (60 * DAY_MS, 80 * DAY_MS),
        goes_on=goes_on,
        last_seen_ms=last_seen_ms,
        now_ms=NOW_MS,
    )
    assert found == expected


@given(st.dictionaries(st.sampled_from([1, 2, 3, 4, 6]), st.tuples(*[st.integers(0, 30)] * 2)))
def test_open_interest_is_expected_where_candles_are(candles: dict[int, Range]) -> None:
    found = interest_grid({step: (begin, begin + n) for step, (begin, n) in candles.items()})
    for at_ms in range(65):
        here = [step for (begin, end), step in found if begin <= at_ms < end]
        steps = [step for step, (begin, n) in candles.items() if begin <= at_ms < begin + n]
        assert here == ([min(steps)] if steps else [])


def test_settlements_are_missing_after_a_distance_that_is_longer_than_those_around_it() -> None:
    hours = np.array([0, 8, 16, 40, 48, 52, 56, 57, 58, 59, 63, 64, 65])
    late = np.arange(len(hours)) % 3 * 5  # some ms after the hour
    found = settlement_gaps(hours * HOUR_MS + late, 80 * HOUR_MS, goes_on=True)
    assert [(begin / HOUR_MS, end // MINUTE_MS) for begin, end in found] == [
        (24, 40 * 60),
        (60, 63 * 60),
        (73, 80 * 60),
    ]
    assert len(settlement_gaps(hours * HOUR_MS, 80 * HOUR_MS, goes_on=False)) == 2
    assert len(settlement_gaps(hours * HOUR_MS, 73 * HOUR_MS, goes_on=True)) == 2
    assert settlement_gaps(hours[:0], 80 * HOUR_MS, goes_on=True) == []
