"""The worker in the service: aborts, deaths, lost leases, stores that go away and come back.

Real processes, killed, stopped and continued; the simulator tells what was asked meanwhile.
"""

import asyncio
import contextlib
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import redis

from job_queue.queue import JobQueue
from stores.hot.opening import open_hot_store
from tests.fixtures.lateness import elapsed_elsewhere
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.signals import DEADLINE_S, until
from tests.fixtures.simulator import Simulator, StartSimulator
from tests.fixtures.upstash import OwnValkey

SECRET = "cron-secret"
MARKETS = 24
CLOCKS_MS = 50  # the store measures the pause, the worker stamps its ends
JOB = "job=collect:1h"  # on each line that a job writes


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    """Candles come slowly, so that a collection takes two seconds; nothing else does."""
    simulator = start_simulator(binance=12, bybit=12)
    simulator.post("/sim/faults", {"kind": "slow", "endpoint": "klines", "seconds": 0.3})
    return simulator


@pytest.fixture
def settings(exchanges: Simulator, service_settings: ServiceSettings) -> dict[str, str]:
    return service_settings(
        exchanges, CRON_SECRET=SECRET, CONCURRENCY_LIMIT="2", WORKER_LOCK_TTL_S="2"
    )


async def funding(service: Service) -> Any:
    return await service.post("/api/v1/internal/update-fr", **{"Authorization": f"Bearer {SECRET}"})


async def delete(service: Service, job_id: str) -> Any:
    async with (
        aiohttp.ClientSession(service.address) as client,
        client.delete(f"/jobs/{job_id}") as answer,
    ):
        assert answer.status == 202
        return await answer.json()


def klines_asked(exchanges: Simulator) -> int:
    requests = exchanges.stats()["requests"]
    return sum(sum(endpoints.get("klines", {}).values()) for endpoints in requests.values())


async def steady(look: Callable[[], int], for_s: float) -> int:
    """The value of `look` once it has not changed for so long."""
    deadline = time.monotonic() + DEADLINE_S
    value, since = look(), time.monotonic()
    while time.monotonic() - since < for_s:
        assert time.monotonic() < deadline, "it goes on changing"
        await asyncio.sleep(0.05)
        if (now := look()) != value:
            value, since = now, time.monotonic()
    return value


async def running(service: Service, job_id: str = "collect:1h", done: int = 4) -> Any:
    return await service.job(
        job_id, lambda job: job["state"] == "active" and job["progress"]["done"] >= done
    )


async def test_aborts_of_a_queued_and_of_an_active_job(
    start_service: StartService, settings: dict[str, str], exchanges: Simulator
) -> None:
    service = await start_service(**settings)
    await service.funding_ready()
    await service.post("/get-market-data", {"timeframe": "1h"})
    await service.post("/get-market-data", {"timeframe": "2h"})
    await running(service)
    assert (await delete(service, "collect:2h"))["state"] == "aborted"
    assert (await delete(service, "collect:1h"))["state"] == "aborted"
    # The worker leaves the exchanges alone at once, and the lease is free again.
    asked = await steady(lambda: klines_asked(exchanges), 0.7)
    assert asked < MARKETS
    for name in ("1h", "2h"):
        job = await service.get(f"/jobs/collect:{name}")
        assert (job["state"], job["last"]["state"]) == ("aborted", "aborted")
    again = await service.collect("1h")
    assert again["result"]["markets"] == MARKETS
    async with (
        aiohttp.ClientSession(service.address) as client,
        client.get("/cache/2h") as answer,
    ):
        assert answer.status == 404


async def test_a_flood_of_posts_does_not_keep_collections_going(
    start_service: StartService, settings: dict[str, str]
) -> None:
    service = await start_service(**settings | {"CONCURRENCY_LIMIT": "20", "MIN_REFRESH_S": "2"})
    await service.funding_ready()
    first = await service.collect("1h")
    asked = [await service.post("/get-market-data", {"timeframe": "1h"}) for _ in range(5)]
    assert [job["run"] for job in asked] == [first["run"] + 1] * 5  # all are answered by one run
    other = await service.ended(await service.post("/get-market-data", {"timeframe": "2h"}))
    await service.ended(asked[-1])
    second = await service.get("/jobs/collect:1h")
    assert second["started_at"] - first["finished_at"] >= 2000 - CLOCKS_MS
    # The other timeframe went first, although it was asked for later.
    assert other["finished_at"] < second["started_at"]


async def attempted(service: Service, number: int) -> Any:
    return await service.job(
        "collect:1h", lambda job: job["state"] == "active" and job["attempts"] == number
    )


