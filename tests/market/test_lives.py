"""When a symbol becomes another contract, by exact times around every bound."""

import pytest

from market.lives import Life, begun, believable_launch, life_now
from market.markets import Exchange, Market

DAY_MS = 86_400_000
LAUNCH_MS = 1_700_000_000_000
SEEN_MS = LAUNCH_MS + 100 * DAY_MS
GONE_MS = SEEN_MS - 10 * DAY_MS


@pytest.mark.parametrize(
    ("told", "believed"),
    [
        (LAUNCH_MS, LAUNCH_MS),
        (SEEN_MS, SEEN_MS),
        (SEEN_MS + 1, 0),  # in the future
        (0, 0),
        (-5, 0),
        (LAUNCH_MS // 1000, 0),  # seconds
        (LAUNCH_MS * 1000, 0),  # microseconds
        (10**30, 0),
        (1_262_304_000_000, 1_262_304_000_000),  # 2010
        (1_262_303_999_999, 0),
    ],
)
def test_a_launch_time_is_believed_where_it_can_be_one(told: int, believed: int) -> None:
    assert believable_launch(told, SEEN_MS) == believed


def listed(known: Life, launched_ms: int) -> Life:
    """The life of a market that the list before had, too."""
    return life_now(known, launched_ms, absent_from_ms=None, absent_until_ms=GONE_MS)


def returned(known: Life, launched_ms: int, *, gone_ms: int) -> Life:
    """The life of a market that lists lacked for so long."""
    return life_now(known, launched_ms, absent_from_ms=GONE_MS, absent_until_ms=GONE_MS + gone_ms)


@pytest.mark.parametrize(
    ("moved_ms", "expected"),
    [
        (0, Life(LAUNCH_MS)),
        (DAY_MS, Life(LAUNCH_MS)),
        (DAY_MS + 1, Life(LAUNCH_MS + DAY_MS + 1, LAUNCH_MS + DAY_MS + 1)),
        (-DAY_MS, Life(LAUNCH_MS)),
        (-DAY_MS - 1, Life(LAUNCH_MS - DAY_MS - 1)),  # corrected, as on first sight
    ],
)
def test_a_launch_that_moves_forward_by_more_than_a_day_begins_a_life(
    moved_ms: int, expected: Life
) -> None:
    assert listed(Life(LAUNCH_MS), LAUNCH_MS + moved_ms) == expected


def test_small_moves_do_not_add_up_unseen() -> None:
    """What is compared is the launch that was known, not the last one told."""
    life = Life(LAUNCH_MS)
    for day in (1, 2):
        life = listed(life, LAUNCH_MS + day * DAY_MS * 2 // 3)
    assert life.since_ms == LAUNCH_MS + DAY_MS * 4 // 3


def test_an_unknown_launch_changes_nothing() -> None:
    assert listed(Life(LAUNCH_MS, GONE_MS), 0) == Life(LAUNCH_MS, GONE_MS)
    assert listed(Life(), LAUNCH_MS) == Life(LAUNCH_MS)
    assert listed(Life(0, GONE_MS), LAUNCH_MS) == Life(LAUNCH_MS, GONE_MS)


@pytest.mark.parametrize(
    ("moved_ms", "gone_ms", "since_ms"),
    [
        (0, 0, 0),  # one list lacked it: a suspension
        (0, DAY_MS - 1, 0),
        (0, DAY_MS, GONE_MS + DAY_MS),
        (1, 0, LAUNCH_MS + 1),  # relisted with a launch of its own
        (-1, 0, 0),
        (-1, DAY_MS, GONE_MS + DAY_MS),
    ],
)
def test_a_market_that_was_delisted_and_returns(moved_ms: int, gone_ms: int, since_ms: int) -> None:
    life = returned(Life(LAUNCH_MS), LAUNCH_MS + moved_ms, gone_ms=gone_ms)
    assert life.since_ms == since_ms


def test_a_market_without_launch_times_begins_where_lists_had_it_again() -> None:
    assert returned(Life(), 0, gone_ms=DAY_MS) == Life(0, GONE_MS + DAY_MS)
    assert returned(Life(), 0, gone_ms=DAY_MS - 1) == Life()


def test_a_life_that_only_a_list_began_ends_with_its_word() -> None:
    """A list that errs once costs history for a day, not for as long as the window is."""
    moved = listed(Life(LAUNCH_MS), LAUNCH_MS + 30 * DAY_MS)
    assert moved.since_ms == LAUNCH_MS + 30 * DAY_MS
    assert listed(moved, LAUNCH_MS) == Life(LAUNCH_MS)
    # What was seen to begin, because lists lacked it for days, stays.
    seen = returned(Life(LAUNCH_MS), 0, gone_ms=2 * DAY_MS)
    assert listed(seen, LAUNCH_MS - 5 * DAY_MS).since_ms == seen.since_ms == GONE_MS + 2 * DAY_MS


@pytest.mark.parametrize(
    ("launched_ms", "since_ms", "expected"),
    [
        (0, 0, (0, 0)),
        (LAUNCH_MS, SEEN_MS, (LAUNCH_MS, SEEN_MS)),
        (SEEN_MS + 60_000, SEEN_MS + 60_000, (SEEN_MS + 60_000, SEEN_MS + 60_000)),
        (SEEN_MS + 60_001, 0, (0, 0)),
        (LAUNCH_MS, SEEN_MS + 60_001, (LAUNCH_MS, 0)),
        (SEEN_MS + 60_001, LAUNCH_MS, (0, LAUNCH_MS)),
        (SEEN_MS + DAY_MS, SEEN_MS + DAY_MS, (0, 0)),
    ],
)
def test_no_life_begins_at_a_time_that_has_not_come(
    launched_ms: int, since_ms: int, expected: tuple[int, int]
) -> None:
    market = Market(Exchange.BYBIT, "AUSDT", "A", "USDT", launched_ms, since_ms=since_ms)
    now = begun(market, SEEN_MS)
    assert now == market and (now.launched_ms, now.since_ms) == expected
