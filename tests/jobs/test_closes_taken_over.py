"""A host that ends in the middle of a close: another one, or itself after a restart, goes on.

At each step of a close the first host hangs, as if it were killed there. Its lease ends, another
one completes the job, and only then the first one's late writes come.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from jobs.context import Progress
from jobs.runners import run_job
from market.markets import Exchange
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from stores.hot.leases import LeaseLost, try_acquire
from tests.fixtures.jobs import JobRunner, NoAudits, OpenRunner, by_key
from tests.fixtures.signals import Gate
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.jobs.test_closes import CANDLE, MIDNIGHT_MS, Closes

EACH = 2
CANDLES = 40
JOB = "collect:all"
BASES = ("base:binance", "base:bybit")
DOCUMENTS = tuple(map(str, Timeframe))
STEPS = (*BASES, *DOCUMENTS)  # what a close publishes, in this order
# Between the bases, before all documents, and between two of one collection; EVERY_STEP=1 tries
# all others too, which takes half a minute.
TRIED = STEPS if os.environ.get("EVERY_STEP") else ("base:bybit", "5m", "8h")


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=EACH, bybit=EACH, now=NOW_MS, frozen=True)


@contextlib.asynccontextmanager
async def hosts(
    open_runner: OpenRunner, exchanges: Simulator, count: int, now_ms: int = NOW_MS
) -> AsyncIterator[list[Closes]]:
    """Several hosts on the same stores, the first of which has collected everything."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            runner = await stack.enter_async_context(
                open_runner(exchanges, history_candles=CANDLES, audits=NoAudits())
            )
            found.append(Closes(runner, began_ms=now_ms, now_ms=now_ms))
        if now_ms == NOW_MS:
            await found[0].runner.complete("discovery")
            await found[0].runner.complete("funding")
            await found[0].all()
            await found[0].runner.complete("fill")
        yield found


def go_to(closes: list[Closes], now_ms: int) -> None:
    closes[0].go_to(now_ms)
    for each in closes:
        each.now_ms = now_ms


async def moments(runner: JobRunner) -> dict[str, tuple[int, int]]:
    """Version and `as_of` of everything stored."""
    metas = await runner.context.cache.read_metas(STEPS)
    return {name: (meta.version, meta.as_of_ms) for name, meta in metas.items() if meta}


async def checked(runner: JobRunner, timeframe: Timeframe) -> Any:
    """Compares every market's candles with the truth; returns the document.

    The forming one is of some moment since the close, of which only its beginning is known.
    """
    document = await runner.document(timeframe)
    markets = by_key(document)
    truth = runner.exchanges.truth(timeframe, candles=CANDLES, as_of=document["as_of"])
    assert markets.keys() == truth.keys()
    for key, market in markets.items():
        *closed, forming = (row[:CANDLE] for row in market["rows"])
        *expected, last = (row[:CANDLE] for row in truth[key])
        assert (closed, forming[:2]) == (expected, last[:2]), (timeframe, key)
        assert market["stale_since"] is None
    return document


class Hanging:
    """A run of the job on a host that hangs before it publishes `step`."""

    def __init__(self, closes: Closes, step: str) -> None:
        self.closes, self.step, self.gate = closes, step, Gate()

    async def __aenter__(self) -> "Hanging":
        context = self.closes.runner.context
        self._save = context.cache.save_to_cache
        context.cache.save_to_cache = self._held  # type: ignore[method-assign]
        await context.queue.request(JOB)
        lease = await try_acquire(context.store, "worker", holder="hangs", ttl_s=60)
        assert lease is not None
        self.lease = lease
        job = await context.queue.take(lease)
        assert job is not None and job.id == JOB
        self.run = asyncio.create_task(run_job(context, job, lease, Progress()))
        reached = asyncio.create_task(self.gate.wait_until_reached())
        await asyncio.wait((self.run, reached), return_when=asyncio.FIRST_COMPLETED)
        assert not self.run.done(), self.run
        await context.store.execute("DEL", "lock:worker")  # its time is over
        return self

    async def _held(self, name: str, *arguments: Any, **options: Any) -> Any:
        if name == self.step:
            await self.gate.passed()
        return await self._save(name, *arguments, **options)

    async def __aexit__(self, *error: object) -> None:
        self.gate.open()
        with pytest.raises(LeaseLost):
            await self.run
        await self.lease.release()
        self.closes.runner.context.cache.save_to_cache = self._save  # type: ignore[method-assign]


