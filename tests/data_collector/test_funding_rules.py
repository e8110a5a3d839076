"""The rules of settlements at their edges; times as offsets from a midnight."""

import pytest

from data_collector.funding_rules import (
    checked_again,
    complete_until,
    due_instants,
    may_have_settled,
    merge_newest,
    present_interval,
    still_lacking,
)
from data_collector.listings import FundingSchedule
from market.left_out import LeftOut
from market.markets import Exchange, FundingRow, FundingSeries, Market
from market.settlements import is_checked_ahead, not_checked_ahead
from market.timeframes import HOUR_MS, MINUTE_MS

MIDNIGHT = 1_767_225_600_000
BTC = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")


def at(hours: float, late_ms: int = 0) -> int:
    return MIDNIGHT + round(hours * HOUR_MS) + late_ms


def settled(*hours: float) -> list[FundingRow]:
    return [(at(hour, 47), 0.0001) for hour in hours]


def series(checked_at_ms: int, interval_hours: int, *hours: float) -> FundingSeries:
    return FundingSeries(BTC, settled(*hours), interval_hours, checked_at_ms)


def test_what_was_checked_ahead_is_complete_to_its_last_settlement() -> None:
    now_ms = at(20)
    in_time = series(now_ms + 5 * MINUTE_MS, 8, 8, 16)
    assert not is_checked_ahead(in_time, now_ms)
    assert not_checked_ahead(in_time, now_ms) is in_time
    ahead = series(now_ms + 5 * MINUTE_MS + 1, 8, 8, 16)
    assert is_checked_ahead(ahead, now_ms)
    assert not_checked_ahead(ahead, now_ms) == series(at(16), 8, 8, 16)
    assert not_checked_ahead(series(at(40), 8, 16, 24), now_ms) == series(now_ms, 8, 16, 24)
    assert not_checked_ahead(series(at(40), 8), now_ms) == series(0, 8)


def test_due_instants() -> None:
    assert list(due_instants(at(0), at(16), 8)) == [at(8), at(16)]
    assert list(due_instants(at(0) - 1, at(0), 8)) == [at(0)]
    assert list(due_instants(at(0), at(8) - 1, 8)) == []
    assert list(due_instants(at(9.5), at(12.2), 1)) == [at(10), at(11), at(12)]


@pytest.mark.parametrize(
    ("checked", "now", "known", "present", "expected"),
    [
        (at(8.1), at(15.9), 8, 8, False),
        (at(8.1), at(16), 8, 8, True),
        (at(8.1), at(12.1), 8, 4, True),  # it has become shorter
        (at(8.1), at(12.1), 4, 8, True),  # it was still the short one when it settled
        (at(8.1), at(8.9), 8, 1, False),
        (at(8.1), at(8.9), 8, None, False),
        (at(8.1), at(9.1), 8, None, True),  # not told: any full hour
        (at(8) - 1, at(8), 8, 8, True),
        (at(9), at(8.5), 8, None, False),
    ],
)
def test_when_a_market_is_asked(
    checked: int, now: int, known: int, present: int | None, expected: bool
) -> None:
    assert may_have_settled(series(checked, known, 8), now, present) is expected


EIGHT_HOURLY = FundingSchedule(8, None)


@pytest.mark.parametrize(
    ("rows", "asked", "told", "expected"),
    [
        ((0,), at(7.5), EIGHT_HOURLY, at(7.5)),
        ((0, 8), at(8.01), EIGHT_HOURLY, at(8.01)),
        ((0,), at(8), EIGHT_HOURLY, at(8) - 1),
        ((0,), at(8, 5), EIGHT_HOURLY, at(8) - 1),
        ((0,), at(8.4), EIGHT_HOURLY, at(8) - 1),  # due and late
        ((0,), at(8.5) - 1, EIGHT_HOURLY, at(8) - 1),
        ((0,), at(8.5), EIGHT_HOURLY, at(8.5)),  # left out: not for ever without a rate
        ((8,), at(9, 4 * MINUTE_MS - 1), EIGHT_HOURLY, at(9) - 1),
        ((8,), at(9, 4 * MINUTE_MS), EIGHT_HOURLY, at(9, 4 * MINUTE_MS)),
        ((8,), at(9.01), EIGHT_HOURLY, at(9) - 1),  # an interval may just have changed
        ((8,), at(9.1), EIGHT_HOURLY, at(9.1)),
        ((8,), at(9.01), None, at(9) - 1),
        ((0,), at(8.1), None, at(8.1)),
        ((), at(8.1), FundingSchedule(8, None), at(8) - 1),
        ((), at(9.1), FundingSchedule(8, None), at(9.1)),
        ((8,), at(9.1), FundingSchedule(1, None), at(9) - 1),
    ],
)
def test_up_to_when_an_answer_is_complete(
    rows: tuple[float, ...], asked: int, told: FundingSchedule | None, expected: int
) -> None:
    assert complete_until(settled(*rows), asked, told) == expected


