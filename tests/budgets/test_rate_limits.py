"""Never more than the budget in any window, whenever the exchange counts; pauses for all."""

import asyncio
import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from budgets.budget import Budget
from budgets.headers import exchange_time_ms
from budgets.rate_limits import RateLimits, window_left_s
from market.markets import Exchange
from tests.fixtures.clock import ManualClock
from venues import VENUES
from venues.errors import Banned, RateLimited
from venues.venue import Endpoint, Limit, Request

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
HEADER = "X-MBX-USED-WEIGHT-1M"


def _request(
    exchange: Exchange = BYBIT,
    counter: str = "requests",
    weight: int = 1,
    endpoint: Endpoint = Endpoint.KLINES,
) -> Request:
    return Request(exchange, endpoint, "/", counter, weight, "BTCUSDT")


def most_in_any_window(counted: list[tuple[float, int]], window_s: float) -> int:
    """The largest sum of weights counted within less than `window_s` of each other, as exactly as
    sums of seconds are."""
    counted, window_s = sorted(counted), window_s * (1 - 1e-9)
    most = total = first = 0
    for at, weight in counted:
        total += weight
        while counted[first][0] <= at - window_s:
            total -= counted[first][1]
            first += 1
        most = max(most, total)
    return most


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_no_window_ever_holds_more_than_the_budget(data: st.DataObject) -> None:
    window_s = data.draw(st.sampled_from([2.0, 5.0, 60.0, 300.0]))
    quantity = data.draw(st.integers(20, 80))
    fraction = data.draw(st.sampled_from([0.3, 0.9, 1.0]))
    budget = Budget(Limit(quantity, window_s), fraction)
    assert budget.quantity == max(1, math.floor(quantity * fraction))
    now = 50.0
    under_way: list[tuple[float, float, object]] = []
    counted: list[tuple[float, int]] = []
    # Each step: how long until the next wish, its weight, how long its answer takes, and when
    # in between the exchange counts it.
    for _ in range(data.draw(st.integers(20, 50))):
        now += data.draw(st.floats(0, window_s / 4))
        weight = data.draw(st.integers(1, 5))
        latency_s = data.draw(st.floats(0, window_s))
        moment = data.draw(st.floats(0, 1))
        for _ in range(1000):
            for answered in sorted(
                (item for item in under_way if item[0] <= now), key=lambda item: item[0]
            ):
                under_way.remove(answered)
                budget.give_back(answered[0], answered[2])  # type: ignore[arg-type]
            delay_s = budget.delay(now, weight)
            if delay_s <= 0:
                break
            # Nothing changes before an answer, or before room is free.
            now = max(now + delay_s, min((item[0] for item in under_way), default=0.0))
        else:
            pytest.fail("never let through")
        under_way.append((now + latency_s, now, budget.take(now, weight)))
        counted.append((now + latency_s * moment, weight))
    assert most_in_any_window(counted, window_s) <= budget.quantity


