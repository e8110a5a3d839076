"""Kills and stops of real processes: no job is lost, nothing is left behind."""

import asyncio
import json
import os
import signal
from pathlib import Path

import psutil
import pytest
import redis

from market.markets import Exchange
from tests.fixtures.jobs import ALL
from tests.fixtures.lateness import elapsed_elsewhere
from tests.fixtures.service import ServiceSettings, StartService, asking
from tests.fixtures.signals import DEADLINE_S
from tests.fixtures.simulator import Simulator, StartSimulator

# A worker killed with -9 is replaced, and its job running again, within this.
_RECOVERY_S = 30.0
_STOP_S = 3.0


@pytest.fixture
def slow_exchanges(start_simulator: StartSimulator) -> Simulator:
    """A collection of these takes a few seconds."""
    return start_simulator(**dict.fromkeys(Exchange, 10), latency_ms=150)


@pytest.fixture
def settings(slow_exchanges: Simulator) -> dict[str, str]:
    """Of a service on its embedded stores."""
    return {**asking(slow_exchanges), "EXCHANGES": ALL, "CONCURRENCY_LIMIT": "2"}


@pytest.fixture
def on_stores(slow_exchanges: Simulator, service_settings: ServiceSettings) -> dict[str, str]:
    """Settings of one on the tests' own stores."""
    return service_settings(slow_exchanges, EXCHANGES=ALL, CONCURRENCY_LIMIT="2")


def store_pid(data_dir: Path, name: str) -> int:
    """The process that the embedded store's lock file names."""
    record = json.loads((data_dir / "stores" / f"{name}.server").read_text())
    return int(record["pid"])


def left_of(data_dir: Path) -> list[psutil.Process]:
    """Processes that still belong to this DATA_DIR, embedded stores included."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            ours = process.environ().get("DATA_DIR") == str(data_dir)
        except psutil.Error:
            continue
        if str(data_dir) in words or ours:
            found.append(process)
    return found


@pytest.mark.timeout(180)
async def test_a_killed_worker_is_replaced_and_its_job_completes(
    start_service: StartService, settings: dict[str, str], slow_exchanges: Simulator
) -> None:
    service = await start_service("serve", **settings)
    await service.funding_ready()
    asked = await service.post("/get-market-data", {"timeframe": "1h"})
    await service.job("collect:1h", lambda j: j["progress"]["done"] >= 4)
    os.kill(service.pid_of("worker"), signal.SIGKILL)
    with elapsed_elsewhere() as took:
        again = await service.job(
            "collect:1h", lambda j: j["attempts"] == 2 and j["state"] == "active"
        )
    assert took.own_s < _RECOVERY_S
    assert again["run"] == asked["run"]
    last = await service.ended(asked)
    assert last["run"] == asked["run"]
    assert last["result"]["markets"] > 25
    assert slow_exchanges.stats()["limits_broken"] == {}


@pytest.mark.timeout(180)
async def test_a_killed_main_leaves_no_children_and_the_next_start_completes_the_job(
    start_service: StartService, settings: dict[str, str], data_dir: Path
) -> None:
    service = await start_service("serve", **settings)
    await service.funding_ready()
    asked = await service.post("/get-market-data", {"timeframe": "1h"})
    await service.job("collect:1h", lambda j: j["progress"]["done"] >= 4)
    children = [service.pid_of("worker"), service.pid_of("api")]
    processes = [psutil.Process(pid) for pid in children]
    service.process.kill()
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, DEADLINE_S)
    assert alive == []
    await service.stop()
    assert left_of(data_dir) == []  # the last of them ended the stores, too

    # Another port, the same DATA_DIR: the job is there, and goes on without a POST.
    service = await start_service("serve", **settings)
    last = await service.ended(asked)
    assert last["result"]["markets"] > 25
    document = await service.get("/cache/1h")
    assert document["as_of"] == last["as_of"]

    # All at once: only the stores live on, and the next start finds them.
    stores = {name: store_pid(data_dir, name) for name in ("valkey", "postgres")}
    for pid in (service.process.pid, service.pid_of("api"), service.pid_of("worker")):
        os.kill(pid, signal.SIGKILL)
    await service.stop()
    assert {process.name() for process in left_of(data_dir)} <= {"valkey-server", "postgres"}
    service = await start_service("serve", **settings)
    assert {name: store_pid(data_dir, name) for name in stores} == stores
    assert await service.get("/cache/1h") == document
    assert await service.stop() == 0
    assert left_of(data_dir) == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
async def test_a_stop_hands_the_job_back_and_leaves_nothing(
    start_service: StartService,
    on_stores: dict[str, str],
    data_dir: Path,
    redis_url: str,
    number: signal.Signals,
) -> None:
    service = await start_service("serve", **on_stores)
    await service.funding_ready()
    await service.post("/get-market-data", {"timeframe": "1h"})
    await service.job("collect:1h", lambda j: j["progress"]["done"] >= 4)
    with elapsed_elsewhere() as took:
        assert await service.stop(number) == 0
    assert took.own_s < _STOP_S
    assert left_of(data_dir) == []
    with redis.Redis.from_url(redis_url) as client:
        assert client.get("lock:worker") is None
        assert client.get("lock:funding") is None
        record = client.hgetall("job:collect:1h")
    assert isinstance(record, dict)
    assert record[b"state"] == b"queued"
    assert record.get(b"attempts", b"0") == b"0"


@pytest.mark.timeout(120)
async def test_ctrl_c_ends_the_embedded_stores_too(
    start_service: StartService, settings: dict[str, str], data_dir: Path
) -> None:
    service = await start_service("serve", **settings)
    await service.funding_ready()
    with elapsed_elsewhere() as took:
        assert await service.stop(signal.SIGINT) == 0
    assert took.own_s < _STOP_S
    assert left_of(data_dir) == []


@pytest.mark.timeout(120)
async def test_a_killed_api_process_is_replaced_on_the_same_address(
    start_service: StartService, settings: dict[str, str]
) -> None:
    service = await start_service("serve", **settings)
    os.kill(service.pid_of("api"), signal.SIGKILL)
    # The listening socket is the parent's: the next request waits for the new process.
    assert (await service.get("/health"))["status"]


async def test_data_of_other_exchanges_is_refused_with_one_line(
    start_service: StartService, on_stores: dict[str, str]
) -> None:
    service = await start_service("serve", **on_stores)
    await service.stop()
    others = {**on_stores, "BYBIT_BASE_URL": "http://127.0.0.1:9"}
    service = await start_service("serve", **others, wait=False)
    assert await asyncio.wait_for(service.process.wait(), 20) == 69
    await service.stop()
    assert len(service.lines) == 1
    assert "DATA_DIR" in service.lines[0]
    assert "http://127.0.0.1:9" in service.lines[0]
