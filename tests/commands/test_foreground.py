"""`collect` and `funding` in the foreground: MIN_REFRESH_S, and what is told of the documents."""

import asyncio
import os

from commands.errors import EXIT_COMPLETE, EXIT_STOPPED
from commands.foreground import document_lines, run_here
from job_queue.records import JobRecord, LastRun
from tests.fixtures.earlier_release import lease_of
from tests.fixtures.jobs import JobRunner, OpenRunner
from tests.fixtures.signals import until
from tests.fixtures.simulator import StartSimulator

JOB = "discovery"
CLOCKS_MS = 50  # the store measures the pause, the command stamps its ends


async def command(runner: JobRunner, stop: asyncio.Event) -> int:
    return await run_here(runner.context, JOB, holder="test", wait=True, stop=stop)


async def record_of(runner: JobRunner) -> tuple[JobRecord, LastRun]:
    record = await runner.context.queue.get(JOB)
    assert record is not None and record.last is not None
    return record, record.last


async def test_a_command_waits_until_its_job_has_rested(
    start_simulator: StartSimulator, open_runner: OpenRunner
) -> None:
    async with open_runner(start_simulator(binance=2, bybit=2), min_refresh_s=1) as runner:
        assert await command(runner, asyncio.Event()) == EXIT_COMPLETE
        _, first = await record_of(runner)
        assert await command(runner, asyncio.Event()) == EXIT_COMPLETE
        second, last = await record_of(runner)
        assert last.run == first.run + 1 and second.started_at is not None
        assert second.started_at - first.finished_at_ms >= 1000 - CLOCKS_MS


async def test_a_command_that_is_stopped_while_its_job_rests_leaves_it_queued(
    start_simulator: StartSimulator, open_runner: OpenRunner
) -> None:
    async with open_runner(start_simulator(binance=2, bybit=2), min_refresh_s=600) as runner:
        assert await command(runner, asyncio.Event()) == EXIT_COMPLETE
        stop = asyncio.Event()
        waiting = asyncio.create_task(command(runner, stop))

        async def queued() -> bool:
            return (await record_of(runner))[0].state == "queued"

        await until(queued)
        stop.set()
        async with asyncio.timeout(20):
            assert await waiting == EXIT_STOPPED
        record, last = await record_of(runner)
        assert (record.state, record.run) == ("queued", last.run + 1)


async def test_each_document_of_a_job_is_told(
    start_simulator: StartSimulator, open_runner: OpenRunner
) -> None:
    async with open_runner(start_simulator(binance=2, bybit=2), timeframes="1d,5m,1h") as runner:
        context = runner.context
        async with await lease_of(context.store) as lease:
            await context.cache.save_to_cache(
                *("1h", os.urandom(1_875_000)),
                version=7,
                as_of_ms=1_795_867_200_000,
                updated_at_ms=8,
                lease=lease,
            )
        assert await document_lines(context, "collect:all") == [
            "collect:all: 5m nothing collected yet",
            "collect:all: 1h as of 2026-11-28T12:00:00Z, 2.5 MB",
            "collect:all: 1d nothing collected yet",
        ]
        assert await document_lines(context, "collect:4h") == [
            "collect:4h: 4h nothing collected yet",
            "collect:4h: 8h nothing collected yet",
        ]
        for alone in ("collect:1h", "funding", "discovery"):
            assert await document_lines(context, alone) == []
