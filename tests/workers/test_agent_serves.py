"""The service feeds itself: nothing is POSTed, and the documents are there, and follow a close."""

import json
from typing import Any

import asyncpg
import pytest

from stores.cold.workers.notices import CHANNEL
from tests.fixtures.earlier_release import Redis
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, StartSimulator

_TIMEFRAMES = ("5m", "15m", "1h")


async def as_of(service: Service) -> dict[str, int]:
    """The `as_of` of each document that there is."""
    listed = await service.get("/cache")
    found = {each["name"]: each["document"] for each in listed["documents"]}
    return {name: document["as_of"] for name, document in found.items() if document}


async def fired(dsn: str, service: Service, worker: str) -> Any:
    """Lets the worker's schedule be due at once, and returns the result of its run."""
    connection = await asyncpg.connect(dsn)
    try:
        last = await connection.fetchval("SELECT coalesce(max(id), 0) FROM worker_run")
        # In place of waiting for the next instant of its schedule. Its slot is then this one.
        await connection.execute(
            "UPDATE worker SET next_run = (extract(epoch FROM now()) * 1000)::bigint"
            " WHERE name = $1",
            worker,
        )
        await connection.execute("SELECT pg_notify($1, 'worker')", CHANNEL)
        result: Any = None

        async def has_run() -> bool:
            nonlocal result
            row = await connection.fetchrow(
                "SELECT state, why, error, result FROM worker_run"
                " WHERE worker = $1 AND id > $2 AND state NOT IN ('queued', 'running')",
                worker,
                last,
            )
            if row is None:
                return False
            assert (row["state"], row["why"]) == ("complete", "schedule"), row["error"]
            result = json.loads(row["result"])
            return True

        await until(has_run, 60, lambda: "\n".join(service.lines))
        return result
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "how", [("serve",), pytest.param(("serve", "--one-process"), marks=pytest.mark.slow)]
)
async def test_it_fills_itself_and_follows_a_close(
    how: tuple[str, ...],
    start_service: StartService,
    start_simulator: StartSimulator,
    service_settings: ServiceSettings,
    database_url: str,
) -> None:
    exchanges = start_simulator(binance=3, bybit=3, now=NOW_MS)
    some = ",".join(_TIMEFRAMES)
    settings = service_settings(exchanges, SCHEDULES="on", TIMEFRAMES=some, UI_TIMEFRAMES="5m,1h")
    service = await start_service(*how, **settings)

    async def are_there() -> bool:
        return {*_TIMEFRAMES, "global_fr"} <= (await as_of(service)).keys()

    await until(are_there, 60, lambda: "\n".join(service.lines))
    before = await as_of(service)
    exchanges.post("/sim/clock", {"advance_ms": 300_000})
    # The worker learns by any job that the exchanges' time has moved on faster than its own.
    funding = await fired(database_url, service, "funding")
    assert (funding["asked"][0]["id"], funding["asked"][0]["state"]) == ("funding", "complete")
    closes = await fired(database_url, service, "closes")
    assert [each["id"] for each in closes["asked"]] == ["collect:all"]

    async def are_refreshed() -> bool:
        return (await as_of(service))["5m"] >= before["5m"] + 300_000

    await until(are_refreshed, 60, lambda: "\n".join(service.lines))
    # The exchanges' time lies behind this machine's, so the round asks, and tells what was saved;
    # first for a pass over all, unless one is still under way.
    round_ = await fired(database_url, service, "ui_data")
    assert {each["state"] for each in round_["asked"]} == {"complete"}
    *passes, last_but_one, last = (each["id"] for each in round_["asked"])
    assert (last_but_one, last) == ("collect:5m", "collect:1h")
    assert passes in ([], ["collect:all"])
    assert round_["rows"] == sum(each["rows"] for each in round_["asked"]) > 6 * 50

    async def are_kept() -> bool:
        kept = (await service.get("/api/data-collections"))["collections"]
        asked = {(each["subject"], each["run"]) for each in kept if each["worker_run"]}
        return {(each["id"], each["run"]) for each in round_["asked"]} <= asked

    await until(are_kept, 30, lambda: "\n".join(service.lines))


async def test_an_installation_of_an_earlier_release_is_fed_from_its_first_start_on(
    start_service: StartService,
    start_simulator: StartSimulator,
    service_settings: ServiceSettings,
    earlier_hot: Redis,
    earlier_cold: str,
) -> None:
    """Its documents are served meanwhile; what it lacks of TIMEFRAMES comes at once."""
    await earlier_hot.delete("lock:worker")  # its time ran out
    exchanges = start_simulator(binance=3, bybit=3, now=NOW_MS + 60_000)
    settings = service_settings(exchanges, SCHEDULES="on", TIMEFRAMES="5m,1h,4h,8h,12h")
    service = await start_service("serve", "--one-process", **settings)
    before = await as_of(service)
    assert {"1h", "4h", "8h"} <= before.keys()

    async def are_there() -> bool:
        return {"5m", "12h"} <= (await as_of(service)).keys()

    await until(are_there, 90, lambda: "\n".join(service.lines))
    closes = await fired(earlier_cold, service, "closes")
    assert [each["id"] for each in closes["asked"]] == ["collect:all"]
    listed = {each["name"] for each in (await service.get("/api/workers"))["workers"]}
    assert {"closes", "ui_data", "historical_data", "funding", "discovery"} <= listed


@pytest.mark.slow
async def test_a_beat_fires_what_a_worker_without_one_runs(
    start_service: StartService,
    start_simulator: StartSimulator,
    service_settings: ServiceSettings,
    database_url: str,
) -> None:
    exchanges = start_simulator(binance=2, bybit=2, now=NOW_MS)
    settings = service_settings(exchanges, SCHEDULES="on", TIMEFRAMES="5m")
    worker = await start_service("worker", "--no-beat", wait=False, **settings)
    await worker.until_said("workers_synced")
    await start_service("beat", wait=False, **settings)
    told = await fired(database_url, worker, "closes")
    assert [each["id"] for each in told["asked"]] == ["collect:all"]
    await worker.until_said("run_ended", "worker=closes")