def test_a_market_that_cannot_have_settled_moves_on() -> None:
    moved = checked_again(series(at(8.1), 8, 8), at(10.5), 4)
    assert (moved.checked_at_ms, moved.interval_hours) == (at(10.5), 4)
    assert moved.rows == settled(8)
    # Right after a full hour the lists may not show yet that the interval has changed.
    assert checked_again(series(at(8.1), 8, 8), at(10, 1000), 8).checked_at_ms == at(10) - 1
    assert checked_again(series(at(9.99), 8, 8), at(9.5), 8).checked_at_ms == at(9.99)


@pytest.mark.parametrize(
    ("rows", "told", "expected"),
    [
        ((0, 8), FundingSchedule(8, at(16)), 8),
        ((0, 8), FundingSchedule(4, at(12)), 4),
        ((7, 8), FundingSchedule(4, at(12)), 4),  # told outright: it has become longer
        ((7, 8), FundingSchedule(8, at(16)), 8),  # from hourly back to the longest
        ((0, 8), FundingSchedule(1, at(9)), 1),
        # 8 may be the mere convention for what is not listed.
        ((4, 8), FundingSchedule(8, None, assumed=True), 4),
        ((0, 8), FundingSchedule(8, at(12)), 4),
        ((4, 8), FundingSchedule(8, at(16), assumed=True), 4),
        ((12,), FundingSchedule(8, at(16), assumed=True), 4),  # by the next settlement
        ((4, 12), FundingSchedule(8, at(16), assumed=True), 4),
        ((15,), FundingSchedule(8, at(16), assumed=True), 1),
        ((14, 16), FundingSchedule(8, at(24), assumed=True), 2),
        ((0, 8), FundingSchedule(24, at(24), assumed=True), 8),
        ((16,), FundingSchedule(8, at(8), assumed=True), 8),
        ((8,), FundingSchedule(8, at(10)), 2),
        ((), FundingSchedule(8, at(16)), 8),
        ((), FundingSchedule(8, at(12)), 4),
        ((), FundingSchedule(8, at(13)), 1),
        ((0, 8), FundingSchedule(8, at(8)), 8),  # what it tells is older than what came
        ((8,), FundingSchedule(24, at(24)), 24),
        # Distances that no interval has: a hole, a first gap after a change.
        ((0, 5), FundingSchedule(8, None), 8),
        ((0, 24), FundingSchedule(8, None), 8),
        ((3, 4, 12), FundingSchedule(8, None, assumed=True), 8),  # hourly before, no more
        # Told nothing.
        ((0, 8), None, 8),
        ((6, 8), None, 2),
        ((), None, 8),
    ],
)
def test_the_present_interval_is_never_too_long(
    rows: tuple[float, ...], told: FundingSchedule | None, expected: int
) -> None:
    assert present_interval(settled(*rows), told) == expected


def test_the_newest_are_kept_and_what_is_known_stays() -> None:
    known: list[FundingRow] = [(at(0, 3), 0.1), (at(8, 5), 0.2)]
    came: list[FundingRow] = [(at(16), 0.3), (at(8, 7), 9.9)]
    assert merge_newest(came, known, 400) == [*known, (at(16), 0.3)]
    assert merge_newest(came, known, 2) == [(at(8, 5), 0.2), (at(16), 0.3)]
    assert merge_newest([], known, 400) == known
    assert merge_newest(came, [], 400) == [(at(8, 7), 9.9), (at(16), 0.3)]


def test_a_stamp_belongs_to_the_full_hour_before_it() -> None:
    assert complete_until([(at(8, 999), 0.1)], at(8, MINUTE_MS), EIGHT_HOURLY) == at(8, MINUTE_MS)


def test_a_left_out_settlement_lacks_only_where_its_hour_has_none() -> None:
    rows = [(8 * HOUR_MS + 3, 0.1), (16 * HOUR_MS, 0.2)]
    of_a_wrong_minute = LeftOut(16 * HOUR_MS + 61_000, "at no full hour")
    lacking = LeftOut(12 * HOUR_MS, "its rate is not a number: x")
    before = LeftOut(4 * HOUR_MS, "its rate is not a number: x")
    without_time = LeftOut(16 * HOUR_MS, "its time is not a number: x", after=True)
    found = still_lacking([of_a_wrong_minute, lacking, before, without_time], rows)
    assert found == [lacking, without_time]


def test_a_left_out_settlement_of_unknown_time_lacks_from_the_first_kept_one_on() -> None:
    rows = [(8 * HOUR_MS + 3, 0.1), (16 * HOUR_MS, 0.2)]
    cause = "its time is not a number: x"
    before, after = (LeftOut(hour * HOUR_MS, cause, after=True) for hour in (7, 8))
    assert still_lacking([before, after], rows) == [after]
    of_no_time = LeftOut(0, cause, after=True)
    assert still_lacking([of_no_time], []) == [of_no_time]
