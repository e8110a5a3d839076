"""An hour of faults: questions of every chain, asked while the plan's faults come and go.

Time runs faster for the simulated providers, breakers, budgets and ages; deadlines are real.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import pytest

from config import Settings, load_settings
from providers import assets, registry
from providers.account import Account
from providers.answers import Answer
from providers.attempts import Alert, Attempt, OnAttempt
from providers.breaker import BreakerState
from providers.chain import Chains
from providers.errors import NoAnswer
from providers.gate import How, Right
from providers.opening import open_chains
from providers.questions import INTERACTIVE_S, Question
from providers.records import Record, RpcAnswer
from providers.registry import Registry
from stores.hot.redis_client import NativeStore
from tests.providers.hour.plan import PHASE_S, SLOWEST_S, Phase, Planner, keyless
from tests.providers.hour.truth import Truth
from tests.providers.hour.watching import Watch

_ADDRESS: Final = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045"
_BTC: Final = ("btc", "eth")
QUESTIONS: Final = (
    Question("price.spot", _BTC, (("quote", "USDT"),)),
    Question("price.perp", _BTC, (("quote", "USDT"),)),
    Question("price.aggregate", _BTC, (("quote", "USD"),)),
    Question("news", ("*",)),
    Question("sentiment.market", ("MARKET",)),
    Question("gas.ethereum", ("ethereum",)),
    Question("gas.evm", ("bsc",)),
    Question("gas.bitcoin", ("bitcoin",)),
    Question("stats.bitcoin", ("bitcoin",)),
    Question("stats.evm", ("ethereum",)),
    Question("balance.ethereum", (_ADDRESS,)),
    Question("balance.bsc", (_ADDRESS,)),
    Question("balance.tron", ("T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb",)),
    Question("balance.bitcoin", ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",)),
)
NODES: Final = ("ethereum", "bsc", "polygon", "solana")
_HEAD: Final = {"solana": "getSlot"}
_EVERY_S: Final = 15.0  # between two questions of one chain
_LATE_S: Final = 0.5  # beyond the deadline: a busy machine
_RECOVERY_S: Final = 90.0


class FastClock:
    """Wall time and sleeps that pass `speed` times as fast; monotonic time is real."""

    def __init__(self, now_ms: int, speed: float) -> None:
        self._base_ms, self._began_s, self.speed = now_ms, time.monotonic(), speed

    def wall_ms(self) -> int:
        return self._base_ms + round((time.monotonic() - self._began_s) * self.speed * 1000)

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s / self.speed)


@dataclass(slots=True)
class Hour:
    """`violations`: what should not have been, in words. `texts`: all that was told to anybody."""

    chains: Chains
    truth: Truth
    clock: FastClock
    registry: Registry
    phases: Sequence[Phase]
    watch: Watch
    alerts: list[Alert]
    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    texts: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    recovered_s: list[float] = field(default_factory=list)
    _number: int = 0

    async def run(self) -> None:
        stop = asyncio.Event()
        await self._begin(0)
        probing = asyncio.create_task(self.chains.probes.run(stop))
        asking = [asyncio.create_task(self._ask_often(each)) for each in QUESTIONS]
        asking += [asyncio.create_task(self._read_often(each)) for each in NODES]
        try:
            for number in range(len(self.phases)):
                await self._begin(number)
                await self.clock.sleep(PHASE_S)
            await self._all_live_again()
        finally:
            stop.set()
            for task in asking:
                task.cancel()
            ended = await asyncio.gather(*asking, return_exceptions=True)
            await probing
        for each in ended:
            if isinstance(each, BaseException) and not isinstance(each, asyncio.CancelledError):
                raise each
        self.violations += self.watch.wrong_calls()
        await self._limits()

    async def _begin(self, number: int) -> None:
        await self.truth.delete("/faults")
        self._number = number
        await self.truth.post("/faults", list(self.phases[number].rules))

    async def _ask_often(self, question: Question) -> None:
        while True:
            await self._one(question.chain, lambda: self.chains.ask(question, INTERACTIVE_S))
            await self.clock.sleep(_EVERY_S)

    async def _read_often(self, chain: str) -> None:
        method = _HEAD.get(chain, "eth_blockNumber")

        def read() -> Any:
            return self.chains.nodes.read(chain, method, [], within_s=INTERACTIVE_S)

        while True:
            await self._one(f"rpc.{chain}", read)
            await self.clock.sleep(_EVERY_S)

    async def _one(self, chain: str, ask: Any) -> None:
        began_s, phase = time.monotonic(), self._number
        answer: Answer | RpcAnswer | None = None
        told = ""
        try:
            answer = await ask()
        except NoAnswer as error:
            told = str(error)
        took_s = time.monotonic() - began_s
        if took_s > INTERACTIVE_S + _LATE_S:
            self.violations.append(f"phase {phase}: {chain} took {took_s:.2f} s")
        self.texts.append(told or repr(answer))
        records = () if answer is None else _records(answer)
        if isinstance(answer, Answer):
            self.records += records
        wrong = await self.truth.wrong(chain, records)
        self.violations += [f"phase {phase}: {chain}: {each}" for each in wrong]
        old = [each.stale_since_ms is not None for each in records]
        stale = all(old) if chain == "news" else any(old)
        self.counts[f"{chain} {'none' if answer is None else 'stale' if stale else 'fresh'}"] += 1
        lacks = answer.missing if isinstance(answer, Answer) else ()
        if (answer is None or stale or lacks) and self._lives(chain, phase):
            who = self._survivor(chain, phase)
            tried = answer.tried if isinstance(answer, Answer) else ()
            why = told or f"an old value, or none of {lacks}: {tried}"
            self.violations.append(f"phase {phase}: {chain}: {who} lives, and yet: {why}")

    def _survivor(self, chain: str, number: int) -> str | None:
        return self.phases[number].survivors.get(chain)

    def _lives(self, chain: str, asked: int) -> bool:
        """Whether one member had no fault from before the question was asked until it ended."""
        who = self._survivor(chain, asked)
        later = self.phases[self._number].faults
        return who is not None and who not in later

    async def _all_live_again(self) -> None:
        """All faults end: those that were not out for the day are asked again within 90 s."""
        await self.truth.delete("/faults")
        began_ms = self.clock.wall_ms()
        while open_ones := await self._open_ones():
            if (
                self.clock.wall_ms() - began_ms
                > (_RECOVERY_S + SLOWEST_S * self.clock.speed) * 1000
            ):
                self.violations.append(f"still out after {_RECOVERY_S:.0f} s: {open_ones}")
                return
            await self.clock.sleep(1)
        self.recovered_s.append((self.clock.wall_ms() - began_ms) / 1000)

    async def _open_ones(self) -> list[str]:
        rows = [
            each
            for chain in self.registry.chains()
            for each in keyless(self.registry, chain)
            if each.probe
        ]
        members = await self.chains.client.look(rows)
        return [
            row.id
            for row, member in zip(rows, members, strict=True)
            if member.state is not BreakerState.CLOSED and not member.out_until_ms
        ]

    async def _limits(self) -> None:
        told = await self.truth.get("/requests", after=str(10**9))
        for what in ("asked_while_suspended", "unknown", "limits_broken"):
            if told[what]:
                self.violations.append(f"{what}: {told[what]}")
        self.counts["requests"] = told["total"]


def _records(answer: Answer | RpcAnswer) -> tuple[Record, ...]:
    return answer.records if isinstance(answer, Answer) else (answer,)


@contextlib.asynccontextmanager
async def open_hour(
    redis_url: str,
    base_url: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    seed: int,
    speed: float,
    phases: int,
    environ: Mapping[str, str] | None = None,
    on_attempt: OnAttempt | None = None,
) -> AsyncIterator[Hour]:
    settings: Settings = load_settings(redis_url=redis_url, providers_base_url=base_url)
    rows = registry.load(settings)
    chains_asked = [each.chain for each in QUESTIONS] + [f"rpc.{each}" for each in NODES]
    planned = Planner(rows, chains_asked, seed, speed).phases(phases)
    alerts: list[Alert] = []
    watch = Watch(grace_ms=0.3 * speed * 1000)
    store = NativeStore(redis_url, client_name="test")
    try:
        async with aiohttp.ClientSession() as http:
            truth = Truth(http, base_url)
            clock = FastClock(await truth.now_ms(), speed)

            def tell(attempt: Attempt) -> None:
                watch.tell(clock.wall_ms(), attempt)
                if on_attempt is not None:
                    on_attempt(attempt)

            async with open_chains(
                *(settings, store, rows, assets.load()),
                environ=environ or {},
                clock=clock,
                on_attempt=tell,
                on_alert=alerts.append,
            ) as chains:
                gate = chains.client.gate
                admit = gate.admit

                async def watched(
                    account: Account, *, weight: int = 1, how: How = "", budget: bool = True
                ) -> Right:
                    right = await admit(account, weight=weight, how=how, budget=budget)
                    watch.admit(clock.wall_ms(), account, right)
                    return right

                monkeypatch.setattr(gate, "admit", watched)
                yield Hour(chains, truth, clock, rows, planned, watch, alerts)
    finally:
        await store.aclose()
