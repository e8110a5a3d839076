"""A host that ends in the middle of a close: another one, or itself after a restart, goes on.

At each step of a close the first host hangs, as if it were killed there. Its lease ends, another
one completes the job, and only then the first one's late writes come.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from documents.names import base_name
from jobs.bases import Bases
from jobs.context import Progress
from jobs.runners import run_job
from market.markets import Exchange
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from stores.hot.leases import LeaseLost, try_acquire
from tests.fixtures.base_rows import same
from tests.fixtures.jobs import ALL, JobRunner, NoAudits, OpenRunner, by_key, lacks
from tests.fixtures.signals import Gate
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.jobs.test_closes import CANDLE, MIDNIGHT_MS, Closes, asked_of_all

EACH = 2
CANDLES = 40
JOB = "collect:all"
BASES = tuple(map(base_name, Exchange))
DOCUMENTS = tuple(map(str, Timeframe))
STEPS = (*BASES, *DOCUMENTS)  # what a close publishes, in this order
CLOSES_MS = [minutes * MINUTE_MS for minutes in (5, 5, 15, 60, 240, 480)]


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(**dict.fromkeys(Exchange, EACH), now=NOW_MS, frozen=True)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open interest that a busy machine brings late would be asked for again."""
    monkeypatch.setattr("data_collector.interest_reads._LONGEST_INTEREST_WAIT_S", 600)


