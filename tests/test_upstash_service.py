"""The whole service on Upstash's REST API alone: no Redis protocol anywhere."""

import asyncio
import signal
from typing import Any

import aiohttp
import pytest
import redis

from market.markets import Exchange
from tests.fixtures.jobs import ALL
from tests.fixtures.lateness import elapsed_elsewhere
from tests.fixtures.service import Service, StartService, asking
from tests.fixtures.signals import turns, until, until_true
from tests.fixtures.simulator import Simulator, StartSimulator
from tests.fixtures.upstash import UpstashEndpoint

_STOP_S = 3.0
_POLL_S = 5.0  # UPSTASH_POLL_S as it is when nobody sets it


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(**dict.fromkeys(Exchange, 4), latency_ms=40)


@pytest.fixture
def settings(exchanges: Simulator, upstash: UpstashEndpoint, database_url: str) -> dict[str, str]:
    of_exchanges = {**asking(exchanges), "EXCHANGES": ALL}
    return {**of_exchanges, "DATABASE_URL": database_url, **upstash.environment}


def waited_ms(last: Any, job: Any) -> int:
    """How long the job lay in the queue before a worker took it."""
    taken: int = job["started_at"] - job["enqueued_at"]
    assert job["run"] == last["run"]
    return taken


async def collected_at_once(service: Service, times: int) -> None:
    for _ in range(times):
        last = await service.collect("4h")
        assert last["result"]["markets"] == 12
        job = await service.get("/jobs/collect:4h")
        # Far below UPSTASH_POLL_S: the worker did not just happen to look.
        assert waited_ms(last, job) < 500


async def test_it_collects_serves_and_waits(
    settings: dict[str, str],
    start_service: StartService,
    exchanges: Simulator,
    redis_url: str,
) -> None:
    service = await start_service(**settings)
    await service.funding_ready()
    await collected_at_once(service, 3)
    document = await service.get("/cache/8h")
    assert len(document["markets"]) == 12
    assert all(market["rows"][-2][8] is not None for market in document["markets"])

    async with aiohttp.ClientSession(service.address) as client:
        async with client.head("/cache/4h?limit=1") as known:
            etag = known.headers["ETag"]
        waiting = asyncio.create_task(
            client.get("/cache/4h?wait=30&limit=1", headers={"If-None-Match": etag})
        )
        await turns()
        last = await service.collect("4h")
        with elapsed_elsewhere() as took:
            async with await waiting as answer:
                assert answer.status == 200
                assert (await answer.json())["as_of"] == last["as_of"]
        assert took.own_s < _POLL_S + 1

    # What is shared between hosts went through the same endpoint.
    with redis.Redis.from_url(redis_url) as store:
        budgets = store.keys("budget:default:*")
    assert isinstance(budgets, list)
    limits = {b"binance:weight", b"bybit:requests", b"okx:candles"}
    assert {b"budget:default:" + each for each in limits} <= set(budgets)
    assert exchanges.stats()["limits_broken"] == {}


@pytest.mark.slow
async def test_an_idle_service_asks_little(
    settings: dict[str, str], start_service: StartService, upstash: UpstashEndpoint
) -> None:
    """All its processes; test_upstash_idle.py has the exact numbers of a minute."""
    service = await start_service(**settings, UPSTASH_POLL_S="1", WEB_CONCURRENCY="2")
    await service.funding_ready()
    await service.job("discovery", lambda job: job["state"] == "complete")
    await until_true(lambda: upstash.commands().get("SET", 0) >= 2)  # both APIs' metrics

    async def quiet() -> bool:
        asked = upstash.commands()
        await asyncio.sleep(1)
        return asked == upstash.commands()

    await until(quiet)  # the first jobs have ended
    upstash.fail("")
    await asyncio.sleep(11)  # what is asked by the clock can only be seen by the clock
    assert sum(upstash.commands().values()) <= 1  # a heartbeat, if one was due


async def test_sigterm_hands_the_job_back_within_three_seconds(
    start_simulator: StartSimulator,
    settings: dict[str, str],
    start_service: StartService,
    redis_url: str,
) -> None:
    slow = start_simulator(**dict.fromkeys(Exchange, 10), latency_ms=200)
    service = await start_service(**settings | asking(slow), CONCURRENCY_LIMIT="2")
    await service.funding_ready()
    await service.post("/get-market-data", {"timeframe": "1h"})
    await service.job("collect:1h", lambda job: job["progress"]["done"] >= 2)
    with elapsed_elsewhere() as took:
        assert await service.stop(signal.SIGTERM) == 0
    assert took.own_s < _STOP_S
    with redis.Redis.from_url(redis_url) as store:
        assert store.exists("lock:worker", "lock:funding") == 0
        assert store.hget("job:collect:1h", "state") == b"queued"


async def test_api_and_worker_started_apart_on_one_host_wake_each_other(
    settings: dict[str, str], start_service: StartService
) -> None:
    await start_service("worker", wait=False, **settings)
    api = await start_service("api", **settings)
    await api.funding_ready()
    await collected_at_once(api, 2)
