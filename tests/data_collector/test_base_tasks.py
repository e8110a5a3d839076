"""What a pass asks for to extend the base of a market."""

from dataclasses import replace

import pytest

from data_collector.base_tasks import base_tasks
from market.base import extended
from market.markets import Exchange, Market
from market.timeframes import HOUR_MS
from tests.fixtures.base_rows import MIDNIGHT, STEP_MS, base_of, five
from venues import VENUES

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
