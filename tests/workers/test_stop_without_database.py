"""Hosts of workers that are to stop while their database is away: they do, within seconds."""

import asyncio
import signal
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.fixtures.postgres import OwnPostgres
from tests.fixtures.signals import until_true
from tests.workers.hosts import fleet_on

WITHIN_S = 25  # a frozen server is waited for up to 10 s


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_a_host_ends_without_its_database(
    own_postgres: OwnPostgres, redis_url: str, tmp_path: Path, how: str
) -> None:
    async with fleet_on(own_postgres.url, redis_url, tmp_path) as fleet:
        idle, busy = await fleet.start_ready(), await fleet.start_ready()
        # Ends that the engine has to write, and a run that is to be handed back.
        await fleet.until_began(await fleet.force("slow", {"s": 3600}))
        for _ in range(6):
            await fleet.until_state(await fleet.force("short"), "complete")
        frozen: list[psutil.Process] = []
        if how == "killed":
            own_postgres.kill()
            for host in (idle, busy):
                await until_true(partial(host.said, "engine_connection_failed"))
        else:
            frozen = own_postgres.processes()
            for process in frozen:
                process.send_signal(signal.SIGSTOP)
        try:
            stops = (host.stop(within_s=WITHIN_S) for host in (idle, busy))
            codes = await asyncio.gather(*stops)
        finally:
            for process in frozen:
                process.send_signal(signal.SIGCONT)
            if how == "killed":
                own_postgres.start()
        assert codes == [0, 0], fleet.told()