@contextlib.asynccontextmanager
async def hosts(
    open_runner: OpenRunner, exchanges: Simulator, count: int, now_ms: int = NOW_MS
) -> AsyncIterator[list[Closes]]:
    """Several hosts on the same stores, the first of which has collected everything."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            runner = await stack.enter_async_context(
                open_runner(exchanges, exchanges=ALL, history_candles=CANDLES, audits=NoAudits())
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


async def checked(runner: JobRunner, timeframe: Timeframe, *, may_be_stale: bool = False) -> Any:
    """Compares every market's candles with the truth; returns the document.

    The forming one is of some moment since the close, of which only its beginning is known.
    """
    document = await runner.document(timeframe)
    markets = by_key(document)
    truth = runner.truth(timeframe, candles=CANDLES, as_of=document["as_of"])
    gone = truth.keys() - markets.keys()  # all that is known of it is before the window
    assert {(key, "klines") for key in gone} <= lacks(document).keys()
    assert may_be_stale or not gone
    for key, market in markets.items():
        rows, expected = ([row[:CANDLE] for row in each] for each in (market["rows"], truth[key]))
        if may_be_stale and market["stale_since"] is not None:
            assert [row for row in rows[:-1] if row not in expected] == [], (timeframe, key)
            continue
        assert (rows[:-1], rows[-1][:2]) == (expected[:-1], expected[-1][:2]), (timeframe, key)
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
        job = await context.queue.take(lease, JOB)
        assert job is not None
        self.run = asyncio.create_task(run_job(context, job, lease, Progress()))
        reached = asyncio.create_task(self.gate.wait_until_reached())
        await asyncio.wait((self.run, reached), return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        self.hangs = not self.run.done()  # else it does not publish the step
        await context.store.execute("DEL", "lock:worker")  # its time is over
        return self

    async def _held(self, name: str, *arguments: Any, **options: Any) -> Any:
        if name == self.step:
            await self.gate.passed()
        return await self._save(name, *arguments, **options)

    async def __aexit__(self, *error: object) -> None:
        self.gate.open()
        with pytest.raises(LeaseLost) if self.hangs else contextlib.nullcontext():
            await self.run
        await self.lease.release()
        self.closes.runner.context.cache.save_to_cache = self._save  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "steps",
    [
        # Between the bases, before all documents, and between two of one collection.
        pytest.param(("base:bybit", "5m", "8h"), id="some"),
        pytest.param(STEPS, id="all", marks=pytest.mark.slow),
    ],
)
async def test_another_host_goes_on_at_any_step_of_a_close(
    open_runner: OpenRunner, exchanges: Simulator, steps: tuple[str, ...]
) -> None:
    async with hosts(open_runner, exchanges, 2) as closes:
        for day, step in enumerate(steps):
            hanging, other = closes[day % 2], closes[(day + 1) % 2]
            before = await moments(other.runner)
            closed_ms = MIDNIGHT_MS + day * DAY_MS
            go_to(closes, closed_ms + 5_000)
            async with Hanging(hanging, step) as run:
                assert run.hangs
                midway = await moments(other.runner)
                done = STEPS[: STEPS.index(step)]
                assert [name for name in STEPS if midway[name] != before[name]] == list(done)
                go_to(closes, closed_ms + 25_000)
                result = await other.all()
                after = await moments(other.runner)
            assert await moments(other.runner) == after  # the late writes changed nothing
            # What is stored is not asked for again.
            lacking = [exchange for exchange in Exchange if base_name(exchange) not in done]
            since_ms = 12 * HOUR_MS if day else closed_ms - NOW_MS
            expected = asked_of_all(since_ms, EACH, lacking) if lacking else 0
            assert result["requests"] == expected, step
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
                assert result["requests"] == asked_of_all(later_ms, EACH)


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


class Day:
    """Two hosts, of which one or the other runs, hangs or is started again at drawn instants, while
    requests for one market may fail."""

    def __init__(self, chance: random.Random, closes: list[Closes]) -> None:
        self.chance, self.closes = chance, closes
        self.now_ms = NOW_MS
        self.known: dict[str, tuple[int, int]] = {}

    def go_on(self) -> None:
        """Moves to some instant, often just after a close."""
        chance, every_ms = self.chance, self.chance.choice(CLOSES_MS)
        close_ms = (self.now_ms // every_ms + 1) * every_ms
        after_ms = close_ms + chance.choice((0, 1, 2_000, 5_000, 30_000, 61_000))
        soon_ms = self.now_ms + chance.choice((1, 1_000, 10_000, 40_000, 61_000, 20 * MINUTE_MS))
        self.to(chance.choice((after_ms, after_ms, soon_ms)))

    def to(self, now_ms: int) -> None:
        go_to(self.closes, now_ms)
        self.now_ms = now_ms

    def fail(self) -> None:
        """Ends the fault of before, and lets another market fail, or none."""
        exchanges = self.closes[0].runner.exchanges
        exchanges.delete("/sim/faults")
        if self.chance.random() < 0.3:
            market = self.chance.choice(exchanges.get("/sim/markets")["markets"])
            where = {"exchange": market["exchange"], "symbol": market["symbol"]}
            endpoint = self.chance.choice(("klines", "open_interest"))
            status = self.chance.choice((400, 502))
            self.closes[0].runner.fault(
                {"kind": "status", "status": status, "endpoint": endpoint, **where}
            )

    async def run(self) -> None:
        one, other = self.chance.sample(self.closes, 2)
        match self.chance.choice(("all", "all", "single", "hang", "hang")):
            case "all":
                await one.all()
            case "single":
                timeframe = self.chance.choice(("5m", "15m", "1h", "4h", "6h", "1d"))
                await one.runner.complete(f"collect:{timeframe}")
            case _:
                async with Hanging(one, self.chance.choice(STEPS)):
                    self.to(self.now_ms + self.chance.choice((0, 1_000, 20_000, 45_000, 70_000)))
                    await other.all()
                    after = await moments(other.runner)
                assert await moments(one.runner) == after
        await self.check(one.runner)

    async def check(self, runner: JobRunner) -> None:
        """Every document is right, none older than before, and the bases are as in memory."""
        found = await moments(runner)
        for name, (version, as_of_ms) in self.known.items():
            assert found[name] >= (version, as_of_ms) and found[name][1] >= as_of_ms, name
        self.known = found
        for timeframe in Timeframe:
            await checked(runner, timeframe, may_be_stale=True)
        for exchange in Exchange:
            await self._check_bases(runner, exchange)

    async def _check_bases(self, runner: JobRunner, exchange: Exchange) -> None:
        context = runner.context
        lease = await try_acquire(context.store, "worker", holder="looks", ttl_s=60)
        assert lease is not None
        in_memory = await context.bases.load(context, exchange, lease)
        read = await Bases().load(context, exchange, lease)
        await lease.release()
        assert in_memory.keys() == read.keys()
        assert all(same(base, read[key]) for key, base in in_memory.items())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(4))
async def test_hosts_that_end_anywhere_publish_nothing_wrong(
    open_runner: OpenRunner, exchanges: Simulator, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - to be repeatable
    async with hosts(open_runner, exchanges, 5) as closes:
        day = Day(chance, closes[:2])
        for turn in range(25):
            day.go_on()
            day.fail()
            if turn % 8 == 7:  # one is started again, and knows nothing
                fresh = closes[2 + turn // 8]
                fresh.began_ms = fresh.now_ms = day.now_ms
                day.closes[chance.randrange(2)] = fresh
            await day.run()
