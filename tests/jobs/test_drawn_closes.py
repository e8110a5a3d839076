"""Drawn histories of two hosts that share a store: every document is what the exchanges have.

SEED=7 draws another history, STEPS=500 a longer one.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from chaos.checks import Facts, check_candles, lags
from chaos.names import EXCHANGES, market_key
from chaos.truth import MarketTruth
from data_collector.audits import Audits
from data_collector.clock_witnesses import LastAsOf
from data_collector.doubts import Doubts
from documents.kept import KeptDocuments
from jobs.bases import Bases
from jobs.context import Progress
from jobs.runners import run_job
from market.timeframes import COLLECTED, HOUR_MS, MINUTE_MS, Timeframe
from stores.hot.leases import LeaseLost, try_acquire
from tests.fixtures.exchange_answers import our_key
from tests.fixtures.jobs import JobRunner, OpenRunner
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

_SEED = int(os.environ.get("SEED", "1"))
_STEPS = int(os.environ.get("STEPS", "60"))
_EACH = 3
_CANDLES = 40
_MEMORY_MB = (512, 0.3, 0)  # of all documents, some without their rows, none
_SETTLEMENTS = 20
_ALL = "collect:all"
_JOBS = (_ALL, _ALL, *(f"collect:{timeframe}" for timeframe in COLLECTED))
_M5_MS = 5 * MINUTE_MS
_ADVANCES_MS = (5_000, 30_000, 61_000, _M5_MS, 15 * MINUTE_MS, HOUR_MS, 5 * HOUR_MS, 27 * HOUR_MS)
_FAULTS: tuple[Mapping[str, object], ...] = (
    {"kind": "status", "status": 500, "endpoint": "klines", "probability": 0.4},
    {"kind": "status", "status": 500, "endpoint": "open_interest", "probability": 0.5},
    {"kind": "status", "status": 500, "exchange": "binance"},
    {"kind": "status", "status": 500, "exchange": "bybit", "endpoint": "klines"},
    {"kind": "okx_code", "code": 50011, "exchange": "okx", "probability": 0.3},
    {"kind": "short_page", "endpoint": "klines", "probability": 0.5},
    {"kind": "short_page", "endpoint": "open_interest"},
    {"kind": "empty_body", "probability": 0.3},
    {"kind": "nonsense", "variant": "high_below_low", "endpoint": "klines", "probability": 0.3},
    {"kind": "nonsense", "variant": "off_grid", "endpoint": "klines", "probability": 0.3},
    {"kind": "nonsense", "variant": "zero_price", "probability": 0.3},
)


class History:
    """Two hosts, their exchanges, and what has been drawn so far."""

    def __init__(
        self, runners: list[JobRunner], exchanges: Simulator, chance: random.Random
    ) -> None:
        self.runners = runners
        self.exchanges = exchanges
        self.chance = chance
        self.now_ms = NOW_MS
        self.instants = [NOW_MS]
        self.told: list[str] = []
        self.versions: dict[str, int] = {}
        self.corrected: dict[str, set[int]] = {}
        self.truth = MarketTruth(self._ask, candles=_CANDLES, settlements=_SETTLEMENTS)
        markets = exchanges.get("/sim/markets")["markets"]
        self.native = {market_key(each): each["symbol"] for each in markets if each["collected"]}
        self.truth.symbols |= set(self.native.values())
        self.keys = set(self.native)
        self.listed: set[str] = set()  # since the beginning
        for runner in runners:
            self._live_by_exchanges(runner)

    async def _ask(self, path: str) -> Any:
        return await asyncio.to_thread(self.exchanges.get, path)

    def _live_by_exchanges(self, runner: JobRunner) -> None:
        runner.context.last_as_of.elapsed_s = lambda: self.now_ms / 1000

    def say(self, what: str) -> None:
        self.told.append(f"{(self.now_ms - NOW_MS) / 1000:.0f} s: {what}")

    def advance(self, by_ms: int) -> None:
        self.now_ms += by_ms
        self.instants.append(self.now_ms)
        self.exchanges.post("/sim/clock", {"advance_ms": by_ms})

    def restart(self, index: int) -> None:
        """The host's worker is another process now."""
        runner = self.runners[index]
        context = runner.context
        runner.context = replace(
            context,
            kept=KeptDocuments(self.chance.choice(_MEMORY_MB)),
            bases=Bases(),
            audits=Audits(),
            doubts=Doubts(),
            held_up={},
            last_as_of=LastAsOf(),
        )
        self._live_by_exchanges(runner)

    async def step(self) -> None:
        chance, drawn = self.chance, self.chance.random()
        if drawn < 0.4:
            by_ms = chance.choice(_ADVANCES_MS)
            if chance.random() < 0.5:  # to a little after a close
                by_ms = -(self.now_ms + by_ms) % by_ms + by_ms if by_ms % _M5_MS == 0 else by_ms
                by_ms += chance.randrange(1, 20_000)
            self.advance(by_ms)
            self.say(f"now {self.now_ms}")
        elif drawn < 0.48:
            self._correct()
        elif drawn < 0.53:
            index = chance.randrange(2)
            self.restart(index)
            self.say(f"host {index} starts anew")
        elif drawn < 0.56:
            await self.lose_bases()
        elif drawn < 0.60:
            await self.runners[chance.randrange(2)].complete("funding")
            self.say("funding")
        elif drawn < 0.64:
            await self.calm()
        elif drawn < 0.66:
            await self._list()
        elif drawn < 0.70:
            await self._taken_over()
        elif drawn < 0.85:
            await self._with_fault()
        else:
            await self.run(chance.choice(_JOBS))
        await self.check()

    def _correct(self) -> None:
        closed_ms = self.now_ms - self.now_ms % _M5_MS
        if self.now_ms - closed_ms >= MINUTE_MS:
            return
        key = self.chance.choice(sorted(self.keys))
        exchange = key.partition(":")[0]
        rule = {"kind": "correction", "exchange": exchange, "symbol": self.native[key]}
        status, _, _ = self.exchanges.full(
            "POST", "/sim/faults", json_body={**rule, "time": closed_ms - _M5_MS}
        )
        self.truth.correct(key, closed_ms - _M5_MS)
        self.say(f"{key} {closed_ms - _M5_MS} is corrected: {status}")

    async def _list(self) -> None:
        """A market is listed that has been traded for a while."""
        exchange = self.chance.choice(EXCHANGES)
        age_ms = self.chance.choice((0, 20 * MINUTE_MS, 3 * HOUR_MS, 30 * HOUR_MS, 900 * HOUR_MS))
        rule = {"kind": "list_new", "exchange": exchange, "symbol": f"NEW{len(self.listed)}"}
        (done,) = self.exchanges.post("/sim/faults", {**rule, "age_ms": age_ms})
        self.listed.add(our_key(done["market"]))
        self.truth.symbols.add(done["market"].partition(":")[2])
        await self.runners[0].complete("discovery")
        self.say(f"{done['market']} is listed since {age_ms / HOUR_MS:.1f} h")

    async def lose_bases(self) -> None:
        for exchange in EXCHANGES:
            for end in ("", ":meta", ":chunks"):
                await self.runners[0].context.store.execute("UNLINK", f"cache:base:{exchange}{end}")
        self.say("bases are lost")

    async def run(self, job_id: str) -> None:
        index = self.chance.randrange(2)
        record = await self.runners[index].run(job_id)
        self.say(f"host {index} {job_id}: {record.state} {record.error} {record.result}")
        if record.state == "complete":
            await self._fill()
            if job_id == _ALL:
                assert record.last is not None
                await self._check_lags(record.last.as_of_ms or 0)

    async def _fill(self) -> None:
        if self.chance.random() < 0.5:
            index = self.chance.randrange(2)
            record = await self.runners[index].run("fill")
            self.say(f"host {index} fill: {record.state} {record.error} {record.result}")

    async def _with_fault(self) -> None:
        fault = self.chance.choice(_FAULTS)
        self.say(f"fault {fault}")
        self.exchanges.post("/sim/faults", fault)
        await self.run(self.chance.choice(_JOBS))
        self.exchanges.delete("/sim/faults")

    async def _taken_over(self) -> None:
        """A host loses its lease before one of its publishes; another one goes on meanwhile."""
        index, job_id = self.chance.randrange(2), self.chance.choice(_JOBS)
        at, others = self.chance.randrange(1, 12), self.chance.choice((job_id, *_JOBS))
        runner, other = self.runners[index], self.runners[1 - index]
        context, saves = runner.context, 0
        save = context.cache.save_to_cache

        async def stolen(name: str, *arguments: Any, **options: Any) -> Any:
            nonlocal saves
            saves += 1
            if saves == at:
                await context.store.execute("DEL", "lock:worker")
                if self.chance.random() < 0.5:
                    self.advance(self.chance.choice((1_000, 61_000, _M5_MS)))
                record = await other.run(others)
                self.say(f"host {1 - index} takes over at {name}: {others} {record.state}"
                         f" {record.error} {record.result}")  # fmt: skip
            return await save(name, *arguments, **options)

        self.say(f"host {index} {job_id}, to lose its lease at publish {at}")
        context.cache.save_to_cache = stolen  # type: ignore[method-assign]
        try:
            await context.queue.request(job_id)
            lease = await try_acquire(context.store, "worker", holder="loses", ttl_s=60)
            assert lease is not None
            job = await context.queue.take(lease, job_id)
            assert job is not None
            try:
                outcome = await run_job(context, job, lease, Progress())
            except LeaseLost:
                assert saves >= at
            except Exception as error:
                self.say(f"it failed: {error!r}")
            else:
                assert saves < at, outcome
                self.say("it was over before")
            finally:
                await lease.release()
        finally:
            context.cache.save_to_cache = save  # type: ignore[method-assign]
        # What it left active is taken over.
        await self.run(job_id)

    async def _check_lags(self, as_of_ms: int) -> None:
        for timeframe in Timeframe:
            document = await self.runners[0].document(timeframe)
            assert lags(timeframe, document["as_of"], as_of_ms) == "", self.told

    async def calm(self) -> None:
        """Nothing breaks for a while: whatever is stored, a collection of all makes it whole.

        What contradicts it is believed when it is said twice.
        """
        self.say("calm")
        for _ in range(2):
            self.advance(16 * MINUTE_MS)
            await self.runners[0].complete("funding")
            index = self.chance.randrange(2)
            await self.runners[index].complete(_ALL)
            await self.runners[1 - index].complete("fill")
        await self.check(settled=True)

    def _later(self, at_ms: int) -> list[int]:
        """The times at which a forming row of that time may have been read: while a run goes on,
        the exchanges do, too. Made of 5m candles, it shows the end of its last one."""
        later = [ms for ms in self.instants if ms >= at_ms]
        end_ms = at_ms - at_ms % _M5_MS + _M5_MS
        return [*later, end_ms] if end_ms < later[-1] else later

    async def check(self, *, settled: bool = False) -> None:
        """Compares every new document with the truth."""
        for timeframe in Timeframe:
            document = await self.runners[0].document(timeframe)
            if document is None:
                continue
            version, before = document["version"], self.versions.get(timeframe, 0)
            assert version >= before, (timeframe, self.told)
            if version == before and not settled:
                continue
            self.versions[timeframe] = version
            moments = {each["checked_at"] for each in document["markets"]} | {document["as_of"]}
            truths = {
                ms: await self.truth.candles_at(timeframe, ms, self._later(ms)) for ms in moments
            }
            facts = Facts(
                _CANDLES,
                truths,
                [document["as_of"]],
                required=self.keys | (self.listed if settled else set()),
                settled=settled,
                corrected=self.truth.corrected,
            )
            found = check_candles(timeframe, document, facts)
            assert found.problems == [], "\n".join(
                [
                    f"seed {_SEED}: {timeframe} as of {document['as_of']}",
                    *found.problems,
                    *self.told,
                ]
            )


@asynccontextmanager
async def _history(
    open_runner: OpenRunner, exchanges: Simulator, seed: int
) -> AsyncIterator[History]:
    async with AsyncExitStack() as stack:
        runners = [
            await stack.enter_async_context(
                open_runner(
                    exchanges,
                    exchanges=",".join(EXCHANGES),
                    history_candles=_CANDLES,
                    funding_history=_SETTLEMENTS,
                )
            )
            for _ in range(2)
        ]
        history = History(runners, exchanges, random.Random(seed))  # noqa: S311 - repeatable
        try:
            await runners[0].complete("discovery")
            await runners[0].complete("funding")
            yield history
        finally:
            await history.truth.aclose()


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_two_hosts_in_turn(open_runner: OpenRunner, start_simulator: StartSimulator) -> None:
    exchanges = start_simulator(
        **dict.fromkeys(EXCHANGES, _EACH), now=NOW_MS, frozen=True, seed=_SEED
    )
    async with _history(open_runner, exchanges, _SEED) as history:
        for _ in range(_STEPS):
            await history.step()
        await history.calm()
