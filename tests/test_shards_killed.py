"""Two hosts with addresses of their own collect together, on the engine; either may be killed, or
frozen for a while."""

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from market.timeframes import Timeframe
from tests.fixtures.jobs import JobRunner, OpenRunner, by_key
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from workers.hosts import hosts_alive

EACH = 10
CANDLES = 250
ADDRESSES = {"one": "127.0.0.1", "two": "127.0.0.2"}


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=EACH, bybit=EACH, now=NOW_MS, frozen=True, latency_ms=10)


def asked_by(exchanges: Simulator, egress: str) -> int:
    requests = exchanges.get("/sim/requests")["requests"]
    wanted = ("klines", "open_interest")
    return sum(r["client"] == ADDRESSES[egress] and r["endpoint"] in wanted for r in requests)


async def collected_alone(runner: JobRunner) -> Mapping[str, Any]:
    """What one host collects, which is then forgotten."""
    for job_id in ("discovery", "funding", "collect:4h"):
        await runner.complete(job_id)
    found = {str(t): by_key(await runner.document(t)) for t in (Timeframe.H4, Timeframe.H8)}
    keys = [f"cache:{t}{end}" for t in Timeframe for end in ("", ":meta")]
    await runner.context.store.execute("UNLINK", *keys)
    runner.exchanges.post("/sim/stats/reset")
    return found


class Hosts:
    """Two worker processes of one installation, by the names of their addresses."""

    def __init__(self, processes: Mapping[str, Service], runner: JobRunner) -> None:
        self.processes = processes
        self.runner = runner

    async def are_there(self) -> None:
        async def both() -> bool:
            found = await hosts_alive(self.runner.context.store)
            return {host.egress for host in found} == {*self.processes}

        await until(both, 60, self.said)
        for process in self.processes.values():  # and takes parts
            await process.until_said("engine_ready", within_s=60)

    async def holder(self, lane: str = "worker") -> str:
        """Whose process has the lane's lease; of collections, if no other is named."""
        store = self.runner.context.store
        lock: bytes = await until(lambda: store.execute("GET", f"lock:{lane}"), 60, self.said)
        pid = int(lock.rpartition(b":")[2])
        return next(name for name, each in self.processes.items() if each.process.pid == pid)

    async def ended(self) -> Any:
        async def last() -> Any:
            record = await self.runner.context.queue.get("collect:4h")
            return record if record and record.state in ("complete", "failed") else None

        return await until(last, 150, self.said)

    def said(self) -> str:
        lines = [f"{name}: {line}" for name, each in self.processes.items() for line in each.lines]
        return "\n".join(lines)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("victim", "by"),
    [
        ("nobody", None),
        pytest.param("helper", signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param("holder", signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param("helper", signal.SIGSTOP, marks=pytest.mark.slow),
        pytest.param("holder", signal.SIGSTOP, marks=pytest.mark.slow),
    ],
)
async def test_a_collection_of_two_hosts_is_complete(
    open_runner: OpenRunner,
    start_service: StartService,
    service_settings: ServiceSettings,
    exchanges: Simulator,
    database_url: str,
    tmp_path: Path,
    victim: str,
    by: signal.Signals | None,
) -> None:
    async with open_runner(exchanges, egress_id="alone", history_candles=CANDLES) as runner:
        alone = await collected_alone(runner)
        settings = service_settings(
            exchanges,
            HISTORY_CANDLES=str(CANDLES),
            RATE_FRACTION="0.03",  # so that few markets take one host 6 s: they are worth sharing
            CONCURRENCY_LIMIT="2",
            SCHEDULES="on",
            WORKER_LOCK_TTL_S="3",
            FR_REFRESH_ON_START="false",
        )
        starts = [
            start_service(
                "worker",
                "--no-beat",  # no schedule fires meanwhile
                wait=False,
                **settings,
                EGRESS_ID=name,
                EGRESS_ADDRESS=address,
                DATA_DIR=str(tmp_path / name),
            )
            for name, address in ADDRESSES.items()
        ]
        hosts = Hosts(dict(zip(ADDRESSES, await asyncio.gather(*starts), strict=True)), runner)
        await hosts.are_there()
        database = await asyncpg.connect(database_url, timeout=10)
        try:
            await runner.context.queue.request("collect:4h")
            holder = await hosts.holder()
            (helper,) = {*ADDRESSES} - {holder}
            hit = hosts.processes[holder if victim == "holder" else helper].process

            async def both_have_asked() -> bool:
                return all(asked_by(exchanges, name) >= 3 for name in ADDRESSES)

            await until(both_have_asked, 60, hosts.said)
            if by is not None:
                os.kill(hit.pid, by)
            job = await hosts.ended()
            assert job.state == "complete", job
            assert job.result["missing"] == 0
            if by is signal.SIGSTOP:
                os.kill(hit.pid, signal.SIGCONT)  # it finds that everything has gone on without it

            async def no_part_is_open() -> bool:
                states = await database.fetch("SELECT state FROM worker_run WHERE why = 'part'")
                assert states
                return {row["state"] for row in states} <= {"complete", "failed", "aborted"}

            await until(no_part_is_open, 60, hosts.said)
            for timeframe, expected in alone.items():
                assert by_key(await runner.document(timeframe)) == expected
        finally:
            await database.close()
        stats = exchanges.stats()
        assert stats["limits_broken"] == {}
        assert stats["rejected"] == []
