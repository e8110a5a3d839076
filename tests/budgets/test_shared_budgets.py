"""Processes behind one address share budgets and pauses through a real Valkey."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from budgets.rate_limits import RateLimits
from budgets.shared_budgets import SharedBudgets
from budgets.slots import slot_ms_of, slots_of
from market.markets import Exchange
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore
from tests.fixtures.lateness import elapsed
from tests.fixtures.signals import DEADLINE_S
from timing.clock import SystemClock
from venues.errors import Banned
from venues.venue import Endpoint, Limit, Request

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
LIMIT = Limit(40, 1.0)
Connect = Callable[[], HotStore]
REQUEST = Request(BYBIT, Endpoint.TIME, "/", "requests")


@pytest.fixture
async def connect(redis_url: str) -> AsyncIterator[Callable[[], HotStore]]:
    """Clients of one empty Valkey, as each process has its own."""
    stores: list[HotStore] = []

    def new() -> HotStore:
        stores.append(NativeStore(redis_url, client_name="test-budgets"))
        return stores[-1]

    yield new
    for store in stores:
        await store.aclose()


def _shared(store: HotStore, egress_id: str = "default") -> SharedBudgets:
    return SharedBudgets(store, egress_id, SystemClock())


async def test_two_processes_together_stay_within_one_budget(connect: Connect) -> None:
    used: list[float] = []
    wanted = 36 + 1  # there is room for the last one after a window

    async def process() -> int:
        store = connect()
        shared = _shared(store)
        sent = 0
        while len(used) < wanted:
            answer = await shared.reserve(BYBIT, "requests", LIMIT, 36, 1)
            if answer.room:
                used.append(time.monotonic())
                sent += 1
                await asyncio.sleep(0.001)
            else:
                await asyncio.sleep(min(answer.valid_s, 0.05))
        return sent

    async with asyncio.timeout(DEADLINE_S), elapsed() as took:
        shares = await asyncio.gather(process(), process())
    used.sort()
    assert all(
        later - earlier >= LIMIT.window_s for earlier, later in zip(used, used[36:], strict=False)
    )
    # Close to what one window after the other allows, and nobody is starved.
    assert took.own_s < (slots_of(LIMIT) + 3) * slot_ms_of(LIMIT) / 1000
    assert min(shares) > 5


async def test_another_address_has_its_own_budget(connect: Connect) -> None:
    store = connect()
    here, there = _shared(store), _shared(store, "elsewhere")
    assert (await here.take(BYBIT, "requests", LIMIT, 36, 1, 36)).room == 36
    assert (await here.take(BYBIT, "requests", LIMIT, 36, 1, 1)).room == 0
    assert (await there.take(BYBIT, "requests", LIMIT, 36, 1, 36)).room == 36
    assert (await here.take(BINANCE, "weight", LIMIT, 36, 1, 36)).room == 36


async def test_what_was_taken_is_free_again_after_its_window(connect: Connect) -> None:
    store = connect()
    shared = _shared(store)
    limit = Limit(10, 0.4)
    assert (await shared.take(BYBIT, "requests", limit, 9, 5, 5)).room == 5
    # A part of what is wanted, but never less than is needed.
    assert (await shared.take(BYBIT, "requests", limit, 9, 1, 20)).room == 4
    refused = await shared.take(BYBIT, "requests", limit, 9, 1, 1)
    assert refused.room == 0
    assert limit.window_s < refused.valid_s <= (slots_of(limit) + 2) * slot_ms_of(limit) / 1000
    await asyncio.sleep(refused.valid_s + 0.005)
    assert (await shared.take(BYBIT, "requests", limit, 9, 1, 1)).room == 1


@pytest.mark.parametrize(
    ("slot_s", "parts", "held_s"),
    # Earlier releases cut 300 s into whole slots of 15 s; a part is a fifth of one.
    [(15, 1, 315), (3, 5, 303)],
)
async def test_a_long_window_frees_what_was_taken_a_part_of_a_slot_later(
    connect: Connect, slot_s: int, parts: int, held_s: int
) -> None:
    store, limit = connect(), Limit(100, 300)
    key = "budget:default:binance:open_interest"
    shared = _shared(store)

    async def store_s() -> float:
        seconds, micros = (int(part) for part in await store.execute("TIME"))
        return seconds + micros / 1e6

    began_s = await store_s()
    # When the slots ended in which one was taken each: some are still held, some are not.
    first_s = int(began_s - held_s) // slot_s * slot_s
    ends = range(first_s - 3 * slot_s, first_s + 20 * slot_s, slot_s)
    for end_s in ends:
        number, part = divmod(end_s - slot_s, 15)
        name = str(number) if parts == 1 else f"{number}." + "0" * (part // slot_s + 1)
        await store.execute("HSET", key, name, 1)
    granted = await shared.take(BINANCE, "open_interest", limit, 100, 1, 100)
    ended_s = await store_s()
    before, after = (sum(end_s + held_s > now_s for end_s in ends) for now_s in (began_s, ended_s))
    assert 100 - before <= granted.room <= 100 - after
    assert 0 < granted.room < 100


async def test_what_a_close_takes_is_free_at_the_next(connect: Connect) -> None:
    store, limit = connect(), Limit(1000, 300)
    granted = await _shared(store).take(BINANCE, "open_interest", limit, 900, 1, 900)
    assert 0 < granted.valid_s <= 3
    refused = await _shared(store).take(BINANCE, "open_interest", limit, 900, 1, 1)
    assert refused.room == 0
    assert 300 < refused.valid_s <= 306  # not before every window that may hold them has passed


async def test_a_request_heavier_than_the_budget_goes_when_nothing_else_did(
    connect: Connect,
) -> None:
    store = connect()
    shared = _shared(store)
    assert (await shared.take(BINANCE, "weight", LIMIT, 10, 40, 40)).room == 40
    assert (await shared.take(BINANCE, "weight", LIMIT, 10, 1, 1)).room == 0


async def test_few_commands_for_many_requests_and_little_waste_for_few(connect: Connect) -> None:
    store = connect()
    asked = 0
    execute = store.execute

    async def counting(*command: str | bytes | int, deadline_s: float = 2.0) -> object:
        nonlocal asked
        asked += 1
        return await execute(*command, deadline_s=deadline_s)

    store.execute = counting  # type: ignore[method-assign]
    shared = _shared(store)
    limit = Limit(1000, 60)
    for _ in range(300):
        assert (await shared.reserve(BYBIT, "requests", limit, 900, 1)).room
    assert asked < 20
    sparse = _shared(store)
    await sparse.reserve(BINANCE, "weight", limit, 900, 2)
    (taken,) = {int(value) for value in (await execute("HVALS", "budget:default:binance:weight"))}
    assert taken == 2


async def test_room_that_was_not_used_is_given_back(connect: Connect) -> None:
    shared = _shared(connect())
    limit = Limit(100, 60)
    answer = await shared.take(BYBIT, "requests", limit, 90, 1, 80)
    assert (await shared.take(BYBIT, "requests", limit, 90, 20, 20)).room == 0
    taken = await shared.take(BYBIT, "requests", limit, 90, 80, 80, back={answer.slot: 70})
    assert taken.room == 80
    assert (await shared.take(BYBIT, "requests", limit, 90, 1, 1)).room == 0


async def test_a_long_pause_reaches_processes_that_start_later(connect: Connect) -> None:
    store = connect()
    first = RateLimits(0.9, shared=_shared(store))
    await first.for_exchange(BYBIT).pause(600, "access too frequent")
    await first.for_exchange(BYBIT).pause(100, "a shorter one")
    other_store = connect()
    later = RateLimits(0.9, shared=_shared(other_store))
    with pytest.raises(Banned, match="600 s more: access too frequent"):
        await later.for_exchange(BYBIT).admit(REQUEST)
    assert 599 < later.for_exchange(BYBIT).pause_left_s() <= 600
    request = Request(BINANCE, Endpoint.TIME, "/", "weight")
    assert (await later.for_exchange(BINANCE).admit(request)).weight == 1


async def test_without_the_store_each_process_keeps_its_own_budget() -> None:
    store = NativeStore("redis://127.0.0.1:9", client_name="test-budgets")
    limits = RateLimits(0.9, shared=_shared(store)).for_exchange(BYBIT)
    async with elapsed() as took:
        for _ in range(50):
            limits.answered(REQUEST, await limits.admit(REQUEST), {})
        await limits.pause(600, "banned")
        with pytest.raises(Banned):
            await limits.admit(REQUEST)
    assert took.own_s < 2  # it was asked once, not fifty times
    await store.aclose()