async def test_another_host_goes_on_at_any_step_of_a_close(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with hosts(open_runner, exchanges, 2) as closes:
        for day, step in enumerate(TRIED):
            hanging, other = closes[day % 2], closes[(day + 1) % 2]
            before = await moments(other.runner)
            closed_ms = MIDNIGHT_MS + day * DAY_MS
            go_to(closes, closed_ms + 5_000)
            async with Hanging(hanging, step):
                midway = await moments(other.runner)
                done = STEPS[: STEPS.index(step)]
                assert [name for name in STEPS if midway[name] != before[name]] == list(done)
                go_to(closes, closed_ms + 25_000)
                result = await other.all()
                after = await moments(other.runner)
            assert await moments(other.runner) == after  # the late writes changed nothing
            # What is stored is not asked for again.
            lacking = sum(base not in done for base in BASES) * EACH
            assert result["requests"] == (2 + 2 * lacking if lacking else 0), step
            for name in STEPS:
                assert all(old <= new for old, new in zip(midway[name], after[name], strict=True))
            for timeframe in Timeframe:
                document = await checked(other.runner, timeframe)
                assert document["last_closed_open_time"] == closed_ms - timeframe.interval_ms
                assert document["as_of"] >= closed_ms + 5_000
            # Every candle of the close is final in all documents before the next one, and what
            # came since fits into a page of each endpoint.
            for later_ms in (16 * MINUTE_MS, 12 * HOUR_MS):
                go_to(closes, closed_ms + later_ms)
                result = await hanging.all()
                assert result["requests"] == 2 + 2 * 2 * EACH


@pytest.mark.parametrize("job_id", [JOB, "collect:1h"])
async def test_no_document_is_replaced_by_an_older_one(
    open_runner: OpenRunner, exchanges: Simulator, job_id: str
) -> None:
    async with hosts(open_runner, exchanges, 2) as closes:
        ours, other = closes
        go_to(closes, MIDNIGHT_MS + 5_000)
        await ours.all()
        # The other one does not know the time, and asks the exchanges.
        go_to(closes, MIDNIGHT_MS + 6_000)
        await other.runner.complete("collect:1h")
        before = await moments(ours.runner)
        assert before["1h"][1] == MIDNIGHT_MS + 6_000
        go_to(closes, MIDNIGHT_MS + 8_000)
        result = await ours.runner.complete(job_id)
        assert result["requests"] == 0
        after = await moments(ours.runner)
        assert all(after[name][1] >= before[name][1] for name in STEPS)
        for timeframe in Timeframe:
            await checked(ours.runner, timeframe)


async def test_a_base_that_is_not_believed_any_more_is_not_stored_any_more(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with hosts(open_runner, exchanges, 2) as closes:
        ours, other = closes
        go_to(closes, MIDNIGHT_MS + 5_000)
        await ours.all()
        [suspect, *_] = by_key(await ours.runner.document("1h"))
        ours.runner.context.audits.suspect.add(suspect)
        # It cannot be read anew, and all others are fresh.
        exchange, symbol = suspect.split(":")
        ours.runner.fault({"kind": "status", "status": 400, "exchange": exchange, "symbol": symbol})
        go_to(closes, MIDNIGHT_MS + 10_000)
        await ours.all()
        context = other.runner.context
        lease = await try_acquire(context.store, "worker", holder="looks", ttl_s=60)
        assert lease is not None
        bases = await context.bases.load(context, Exchange(exchange), lease)
        await lease.release()
        assert len(bases) == EACH - 1 and suspect not in bases