@pytest.mark.parametrize(("exchange", "counter"), [(BYBIT, "requests"), (BINANCE, "weight")])
async def test_a_long_job_comes_close_to_the_bound_and_never_breaks_the_limit(
    exchange: Exchange, counter: str
) -> None:
    clock = ManualClock(hold=True)
    limits = RateLimits(0.9, clock).for_exchange(exchange)
    limit = VENUES[exchange].limits[counter]
    weight = 2 if exchange is BINANCE else 1
    total = 4 * limit.quantity
    sent: list[tuple[float, int]] = []
    left = total // weight

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            ticket = await limits.admit(_request(exchange, counter, weight))
            sent.append((clock.now, weight))
            await clock.sleep(0.05)
            limits.answered(_request(exchange, counter, weight), ticket, {})

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(worker())
        await clock.run_until_idle()
    took_s = sent[-1][0] - sent[0][0]
    bound_s = total / (0.9 * limit.quantity / limit.window_s)
    assert took_s <= 1.05 * bound_s
    assert most_in_any_window(sent, limit.window_s) <= math.floor(0.9 * limit.quantity)
    # Whole minutes too: 2400 weight are counted from :00 there.
    minutes: dict[int, int] = {}
    for at, cost in sent:
        minutes[int(at // limit.window_s)] = minutes.get(int(at // limit.window_s), 0) + cost
    assert max(minutes.values()) <= math.floor(0.9 * limit.quantity)


async def test_half_of_the_budget_goes_at_once_and_the_rest_is_spread() -> None:
    budget = Budget(Limit(1000, 300), 0.9)
    now = 0.0
    sent: list[float] = []
    while len(sent) < 600:
        delay_s = budget.delay(now, 1)
        now += delay_s
        if delay_s == 0:
            budget.give_back(now, budget.take(now, 1))
            sent.append(now)
    assert sent[449] == 0.0
    gaps = [later - earlier for earlier, later in pairwise(sent[450:])]
    assert max(gaps) <= 300 / 900 * 1.01
    assert sent[-1] >= 100 * 300 / 900


def test_a_request_heavier_than_the_whole_budget_goes_alone() -> None:
    budget = Budget(Limit(100, 60), 0.1)
    assert budget.delay(0, 40) == 0
    budget.give_back(1.0, budget.take(0.0, 40))
    assert budget.delay(1, 1) == pytest.approx(60)
    assert budget.delay(61, 40) == 0


def test_other_programs_on_the_address_are_seen_in_the_header() -> None:
    budget = Budget(Limit(2400, 60, HEADER), 0.9)
    ticket = budget.take(0, 2)
    budget.give_back(0.1, ticket)
    budget.correct(0.1, ticket, reported=2159, valid_s=30)
    assert budget.used(0.1) == 2159
    assert budget.delay(0.1, 2) == pytest.approx(30)
    assert budget.delay(30.2, 2) == 0  # their minute is over


def test_requests_under_way_are_not_counted_twice() -> None:
    budget = Budget(Limit(2400, 60, HEADER), 0.9)
    tickets = [budget.take(0, 2) for _ in range(20)]
    # The exchange has handled the first ten when it answers the tenth.
    for ticket in tickets[:10]:
        budget.give_back(0.1, ticket)
    budget.correct(0.1, tickets[9], reported=20, valid_s=50)
    assert budget.used(0.1) == 40
    # An answer that was overtaken says nothing new.
    budget.correct(0.2, tickets[4], reported=10, valid_s=50)
    assert budget.used(0.2) == 40
    # 100 used by somebody else in the meantime.
    budget.correct(0.3, tickets[19], reported=140, valid_s=50)
    assert budget.used(0.3) == 140


def test_the_header_never_makes_more_room_than_our_own_count() -> None:
    budget = Budget(Limit(2400, 60, HEADER), 0.9)
    ticket = budget.take(0, 2000)
    budget.give_back(0.1, ticket)
    budget.correct(0.1, ticket, reported=2, valid_s=50)  # a new minute has begun there
    assert budget.used(0.2) == 2000


async def test_answers_correct_the_budget_by_header_and_date() -> None:
    clock = ManualClock(hold=True)
    limits = RateLimits(0.9, clock).for_exchange(BINANCE)
    request = _request(BINANCE, "weight", 2)
    ticket = await limits.admit(request)
    headers = CIMultiDict({"x-mbx-used-weight-1m": "2200", "Date": "Fri, 03 Jul 2026 17:08:28 GMT"})
    limits.answered(request, ticket, headers)
    budget = limits.budgets["weight"]
    assert budget.used(clock.now) == 2200
    assert budget.delay(clock.now, 2) == pytest.approx(33)  # until 17:09:00, and one second
    assert budget.delay(clock.now + 33.1, 2) == 0


def test_the_exchange_clock_of_an_answer() -> None:
    assert exchange_time_ms({"Date": "Fri, 03 Jul 2026 17:08:28 GMT"}) == 1783098508000
    in_minutes, sliding = Limit(2400, 60, HEADER, at_full_minutes=True), Limit(600, 5)
    assert window_left_s(in_minutes, {"Date": "Fri, 03 Jul 2026 17:08:28 GMT"}) == 33
    assert window_left_s(sliding, {"Date": "Fri, 03 Jul 2026 17:08:28 GMT"}) is None
    for broken in ({}, {"Date": ""}, {"Date": "yesterday"}):
        assert exchange_time_ms(broken) is None
        assert window_left_s(in_minutes, broken) is None


async def test_a_short_pause_holds_every_counter_of_that_exchange_only() -> None:
    clock = ManualClock(hold=True)
    limits = RateLimits(0.9, clock)
    await limits.for_exchange(BINANCE).pause(10, "429")
    await limits.for_exchange(BINANCE).pause(3, "429")  # does not cut the longer one
    admitted: dict[str, float] = {}

    async def ask(exchange: Exchange, counter: str) -> None:
        await limits.for_exchange(exchange).admit(_request(exchange, counter))
        admitted[counter] = clock.now

    async with asyncio.TaskGroup() as group:
        for counter in VENUES[BINANCE].limits:
            group.create_task(ask(BINANCE, counter))
        group.create_task(ask(BYBIT, "requests"))
        await clock.run_until_idle()
    assert admitted.pop("requests") == 0
    assert set(admitted) == {"weight", "funding", "open_interest"}
    assert all(at == pytest.approx(10) for at in admitted.values())


async def test_a_long_pause_is_told_at_once_and_ends_by_itself() -> None:
    clock = ManualClock(hold=True)
    limits = RateLimits(0.9, clock).for_exchange(BYBIT)
    await limits.pause(600, "access too frequent")
    with pytest.raises(Banned, match=r"600 s more: access too frequent") as caught:
        await limits.admit(_request())
    assert caught.value.until_ms == clock.wall_ms() + 600_000
    assert limits.pause_left_s() == 600
    clock.now += 600
    assert (await limits.admit(_request())).weight == 1


async def test_waiting_for_room_ends_some_time() -> None:
    clock = ManualClock(hold=True)
    limits = RateLimits(0.9, clock).for_exchange(BINANCE)
    request = _request(BINANCE, "weight", 2)
    ticket = await limits.admit(request)

    async def others_use_everything() -> None:
        for _ in range(20):
            limits.budgets["weight"].correct(clock.now, ticket, reported=2400, valid_s=61)
            await clock.sleep(60)

    async def ask() -> None:
        with pytest.raises(RateLimited, match="other programs"):
            await limits.admit(request)

    async with asyncio.TaskGroup() as group:
        group.create_task(others_use_everything())
        group.create_task(ask())
        await clock.run_until_idle()
    assert clock.now > 600


async def test_a_waiter_that_is_cancelled_leaves_its_turn() -> None:
    clock = ManualClock(hold=True)
    limits = RateLimits(0.9, clock).for_exchange(BYBIT)
    await limits.pause(10, "429")
    waiting = asyncio.create_task(limits.admit(_request()))
    next_one = asyncio.create_task(limits.admit(_request()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await clock.run_until_idle()
    assert (await next_one).weight == 1


def test_a_limit_may_let_all_of_the_budget_go_at_once() -> None:
    budget = Budget(Limit(1000, 300, burst=1.0), 0.9)
    for _ in range(900):
        assert budget.delay(0.0, 1) == 0.0
        budget.give_back(1.0, budget.take(0.0, 1))
    assert budget.delay(1.0, 1) == pytest.approx(300)
    assert budget.delay(301.0, 1) == 0.0
