"""Runs after the first one: what they take from memory, and when they read the store."""

from typing import Any

import pytest

from cache_manager import StaleVersion
from job_queue.records import JobRecord
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.jobs import JobRunner, OpenRunner
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

JOB = "collect:4h"
H4 = Timeframe.H4


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=3, bybit=3, now=NOW_MS, frozen=True)


async def prepare(runner: JobRunner) -> None:
    await runner.complete("discovery")
    await runner.complete("funding")
    await runner.complete(JOB)


def reads_of(runner: JobRunner, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The documents of which a piece was read from the store from now on."""
    found: list[str] = []
    execute = runner.context.store.execute

    async def note(*command: Any, **options: Any) -> Any:
        if command[0] == "GETRANGE" and command[1] != "cache:global_fr":
            found.append(command[1])
        return await execute(*command, **options)

    monkeypatch.setattr(runner.context.store, "execute", note)
    return found


async def contents(runner: JobRunner) -> list[Any]:
    return [
        {name: (await runner.document(made))[name] for name in ("as_of", "markets", "missing")}
        for made in ("4h", "8h")
    ]


async def test_a_run_reads_nothing_that_its_process_published(
    open_runner: OpenRunner, exchanges: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    candle_ms = H4.last_closed_open_time(NOW_MS) - 30 * H4.interval_ms
    for exchange in ("binance", "bybit"):
        exchanges.post(
            "/sim/faults",
            [
                {
                    "kind": "impossible",
                    "exchange": exchange,
                    "symbol": "BTCUSDT",
                    "times": [candle_ms],
                    "variant": "zero_price",
                }
            ],
        )
    async with open_runner(exchanges) as runner:
        await prepare(runner)
        for hours in (1, 4):
            exchanges.post("/sim/clock", {"advance_ms": hours * HOUR_MS})
            with monkeypatch.context() as patch:
                reads = reads_of(runner, patch)
                requests = (await runner.complete(JOB))["requests"]
                assert reads == []
            ours = await contents(runner)
        assert len(ours[0]["missing"]) == 2
        # One that reads the store does the same.
        async with open_runner(exchanges) as other:
            with monkeypatch.context() as patch:
                reads = reads_of(other, patch)
                assert (await other.complete(JOB))["requests"] <= requests
                assert set(reads) == {"cache:4h", "cache:8h"}
            assert await contents(other) == ours


async def test_what_another_process_published_is_read(
    open_runner: OpenRunner, exchanges: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_runner(exchanges) as runner, open_runner(exchanges) as other:
        await prepare(runner)
        exchanges.post("/sim/clock", {"advance_ms": 4 * HOUR_MS})
        await other.complete(JOB)
        newer = await contents(other)
        reads = reads_of(runner, monkeypatch)
        await runner.complete(JOB)
        assert set(reads) == {"cache:4h", "cache:8h"}
        assert await contents(runner) == newer
        reads.clear()
        await runner.complete(JOB)
        assert reads == []


async def test_what_is_stored_no_more_is_collected_anew(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges) as runner:
        await prepare(runner)
        first = await contents(runner)
        await runner.context.store.execute("UNLINK", "cache:4h", "cache:4h:meta")
        await runner.complete(JOB)
        assert await contents(runner) == first


async def test_nothing_is_used_of_a_run_that_failed_half_way(
    open_runner: OpenRunner, exchanges: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory holds rows that nobody published; of what was, it has the documents."""
    async with open_runner(exchanges) as runner:
        await prepare(runner)
        exchanges.post("/sim/clock", {"advance_ms": 4 * HOUR_MS})

        async def stale(*_: Any, **__: Any) -> None:
            raise StaleVersion("4h: a later one is stored")

        with monkeypatch.context() as patch:
            patch.setattr(runner.context.cache, "save_to_cache", stale)
            record: JobRecord = await runner.run(JOB)
            assert record.state == "failed"
        reads = reads_of(runner, monkeypatch)
        await runner.complete(JOB)
        assert reads == []
        ours = await contents(runner)
    async with open_runner(exchanges) as other:
        await other.complete(JOB)
        assert await contents(other) == ours