async def test_the_third_death_fails_the_job_and_the_next_post_works(
    start_service: StartService, settings: dict[str, str]
) -> None:
    service = await start_service("serve", **settings)
    await service.funding_ready()
    asked = await service.post("/get-market-data", {"timeframe": "1h"})
    for attempt in (1, 2, 3):
        await attempted(service, attempt)
        os.kill(service.pid_of("worker"), signal.SIGKILL)
    job = await service.job("collect:1h", lambda job: job["state"] == "failed")
    assert (job["run"], job["last"]["state"]) == (asked["run"], "failed")
    assert job["error"] == "the worker died in each of 3 attempts"
    assert (await service.collect("1h"))["result"]["markets"] == MARKETS


async def test_funding_runs_beside_a_long_collection(
    start_service: StartService, settings: dict[str, str]
) -> None:
    service = await start_service(**settings)
    first = await service.funding_ready()
    asked = await service.post("/get-market-data", {"timeframe": "1h"})
    await running(service)
    refresh = await funding(service)
    last = await service.ended(refresh)
    assert last["as_of"] > first["as_of"]
    collection = await service.get("/jobs/collect:1h")
    assert (collection["state"], collection["run"]) == ("active", asked["run"])
    await service.ended(asked)


async def test_no_markets_and_no_funding_yet(
    start_service: StartService, settings: dict[str, str], exchanges: Simulator
) -> None:
    """On the command line, where nothing is asked for beforehand."""
    with elapsed_elsewhere() as took:
        collect = await start_service("collect", "1h", wait=False, **settings)
        assert await asyncio.wait_for(collect.process.wait(), 100) == 0
    # Nobody asked for funding, so there was nothing to wait for.
    assert took.own_s < 20
    assert exchanges.stats()["funding_requests"] == 0
    api = await start_service("api", **settings)
    document = await api.get("/cache/1h")
    assert len(document["markets"]) == MARKETS
    assert all(row[8] is None for market in document["markets"] for row in market["rows"])
    unfunded = [lack for lack in document["missing"] if lack["part"] == "funding_rate"]
    assert len(unfunded) == MARKETS
    # What was missing is queued for whoever works next.
    assert (await api.get("/jobs/funding"))["state"] == "queued"


async def test_a_collection_waits_for_funding_that_is_under_way(
    start_service: StartService, settings: dict[str, str], exchanges: Simulator
) -> None:
    exchanges.post("/sim/faults", {"kind": "slow", "endpoint": "funding", "seconds": 0.3})
    service = await start_service(**settings)
    asked = await service.post("/get-market-data", {"timeframe": "1h"})
    waiting = await service.job("collect:1h", lambda job: job["progress"]["phase"] == "waiting")
    assert waiting["state"] == "active"
    assert (await service.get("/jobs/funding"))["state"] in ("queued", "active")
    await service.ended(asked)
    document = await service.get("/cache/1h")
    assert document["missing"] == []
    funded = [market for market in document["markets"] if market["rows"][-1][8] is not None]
    assert len(funded) > MARKETS / 2  # the youngest may not have settled yet


async def test_a_first_collection_ahead_of_discovery_still_gets_its_funding(
    start_service: StartService, settings: dict[str, str]
) -> None:
    # Discovery is queued behind the collection, which waits for funding, which needs markets.
    store = open_hot_store(settings["REDIS_URL"], client_name="test")
    queue = JobQueue(store)
    for job_id in ("collect:1h", "discovery", "funding"):
        await queue.request(job_id)
    await queue.aclose()
    await store.aclose()
    service = await start_service(**settings)
    job = await service.job("collect:1h", lambda job: job["last"] is not None, 25)
    assert job["last"]["state"] == "complete"
    assert (await service.get("/cache/1h"))["missing"] == []


async def test_a_lease_that_could_not_be_renewed_stops_the_requests_and_work_goes_on(
    start_service: StartService,
    settings: dict[str, str],
    exchanges: Simulator,
    own_valkey: Callable[..., OwnValkey],
) -> None:
    server = own_valkey()
    service = await start_service("serve", **settings | {"REDIS_URL": server.url})
    await service.funding_ready()
    worker = service.pid_of("worker")
    asked = await service.post("/get-market-data", {"timeframe": "1h"})
    await running(service)
    server.pause()
    # Its own clock tells it that the lease is over: 2 s, and what was on its way.
    asked_for = await steady(lambda: klines_asked(exchanges), 2.5)
    assert asked_for < MARKETS
    server.resume()
    last = await service.ended(asked)
    assert last["result"]["markets"] == MARKETS
    assert (await service.get("/jobs/collect:1h"))["attempts"] == 2
    assert service.pid_of("worker") == worker


