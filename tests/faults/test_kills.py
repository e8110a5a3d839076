"""The worker is killed at random moments of its jobs: each ends complete, once, with true rows."""

import asyncio
import os
import random
import signal

import redis

from tests.fixtures.jobs import by_key
from tests.fixtures.service import ServiceSettings, StartService
from tests.fixtures.simulator import NOW_MS, StartSimulator

EACH = 8


async def test_kills_at_random_moments(
    start_service: StartService,
    start_simulator: StartSimulator,
    service_settings: ServiceSettings,
    redis_url: str,
) -> None:
    exchanges = start_simulator(binance=EACH, bybit=EACH, now=NOW_MS, frozen=True, latency_ms=100)
    settings = service_settings(exchanges, WORKER_LOCK_TTL_S="1.5", CONCURRENCY_LIMIT="2")
    service = await start_service(**settings)
    await service.funding_ready()
    moments = random.Random(20261122)  # noqa: S311 - to be repeatable
    attempts = []
    for timeframe in ("1h", "4h", "2h"):
        asked = await service.post("/get-market-data", {"timeframe": timeframe})
        # A run takes about a second.
        await asyncio.sleep(moments.uniform(0.0, 1.0))
        os.kill(service.pid_of("worker"), signal.SIGKILL)
        last = await service.ended(asked, 30)
        assert last["run"] == asked["run"]
        assert (last["result"]["markets"], last["result"]["carried_over"]) == (2 * EACH, 0)
        document = await service.get(f"/cache/{timeframe}")
        assert document["as_of"] == last["as_of"]
        assert document["missing"] == []
        truth = exchanges.truth(timeframe, candles=50, funding_history=20)
        assert {key: market["rows"] for key, market in by_key(document).items()} == truth
        job = await service.get(f"/jobs/collect:{timeframe}")
        assert (job["state"], job["run"]) == ("complete", asked["run"])
        attempts.append(job["attempts"])
        exchanges.post("/sim/clock", {"advance_ms": 1000})
    # Some were killed in the middle, and none was run again after its end.
    assert 2 in attempts and max(attempts) == 2
    assert exchanges.stats()["limits_broken"] == {}
    with redis.Redis.from_url(redis_url) as store:
        # What it had half written goes by itself.
        assert all(int(str(store.pttl(key))) > 0 for key in store.scan_iter("staging:*"))
