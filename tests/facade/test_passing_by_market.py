"""Questions about markets that an exchange counts apart, put to the simulated OKX over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from budgets.exchange_client import ExchangeClient
from budgets.left_over import LeftOver
from config import load_settings
from facade import passing as module
from facade.exchanges import FACADES
from facade.passing import Failed, Passing
from facade.question import Question, question_of
from facade.shared_answers import SharedAnswers
from market.markets import Exchange
from metrics.facade import FacadeMetrics
from stores.hot.redis_client import NativeStore
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

OKX = Exchange.OKX


async def market_of(asked: Question) -> str | None:
    return asked.query["instId"].removesuffix("-SWAP").replace("-", "")


def question(native: str, limit: int) -> Question:
    facade = FACADES[OKX]
    path = facade.paths["/api/v5/public/funding-rate-history"]
    return question_of(facade, path, {"instId": native, "limit": str(limit)})


@asynccontextmanager
async def passing_to(simulator: Simulator, redis_url: str) -> AsyncIterator[Passing]:
    store = NativeStore(redis_url, client_name="test-facade")
    settings = load_settings(okx_base_url=simulator.base_url, exchanges="okx", rate_fraction=0.9)
    async with ExchangeClient(settings, store=store) as client:
        found = Passing(
            client,
            LeftOver(store, 0.5, dict.fromkeys(Exchange, "default")),
            SharedAnswers(store),
            FacadeMetrics(),
            share=0.5,
            processes=1,
            now_ms=lambda exchange: NOW_MS,
            heard=lambda *told: None,
            dated=lambda *told: None,
            market=market_of,
        )
        yield found
        await found.aclose()
    await store.aclose()


@pytest.fixture
def okx(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=0, bybit=0, okx=5, now=NOW_MS, frozen=True)


async def test_each_market_has_its_own_part_of_what_is_left(okx: Simulator, redis_url: str) -> None:
    swaps = okx.get("/api/v5/public/instruments", instType="SWAP")["data"]
    natives = [swap["instId"] for swap in swaps if swap["settleCcy"] == "USDT"][:5]
    # Of half of nine one client has three quarters at once. Fifteen of one limit for all would
    # wait for longer than any question does.
    async with passing_to(okx, redis_url) as passing, asyncio.TaskGroup() as group:
        for native in natives:
            for limit in range(1, 4):
                group.create_task(passing.ask(question(native, limit), "a client"))
    assert okx.stats()["limits_broken"] == {}


async def test_markets_without_number_find_no_room_and_are_forgotten(
    okx: Simulator, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_SHARES", 3)
    async with passing_to(okx, redis_url) as passing:
        for number in range(3):
            await passing.ask(question(f"M{number}-USDT-SWAP", 1), "a client")
        with pytest.raises(Failed, match="too many markets") as caught:
            await passing.ask(question("M3-USDT-SWAP", 1), "a client")
        assert caught.value.status == 429
        for shares in passing._shares.values():
            shares._takings._now_s = lambda: float("inf")  # as if a window had passed
        await passing.ask(question("M3-USDT-SWAP", 1), "a client")
        assert len(passing._shares) == 1
