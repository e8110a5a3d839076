"""What others leave of a shared budget, over a real Valkey; expected numbers are computed here."""

from collections.abc import AsyncIterator

import pytest

from budgets.left_over import LeftOver, Room
from budgets.shared_budgets import SharedBudgets
from market.markets import Exchange
from stores.hot.redis_client import NativeStore
from timing.clock import SystemClock
from venues.venue import Limit

BINANCE: Exchange = Exchange("binance")
LIMIT = Limit(2400, 60.0)
QUANTITY = 2160
EGRESS = dict.fromkeys(Exchange, "default")


class Parts:
    """A collector and a facade at one address."""

    def __init__(self, store: NativeStore) -> None:
        self.collector = SharedBudgets(store, "default", SystemClock())
        self.left_over = LeftOver(store, 0.3, EGRESS)
        self.store = store

    async def collect(self, weight: int) -> int:
        """Takes room for the collector, or as much of it as there is."""
        taken = await self.collector.take(BINANCE, "weight", LIMIT, QUANTITY, 1, weight)
        return taken.room

    async def ask(self, weight: int, known: int = 0, part: float = 1.0) -> Room:
        """Takes room as the facade does: of the left-over, and then of the budget."""
        room = await self.left_over.take(BINANCE, "weight", LIMIT, QUANTITY, weight, known, part)
        if room.is_free and weight:
            assert await self.collect(weight) == weight
        return room

    async def fill(self, weight: int) -> int:
        """How many requests of this weight find room."""
        count = 0
        while (await self.ask(weight)).is_free:
            count += 1
        return count


@pytest.fixture
async def parts(redis_url: str) -> AsyncIterator[Parts]:
    store = NativeStore(redis_url, client_name="test-left-over")
    yield Parts(store)
    await store.aclose()


@pytest.mark.parametrize(
    ("collected", "requests"), [(0, 64), (1000, 34), (2100, 1), (2150, 0), (2160, 0)]
)
async def test_a_part_of_what_is_left_is_given_and_no_more(
    parts: Parts, collected: int, requests: int
) -> None:
    if collected:
        assert await parts.collect(collected) == collected
    assert await parts.fill(10) == requests
    assert 10 * requests <= 0.3 * (QUANTITY - collected) < 10 * (requests + 1)


async def test_collection_finds_all_that_the_facade_cannot_have(parts: Parts) -> None:
    assert await parts.fill(10) == 64
    assert await parts.collect(QUANTITY) == QUANTITY - 640
    refused = await parts.ask(1)
    assert not refused.is_free
    assert 0 < refused.wait_s <= 66
    assert refused.used == QUANTITY


async def test_what_an_exchange_reports_counts_too(parts: Parts) -> None:
    """Other programs at this address use 1160: 0.3 of 1000 are left."""
    count = 0
    while (await parts.ask(10, known=1160 + 10 * count)).is_free:
        count += 1
    assert count == 30


async def test_a_part_of_it_may_be_kept_for_others(parts: Parts) -> None:
    """Of 648 three quarters are 486."""
    count = 0
    while (room := await parts.ask(10, part=0.75)).is_free:
        count += 1
        assert room.allowance == 648
    assert (count, room.allowance) == (48, 648)
    assert await parts.fill(10) == 16


async def test_a_pause_is_told(parts: Parts) -> None:
    await parts.collector.pause(BINANCE, 20, "banned")
    room = await parts.ask(1)
    assert (room.is_free, room.cause) == (False, "banned")
    assert 10 < room.paused_s <= 20


async def test_looking_takes_nothing(parts: Parts) -> None:
    await parts.collect(100)
    assert [(await parts.ask(0)).used for _ in range(3)] == [100] * 3
    assert await parts.fill(10) == 61


async def test_keys_of_another_type_are_replaced(parts: Parts) -> None:
    await parts.store.execute("SET", "budget:default:binance:weight:left_over", "x")
    assert (await parts.ask(10)).is_free


async def test_markets_that_are_counted_apart_have_their_own(parts: Parts) -> None:
    limit, okx = Limit(10, 2.0, by_market=True), Exchange.OKX

    async def ask(market: str | None) -> bool:
        took = await parts.left_over.take(okx, "funding", limit, 9, 1, 0, market=market)
        return took.is_free

    assert [await ask("BTCUSDT") for _ in range(4)] == [True, True, False, False]  # 0.3 of 9
    assert await ask("ETHUSDT") and await ask(None)
    # What the collector takes of a market is not left of that one.
    shared = SharedBudgets(parts.store, "default", SystemClock())
    for _ in range(9):
        assert (await shared.reserve(okx, "funding", limit, 9, 1, "SOLUSDT")).room
    assert not (await shared.reserve(okx, "funding", limit, 9, 1, "SOLUSDT")).room
    assert not await ask("SOLUSDT")
    assert await ask("XRPUSDT")
