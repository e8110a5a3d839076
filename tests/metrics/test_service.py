"""The numbers of a whole service, and what is made from them."""

import asyncio
import time
from collections import Counter
from functools import partial
from typing import cast

import aiohttp
import pytest

from tests.fixtures.numbers import Numbers
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import StartSimulator
from tests.metrics.dashboards import check_expressions, expressions_of, is_of_live


async def service_numbers(service: Service) -> Numbers:
    return Numbers(await service.text("/metrics"))


async def numbers_after(service: Service, job_id: str) -> Numbers:
    """A scrape in which the worker has told of the job's end, which it does at once."""

    async def told() -> Numbers | None:
        numbers = await service_numbers(service)
        try:
            numbers.of("perpcache_job_last_success_timestamp_seconds", job_id=job_id)
        except KeyError:
            return None
        return numbers

    return cast(Numbers, await until(told, within_s=30))


@pytest.mark.timeout(180)
async def test_a_collection_moves_the_numbers(
    start_simulator: StartSimulator,
    start_service: StartService,
    service_settings: ServiceSettings,
) -> None:
    simulator = start_simulator(binance=8, bybit=8)
    service = await start_service("serve", **service_settings(simulator, WEB_CONCURRENCY="2"))
    await service.funding_ready()
    last = await service.collect("4h")
    told = await numbers_after(service, "collect:4h")
    await service.get("/cache/4h")
    told = await service_numbers(service)

    stats = simulator.stats()
    ours: Counter[tuple[str, str]] = Counter()
    for sample in told.samples:
        if sample.name == "perpcache_exchange_requests_total":
            ours[sample.labels["exchange"], sample.labels["status"]] += int(sample.value)
    theirs: Counter[tuple[str, str]] = Counter()
    for exchange, endpoints in stats["requests"].items():
        for statuses in endpoints.values():
            for status, count in statuses.items():
                theirs[exchange, status] += count
    assert ours == theirs
    for endpoint in ("klines", "open_interest", "funding"):
        for exchange in ("binance", "bybit"):
            counted = told.of(
                "perpcache_exchange_requests_total", exchange=exchange, endpoint=endpoint
            )
            assert counted == sum(stats["requests"][exchange][endpoint].values())
    assert stats["weight_used"] == told.of("perpcache_exchange_weight_total", counter="weight")

    run = {"job_id": "collect:4h", "outcome": "complete"}
    assert told.of("perpcache_job_runs_total", **run) == 1
    assert told.of("perpcache_job_runs_total", outcome="failed") == 0
    duration_s = told.of("perpcache_job_duration_seconds_sum", **run)
    assert duration_s == pytest.approx(last["result"]["duration_ms"] / 1000, abs=0.5)
    assert told.of("perpcache_job_rows", job_id="collect:4h") == last["result"]["rows"]
    assert told.of("perpcache_rows_total", job_id="collect:4h") == last["result"]["rows"]
    assert told.of("perpcache_job_markets", job_id="collect:4h") == last["result"]["markets"]
    assert told.of("perpcache_job_running") == 0
    assert told.of("perpcache_lease_requests_total", lane="funding", outcome="acquired") >= 1

    document = await service.get("/cache/4h")
    assert told.of("perpcache_cache_version", timeframe="4h") == document["version"]
    age_s = told.of("perpcache_cache_age_seconds", timeframe="4h")
    assert 0 <= age_s <= time.time() - document["updated_at"] / 1000
    assert told.of("perpcache_workers") == 1
    await until(partial(_lag_is_measured, service), within_s=30)  # four times a second

    async def both_are_told() -> bool:
        found = Numbers(await service.text("/metrics"))
        processes = {sample.labels.get("process") for sample in found.samples}
        return processes == {None, "api-1", "api-2"}

    await until(both_are_told, within_s=30)

    await the_numbers_never_fall(service)
    for file in ("grafana-dashboard.json", "alerts.example.yml"):
        told_here = [text for text in expressions_of(file) if not is_of_live(text)]
        assert len(told_here) >= 10
        check_expressions(told_here, await service_numbers(service), also={"live"})


async def _lag_is_measured(service: Service) -> bool:
    return (await service_numbers(service)).of("perpcache_event_loop_lag_seconds_count") > 0


async def the_numbers_never_fall(service: Service) -> None:
    """Whichever of the processes answers, it knows of every request that was told before."""
    seen: dict[frozenset[tuple[str, str]], float] = {}
    answered_by: Counter[str] = Counter()
    # A connection for each request: the system hands each to whichever process takes it.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(service.address, connector=connector) as http:
        for _ in range(200):
            await asyncio.gather(*(_read(http, "/health") for _ in range(8)))
            for sample in Numbers(await _read(http, "/metrics")).samples:
                if sample.name != "perpcache_http_requests_total":
                    continue
                key = frozenset(sample.labels.items())
                assert sample.value >= seen.get(key, 0), key
                seen[key] = sample.value
                if sample.labels["route"] == "/metrics":
                    answered_by[sample.labels["process"]] = int(sample.value)
            if len(answered_by) == 2 and min(answered_by.values()) >= 5:
                return
    raise AssertionError(f"one process answered nearly everything: {answered_by}")


async def _read(http: aiohttp.ClientSession, path: str) -> str:
    async with http.get(path) as answer:
        assert answer.status == 200
        return await answer.text()
