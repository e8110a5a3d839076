"""The pace that a network bears is found: never far above it for long, and not far below it."""

import asyncio
from collections import deque
from itertools import pairwise

import pytest

from budgets.pace import CALM_S, HOLD_S, RECOVERY_S, SLOWEST_PER_S, Pace
from budgets.rate_limits import RateLimits
from data_collector.url_builder import listing_request
from market.markets import Exchange
from tests.fixtures.clock import ManualClock
from venues.venue import Endpoint

TICKERS = listing_request(Exchange.BYBIT, Endpoint.TICKERS)


def test_nothing_is_slowed_down_before_a_refusal() -> None:
    pace = Pace()
    for n in range(1000):
        assert pace.delay(n / 1000) == 0
        pace.take(n / 1000)
    assert pace.per_s(1.0) is None


def test_a_refusal_halves_the_pace_which_then_rises() -> None:
    pace = Pace()
    for n in range(20):
        pace.take(10 + n / 20)
    assert pace.refused(11, 10.9)
    assert pace.per_s(11) == pytest.approx(10, abs=1)
    half = pace.per_s(11) or 0
    # Nothing for a second, then one after the other.
    assert pace.delay(11) == HOLD_S
    assert pace.delay(11 + HOLD_S) == 0
    pace.take(11 + HOLD_S)
    assert pace.delay(11 + HOLD_S) == pytest.approx(1 / half)
    # What was sent at the faster pace does not halve it again.
    assert not pace.refused(11.2, 10.95)
    assert pace.per_s(11) == half
    # In constant steps back to the refused pace, and on.
    assert pace.per_s(11 + HOLD_S + RECOVERY_S) == pytest.approx(2 * half)
    assert pace.per_s(11 + HOLD_S + 2 * RECOVERY_S) == pytest.approx(3 * half)
    # A request of the new pace that is refused halves what it has risen to.
    assert pace.refused(11 + HOLD_S + RECOVERY_S, 11 + HOLD_S + RECOVERY_S - 0.1)
    assert pace.per_s(11 + HOLD_S + RECOVERY_S) == pytest.approx(half)


def test_the_pace_has_a_floor_and_ends_after_a_calm_minute() -> None:
    pace = Pace()
    pace.take(1)
    for n in range(10):
        now = 2.0 + 2 * n
        pace.refused(now, now - 0.1)
    assert pace.per_s(20.0) == SLOWEST_PER_S
    pace.take(21)
    assert pace.delay(21) > 0
    assert pace.delay(20 + CALM_S + 1) == 0
    assert pace.per_s(20 + CALM_S + 1) is None


@pytest.mark.parametrize("bears", [2, 5, 20])
def test_a_network_is_asked_about_as_fast_as_it_bears(bears: int) -> None:
    """Twenty workers against a network that counts each second, refused requests too."""
    pace, now, sent, served, refused = Pace(), 0.0, 0, 0, 0
    counted: deque[float] = deque()
    answers: deque[tuple[float, float, bool]] = deque()  # due at, sent at, refused
    while now < 60:
        while answers and answers[0][0] <= now:
            _, sent_at, is_refused = answers.popleft()
            if is_refused:
                refused += 1
                pace.refused(now, sent_at)
            else:
                served += 1
        while len(answers) < 20 and pace.delay(now) <= 0:
            pace.take(now)
            sent += 1
            while counted and counted[0] <= now - 1:
                counted.popleft()
            counted.append(now)
            answers.append((now + 0.05, now, len(counted) > bears))
        now += 0.01
    assert served > 0.5 * bears * 60
    assert refused < 0.15 * served + 25  # the first burst came before anybody knew


async def test_all_requests_to_an_exchange_keep_to_its_pace() -> None:
    clock = ManualClock()
    limits = RateLimits(0.9, clock).for_exchange(Exchange.BYBIT)
    for _ in range(10):
        limits.answered(TICKERS, await limits.admit(TICKERS), {})
    assert clock.now == 0
    assert limits.slow_down(0.0) == 5
    assert limits.slow_down(0.0) is None
    began = clock.now
    for _ in range(6):
        limits.answered(TICKERS, await limits.admit(TICKERS), {})
    assert HOLD_S + 5 / 6 <= clock.now - began <= HOLD_S + 5 / 5 + 0.1
    # The other exchange is not slowed down.
    other = RateLimits(0.9, clock).for_exchange(Exchange.BINANCE)
    assert other.pace.per_s(clock.now) is None


async def test_requests_that_wait_together_go_one_by_one() -> None:
    clock = ManualClock(hold=True)
    limits = RateLimits(0.9, clock).for_exchange(Exchange.BINANCE)
    time, info = (
        listing_request(Exchange.BINANCE, e) for e in (Endpoint.TIME, Endpoint.FUNDING_INFO)
    )
    for _ in range(8):
        await limits.admit(time)
    limits.slow_down(0.0)
    sent: list[float] = []

    async def ask(number: int) -> None:
        # Of two counters, which have locks of their own.
        await limits.admit(time if number % 2 else info)
        sent.append(clock.now)

    asking = [asyncio.create_task(ask(number)) for number in range(8)]
    await clock.run_until_idle()
    await asyncio.gather(*asking)
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert len(sent) == 8
    assert min(gaps) > 0.2
