"""Whole clients ask the simulated OKX, which counts by endpoint and by market, over real HTTP."""

import asyncio
from collections import deque
from dataclasses import replace
from itertools import pairwise

import pytest

from budgets.exchange_client import ExchangeClient
from budgets.rate_limits import RateLimits
from budgets.request_counts import RequestCounts
from config import load_settings
from data_collector.api_parser import parse_server_time
from data_collector.retries import fetch_simple
from data_collector.run import CollectionRun
from data_collector.url_builder import history_request, listing_request
from market.markets import Exchange, Market
from market.timeframes import Timeframe
from stores.hot.redis_client import NativeStore
from tests.fixtures.clock import ManualClock
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from venues.errors import RateLimited
from venues.venue import Endpoint, Request

OKX = Exchange.OKX
ENDPOINTS = (Endpoint.KLINES, Endpoint.OPEN_INTEREST, Endpoint.FUNDING)


def market_of(native: str) -> Market:
    base = native.partition("-")[0]
    return Market(OKX, f"{base}USDT", base, "USDT", 1, native, 1.0)


def request(market: Market, endpoint: Endpoint) -> Request:
    period = None if endpoint is Endpoint.FUNDING else Timeframe.M5
    start_ms = NOW_MS - 86_400_000 if period is None else NOW_MS - 1_500_000
    return history_request(
        market, endpoint, start_ms=start_ms, end_ms=NOW_MS, limit=5, period=period, as_of_ms=NOW_MS
    )


def client(simulator: Simulator, store: NativeStore | None = None) -> ExchangeClient:
    settings = load_settings(okx_base_url=simulator.base_url, exchanges="okx", rate_fraction=0.9)
    return ExchangeClient(settings, store=store)


@pytest.fixture
def okx(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=0, bybit=0, okx=3, now=NOW_MS, frozen=True)


async def test_two_processes_ask_for_all_at_once_and_break_no_limit(
    start_simulator: StartSimulator, redis_url: str
) -> None:
    okx = start_simulator(binance=0, bybit=0, okx=100, now=NOW_MS, frozen=True)
    swaps = okx.get("/api/v5/public/instruments", instType="SWAP")["data"]
    markets = [market_of(swap["instId"]) for swap in swaps if swap["settleCcy"] == "USDT"]
    assert len(markets) >= 100
    # Two requests of a market: 200 of each endpoint.
    wishes = {each: [request(market, each) for market in markets[:100] * 2] for each in ENDPOINTS}
    # Both processes want the first markets' open interest, more often than the limit allows.
    wishes[Endpoint.OPEN_INTEREST] += wishes[Endpoint.OPEN_INTEREST][:2] * 15
    okx.post("/sim/stats/reset")
    okx.post("/sim/limits/reset")
    stores = [NativeStore(redis_url, client_name=f"test-{n}") for n in range(2)]

    async def work(process: ExchangeClient, own: list[Request]) -> None:
        while own:
            await process.send(own.pop(), RequestCounts())

    async with (
        client(okx, stores[0]) as one,
        client(okx, stores[1]) as other,
        asyncio.TaskGroup() as group,
    ):
        for process in (one, other):
            for endpoint in ENDPOINTS:
                for _ in range(5):
                    group.create_task(work(process, wishes[endpoint]))
    stats = okx.stats()
    assert stats["limits_broken"] == {}
    assert stats["most_in_window"]["okx klines"] <= 40
    assert stats["most_in_window"]["okx open_interest"] <= 10
    for store in stores:
        await store.aclose()


@pytest.mark.parametrize("status", [429, 200])
async def test_a_refusal_holds_its_limit_alone_and_is_not_followed_by_others(
    okx: Simulator, status: int
) -> None:
    """Another program at this address uses up candles; open interest is asked for as before."""
    market = market_of("BTC-USDT-SWAP")
    rule = {"kind": "okx_code", "code": 50011, "status": status, "exchange": "okx", "count": 1}
    okx.post("/sim/faults", {**rule, "endpoint": "klines"})
    async with client(okx) as process:
        limits, clock = process.limits.for_exchange(OKX), process.clock
        with pytest.raises(RateLimited):
            await process.send(request(market, Endpoint.KLINES), RequestCounts())
        refused_at = clock.monotonic_s()
        assert limits.pause_left_s() == 0
        assert 1.5 < limits.wait_s(request(market, Endpoint.KLINES), 1.0) <= 2
        await process.send(request(market, Endpoint.OPEN_INTEREST), RequestCounts())
        assert clock.monotonic_s() - refused_at < 1.5
        for _ in range(2):
            await process.send(request(market, Endpoint.KLINES), RequestCounts())
        # Two seconds later, and one a second: half of the one that was sent before.
        assert 3 <= clock.monotonic_s() - refused_at < 6


def test_a_longer_pause_is_the_exchanges() -> None:
    limits = RateLimits(0.9)
    assert limits.for_exchange(OKX).is_of_limit(2.0)
    assert not limits.for_exchange(OKX).is_of_limit(2.1)
    assert not limits.for_exchange(Exchange.BYBIT).is_of_limit(1.0)


async def test_refusals_again_and_again_become_few() -> None:
    """The exchange bears four requests a second, whatever it tells: of all markets together."""
    market = market_of("BTC-USDT-SWAP")
    clock = ManualClock()
    limits = RateLimits(0.9, clock).for_exchange(OKX)
    counted: deque[float] = deque()
    refused: list[float] = []
    served = 0
    while clock.now < 120:
        one = request(replace(market, symbol=f"M{served % 50}USDT"), Endpoint.OPEN_INTEREST)
        ticket = await limits.admit(one)
        sent_at = clock.now
        while counted and counted[0] <= sent_at - 2:
            counted.popleft()
        counted.append(sent_at)
        await clock.sleep(0.02)
        limits.answered(one, ticket, {})
        if len(counted) > 8:
            refused.append(clock.now)
            limits.slow_limit_down(one.counter, sent_at)
        else:
            served += 1
    assert served > 0.5 * 4 * 120
    assert len(refused) < 0.1 * served
    assert min(later - earlier for earlier, later in pairwise(refused)) >= 2
    assert limits.wait_s(request(market, Endpoint.KLINES), 1.0) == 0  # another limit


async def test_a_run_goes_on_after_refusals(okx: Simulator) -> None:
    async with client(okx) as process:
        run = CollectionRun(process)
        rule = {"kind": "okx_code", "code": 50040, "exchange": "okx", "endpoint": "time"}
        okx.post("/sim/faults", {**rule, "status": 200, "count": 2})
        asked = listing_request(OKX, Endpoint.TIME)
        assert await fetch_simple(run, asked, lambda body: parse_server_time(OKX, body)) == NOW_MS
        assert run.retries == 2
        assert run.reason_to_skip(OKX, Endpoint.TIME) is None
