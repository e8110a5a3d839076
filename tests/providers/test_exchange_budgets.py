"""Which of an exchange's limits a resource counts against, and that only what is sent counts."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from budgets.shared_budgets import SharedBudgets
from market.markets import Exchange
from providers.breaker import BreakerState
from providers.errors import ProviderError
from providers.exchange_budgets import counter_of, exchange_of
from providers.gate import Skipped
from tests.fixtures.virtual_store import ToldStore
from tests.providers.asking import FakeProviders, SetClock, fails, prices, row
from tests.providers.conftest import OpenChains, Opened
from timing.clock import SystemClock
from venues import VENUES

OKX = row("okx", url="https://www.okx.com/api/v5/market/tickers?of={ids}")
LIMIT = VENUES[Exchange.OKX].limits["tickers"]


@pytest.mark.parametrize(
    ("url", "counter"),
    [
        ("https://www.okx.com/api/v5/market/tickers", (Exchange.OKX, "tickers")),
        ("https://www.okx.com/api/v5/public/elsewhere", (Exchange.OKX, "candles")),
        ("https://api.bybit.com/v5/market/tickers", (Exchange.BYBIT, "requests")),
        ("https://fapi.binance.com/fapi/v1/premiumIndex", (Exchange.BINANCE, "weight")),
    ],
)
def test_it_is_that_of_its_path(url: str, counter: tuple[Exchange, str]) -> None:
    resource = replace(row("any"), url=url)
    assert counter_of(resource) == counter
    assert exchange_of(resource) is counter[0]
    assert exchange_of(replace(resource, url="https://example.org/")) is None


class Collector:
    """Its view of a budget, at a time that is told to all of the hot store's scripts."""

    def __init__(self, url: str) -> None:
        self._store = ToldStore(url, client_name="collector")
        self._budgets = SharedBudgets(self._store, "default", SystemClock())

    async def left(self) -> int:
        """Takes what is left of the budget; 0 if that is nothing."""
        most = LIMIT.quantity
        return (await self._budgets.take(Exchange.OKX, "tickers", LIMIT, most, 1, most)).room

    async def let_pass(self, clock: SetClock, seconds: float) -> None:
        clock.now_ms += round(seconds * 1000)
        await self._store.tell_us(clock.now_ms * 1000)

    async def aclose(self) -> None:
        await self._store.aclose()


@pytest.fixture
async def collector(redis_url: str) -> AsyncIterator[Collector]:
    opened = Collector(redis_url)
    yield opened
    await opened.aclose()


async def _put_out(opened: Opened) -> None:
    for _ in range(5):
        with pytest.raises(ProviderError):
            await opened.chains.client.call(OKX, prices("btc"), within_s=2)


async def test_probes_that_are_not_due_take_nothing_of_the_collectors_budget(
    asking: OpenChains, providers: FakeProviders, collector: Collector
) -> None:
    clock = SetClock()
    await collector.let_pass(clock, 0)
    providers.does["www.okx.com"] = fails(500)
    async with asking(OKX, clock=clock, store=ToldStore) as opened:
        await _put_out(opened)
        await collector.let_pass(clock, 6)
        for _ in range(LIMIT.quantity):  # as questions, which find that it is out, begin them, too
            await opened.chains.probes.round()
        assert providers.of("www.okx.com") == 6
        assert await collector.left() == LIMIT.quantity - 1


@pytest.mark.parametrize("paused", [False, True])
async def test_a_probe_that_finds_no_room_is_made_once_there_is_some(
    asking: OpenChains, providers: FakeProviders, collector: Collector, paused: bool
) -> None:
    """`paused`: by a limit that nobody has stated, too."""
    clock = SetClock()
    await collector.let_pass(clock, 0)
    providers.does["www.okx.com"] = fails(500)
    async with asking(OKX, clock=clock, store=ToldStore) as opened:
        await _put_out(opened)
        client = opened.chains.client
        if paused:
            providers.does["www.okx.com"] = fails(429)
            with pytest.raises(ProviderError):
                await client.call(OKX, prices("btc"), within_s=2, how="forced")
        await collector.let_pass(clock, 60)
        asked = providers.of("www.okx.com")
        providers.does["www.okx.com"] = providers.tell()
        await collector.left()
        with pytest.raises(Skipped) as skipped:
            await client.call(OKX, prices("btc"), within_s=2, how="probe")
        assert providers.of("www.okx.com") == asked
        assert skipped.value.until_ms is not None
        await collector.let_pass(clock, (skipped.value.until_ms - clock.now_ms) / 1000)
        await opened.chains.probes.round()
        assert providers.of("www.okx.com") == asked + 2
        [member] = await client.look([OKX])
        assert (member.state, member.out_until_ms) == (BreakerState.CLOSED, 0)
        assert await collector.left() == LIMIT.quantity - 2