async def test_a_worker_that_slept_too_long_writes_nothing_and_lives_on(
    start_service: StartService,
    settings: dict[str, str],
    redis_url: str,
    tmp_path: Path,
) -> None:
    service = await start_service("serve", **settings)
    await service.funding_ready()
    sleeper = psutil.Process(service.pid_of("worker"))
    asked = await service.post("/get-market-data", {"timeframe": "1h"})
    await running(service, done=MARKETS)
    sleeper.suspend()
    try:
        worker = await start_service("worker", wait=False, **settings | {"DATA_DIR": str(tmp_path)})
        last = await service.ended(asked)
        document = await service.get("/cache/1h")
        with redis.Redis.from_url(redis_url) as store:
            record = store.hgetall("job:collect:1h")
    finally:
        sleeper.resume()
    assert last["as_of"] == document["as_of"]
    await until(lambda: said(service, "lease_lost"))
    with redis.Redis.from_url(redis_url) as store:
        assert store.hgetall("job:collect:1h") == record
    assert (await service.get("/cache/1h"))["version"] == document["version"]
    # It lives on, and can be the one that works: the other is asleep now.
    other = psutil.Process(worker.process.pid)
    other.suspend()
    try:
        assert (await service.collect("1h"))["result"]["markets"] == MARKETS
        assert service.pid_of("worker") == sleeper.pid
    finally:
        other.resume()


async def said(service: Service, word: str) -> bool:
    return any(word in line for line in service.lines)


async def test_a_store_that_is_away_for_some_seconds(
    start_service: StartService,
    settings: dict[str, str],
    own_valkey: Callable[..., OwnValkey],
) -> None:
    """One lane is in the middle of a job, the other idle; the lease outlives the absence."""
    server = own_valkey()
    own = {"REDIS_URL": server.url, "WORKER_LOCK_TTL_S": "15", "LOG_LEVEL": "DEBUG"}
    service = await start_service("serve", **settings | own)
    await service.funding_ready()
    worker = service.pid_of("worker")
    asked = await service.post("/get-market-data", {"timeframe": "1h"})
    await running(service)
    said_before = len(service.lines)
    server.kill()
    away = contextlib.ExitStack()
    took = away.enter_context(elapsed_elsewhere())

    def tries() -> list[str]:
        lines = list(service.lines)[said_before:]
        return [line for line in lines if "store_unavailable" in line and "lane=funding" in line]

    async def five() -> bool:
        return len(tries()) >= 5

    await until(five, within_s=30)
    lines = list(service.lines)[said_before:]
    # It backs off: the idle lane tries again less and less often, not in a tight loop.
    pauses = [re.search(r"retry_in_s=([0-9.]+)", line) for line in tries()[:4]]
    assert [pause and float(pause[1]) for pause in pauses] == [0.5, 1, 2, 4]
    assert time.monotonic() - took.began > 7.5
    server.start()
    # And it says so once for each that tries, not for each try.
    for event, users in (("heartbeat_failed", 1), ("subscription_lost", 4)):
        told = [x for x in lines if event in x and "[warning" in x and JOB not in x]
        assert len(told) <= 2 * users  # that it is lost, and that nobody is there
    # How many lanes have tried by then depends on how long it lasted.
    by_lane = Counter(
        lane[1]
        for x in lines
        if "store_unavailable" in x and "[warning" in x and JOB not in x
        if (lane := re.search(r"lane=(\w+)", x))
    )
    assert by_lane["funding"] in (1, 2)
    assert max(by_lane.values()) <= 2
    last = await service.ended(asked)
    away.close()
    assert took.own_s < 25
    assert last["result"]["markets"] == MARKETS
    job = await service.get("/jobs/collect:1h")
    assert (job["attempts"], job["run"]) == (1, asked["run"])
    assert last["run"] == asked["run"]
    await service.ended(await funding(service))
    assert service.pid_of("worker") == worker


async def test_what_the_store_refuses_for_good_fails_the_job_with_its_words(
    start_service: StartService, settings: dict[str, str], own_valkey: Callable[..., OwnValkey]
) -> None:
    server = own_valkey()
    service = await start_service(**settings | {"REDIS_URL": server.url})
    await service.funding_ready()
    with redis.Redis.from_url(server.url) as store:
        store.acl_setuser("default", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
        await service.post("/get-market-data", {"timeframe": "1h"})
        await running(service)
        store.execute_command("ACL", "SETUSER", "default", "-rename")
        job = await service.job("collect:1h", lambda job: job["state"] == "failed")
        assert "NOPERM" in job["error"] or "permission" in job["error"]
        store.execute_command("ACL", "SETUSER", "default", "+rename")
    assert (await service.collect("1h"))["result"]["markets"] == MARKETS


async def test_a_damaged_document_is_replaced_by_the_next_run(
    start_service: StartService, settings: dict[str, str], redis_url: str
) -> None:
    service = await start_service(**settings | {"CONCURRENCY_LIMIT": "20"})
    await service.funding_ready()
    await service.collect("1h")
    with redis.Redis.from_url(redis_url) as store:
        for name in ("1h", "global_fr"):
            store.setrange(f"cache:{name}", 100, "damage")
    await service.ended(await funding(service))
    assert (await service.collect("1h"))["result"]["markets"] == MARKETS
    assert len((await service.get("/cache/1h"))["markets"]) == MARKETS
    assert len((await service.get("/cache/global_fr"))["markets"]) == MARKETS
