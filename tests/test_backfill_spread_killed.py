"""Two hosts with addresses of their own work on a backfill, on the engine; either may be killed."""

import asyncio
import os
import signal
from pathlib import Path

import asyncpg
import pytest

from database import BackfillWish
from history.backfill.wanted import wish
from market.timeframes import Timeframe
from tests.fixtures.jobs import OpenRunner
from tests.fixtures.service import ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.jobs.test_backfill import FROM_MS, assert_is_truth
from tests.test_shards_killed import ADDRESSES, Hosts

EACH = 10
TIMEFRAMES = (Timeframe.M15, Timeframe.H1)


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=EACH, bybit=EACH, now=NOW_MS, frozen=True, latency_ms=10)


def pages_of(exchanges: Simulator, egress: str) -> int:
    requests = exchanges.get("/sim/requests")["requests"]
    return sum(r["client"] == ADDRESSES[egress] and r["endpoint"] == "klines" for r in requests)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("killed", ["nobody", "helper", "holder"])
async def test_a_backfill_of_two_hosts_is_complete(
    open_runner: OpenRunner,
    start_service: StartService,
    service_settings: ServiceSettings,
    exchanges: Simulator,
    database_url: str,
    tmp_path: Path,
    killed: str,
) -> None:
    async with open_runner(exchanges, egress_id="alone") as runner:
        await runner.complete("discovery")
        await runner.complete("funding")
        exchanges.post("/sim/stats/reset")
        settings = service_settings(
            exchanges,
            RATE_FRACTION="0.2",  # so that some hundred pages are worth asking others for
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
        context = runner.context
        wanted = wish(
            timeframes=[*map(str, TIMEFRAMES)],
            what=["candles"],
            from_ms=FROM_MS,
            collected=context.settings.exchanges,
            usual=TIMEFRAMES,
            now_ms=NOW_MS,
        )
        wish_id = await context.database.backfills.add(wanted.plain(), context.now_ms())
        await context.queue.request("backfill")
        holder = await hosts.holder("backfill")
        (helper,) = {*ADDRESSES} - {holder}
        victim = {"helper": helper, "holder": holder}.get(killed)

        async def both_have_asked() -> bool:
            return all(pages_of(exchanges, name) >= 3 for name in ADDRESSES)

        await until(both_have_asked, 60, hosts.said)
        if victim is not None:
            os.kill(hosts.processes[victim].process.pid, signal.SIGKILL)

        async def is_over() -> BackfillWish | None:
            found = await context.database.backfills.find(wish_id)
            assert found is not None
            return found if found.finished_at_ms is not None else None

        ended = await until(is_over, 200, hosts.said)
        assert (ended.state, dict(ended.failures)) == ("complete", {}), hosts.said()
        assert (ended.done, ended.seconds_left) == (ended.total, None)
        await assert_is_truth(
            context.database, exchanges, TIMEFRAMES, interest=False, funding=False
        )
        assert (await context.database.history.check()).faults == ()
        database = await asyncpg.connect(database_url, timeout=10)
        try:
            runs = await database.fetch(
                "SELECT state, queue FROM worker_run WHERE worker = 'backfill_part'"
            )
        finally:
            await database.close()
        assert {row["queue"] for row in runs} >= {f"egress:{helper}"}
        if killed == "nobody":
            assert {row["state"] for row in runs} == {"complete"}
    stats = exchanges.stats()
    assert stats["limits_broken"] == {}
    assert stats["rejected"] == []
