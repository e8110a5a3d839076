"""When a list of markets is read again: exact times, and a worker's loop that heals by itself."""

import asyncio
import math
from dataclasses import replace

import pytest

from database import ListingState
from jobs.due import _discovery_due_s, list_due_ms, queue_due_jobs
from market.markets import Exchange
from stores.hot.leases import try_acquire
from tests.fixtures.jobs import JobRunner, OpenRunner
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, StartSimulator

NOW = 1_700_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("state", "due_ms"),
    [
        (ListingState(), NOW),
        (ListingState(NOW - 5), NOW - 5 + DAY),
        (ListingState(NOW + 5), NOW),  # by a clock that went back
        (ListingState(NOW - 5, unconfirmed_ms=NOW - 7), NOW - 7 + MINUTE),
        (ListingState(NOW - 5, unconfirmed_ms=NOW + 7), NOW - 5 + DAY),
        (ListingState(NOW - DAY, 4, NOW - 5, unconfirmed_ms=NOW - DAY), NOW - 5 + 8 * MINUTE),
        (ListingState(failures=1, failed_ms=NOW - 5), NOW - 5 + MINUTE),
        (ListingState(NOW - DAY * 3, 2, NOW - 5), NOW - 5 + 2 * MINUTE),
        (ListingState(NOW - DAY * 3, 6, NOW - 5), NOW - 5 + 32 * MINUTE),
        (ListingState(NOW - DAY * 3, 7, NOW - 5), NOW - 5 + HOUR),
        (ListingState(NOW - DAY * 3, 10**9, NOW - 5), NOW - 5 + HOUR),
        (ListingState(failures=3, failed_ms=NOW + 5), NOW),
    ],
)
def test_when_a_list_is_read_again(state: ListingState, due_ms: int) -> None:
    assert list_due_ms(state, NOW, DAY) == due_ms
    scheduled_ms = list_due_ms(state, NOW, None)
    assert scheduled_ms == (math.inf if due_ms == (state.discovered_ms or 0) + DAY else due_ms)


async def test_a_list_that_failed_is_asked_again_when_its_pause_is_over(
    start_simulator: StartSimulator, open_runner: OpenRunner
) -> None:
    exchanges = start_simulator(binance=3, bybit=3, now=NOW_MS, frozen=True)
    async with open_runner(exchanges, fr_refresh_on_start=False) as runner:
        runner.fault({"kind": "status", "status": 502, "exchange": "bybit",
                      "endpoint": "instruments"})  # fmt: skip
        context = runner.context
        await runner.complete("discovery")
        lists = context.database.listings
        state = (await lists.states([Exchange.BYBIT], "USDT"))[Exchange.BYBIT]
        assert (state.failures, state.discovered_ms) == (1, None)
        assert "502" in (state.failure or "")

        async def queued_with(failed_ago_ms: int) -> bool:
            """Whether a worker that starts now queues discovery."""
            await lists.failed(Exchange.BYBIT, "502", at_ms=context.now_ms() - failed_ago_ms)
            before = await context.queue.get("discovery")
            assert before is not None
            looks, stop = asyncio.Event(), asyncio.Event()
            states = lists.states

            async def looked(*arguments: object) -> object:
                found = await states(*arguments)  # type: ignore[arg-type]
                looks.set()
                return found

            lists.states = looked  # type: ignore[assignment,method-assign]
            loop = asyncio.create_task(queue_due_jobs(context, stop))
            try:
                await asyncio.wait_for(looks.wait(), 20)
                if failed_ago_ms > 3 * MINUTE:
                    await until(lambda: _is_queued(runner))
            finally:
                stop.set()
                await loop
                lists.states = states  # type: ignore[method-assign]
            after = await context.queue.get("discovery")
            assert after is not None
            return after.run > before.run

        assert not await queued_with(MINUTE)  # the second failure: two minutes
        assert await queued_with(5 * MINUTE)  # the third: four
        assert not await queued_with(20 * MINUTE)  # queued already: no second run is asked for
        runner.well_again()
        await context.queue.abort("discovery")
        await runner.complete("discovery")
        state = (await lists.states([Exchange.BYBIT], "USDT"))[Exchange.BYBIT]
        assert (state.failures, state.failure, state.active) == (0, None, 3)


async def test_a_discovery_that_the_database_failed_is_run_again_after_a_minute(
    start_simulator: StartSimulator, open_runner: OpenRunner
) -> None:
    """Neither at once again, though no list was noted as read, nor after a day."""
    exchanges = start_simulator(binance=3, bybit=3, now=NOW_MS, frozen=True)
    async with open_runner(exchanges) as runner:
        context, now_ms = runner.context, runner.context.now_ms()

        async def due_s(later_ms: int) -> float:
            return await _discovery_due_s(replace(context, now_ms=lambda: now_ms + later_ms))

        assert await due_s(0) == 0.0  # never discovered
        for listed_before in (False, True):
            await context.queue.request("discovery")
            lease = await try_acquire(context.store, "worker", holder="test", ttl_s=30)
            assert lease is not None
            job = await context.queue.take(lease)
            assert job is not None
            error = "the database failed: a name"
            await context.queue.finish(
                job, lease, state="failed", as_of_ms=None, result=None, error=error
            )
            await lease.release()
            record = await context.queue.get("discovery")
            assert record is not None and record.last is not None
            since_ms = now_ms - record.last.finished_at_ms
            assert await due_s(30_000) == (60_000 - 30_000 - since_ms) / 1000, listed_before
            assert await due_s(90_000) == 0.0
            await runner.complete("discovery")
            assert await due_s(90_000) > 3600


async def _is_queued(runner: JobRunner) -> bool:
    record = await runner.context.queue.get("discovery")
    return record is not None and record.state == "queued"
