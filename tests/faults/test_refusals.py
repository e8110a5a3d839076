"""An exchange refuses us: it is left alone as long as it says, by whoever shares the address.

Judged by the exchange's own record of when each request reached it.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable

import pytest

from budgets.exchange_client import ExchangeClient
from budgets.rate_limits import ExchangeLimits
from data_collector.retries import fetch_simple
from data_collector.run import CollectionRun
from data_collector.url_builder import listing_request
from market.markets import Exchange
from tests.fixtures.asking import server_time_ms
from tests.fixtures.jobs import OpenRunner, asked, by_key
from tests.fixtures.service import ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import Simulator, StartSimulator
from tests.fixtures.upstash import OwnValkey
from timing.clock import SystemClock
from venues.errors import Banned
from venues.venue import Endpoint

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
WORKERS = 20
EACH = 2 * WORKERS  # markets
# Each refusal, and the seconds that it lasts.
REFUSALS: dict[str, tuple[Exchange, dict[str, object], float]] = {
    "429": (BINANCE, {"kind": "status", "status": 429, "retry_after": 2}, 2.0),
    "418": (BINANCE, {"kind": "status", "status": 418, "ban_s": 2}, 2.0),
    "403": (
        BYBIT,
        {"kind": "status", "status": 403},
        600.0,
    ),  # it never tells; known from its pages
    "10006": (BYBIT, {"kind": "retcode", "code": 10006}, 1.0),
}


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    # By our own clock: they say until when they shut us out.
    return start_simulator(binance=EACH, bybit=EACH)


async def keep_asking(client: ExchangeClient, exchange: Exchange) -> None:
    """What another process does: it hears of a pause, and waits for its end."""
    request = listing_request(exchange, Endpoint.TIME)
    while True:
        with contextlib.suppress(Banned):  # what was under way when it began
            await fetch_simple(CollectionRun(client), request, bytes)
        await asyncio.sleep(0.01)  # its pace


@pytest.mark.parametrize("name", list(REFUSALS))
async def test_nothing_is_asked_until_the_told_time(
    open_runner: OpenRunner,
    exchanges: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    bad, fault, lasts_s = REFUSALS[name]
    heard_at: dict[int, float] = {}  # when each of the two first knew of a pause

    def extend_pause(limits: ExchangeLimits, duration_s: float, cause: str) -> None:
        heard_at.setdefault(id(limits), time.monotonic())
        as_it_is(limits, duration_s, cause)

    as_it_is = ExchangeLimits.extend_pause
    monkeypatch.setattr(ExchangeLimits, "extend_pause", extend_pause)
    async with open_runner(exchanges) as runner, open_runner(exchanges) as elsewhere:
        await runner.complete("funding")
        exchanges.post("/sim/stats/reset")
        # Twenty workers are in the middle of it when one of them is refused.
        runner.fault(
            {**fault, "exchange": bad, "endpoint": "klines", "after": 10, "count": 1},
            {"kind": "slow", "seconds": 0.1, "endpoint": "klines"},
        )
        other = asyncio.create_task(keep_asking(elsewhere.context.client, bad))
        # A ban ends the exchange's part of a job, and a later one waits for its end if it is near;
        # what is shorter is waited for in the midst of the job.
        for _ in range(1 if name in ("429", "10006") else 2):
            await runner.complete("collect:1h")
        if name == "418":  # what was under way may have been refused again, a little later
            async with asyncio.timeout(60):
                while (await runner.document("1h"))["missing"]:
                    await runner.complete("collect:1h")
        other.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await other
        document = await runner.document("1h")
    assert (document["missing"] == []) == (lasts_s < 60)
    refused, *_ = (r for r in asked(exchanges, bad) if r["fault"] == fault["kind"])
    # How soon they hear of it is the machine's affair, and when what is under way then arrives,
    # too: a request of each worker at most. Without a pause there would be three times as many.
    assert len(heard_at) == 2
    told_at, over_at = max(heard_at.values()), refused["arrived_s"] + lasts_s
    meanwhile = Counter(
        "elsewhere" if request["endpoint"] == "time" else "here"
        for request in asked(exchanges, bad)
        if told_at < request["arrived_s"] < over_at
    )
    assert meanwhile["here"] <= WORKERS
    assert meanwhile["elsewhere"] <= 1
    if lasts_s < 60:
        assert sum(request["arrived_s"] >= over_at for request in asked(exchanges, bad)) > EACH
    # Nobody was banned for going on.
    assert "binance 418" not in exchanges.stats()["limits_broken"]


async def test_a_ban_is_told_to_a_store_that_comes_back(
    open_runner: OpenRunner, exchanges: Simulator, own_valkey: Callable[..., OwnValkey]
) -> None:
    class Clock(SystemClock):
        ahead_s = 0.0

        def monotonic_s(self) -> float:
            return super().monotonic_s() + self.ahead_s

    server, clock = own_valkey(), Clock()
    async with open_runner(exchanges, redis_url=server.url, clock=clock) as runner:
        client = runner.context.client
        server.kill()
        await client.limits.for_exchange(BINANCE).pause(300, "banned")
        with pytest.raises(Banned):
            await server_time_ms(client, BINANCE)
        server.start()
        clock.ahead_s = 10.0  # it looks for the store again after some seconds
        with pytest.raises(Banned):
            await server_time_ms(client, BINANCE)
    async with open_runner(exchanges, redis_url=server.url) as runner:
        with pytest.raises(Banned, match="banned"):
            await server_time_ms(runner.context.client, BINANCE)
    assert asked(exchanges, BINANCE) == []


async def test_a_worker_killed_right_after_a_ban_does_not_ask_again(
    start_service: StartService,
    start_simulator: StartSimulator,
    service_settings: ServiceSettings,
) -> None:
    exchanges = start_simulator(binance=12, bybit=12)
    settings = service_settings(exchanges, WORKER_LOCK_TTL_S="2", CONCURRENCY_LIMIT="2")
    service = await start_service("serve", **settings)
    await service.funding_ready()
    worker = service.pid_of("worker")
    ban = {"kind": "status", "status": 418, "ban_s": 600, "exchange": "binance"}
    slow = {"kind": "slow", "seconds": 0.2, "endpoint": "klines"}
    exchanges.post("/sim/faults", [{**ban, "endpoint": "klines", "after": 3, "count": 1}, slow])

    async def refused() -> bool:
        found = await asyncio.to_thread(asked, exchanges, BINANCE)
        return any(request["status"] == 418 for request in found)

    wanted = await service.post("/get-market-data", {"timeframe": "1h"})
    await until(refused, within_s=20)
    os.kill(worker, signal.SIGKILL)
    last = await service.ended(wanted)
    assert service.pid_of("worker") != worker
    assert (await service.get("/jobs/collect:1h"))["attempts"] == 2
    # The new one knows, and asks nothing of that exchange.
    assert last["result"]["markets"] == 12
    assert {key.partition(":")[0] for key in by_key(await service.get("/cache/1h"))} == {"bybit"}
    stats = exchanges.stats()
    assert (stats["limits_broken"], stats["requests_in_spite_of_ban"]) == ({}, 0)
