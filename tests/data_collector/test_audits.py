"""When audits are due, what they find, and what follows from it."""

import random
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from data_collector.auditor import Auditor
from data_collector.audits import Audits, Difference, differences
from data_collector.base_plan import plan_from_base
from data_collector.doubts import Doubts
from data_collector.run import CollectionRun
from market.candles import Candles
from market.columns import CANDLE, column_index
from market.left_out import LeftOut
from market.markets import Exchange, Market
from market.rows import Rows
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from tests.data_collector.test_base_plan import MIDNIGHT, Follower
from tests.fixtures.naive_market import STEP_MS, Habits, invented
from tests.fixtures.scripted_collection import GRID, A, exchange_of
from tests.fixtures.scripted_exchange import NOW_MS
from venues.venue import Endpoint

H1, H4 = Timeframe.H1, Timeframe.H4
KEY = "binance:BTCUSDT"
NAN = float("nan")


def rows(*lines: tuple[int, float, float]) -> Rows:
    """Rows by time in hours, close, and open interest."""
    values = [
        [10.0, 12.0, 9.0, close, 100.0, 1000.0, interest, NAN] for _, close, interest in lines
    ]
    times = np.array([hours * HOUR_MS for hours, _, _ in lines], np.int64)
    return Rows(times, np.array(values).reshape(-1, 8))


def test_every_timeframe_of_a_market_is_due_once_in_a_day_of_passes() -> None:
    audits, begin_ms, step_ms = Audits(), 20_000 * DAY_MS, 5 * MINUTE_MS
    due = []
    for timeframe in Timeframe:
        for now_ms in range(begin_ms, begin_ms + DAY_MS, step_ms):
            if audits.is_due(KEY, timeframe, now_ms, now_ms + step_ms):
                due.append((timeframe, now_ms))
                audits.finished(KEY, timeframe, now_ms + step_ms, candles_differ=False)
    assert [timeframe for timeframe, _ in due] == list(Timeframe)
    assert len({now_ms for _, now_ms in due}) > 5  # they are spread over the day


def test_an_audit_that_did_not_finish_stays_due() -> None:
    audits = Audits()
    assert audits.is_due(KEY, H1, 0, DAY_MS)
    assert audits.is_due(KEY, H1, DAY_MS, DAY_MS + 1)
    audits.finished(KEY, H1, DAY_MS + 1, candles_differ=False)
    assert not audits.is_due(KEY, H1, DAY_MS + 1, DAY_MS + 2)


def test_a_timeframe_whose_candles_differ_is_native_for_a_day_and_the_others_are_due() -> None:
    audits = Audits()
    audits.finished(KEY, H1, 7 * DAY_MS, candles_differ=True)
    assert audits.is_native(KEY, H1, 7 * DAY_MS)
    assert audits.is_native(KEY, H1, 8 * DAY_MS - 1)
    assert not audits.is_native(KEY, H1, 8 * DAY_MS)
    assert not audits.is_native(KEY, H4, 7 * DAY_MS)
    assert not audits.is_native("bybit:BTCUSDT", H1, 7 * DAY_MS)
    now_ms = 7 * DAY_MS
    due = [each for each in Timeframe if audits.is_due(KEY, each, now_ms, now_ms)]
    assert due == [each for each in Timeframe if each is not H1]
    audits.finished(KEY, H1, 7 * DAY_MS + 5, candles_differ=False)
    assert not audits.is_native(KEY, H1, 7 * DAY_MS + 5)


@pytest.mark.parametrize(("later_ms", "believed"), [(59_999, False), (60_000, True)])
def test_what_contradicts_much_is_believed_when_it_is_said_again(
    later_ms: int, believed: bool
) -> None:
    audits = Doubts()
    assert not audits.is_believed(KEY, H1, 1000, "9 of 10 candles")
    assert audits.is_believed(KEY, H1, 1000 + later_ms, "8 of 10 candles") is believed
    assert audits.is_believed(KEY, H1, 1000 + later_ms, None)
    assert not audits.is_believed(KEY, H1, 1000 + 2 * later_ms, "9 of 10 candles")


def test_a_doubt_is_forgotten_after_two_days_and_when_time_goes_back() -> None:
    doubts, twice = Doubts(), "9 of 10 candles"
    assert not doubts.is_believed(KEY, H1, 10 * DAY_MS, twice)
    assert not doubts.is_believed(KEY, H1, 12 * DAY_MS + 1, twice)
    assert not doubts.is_believed(KEY, H1, 11 * DAY_MS, twice)
    assert doubts.is_believed(KEY, H1, 13 * DAY_MS, twice)


def test_what_is_right_of_a_timeframe_leaves_the_doubt_about_the_base_and_the_other_way() -> None:
    doubts, twice = Doubts(), "9 of 10 candles"
    assert not doubts.is_believed(KEY, "base", 0, twice)
    assert doubts.is_believed(KEY, Timeframe.M5, 0, None)
    assert not doubts.is_believed(KEY, Timeframe.M5, 1, twice)
    assert doubts.is_believed(KEY, "base", MINUTE_MS, twice)
    assert doubts.is_believed(KEY, "base", MINUTE_MS, None)
    assert doubts.is_believed(KEY, Timeframe.M5, MINUTE_MS + 1, twice)


