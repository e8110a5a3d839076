"""Limits of two seconds, by address and by market: several processes, with networks that delay
requests unevenly, never send or show an exchange more than a budget in any window."""

import asyncio
import random
from collections import defaultdict

import pytest

from budgets import accounts
from budgets.rate_limits import ExchangeLimits
from budgets.shared_budgets import SharedBudgets
from market.markets import Exchange
from stores.hot.redis_client import NativeStore
from tests.budgets.test_rate_limits import most_in_any_window
from tests.fixtures.virtual_store import VirtualStore, VirtualTime
from venues import VENUES
from venues.venue import Endpoint, Request

OKX = Exchange.OKX
FRACTION = 0.9
MOST_LATE_S = 2.8  # by which a network delays some requests more than others


def request(counter: str, market: str | None) -> Request:
    return Request(OKX, Endpoint.KLINES, "/", counter, 1, market)


class Sent:
    """When requests left, and when the exchange counted them, by what it counts apart."""

    def __init__(self) -> None:
        self.left: defaultdict[tuple[str, str | None], list[float]] = defaultdict(list)
        self.counted: defaultdict[tuple[str, str | None], list[float]] = defaultdict(list)

    def broken(self) -> dict[tuple[str, str | None], int]:
        """What was more than our part of a limit."""
        found = {}
        for times in (self.left, self.counted):
            for where, moments in times.items():
                limit = VENUES[OKX].limits[where[0]]
                most = most_in_any_window([(at, 1) for at in moments], limit.window_s)
                if most > max(1, int(FRACTION * limit.quantity)):
                    found[where] = most
        return found


class Process:
    """One process: workers that ask for what is in `wishes`, with a network of its own."""

    def __init__(self, url: str, time: VirtualTime, sent: Sent, chance: random.Random) -> None:
        self.store = VirtualStore(url, time, latency_s=chance.choice([0.0, 0.001, 0.05]))
        self.limits = ExchangeLimits(
            OKX, FRACTION, time.clock, SharedBudgets(self.store, "default", time.clock)
        )
        self._clock = time.clock
        self._sent = sent
        self._chance = chance
        self._slowest_s = chance.choice([0.0, 0.2, MOST_LATE_S])

    async def ask(self, wishes: list[tuple[str, str | None]], workers: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work(wishes))

    async def _work(self, wishes: list[tuple[str, str | None]]) -> None:
        while wishes:
            counter, market = where = wishes.pop()
            by_market = VENUES[OKX].limits[counter].by_market
            counted_as = where if by_market else (counter, None)
            ticket = await self.limits.admit(request(counter, market))
            self._sent.left[counted_as].append(self._clock.now)
            await self._clock.sleep(0.01 + self._chance.uniform(0, self._slowest_s))
            self._sent.counted[counted_as].append(self._clock.now)
            await self._clock.sleep(self._chance.choice([0.01, 0.1]))
            answered = self._chance.random() < 0.9
            self.limits.answered(request(counter, market), ticket, {"Date": ""} if answered else {})
            if self._chance.random() < 0.05:
                await self._clock.sleep(self._chance.uniform(0, 3))


@pytest.mark.parametrize("seed", range(6))
async def test_no_window_ever_has_more_than_our_part_of_a_limit(redis_url: str, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    time, sent = VirtualTime(), Sent()
    processes = [Process(redis_url, time, sent, chance) for _ in range(chance.choice([2, 3]))]
    markets = [f"M{n}USDT" for n in range(chance.choice([1, 3, 8]))]
    wishes: list[tuple[str, str | None]] = [("candles", each) for each in markets for _ in range(9)]
    wishes += [("candles", markets[0])] * 60
    for counter in ("open_interest", "funding"):
        wishes += [(counter, each) for each in markets for _ in range(chance.choice([5, 30]))]
    wishes += [("funding_now", None)] * 25
    wishes += [("funding_now", each) for each in markets for _ in range(9)]
    chance.shuffle(wishes)

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for process in processes:
                group.create_task(process.ask(wishes, chance.choice([5, 20])))

    total = len(wishes)
    await time.run(asyncio.create_task(all_of_them()))
    assert sum(len(moments) for moments in sent.counted.values()) == total
    assert sent.broken() == {}
    for process in processes:
        await process.store.aclose()


async def test_markets_are_counted_apart_where_the_limit_says_so() -> None:
    time = VirtualTime()
    limits = ExchangeLimits(OKX, FRACTION, time.clock, None)
    admitted: defaultdict[str, list[float]] = defaultdict(list)

    async def ask(counter: str, market: str, times: int) -> None:
        for _ in range(times):
            ticket = await limits.admit(request(counter, market))
            admitted[counter].append(time.clock.now)
            limits.answered(request(counter, market), ticket, {})

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(ask("open_interest", f"M{number}USDT", 4))
                group.create_task(ask("candles", f"M{number}USDT", 2))

    await time.run(asyncio.create_task(all_of_them()))
    assert admitted["open_interest"] == [0.0] * 200
    assert most_in_any_window([(at, 1) for at in admitted["candles"]], 2) == 36
    assert limits.used("open_interest") == 0  # a window has passed
    for number in range(3):
        await limits.admit(request("open_interest", f"M{number}USDT"))
    await limits.admit(request("open_interest", "M0USDT"))
    assert limits.used("open_interest") == 2  # of the market with the most
    assert limits.used_of("open_interest", "M1USDT") == 1
    assert limits.used_of("open_interest", "OTHERUSDT") == 0
    assert limits.used_of("open_interest", None) == 0
    # 9 of each market, of which the first has 2: one more for each market fits, whatever their
    # number; of candles, which count together, 36 do.
    assert limits.fits_each("open_interest", 300, 3 / 9)
    assert not limits.fits_each("open_interest", 300, 2.9 / 9)
    time.clock.now += 10
    assert limits.fits_each("candles", 36, 1.0) and not limits.fits_each("candles", 37, 1.0)


async def test_requests_about_no_market_count_together() -> None:
    time = VirtualTime()
    limits = ExchangeLimits(OKX, FRACTION, time.clock, None)

    async def ask_often() -> None:
        for _ in range(10):
            limits.answered(
                request("funding_now", None), await limits.admit(request("funding_now", None)), {}
            )

    await time.run(asyncio.create_task(ask_often()))
    assert time.clock.now >= 2


async def test_budgets_of_markets_are_forgotten_when_nothing_of_them_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accounts, "MOST_MARKETS", 10)
    time = VirtualTime()
    limits = ExchangeLimits(OKX, FRACTION, time.clock, None)
    asked = [request("open_interest", f"M{number}USDT") for number in range(25)]
    admitted: list[float] = []

    async def ask(one: Request) -> None:
        ticket = await limits.admit(one)
        admitted.append(time.clock.now)
        await time.clock.sleep(0.1)
        limits.answered(one, ticket, {})

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for one in asked:
                group.create_task(ask(one))

    await time.run(asyncio.create_task(all_of_them()))
    # Ten at once; others wait until the ten have been out of use for a window.
    assert [at < 2 for at in admitted] == [True] * 10 + [False] * 15
    assert [at < 5 for at in admitted] == [True] * 20 + [False] * 5


