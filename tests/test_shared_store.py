"""Two whole services on one Redis, apart by their prefixes, over what others left at their keys.

Each has a database of its own: a record is of one hot store.
"""

import asyncio
from pathlib import Path
from typing import Final

import pytest
import redis

from tests.fixtures.postgres import DatabaseIn
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.simulator import StartSimulator

# Keys that the service meets, each with a value that is not of its type and does not expire.
LEFT_BY_OTHERS: Final = (
    *("cache:4h", "cache:4h:meta", "cache:8h:meta", "cache:global_fr", "cache:global_fr:meta"),
    *("lock:worker", "lock:funding", "lock:worker:token", "lock:funding:token"),
    *("job:collect:4h", "job:collect:1h", "job:funding", "job:discovery", "jobs:sequence"),
    *("workers", "workers:any", "known:markets", "perpcache:owner"),
    *("budget:default:binance:weight", "pause:default:binance"),
    *("journal:history:state", "journal:history", "lock:history", "job:record"),
    *("lock:backfill", "job:backfill", "job:holes"),
    *("lock:notify", "problems"),
)


async def document(service: Service) -> set[str]:
    return {market["exchange"] for market in (await service.get("/cache/4h"))["markets"]}


@pytest.mark.timeout(240)
async def test_two_services_on_one_redis_are_apart_and_heal_what_others_wrote(
    start_simulator: StartSimulator,
    start_service: StartService,
    service_settings: ServiceSettings,
    redis_url: str,
    database_in: DatabaseIn,
    tmp_path: Path,
) -> None:
    simulator = start_simulator(binance=3, bybit=3)
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        for number, key in enumerate(LEFT_BY_OTHERS):
            if number % 2:
                client.rpush(f"a:{key}", "theirs")
            else:
                client.hset(f"a:{key}", "name", "theirs")
        starts = [
            start_service(
                **service_settings(simulator, EXCHANGES=exchange, REDIS_PREFIX=prefix)
                | {"DATABASE_URL": await database_in("UTF8")},
                DATA_DIR=str(tmp_path / exchange),
            )
            for prefix, exchange in (("a:", "binance"), ("{b}", "bybit"))
        ]
        services = first, second = await asyncio.gather(*starts)
        await first.get("/jobs")
        await first.text("/metrics")
        await asyncio.gather(*(service.until_ready("ready", 60) for service in services))
        for _ in range(2):
            await asyncio.gather(*(service.collect("4h") for service in services))
        assert await document(first) == {"binance"} and await document(second) == {"bybit"}
        for service in services:
            jobs = {job["id"]: job["last"]["state"] for job in (await service.get("/jobs"))["jobs"]}
            assert jobs["collect:4h"] == jobs["funding"] == "complete"
        keys = set(client.scan_iter(count=1000))
        assert {key for key in keys if not key.startswith(("a:", "{b}"))} == set()
        assert {"a:cache:4h", "a:job:collect:4h", "{b}cache:4h", "{b}job:collect:4h"} <= keys
        for prefix, exchange in (("a:", "binance"), ("{b}", "bybit")):
            owner = client.hgetall(f"{prefix}perpcache:owner")
            assert (owner[exchange], owner["EXCHANGES"]) == (simulator.base_url, exchange)
            assert len(owner) == 7
        third = await start_service(
            *("collect", "4h"),
            wait=False,
            **service_settings(simulator, EXCHANGES="binance", REDIS_PREFIX="a:")
            | {"BINANCE_BASE_URL": "http://127.0.0.1:9"},
        )
        assert await asyncio.wait_for(third.process.wait(), 30) == 69, third.lines