def test_differences_of_candles_and_of_known_open_interest() -> None:
    ours = rows((1, 10.0, 5.0), (2, 10.0, NAN), (3, 10.0, 5.0), (4, 10.0, 5.0), (6, 10.0, 5.0))
    theirs = rows((1, 10.0, 6.0), (2, 10.0, 7.0), (3, 11.0, NAN), (5, 1.0, 1.0), (7, 2.0, 1.0))
    found = differences(ours, theirs, {7 * HOUR_MS})
    candle = [10.0, 12.0, 9.0, 10.0, 100.0, 1000.0]
    assert found == [
        Difference("open_interest", HOUR_MS, 5.0, 6.0),
        Difference("klines", 3 * HOUR_MS, candle, [10.0, 12.0, 9.0, 11.0, 100.0, 1000.0]),
        Difference("klines", 4 * HOUR_MS, candle, None),
        Difference("klines", 5 * HOUR_MS, None, [10.0, 12.0, 9.0, 1.0, 100.0, 1000.0]),
        Difference("klines", 6 * HOUR_MS, candle, None),
    ]


def test_rows_that_are_the_same_do_not_differ() -> None:
    same = rows((1, 10.0, 5.0), (2, 10.0, NAN))
    assert differences(same, same, set()) == []
    assert differences(rows(), rows(), set()) == []


def test_a_row_that_an_audit_got_as_an_invalid_one_is_no_difference() -> None:
    ours, theirs = rows((1, 10.0, 5.0), (2, 10.0, 5.0), (3, 10.0, 5.0)), rows((2, 10.0, 5.0))
    found = differences(ours, theirs, set(), {3 * HOUR_MS})
    assert [each.open_time for each in found] == [HOUR_MS]


async def test_an_audit_that_lacks_known_candles_is_believed_when_it_says_so_again() -> None:
    auditor = Auditor(CollectionRun(exchange_of("AUSDT").sender()), Audits(), 20, ())
    whole = plan_from_base(A, H4, None, {}, as_of_ms=NOW_MS, history_candles=20)
    closed = list(GRID[-20:-1])
    values = np.full((len(closed), 8), NAN)
    values[:, CANDLE] = (2.0, 3.0, 1.0, 2.0, 5.0, 6.0)  # as the exchange shows them
    known = Rows(np.array(closed), values)

    async def audited(after_ms: int, *gone: int) -> list[int] | None:
        exchange = exchange_of("AUSDT")
        times = [time_ms for time_ms in GRID if time_ms not in gone]
        exchange.times[Endpoint.KLINES, "AUSDT"] = times
        auditor.run = CollectionRun(exchange.sender())
        plan = replace(whole, as_of_ms=NOW_MS + after_ms)
        answer = await auditor.fetch(plan, known, awaits=False, interest=False)
        if answer is None:
            return None
        (candles,) = answer.native
        shown: list[int] = Candles.of(candles or ()).times.tolist()
        return shown

    gone = closed[7]
    assert await audited(0, gone) is None
    assert await audited(59_999, gone) is None
    assert await audited(MINUTE_MS) == list(GRID[-20:])
    assert await audited(2 * MINUTE_MS, gone) is None  # all were there in between
    assert await audited(3 * MINUTE_MS, gone) == [each for each in GRID[-20:] if each != gone]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("hours", "suspect"), [(26, True), (29, False), (30, False)])
def test_other_open_interest_within_its_reach_makes_a_base_suspect(
    hours: int, suspect: bool, native: bool
) -> None:
    now_ms, history = MIDNIGHT + 48 * HOUR_MS, 40
    exchange = invented(random.Random(7), range(MIDNIGHT, now_ms + 1, STEP_MS), Habits(), 0)  # noqa: S311
    market = Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT", launched_ms=MIDNIGHT)
    follower = Follower(exchange, market)
    follower.read(now_ms, interest=True)
    follower.collect(H1, now_ms, history, native=True, interest=True)
    plan = follower.plan(H1, now_ms, history, audited=native)
    known = Rows.of(follower.series[H1].rows)
    values = known.values.copy()
    values[len(known) - 1 - hours, column_index("open_interest")] += 1000.0
    found: list[tuple[Timeframe, str]] = []
    unused = cast(CollectionRun, None)
    auditor = Auditor(unused, Audits(), history, (), lambda *what: found.append(what))
    auditor.compare(plan, Rows(known.times, values), [])
    assert found == [(H1, "open_interest")]
    assert auditor.audits.suspect == ({market.key} if suspect else set())
    assert not auditor.audits.is_native(market.key, H1, now_ms)


@pytest.mark.parametrize("told", [True, False])
def test_an_auditor_forgives_what_it_left_out_as_invalid(told: bool) -> None:
    now_ms, history = MIDNIGHT + 30 * HOUR_MS, 20
    exchange = invented(random.Random(7), range(MIDNIGHT, now_ms + 1, STEP_MS), Habits(), 0)  # noqa: S311
    market = Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT", launched_ms=MIDNIGHT)
    follower = Follower(exchange, market)
    follower.read(now_ms, interest=True)
    follower.collect(H1, now_ms, history, native=True, interest=True)
    plan = follower.plan(H1, now_ms, history)
    audited = Rows.of(follower.series[H1].rows)
    lost = int(audited.times[5])
    audited = audited.select(np.flatnonzero(audited.times != lost))
    found: list[tuple[Timeframe, str]] = []
    unused = cast(CollectionRun, None)
    auditor = Auditor(unused, Audits(), history, (), lambda *what: found.append(what))
    auditor.compare(plan, audited, [LeftOut(lost, "zero price")] if told else [])
    assert found == ([] if told else [(H1, "klines")])
    assert auditor.audits.is_native(market.key, H1, now_ms) is not told
