"""Requests that can wait take a share of a budget, and leave the others their room."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgets.budget import Budget
from budgets.rate_limits import RateLimits
from market.markets import Exchange
from tests.budgets.test_rate_limits import most_in_any_window
from tests.fixtures.clock import ManualClock
from venues.venue import Endpoint, Limit, Request

INTEREST = Limit(1000, 300)
REQUEST = Request(Exchange.BINANCE, Endpoint.OPEN_INTEREST, "/", "open_interest", 1, "BTCUSDT")


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_no_window_holds_more_than_the_budget_nor_more_than_the_share_of_those_that_can_wait(
    data: st.DataObject,
) -> None:
    window_s = data.draw(st.sampled_from([5.0, 300.0]))
    budget = Budget(Limit(data.draw(st.integers(20, 60)), window_s), 0.9)
    share = data.draw(st.sampled_from([0.25, 0.5, 0.7, 1.0]))
    now = 50.0
    under_way: list[tuple[float, int, object]] = []
    every: list[tuple[float, int]] = []
    shared: list[tuple[float, int]] = []
    for number in range(data.draw(st.integers(20, 60))):
        now += data.draw(st.floats(0, window_s / 10))
        weight = data.draw(st.integers(1, 3))
        wanted = share if data.draw(st.booleans()) else None
        latency_s = data.draw(st.floats(0, window_s / 2))
        for _ in range(5000):
            for answered in sorted(item[:2] for item in under_way if item[0] <= now):
                (item,) = (item for item in under_way if item[:2] == answered)
                under_way.remove(item)
                budget.give_back(item[0], item[2])  # type: ignore[arg-type]
            delay_s = budget.delay(now, weight)
            if wanted is not None:
                delay_s = max(delay_s, budget.share_delay(now, weight, wanted))
            if delay_s <= 0:
                break
            now += max(delay_s, 0.001)
        else:
            pytest.fail("never let through")
        under_way.append((now + latency_s, number, budget.take(now, weight, wanted)))
        every.append((now + latency_s, weight))  # counted by the exchange as late as can be
        if wanted is not None:
            shared.append((now, weight))
    assert most_in_any_window(every, window_s) <= budget.quantity
    assert most_in_any_window(shared, window_s) <= max(share * budget.quantity, 3)


def test_how_long_a_share_has_no_room_is_told_by_what_it_holds() -> None:
    """540 of 1080 in a window of 60 s."""
    budget = Budget(Limit(1200, 60.0), 0.9)
    held = [(budget.take(at, 180, 0.5), at) for at in (100.0, 110.0, 120.0)]
    assert budget.share_free_in(121.0, 1, 0.5) == 60.0  # none was answered
    assert budget.share_free_in(121.0, 1, 0.6) == 0.0
    for ticket, at in held:
        budget.give_back(at + 1, ticket)
    assert budget.share_free_in(121.0, 1, 0.5) == 101 + 60 - 121
    assert budget.share_free_in(121.0, 181, 0.5) == 111 + 60 - 121
    budget.take(121.0, 300)  # of no share
    assert budget.share_free_in(161.0, 180, 0.5) == 0.0
    assert budget.share_free_in(161.0, 181, 0.5) == 10.0


def test_collections_every_five_minutes_are_as_fast_as_without_them() -> None:
    """450 markets on Binance: half of the budget is theirs."""
    for beside in (False, True):
        budget = Budget(INTEREST, 0.9)
        now, fill, took_s = 0.0, 0, []
        for close_s in range(0, 1500, 300):
            now = max(now, float(close_s))
            for _ in range(450):
                while (delay_s := budget.delay(now, 1)) > 0:
                    now += min(delay_s, 0.02)
                ticket = budget.take(now, 1)
                now += 0.005  # ten at a time, 50 ms each
                budget.give_back(now, ticket)
            took_s.append(now - close_s)
            while beside and now < close_s + 300:
                delay_s = max(budget.delay(now, 1), budget.share_delay(now, 1, 0.5))
                if delay_s > 0:
                    now += min(delay_s, 0.05)
                    continue
                budget.give_back(now, budget.take(now, 1, 0.5))
                fill += 1
        assert max(took_s) < 15
        if beside:
            assert 0.9 * 450 * 5 <= fill <= 450 * 5


async def test_nobody_waits_behind_those_that_have_used_up_their_share() -> None:
    """Half of 60 requests in 5 s."""
    clock = ManualClock(hold=True)
    limits = RateLimits(0.1, clock).for_exchange(Exchange.BYBIT)
    request = Request(Exchange.BYBIT, Endpoint.OPEN_INTEREST, "/", "requests", 1, "BTCUSDT")
    sent: list[float] = []

    async def fill() -> None:
        while True:
            ticket = await limits.admit(request, 0.5)
            sent.append(clock.now)
            limits.answered(request, ticket, {})

    tasks = [asyncio.create_task(fill()) for _ in range(3)]
    try:
        await clock.let_pass(4.9, 1)
        assert len(sent) == 30
        await asyncio.wait_for(limits.admit(request), 5)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_that_is_cancelled_while_it_waits_leaves_nothing_behind() -> None:
    clock = ManualClock(hold=True)
    limits = RateLimits(0.9, clock).for_exchange(Exchange.BINANCE)
    limits.answered(REQUEST, await limits.admit(REQUEST, 1 / 900), {})
    waiting = asyncio.create_task(limits.admit(REQUEST, 1 / 900))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert limits.used("open_interest") == 1
    following = asyncio.create_task(limits.admit(REQUEST, 1 / 900))
    await clock.run_until_idle()
    assert following.done()
    assert 300 <= clock.now < 302
