"""What a pass asks for to extend the base of a market."""

from dataclasses import replace

import pytest

from data_collector.base_documents import ReadBase
from data_collector.base_tasks import base_tasks, why_not_believed
from data_collector.url_builder import endpoint_table
from market.base import extended
from market.candles import Candles
from market.left_out import LeftOut
from market.markets import Exchange, Market
from market.rows import TimedValues
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.base_rows import MIDNIGHT, STEP_MS, base_of, five
from venues import VENUES
from venues.venue import Endpoint

MARKETS = [Market(exchange, "BTCUSDT", "BTC", "USDT") for exchange in Exchange]
SPAN = {exchange: VENUES[exchange].cheapest_candles - 1 for exchange in Exchange}


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("base", [None, base_of(range(-600, -400), -401 * STEP_MS)])
def test_a_new_base_needs_26_hours(market: Market, base: None) -> None:
    tasks = base_tasks(market, base, as_of_ms=MIDNIGHT + 5)
    assert MIDNIGHT - tasks.klines.start_ms in range(26 * HOUR_MS, 26 * HOUR_MS + 64 * STEP_MS)
    assert tasks.klines.start_ms % (64 * STEP_MS) == 0
    assert tasks.klines.end_ms == MIDNIGHT
    assert tasks.open_interest is not None
    assert (tasks.open_interest.start_ms, tasks.open_interest.end_ms) == (
        tasks.klines.start_ms,
        MIDNIGHT,
    )
    assert tasks.funding is None


@pytest.mark.parametrize("market", MARKETS)
def test_with_a_new_base_comes_what_a_first_document_needs(market: Market) -> None:
    whole = base_tasks(market, None, as_of_ms=MIDNIGHT + 5)
    tasks = base_tasks(market, None, as_of_ms=MIDNIGHT + 5, history_candles=499)
    assert tasks.klines.start_ms == MIDNIGHT - 498 * STEP_MS
    assert tasks.open_interest is not None
    assert tasks.open_interest.start_ms == MIDNIGHT - 498 * STEP_MS
    assert base_tasks(market, None, as_of_ms=MIDNIGHT + 5, history_candles=9) == whole
    # More candles are not asked for than the requests of a base bring at their price.
    page = endpoint_table(market.exchange, Endpoint.KLINES).page_limit
    needed = (MIDNIGHT - whole.klines.start_ms) // STEP_MS + 1
    most = base_tasks(market, None, as_of_ms=MIDNIGHT + 5, history_candles=3000)
    brought = (MIDNIGHT - most.klines.start_ms) // STEP_MS + 1
    assert brought in range(needed, needed + page)
    assert brought % page == 0
    base = base_of(range(-380, 1), 5)
    known = base_tasks(market, base, as_of_ms=MIDNIGHT + STEP_MS + 5)
    assert known == base_tasks(market, base, as_of_ms=MIDNIGHT + STEP_MS + 5, history_candles=499)


@pytest.mark.parametrize("market", MARKETS)
def test_what_a_pass_has_asked_for_is_not_asked_for_again(market: Market) -> None:
    asked = base_tasks(market, None, as_of_ms=MIDNIGHT + 5, history_candles=499).open_interest
    assert asked is not None
    times = range(asked.start_ms, MIDNIGHT + 1, STEP_MS)
    snapshots = TimedValues.of([(time_ms, 5.0) for time_ms in times])
    read = ReadBase(market, None, interest=asked, snapshots=snapshots)
    older = replace(asked, end_ms=asked.start_ms + 9 * STEP_MS)
    found = read.snapshots_of(older)
    assert found is not None
    assert found.times.tolist() == list(times[:10])
    assert read.snapshots_of(replace(older, start_ms=asked.start_ms - STEP_MS)) is None
    assert read.snapshots_of(replace(older, period=Timeframe.M15)) is None
    assert ReadBase(market, None).snapshots_of(older) is None


@pytest.mark.parametrize("market", MARKETS)
def test_candles_that_came_with_a_base_are_not_asked_for_again(market: Market) -> None:
    asked = base_tasks(market, None, as_of_ms=MIDNIGHT + 5, history_candles=499).klines
    candles = Candles.of([five(slot) for slot in range(-498, 1)])
    invalid = [
        LeftOut(MIDNIGHT + slot * STEP_MS, "its high is below its low") for slot in (-490, 0)
    ]
    read = ReadBase(market, None, klines=asked, candles=candles, klines_left_out=invalid)
    older = replace(asked, end_ms=asked.start_ms + 9 * STEP_MS)
    told: list[LeftOut] = []
    found = read.candles_of(older, told)
    assert found is not None
    assert list(found) == [five(slot) for slot in range(-498, -488)]
    assert told == invalid[:1]
    assert read.candles_of(replace(older, start_ms=asked.start_ms - STEP_MS), []) is None
    assert read.candles_of(replace(older, period=Timeframe.M15), []) is None
    assert ReadBase(market, None, klines=asked).candles_of(older, []) is None


