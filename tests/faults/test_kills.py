"""The worker is killed at random moments of its jobs: each ends complete, once, with true rows."""

import os
import random
import signal
from functools import partial
from typing import Any

import redis

from market.markets import Exchange
from tests.fixtures.exchange_answers import our_key
from tests.fixtures.jobs import ALL, by_key
from tests.fixtures.service import ServiceSettings, StartService
from tests.fixtures.simulator import NOW_MS, StartSimulator

EACH = 5
MARKETS = EACH * len(Exchange)


def has_done(run: int, markets: int, job: Any) -> bool:
    """The run has ended, or so many of its markets are there."""
    if job["last"] is not None and job["last"]["run"] >= run:
        return True
    return bool(job["state"] == "active" and job["progress"]["done"] >= markets)


async def test_kills_at_random_moments(
    start_service: StartService,
    start_simulator: StartSimulator,
    service_settings: ServiceSettings,
    redis_url: str,
) -> None:
    exchanges = start_simulator(
        **dict.fromkeys(Exchange, EACH), now=NOW_MS, frozen=True, latency_ms=100
    )
    settings = service_settings(
        exchanges, EXCHANGES=ALL, WORKER_LOCK_TTL_S="1.5", CONCURRENCY_LIMIT="2"
    )
    service = await start_service("serve", **settings)
    await service.funding_ready()
    moments = random.Random(20261122)  # noqa: S311 - to be repeatable
    attempts = []
    for timeframe in ("1h", "4h", "2h"):
        asked = await service.post("/get-market-data", {"timeframe": timeframe})
        # Somewhere between its first market and its last.
        done = moments.randrange(MARKETS)
        await service.job(asked["id"], partial(has_done, asked["run"], done))
        os.kill(service.pid_of("worker"), signal.SIGKILL)
        last = await service.ended(asked, 30)
        assert last["run"] == asked["run"]
        assert (last["result"]["markets"], last["result"]["carried_over"]) == (MARKETS, 0)
        document = await service.get(f"/cache/{timeframe}")
        assert document["as_of"] == last["as_of"]
        assert document["missing"] == []
        told = exchanges.truth(timeframe, candles=50, funding_history=20)
        truth = {our_key(key): rows for key, rows in told.items()}
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
