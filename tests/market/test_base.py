"""The base of a market: what passes record of each 5m slot, and what is proven by it."""

from collections.abc import Sequence

import numpy as np
import pytest

from market.base import Base, extended, lacks_closed, with_stream
from market.candles import Candle, Candles
from market.timeframes import DAY_MS, HOUR_MS
from tests.fixtures.base_rows import MIDNIGHT, STEP_MS, base_of, five

MINUTE_MS = 60_000


def read(base: Base | None, candles: Sequence[Candle], asked: int, as_of_ms: int) -> Base:
    return extended(
        base, candles, asked_ms=MIDNIGHT + asked * STEP_MS, as_of_ms=MIDNIGHT + as_of_ms
    )


def slots(times: Sequence[int]) -> list[int]:
    return [(time_ms - MIDNIGHT) // STEP_MS for time_ms in times]


def reads(base: Base) -> list[int]:
    """When each slot was read, in ms after midnight; -1: never."""
    return [read_ms - MIDNIGHT if read_ms else -1 for read_ms in base.read_ms.tolist()]


def test_a_first_pass_begins_with_the_first_candle_and_ends_with_the_forming_one() -> None:
    base = read(None, [five(3), five(5), five(6)], 0, 6 * STEP_MS + 5)
    assert slots(base.times.tolist()) == [3, 4, 5, 6]
    assert base.there.tolist() == [True, False, True, True]
    assert base.known.tolist() == [True] * 4
    assert base.usable.tolist() == [True, False, True, True]  # a hole makes no longer candle
    assert [row[:7] for row in base.rows] == [
        (MIDNIGHT + slot * STEP_MS, 100.0, 102.0, 99.0, 100.5, 1.5, 150.25) for slot in (3, 5, 6)
    ]
    assert base.as_of_ms == MIDNIGHT + 6 * STEP_MS + 5


def test_nothing_was_traded_yet() -> None:
    base = read(None, [], 0, 6 * STEP_MS + 5)
    assert slots(base.times.tolist()) == [6]
    assert len(base.rows) == 0


@pytest.mark.parametrize(
    ("as_of_ms", "newest", "seen", "unsettled"),
    [
        (2 * STEP_MS - 1, 1, 1, 1),
        (2 * STEP_MS, 2, 2, 1),  # exactly at the close it is closed, but may still change
        (2 * STEP_MS + MINUTE_MS - 1, 2, 2, 1),
        (2 * STEP_MS + MINUTE_MS, 2, 2, 2),
    ],
)
def test_when_a_candle_was_seen_closed(
    as_of_ms: int, newest: int, seen: int, unsettled: int
) -> None:
    base = read(None, [five(slot) for slot in range(newest + 1)], 0, as_of_ms)
    assert base.newest_ms == MIDNIGHT + newest * STEP_MS
    assert base.proven_until_ms(MIDNIGHT) == MIDNIGHT + seen * STEP_MS
    assert base.unsettled_ms() == MIDNIGHT + unsettled * STEP_MS


def test_what_is_proven_ends_at_the_first_hole_and_needs_a_beginning() -> None:
    base = read(None, [five(slot) for slot in (2, 3, 5, 6)], 0, 6 * STEP_MS)
    assert base.proven_until_ms(MIDNIGHT + 2 * STEP_MS) == MIDNIGHT + 4 * STEP_MS
    assert base.proven_until_ms(MIDNIGHT + 4 * STEP_MS) == MIDNIGHT + 4 * STEP_MS
    assert base.proven_until_ms(MIDNIGHT + 5 * STEP_MS) == MIDNIGHT + 6 * STEP_MS
    for outside in (1, 7):
        assert base.proven_until_ms(MIDNIGHT + outside * STEP_MS) == MIDNIGHT + outside * STEP_MS


def test_a_pass_tells_when_a_slot_became_what_it_is() -> None:
    """Unchanged and final: the earlier reading counts. Anything else was read now."""
    first = 4 * STEP_MS + 1
    base = read(None, [five(slot) for slot in range(5)], 0, first)
    assert reads(base) == [first] * 5
    second = 6 * STEP_MS + MINUTE_MS
    answer = [five(1, price=7.0), five(3), five(4), five(5), five(6)]
    base = read(base, answer, 1, second)
    # 0 was not read again, 1 changed, 2 vanished, 3 had been provisional, the others are new.
    assert reads(base) == [first, second, second, second, second, second, second]
    assert base.there.tolist() == [True, True, False, True, True, True, True]
    third = second + 1
    base = read(base, answer, 1, third)
    assert reads(base) == [first, *[second] * 5, third]
    assert base.first_read_after(MIDNIGHT + second) == MIDNIGHT + 6 * STEP_MS
    assert base.first_read_after(MIDNIGHT + second - 1) == MIDNIGHT + STEP_MS
    assert base.first_read_after(MIDNIGHT + third) is None
    # A hole that was seen when it was final is settled as well.
    assert base.unsettled_ms() == MIDNIGHT + 6 * STEP_MS


def test_what_no_pass_asked_for_is_unknown() -> None:
    base = read(base_of(range(4), 3 * STEP_MS), [five(8), five(9)], 7, 9 * STEP_MS)
    assert reads(base)[:4] == [3 * STEP_MS] * 4
    assert reads(base)[4:] == [-1, -1, -1, *[9 * STEP_MS] * 3]
    # 3 was forming, and 7 is a hole that was seen.
    assert base.known.tolist() == [True] * 3 + [False] * 4 + [True] * 3
    assert base.unsettled_ms() == MIDNIGHT + 2 * STEP_MS


def test_a_pass_may_ask_for_more_than_there_was() -> None:
    base = read(base_of(range(6, 9), 8 * STEP_MS), [five(s) for s in range(2, 9)], 1, 8 * STEP_MS)
    assert slots(base.times.tolist()) == [2, 3, 4, 5, 6, 7, 8]
    assert base.usable.all()


def test_it_reaches_26_hours_back_and_its_beginning_moves_in_steps_of_64() -> None:
    block_ms = 64 * STEP_MS
    base = base_of(range(0, 700), 699 * STEP_MS)
    assert base.first_ms % block_ms == 0
    assert 26 * HOUR_MS <= base.as_of_ms - base.first_ms < 26 * HOUR_MS + block_ms
    began_ms, later = base.first_ms, base
    for slot in range(700, 800):
        later = read(later, [five(slot - 1), five(slot)], slot - 1, slot * STEP_MS)
        moved_ms = later.first_ms - began_ms
        assert moved_ms % block_ms == 0
        assert 26 * HOUR_MS <= later.as_of_ms - later.first_ms < 26 * HOUR_MS + block_ms
        assert later.there.all()
    assert later.first_ms > began_ms


@pytest.mark.parametrize("absent_ms", [-1, 33 * HOUR_MS])
def test_a_base_of_the_future_and_one_beyond_reach_count_as_absent(absent_ms: int) -> None:
    known = base_of(range(300), 299 * STEP_MS)
    slot = (299 * STEP_MS + absent_ms) // STEP_MS
    base = read(known, [five(slot)], slot, 299 * STEP_MS + absent_ms)
    assert slots(base.times.tolist()) == [slot]
    assert base.interest_ms == 0


def test_a_volume_with_more_digits_than_its_float_is_told_apart() -> None:
    texts = ["123456789012345", "1234567890123456.5", "0.1234567890123456", "12345678901234567.00"]
    candles = [five(slot, turnover=text) for slot, text in enumerate([*texts, "9007199254740993"])]
    base = read(None, candles, 0, 5 * STEP_MS)
    # Sixteen and seventeen digits that the float gives back all the same are not lost.
    assert base.lost.tolist() == [False, False, False, True, True, False]
    assert [row[6] for row in base.rows] == [float(text) for text in texts] + [2.0**53]
    assert base.usable.tolist() == [True] * 3 + [False, False, True]
    again = read(base, [five(3), five(4), five(5)], 3, 5 * STEP_MS + 1)
    assert not again.lost.any()


def test_open_interest_may_come_later_and_known_snapshots_stay() -> None:
    base = base_of(range(14), 13 * STEP_MS, interest=False)
    assert base.lacks_interest_ms() == MIDNIGHT
    found = [(MIDNIGHT + slot * STEP_MS, float(slot)) for slot in range(13) if slot != 4]
    base = base.with_interest([*found, (MIDNIGHT + 1, 9.0)], MIDNIGHT + 13 * STEP_MS)
    expected = [float(slot) if slot not in (4, 13) else None for slot in range(14)]
    assert [row[7] for row in base.rows] == expected
    assert base.lacks_interest_ms() == MIDNIGHT + 4 * STEP_MS
    base = read(base, [five(13), five(14)], 13, 14 * STEP_MS)
    assert base.lacks_interest_ms() == MIDNIGHT + 4 * STEP_MS  # the last request for it was at 13
    base = base.with_interest([(MIDNIGHT + 13 * STEP_MS, 8.0)], MIDNIGHT + 16 * STEP_MS)
    assert base.lacks_interest_ms() == MIDNIGHT + 14 * STEP_MS  # 4 is an hour old: it comes no more
    assert base.with_interest([], 0).values[12, 6] == 12.0
    base = base.with_interest([(MIDNIGHT + 14 * STEP_MS, 8.5)], MIDNIGHT + 16 * STEP_MS)
    assert base.lacks_interest_ms() is None


@pytest.mark.parametrize(
    ("age_ms", "fresh"), [(-1, False), (0, True), (59_999, True), (60_000, False)]
)
def test_a_base_is_fresh_for_a_minute(age_ms: int, fresh: bool) -> None:
    base = base_of(range(4), 3 * STEP_MS + 1000)
    assert base.is_fresh(base.as_of_ms + age_ms) == fresh


def test_a_base_is_fresh_until_the_next_close() -> None:
    base = base_of(range(4), 4 * STEP_MS - 1000)
    assert base.is_fresh(MIDNIGHT + 4 * STEP_MS - 1)
    assert not base.is_fresh(MIDNIGHT + 4 * STEP_MS)


def test_without_a_new_pass_only_what_was_final_counts() -> None:
    base = base_of(range(4), 3 * STEP_MS + 1000)
    assert base.until(base.as_of_ms + 59_999) is base
    later = base.until(MIDNIGHT + 5 * STEP_MS)
    assert slots(later.times.tolist()) == [0, 1, 2, 3, 4, 5]
    # 2 was provisional, 3 was forming, 4 and 5 were never read.
    assert later.known.tolist() == [True, True, False, False, False, False]
    assert later.there.tolist() == [True] * 4 + [False] * 2
    soon = base.until(base.as_of_ms + 60_000)
    assert soon.known.tolist() == [True, True, False, False]
    assert np.array_equal(base.known, [True] * 4)
    assert base.until(MIDNIGHT + DAY_MS).newest_ms == MIDNIGHT + DAY_MS


def test_the_snapshots_of_instants_without_a_candle_are_known_too() -> None:
    base = read(None, [five(3), five(5), five(6)], 0, 6 * STEP_MS + 5)
    told = [(MIDNIGHT + slot * STEP_MS, 10.0 * slot) for slot in (3, 4, 6)]
    assert list(base.with_interest(told, base.as_of_ms).snapshots) == told


def test_a_candle_of_a_stream_is_final_at_once() -> None:
    base = read(None, [five(0), five(1)], 0, STEP_MS + 70_000)
    as_of_ms = MIDNIGHT + 2 * STEP_MS + 2_500
    assert lacks_closed(base, Candles.of([five(0)]), as_of_ms)
    assert not lacks_closed(base, Candles.of([five(1, price=101.0)]), as_of_ms)
    after = with_stream(base, [five(1, price=101.0)], None, as_of_ms=as_of_ms)
    assert after.streamed.tolist() == [False, True, False]
    assert after.settled.tolist() == [True, True, False]
    assert after.values[1, 3] == 101.5
    assert after.unsettled_ms() == MIDNIGHT + 2 * STEP_MS
    assert (base.streamed_ms, after.streamed_ms) == (0, MIDNIGHT + 2 * STEP_MS)
    assert not after.there[2]


def test_what_closed_before_the_market_was_listed_anew_is_never_read_again() -> None:
    """The pass before saw the last candle of the earlier contract form."""
    base = read(None, [five(0), five(1)], 0, STEP_MS + 70_000)
    as_of_ms, listed_ms = MIDNIGHT + 3 * STEP_MS + 2_500, MIDNIGHT + 2 * STEP_MS
    closed = Candles.of([five(2)])
    assert lacks_closed(base, closed, as_of_ms)
    assert not lacks_closed(base, closed, as_of_ms, listed_ms)
    assert lacks_closed(base, Candles.of([]), as_of_ms, listed_ms)
    after = with_stream(base, closed, None, as_of_ms=as_of_ms)
    assert after.unsettled_ms() == MIDNIGHT + STEP_MS
    assert after.unsettled_ms(listed_ms) == MIDNIGHT + 3 * STEP_MS
    assert after.unsettled_ms(listed_ms - 1) == MIDNIGHT + STEP_MS  # within the candle


def test_without_a_forming_candle_the_known_one_stays() -> None:
    base = read(None, [five(0), five(1)], 0, STEP_MS + 70_000)
    later_ms = MIDNIGHT + STEP_MS + 200_000
    assert with_stream(base, [], None, as_of_ms=later_ms).there[1]
    formed = with_stream(base, [], five(1, price=101.0), as_of_ms=later_ms)
    assert formed.values[1, 3] == 101.5
    assert formed.known.tolist() == [True, True]


def test_what_a_stream_has_closed_may_be_taken_back() -> None:
    base = read(None, [five(0), five(1)], 0, STEP_MS + 70_000)
    after = with_stream(base, [five(1)], None, as_of_ms=MIDNIGHT + 2 * STEP_MS + 2_500)
    opens = [MIDNIGHT, MIDNIGHT + STEP_MS, MIDNIGHT + 9 * STEP_MS]
    taken = after.without_streamed(opens)
    assert taken.unsettled_ms() == MIDNIGHT + STEP_MS
    assert reads(taken)[:2] == [STEP_MS + 70_000, -1]  # what REST has told stays
    assert not taken.streamed.any()
    assert base.without_streamed(opens) is base