async def test_answers_about_markets_give_no_room_to_requests_about_none(redis_url: str) -> None:
    time = VirtualTime()
    stores = [VirtualStore(redis_url, time, latency_s=0.001) for _ in range(2)]
    one, other = (
        ExchangeLimits(OKX, FRACTION, time.clock, SharedBudgets(store, "default", time.clock))
        for store in stores
    )
    about_none, about_btc = request("funding_now", None), request("funding_now", "BTCUSDT")

    async def all_of_them() -> None:
        for _ in range(5):
            await other.admit(about_none)  # not answered for long
        for asked in (about_none, *[about_btc] * 9):
            one.answered(asked, await one.admit(asked), {"Date": ""})
        await time.clock.sleep(2.1)
        await one.admit(about_none)  # gives back what the answered one took
        taken = await stores[0].execute("HVALS", "budget:default:okx:funding_now")
        assert 5 + 1 <= sum(map(int, taken)) <= 9

    await time.run(asyncio.create_task(all_of_them()))
    for store in stores:
        await store.aclose()


async def test_what_the_store_holds_of_a_market(redis_url: str) -> None:
    time = VirtualTime()
    store = NativeStore(redis_url, client_name="test-budgets")
    limits = ExchangeLimits(OKX, 1.0, time.clock, SharedBudgets(store, "default", time.clock))
    await limits.admit(request("open_interest", "BTCUSDT"))
    await limits.admit(request("open_interest", "A:b c"))
    await limits.admit(request("open_interest", None))
    await limits.admit(request("candles", "BTCUSDT"))
    keys = [
        f"budget:default:okx:{each}"
        for each in ("candles", "open_interest", "open_interest:BTCUSDT", "open_interest:A%3Ab%20c")
    ]
    assert sorted(await store.execute("KEYS", "*")) == sorted(key.encode() for key in keys)
    for key in keys:
        assert await store.execute("HVALS", key) == [b"1"]
        assert 5000 < await store.execute("PTTL", key) <= 6500
    await store.aclose()


async def test_a_close_takes_few_commands(redis_url: str) -> None:
    """The first request of 300 markets' candles and open interest each, over a store far away."""
    time = VirtualTime()
    store = VirtualStore(redis_url, time, latency_s=0.02)
    limits = ExchangeLimits(OKX, FRACTION, time.clock, SharedBudgets(store, "default", time.clock))
    took: dict[str, float] = {}
    commands: dict[str, int] = {}

    async def ask(counter: str) -> None:
        wishes = [request(counter, f"M{number}USDT") for number in range(300)]
        before, began_s = store.commands, time.clock.now

        async def work() -> None:
            while wishes:
                one = wishes.pop()
                ticket = await limits.admit(one)
                await time.clock.sleep(0.05)
                limits.answered(one, ticket, {"Date": ""})

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(work())
        took[counter], commands[counter] = time.clock.now - began_s, store.commands - before

    for counter in ("candles", "open_interest"):
        await time.run(asyncio.create_task(ask(counter)))
    assert took["candles"] <= 1.15 * 300 / 18
    assert commands["candles"] <= 100
    assert took["open_interest"] <= 3
    assert commands["open_interest"] <= 40
    await store.aclose()
