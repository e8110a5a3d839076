"""A worker killed in the middle of a close: the next one goes on with what is stored."""

import os
import signal
from typing import Any

import asyncpg
import pytest

from market.timeframes import DAY_MS, Timeframe
from tests.fixtures.jobs import JobRunner, OpenRunner, by_key
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

EACH = 3
CANDLES = 40
ENDPOINTS = ("klines", "open_interest")
CLOSE_MS = NOW_MS - NOW_MS % DAY_MS + DAY_MS
AS_OF_MS = CLOSE_MS + 5_000


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=EACH, bybit=EACH, now=NOW_MS, frozen=True)


def asked(exchanges: Simulator) -> int:
    """How often candles and snapshots were asked for."""
    endpoints = exchanges.stats()["requests"].values()
    return sum(sum(found.get(n, {}).values()) for found in endpoints for n in ENDPOINTS)


async def collected(runner: JobRunner) -> dict[str, Any]:
    """The documents after first collections."""
    for job_id in ("discovery", "funding", "collect:all", "fill"):
        await runner.complete(job_id)
    return {str(timeframe): await runner.document(timeframe) for timeframe in Timeframe}


async def killed_after_the_first_document(
    service: Service, runner: JobRunner, database_url: str
) -> None:
    """Kills the worker between the publishes of 5m and 15m, where it writes the metadata of 5m."""
    database = await asyncpg.connect(database_url, timeout=10)
    try:
        async with database.transaction():
            await database.execute("LOCK TABLE coin_metadata IN EXCLUSIVE MODE")
            await service.post("/get-market-data", {"timeframe": "all"})

            async def is_published() -> bool:
                meta = await runner.context.cache.read_meta("5m")
                return meta is not None and meta.as_of_ms == AS_OF_MS

            await until(is_published)
            os.kill(service.pid_of("worker"), signal.SIGKILL)
    finally:
        await database.close()


@pytest.mark.timeout(180)
async def test_a_killed_worker_asks_for_nothing_twice(
    open_runner: OpenRunner,
    start_service: StartService,
    service_settings: ServiceSettings,
    exchanges: Simulator,
    database_url: str,
) -> None:
    async with open_runner(exchanges, history_candles=CANDLES) as runner:
        before = await collected(runner)
        exchanges.post("/sim/clock", {"advance_ms": AS_OF_MS - NOW_MS})
        exchanges.post("/sim/stats/reset")
        service = await start_service(
            "serve",
            **service_settings(exchanges, HISTORY_CANDLES=str(CANDLES), WORKER_LOCK_TTL_S="3"),
        )
        await killed_after_the_first_document(service, runner, database_url)
        midway = {str(timeframe): await runner.document(timeframe) for timeframe in Timeframe}
        assert {name: midway[name] for name in before if name != "5m"} == {
            name: document for name, document in before.items() if name != "5m"
        }
        exchanges.post("/sim/stats/reset")

        job = await service.job(
            "collect:all", lambda job: job["last"] is not None and job["last"]["as_of"] == AS_OF_MS
        )
        assert job["last"]["state"] == "complete"
        result = job["last"]["result"]
        assert result["requests"] <= 2  # for the time, unless another job has asked for it
        assert asked(exchanges) == result["audit_requests"]
        for timeframe in Timeframe:
            document = await service.get(f"/cache/{timeframe}")
            assert document["as_of"] == AS_OF_MS
            assert document["last_closed_open_time"] == CLOSE_MS - timeframe.interval_ms
            truth = exchanges.truth(timeframe, candles=CANDLES)
            for key, market in by_key(document).items():
                assert [row[:8] for row in market["rows"]] == [row[:8] for row in truth[key]], key
        assert await service.get("/cache/5m") == midway["5m"]