@pytest.mark.parametrize("market", MARKETS)
def test_a_base_needs_the_cheapest_page(market: Market) -> None:
    base = base_of(range(-380, 1), 5)
    tasks = base_tasks(market, base, as_of_ms=MIDNIGHT + STEP_MS + 5)
    span = min(SPAN[market.exchange], (MIDNIGHT + STEP_MS - base.first_ms) // STEP_MS)
    assert tasks.klines.start_ms == max(base.first_ms, MIDNIGHT - (span - 1) * STEP_MS)
    assert tasks.open_interest is not None
    assert tasks.open_interest.start_ms == tasks.open_interest.end_ms == MIDNIGHT + STEP_MS


@pytest.mark.parametrize("market", MARKETS)
def test_a_base_that_was_away_needs_all_that_it_missed(market: Market) -> None:
    base = base_of(range(-300, 1), 5)
    tasks = base_tasks(market, base, as_of_ms=MIDNIGHT + 200 * STEP_MS)
    # Ten known candles at least, also where the page that costs least begins later.
    first = min(-10, 200 - SPAN[market.exchange])
    assert tasks.klines.start_ms == max(MIDNIGHT + first * STEP_MS, MIDNIGHT - 192 * STEP_MS)
    assert tasks.open_interest is not None
    assert tasks.open_interest.start_ms == MIDNIGHT + STEP_MS


def test_a_gap_and_late_snapshots_are_asked_for_again() -> None:
    market = MARKETS[0]
    base = base_of(range(-310, -200), -201 * STEP_MS)
    answer = [five(slot) for slot in range(-2, 1)]
    base = extended(base, answer, asked_ms=MIDNIGHT - 2 * STEP_MS, as_of_ms=MIDNIGHT + 5)
    found = [(time_ms, 1.0) for time_ms in base.times.tolist() if time_ms != MIDNIGHT - 3 * STEP_MS]
    base = base.with_interest(found, MIDNIGHT + 5)
    tasks = base_tasks(market, base, as_of_ms=MIDNIGHT + STEP_MS)
    assert tasks.klines.start_ms == MIDNIGHT - 202 * STEP_MS  # it was closed for a moment only
    assert tasks.open_interest is not None
    assert tasks.open_interest.start_ms == MIDNIGHT - 3 * STEP_MS


def test_nothing_before_a_new_life_and_no_snapshot_twice() -> None:
    market = replace(MARKETS[0], since_ms=MIDNIGHT - 5 * STEP_MS - 1)
    base = base_of(range(-20, 1), 5)
    tasks = base_tasks(market, base, as_of_ms=MIDNIGHT + 70_000)
    assert tasks.klines.start_ms == MIDNIGHT - 6 * STEP_MS
    assert tasks.open_interest is None


@pytest.mark.parametrize(
    ("answered", "left_out", "holes_too", "cause"),
    [
        ([4, 5, 6, 7, 8], [], True, None),
        ([4, 5, 6], [], True, None),  # 7 had not been final
        ([4, 6, 7, 8], [], True, "1 known candles are gone, the first of {5}"),
        ([4, 6, 7, 8], [], False, None),
        ([4, 6, 7, 8], [5], True, None),
        ([4, 5], [], False, "its candles end at {5}, before one known at {6}"),
        ([], [], False, "no candles for a market that had some before"),
        ([], [6], False, None),
        ([8], [], True, "3 known candles are gone, the first of {4}"),
    ],
)
def test_which_answers_are_believed(
    answered: list[int], left_out: list[int], holes_too: bool, cause: str | None
) -> None:
    """Known and final are 0 to 6; it was asked for those from 4 on."""
    base = base_of(range(9), 8 * STEP_MS + 59_999)
    task = replace(
        base_tasks(MARKETS[0], base, as_of_ms=MIDNIGHT + 9 * STEP_MS).klines,
        start_ms=MIDNIGHT + 4 * STEP_MS,
    )
    rows = [LeftOut(MIDNIGHT + slot * STEP_MS, "no price") for slot in left_out]
    candles = [five(slot) for slot in answered]
    expected = cause and cause.format(*[MIDNIGHT + slot * STEP_MS for slot in range(9)])
    assert why_not_believed(base, task, candles, rows, holes_too=holes_too) == expected
    assert why_not_believed(None, task, candles, rows, holes_too=holes_too) is None


@pytest.mark.parametrize(("slots", "first"), [(10, -19), (100, -109), (101, 1)])
def test_a_young_base_asks_for_the_open_interest_of_a_first_candle_that_came_late(
    slots: int, first: int
) -> None:
    """REST may show the second candle of a new market first."""
    for market in MARKETS:
        base = base_of(range(1 - slots, 1), 5)
        tasks = base_tasks(market, base, as_of_ms=MIDNIGHT + STEP_MS)
        assert tasks.open_interest is not None
        start_ms = MIDNIGHT + first * STEP_MS
        assert tasks.open_interest.start_ms in (start_ms, max(start_ms, tasks.klines.start_ms))
