"""No space left under DATA_DIR: what is there is served, and work goes on when there is room."""

import asyncio
import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from cache_manager import CacheManager
from stores.embedded.postgres import EmbeddedPostgres
from stores.embedded.stores import EmbeddedStores
from stores.hot.beats import store_health
from stores.hot.leases import try_acquire
from stores.hot.opening import open_hot_store
from stores.hot.store import HotStore, StoreRefused
from tests.fixtures.disk import MakeDisk, fill
from tests.fixtures.service import SHORT_HISTORY, Service, StartService, asking
from tests.fixtures.signals import until
from tests.fixtures.simulator import Simulator, StartSimulator

DISK_MB = 112  # a new database asks for 64 of them
MARKETS = 12


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=6, bybit=6)


@pytest.fixture
def disk(make_disk: MakeDisk) -> Path:
    return make_disk(DISK_MB)


@pytest.fixture
def settings(exchanges: Simulator, disk: Path) -> dict[str, str]:
    return {
        **asking(exchanges),
        **SHORT_HISTORY,
        "DATA_DIR": str(disk),
        "WORKER_LOCK_TTL_S": "2",
    }


async def refused(service: Service) -> str:
    """What a POST is told as soon as it is refused; the store notices at its next write."""

    async def refusal() -> str:
        status, answer = await service.answer("/get-market-data", {"timeframe": "2h"})
        assert status in (202, 503)
        return "" if status == 202 else str(answer["detail"])

    return await until(refusal)


async def served(service: Service, document: Any) -> None:
    """Whatever has just been killed, the document is there again soon, as it was."""

    async def answer() -> Any:
        with contextlib.suppress(OSError):
            status, found = await service.answer("/cache/1h")
            return found if status == 200 else None

    assert await until(answer) == document


async def replaced(service: Service, child: str) -> None:
    """Kills it, and returns when there is another."""
    started = ("child_started", f"child={child}")
    lives = len(service.said(*started))
    os.kill(service.pid_of(child), signal.SIGKILL)
    await service.until_said(*started, times=lives + 1)


def store_processes(disk: Path, name: str) -> list[psutil.Process]:
    """The server in this DATA_DIR: it works there."""
    found = []
    for process in psutil.process_iter(["name", "cwd"]):
        if process.info["name"] == name and str(disk) in (process.info["cwd"] or ""):
            found.append(process)
    return found


async def use_up_the_log(disk: Path) -> None:
    """PostgreSQL ends when it cannot write its log, and cannot begin before it can."""
    postgres = EmbeddedPostgres(disk)
    url = await asyncio.to_thread(postgres.acquire, threading.Event())
    try:
        connection = await asyncpg.connect(url, timeout=10)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            for _ in range(1000):
                await connection.execute(
                    "SELECT pg_logical_emit_message(true, 'fill', repeat('x', 100000))"
                )
        connection.terminate()
    finally:
        postgres.release()


async def test_it_serves_what_it_has_and_goes_on_when_there_is_space(
    disk: Path, settings: dict[str, str], start_service: StartService
) -> None:
    service = await start_service("serve", **settings)
    await service.funding_ready()
    await service.collect("1h")
    document = await service.get("/cache/1h")
    before = len(service.lines)
    filler = fill(disk)

    reason = await refused(service)
    assert reason.startswith("redis: MISCONF ")
    assert "No space left on device" in reason
    assert await service.get("/cache/1h") == document
    ready = await service.until_ready("degraded")
    assert ready["parts"]["store"].startswith("takes no writes: MISCONF ")
    await use_up_the_log(disk)
    fill(disk)

    # Whoever dies now comes back: the store with its documents, API and worker without a database.
    [valkey] = store_processes(disk, "valkey-server")
    valkey.kill()
    await served(service, document)
    for child in ("api", "worker"):
        await replaced(service, child)
    await served(service, document)
    ready = (await service.answer("/ready"))[1]
    assert ready["parts"]["database"].startswith("away: ")
    told = service.said(f"no space left in DATA_DIR {disk}")
    assert 1 <= len(told) <= 5  # each process that uses the stores says so once
    assert len(service.lines) - before < 120, "\n".join(service.lines)

    filler.unlink()
    await service.until_ready("ready", 30)
    assert (await service.collect("1h"))["result"]["markets"] == MARKETS
    assert len((await service.get("/coins"))["coins"]) == MARKETS
    assert await service.stop() == 0
    assert not store_processes(disk, "valkey-server") + store_processes(disk, "postgres")


async def test_a_publish_waits_for_space(
    make_disk: MakeDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stores.hot.leases._MOST_REFUSALS", 1)
    disk = make_disk(10)
    async with EmbeddedStores(disk, postgres=False) as stores:
        addresses = await stores.start()
        assert addresses.redis_url is not None
        store = open_hot_store(addresses.redis_url, client_name="test")
        lease = await try_acquire(store, "worker", holder="test", ttl_s=60)
        assert lease is not None
        filler = fill(disk)
        reason = await until(lambda: no_space(store))
        assert "No space left on device" in reason
        async with asyncio.timeout(20), EmbeddedStores(disk, postgres=False) as others:
            assert await others.start() == addresses  # it is there, whatever it says to a PING
        meta: dict[str, Any] = {"version": 1, "as_of_ms": 1, "updated_at_ms": 1, "lease": lease}
        saving = asyncio.create_task(CacheManager(store).save_to_cache("4h", b"{}", **meta))
        # That the server refuses it can only be seen by the clock.
        await asyncio.wait({saving}, timeout=0.5)
        assert not saving.done()
        filler.unlink()
        assert (await saving).version == 1
        assert (await store_health(store)).refusal is None
        await lease.release()
        await store.aclose()


async def no_space(store: HotStore) -> str:
    """Why the store takes no writes; it notices when it has one to write down."""
    with contextlib.suppress(StoreRefused):
        await store.execute("SET", "key", "x" * 5000)
    signs = await store_health(store)
    assert signs.can_beat == (signs.refusal is None)
    return signs.refusal or ""


async def test_a_first_start_says_what_it_lacks(
    disk: Path, settings: dict[str, str], start_service: StartService
) -> None:
    fill(disk)
    service = await start_service("serve", wait=False, **settings)
    assert await asyncio.wait_for(service.process.wait(), 30) == 69
    await service.stop()
    [line] = service.lines
    assert str(disk) in line
    assert "no space left" in line.lower()
