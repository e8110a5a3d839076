"""Hedging: who is asked beside a slow member, and what becomes of the one that is overtaken."""

import asyncio

import pytest
from aiohttp import web

from config import load_settings
from providers import registry
from providers.errors import ErrorClass
from providers.gate import Outcome, Right
from providers.health import LATENCIES
from providers.questions import Kind, Question
from providers.resources import Level, Limit, Resource
from tests.fixtures.signals import until
from tests.providers.asking import FakeProviders, fails, prices, row
from tests.providers.conftest import OpenChains

DAY = Limit(1_000, 86_400)
FIRST = row("a", "price.aggregate", DAY, ttl_s=0.0)
QUICK_MS = 10  # of the first, as it is known


def spot() -> Question:
    return Question("price.spot", ("btc",), (("quote", "USD"),))


def second(*, hedge: bool) -> Resource:
    return row("b", "price.aggregate", DAY, level=Level.HIGH, hedge=hedge, ttl_s=0.0)


class Slow:
    """Answers a question once the other was asked, or a while later; then as it is told."""

    def __init__(self, fake: FakeProviders, waits_s: float) -> None:
        self.other_asked = asyncio.Event()
        self.released = asyncio.Event()
        self.ended = asyncio.Event()
        self._waits_s = waits_s
        self._fake = fake
        fake.does["a"], fake.does["b"] = self._slow, self._other

    async def _slow(self, request: web.Request) -> web.StreamResponse:
        try:
            async with asyncio.timeout(self._waits_s):
                await self.other_asked.wait()
        except TimeoutError:
            return await self._fake.tell()(request)
        await self.released.wait()
        self.ended.set()
        return await fails(500)(request)

    async def _other(self, request: web.Request) -> web.StreamResponse:
        self.other_asked.set()
        return await self._fake.tell()(request)


async def learn(asking: OpenChains) -> None:
    """The first becomes known as quick, and its price as the last one."""
    async with asking(FIRST) as opened:
        await opened.chains.ask(prices("btc"), 3)
        client = opened.chains.client
        quick = Outcome(client.account(FIRST), Right.OK, QUICK_MS)
        await client.gate.settle_all([quick] * LATENCIES)
        [member] = await client.look([FIRST])
        assert member.p95_ms == QUICK_MS


async def test_the_loser_of_a_hedge_is_heard_and_counted_once(
    asking: OpenChains, providers: FakeProviders
) -> None:
    await learn(asking)
    slow, other = Slow(providers, 0.45), second(hedge=True)  # unhedged, it would be waited for
    async with asking(FIRST, other) as opened:
        chains = opened.chains
        answer = await chains.ask(prices("btc"), 3)
        assert answer.served_by == {"btc": other.id}
        assert not slow.ended.is_set()
        slow.released.set()

        async def is_heard() -> bool:
            return (await chains.usage.read([FIRST.id]))[FIRST.id].failures == 1

        await until(is_heard)
        usage = await chains.usage.read([FIRST.id, other.id])
        first, winner = usage[FIRST.id], usage[other.id]
        assert (first.requests, first.success) == (LATENCIES + 2, LATENCIES + 1)
        assert first.failed == {"transient": 1}
        assert (winner.requests, winner.success, winner.failures) == (1, 1, 0)
        accounts = [chains.client.account(each) for each in (FIRST, other)]
        assert [room[86_400] for room in await chains.client.gate.rooms(accounts)] == [
            1_000 - 2,
            1_000 - 1,
        ]
        # The breaker has learned of it: the same as if somebody had waited for the answer.
        before, _ = await chains.client.look([FIRST, other])
        assert before.last_error
        assert before.success_rate < 1
        outcomes = sorted((each.resource.id, each.error_class) for each in opened.attempts)
        assert outcomes == [(FIRST.id, ErrorClass.TRANSIENT), (other.id, None)]
        [counts] = (await chains.usage.questions(["price.aggregate"])).values()
        assert (counts.asked, counts.answered, counts.fallbacks) == (2, 2, 1)
    assert [providers.of(host) for host in "ab"] == [2, 1]


@pytest.mark.parametrize(
    ("hedge", "within_s"),
    [
        (False, 3.0),  # its row does not allow it
        (True, 20.0),  # the agent has time
    ],
)
async def test_nobody_is_asked_beside_a_slow_member_where_it_is_not_allowed(
    asking: OpenChains, providers: FakeProviders, hedge: bool, within_s: float
) -> None:
    await learn(asking)
    Slow(providers, 0.2)
    async with asking(FIRST, second(hedge=hedge)) as opened:
        answer = await opened.chains.ask(prices("btc"), within_s)
    assert answer.served_by == {"btc": FIRST.id}
    assert providers.of("b") == 0


async def test_a_member_of_unknown_speed_is_not_hedged(
    asking: OpenChains, providers: FakeProviders
) -> None:
    Slow(providers, 0.2)
    known = row("c", "price.spot")
    async with asking(known, FIRST, second(hedge=True)) as opened:
        await opened.chains.ask(spot(), 3)  # a measure for the first price
        answer = await opened.chains.ask(prices("btc"), 3)
    assert answer.served_by == {"btc": FIRST.id}
    assert providers.of("b") == 0


def test_only_prices_without_key_and_quota_are_hedged() -> None:
    """Calls that carry a key, or that a day or month has few of, are not spent on speed."""
    hedged = [each for each in registry.load(load_settings()).resources if each.hedge]
    assert hedged
    for each in hedged:
        assert Kind(each.chain.partition(".")[0]) is Kind.PRICE
        assert each.key is None
        assert all(limit.window_s < 86_400 for limit in each.provider.limits)
