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
from providers.questions import INTERACTIVE_S, Kind, Question
from providers.records import Record, RpcAnswer
from providers.registry import Registry
from providers.resources import Resource
from providers.rpc.balancer import HEADS_FRESH_S, RPCLoadBalancer
from stores.hot.redis_client import NativeStore
from tests.fixtures.steady_time import steady_time
from tests.providers.hour.plan import PHASE_S, Phase, Planner, keyless
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
PROCESSES: Final = 2
_EVERY_S: Final = 15.0  # between two questions of one chain
_LATE_S: Final = 0.5  # beyond the deadline: a busy machine
RECOVERY_S: Final = 90.0
# So few calls that there is no room for two probes of each row within 90 s.
_SMALL: Final = ("blockcypher", "blockchain_info")


class Ages:
    """The clock of what is known of nodes: its seconds pass as fast as heads do."""

    def __init__(self, clock: "FastClock") -> None:
        self._clock = clock

    def wall_ms(self) -> int:
        return self._clock.wall_ms()

    def monotonic_s(self) -> float:
        return self._clock.wall_ms() / 1000

    async def sleep(self, delay_s: float) -> None:
        await self._clock.sleep(delay_s)


class FastClock:
    """Wall time and sleeps that pass `speed` times as fast; monotonic time is the event loop's, as
    deadlines are."""

    def __init__(self, now_ms: int, speed: float) -> None:
        self._base_ms, self._began_s, self.speed = now_ms, time.monotonic(), speed

    def wall_ms(self) -> int:
        return self._base_ms + round((time.monotonic() - self._began_s) * self.speed * 1000)

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()

    def steady_ms(self) -> float:
        return self.monotonic_s() * self.speed * 1000

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s / self.speed)


@dataclass(slots=True)
class Hour:
    """`processes`: the chains of each, which are asked in turn. `violations`: what should not have
    been, in words. `texts`: all that was told to anybody. `calls`: by resource, when each began,
    and when it ended, in real s."""

    processes: Sequence[Chains]
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
    calls: dict[str, dict[float, float | None]] = field(default_factory=dict)
    _number: int = 0
    _began_ms: int = 0
    _turn: int = 0

    @property
    def chains(self) -> Chains:
        """Of the process whose turn it is."""
        self._turn += 1
        return self.processes[self._turn % len(self.processes)]

    async def run(self) -> None:
        stop = asyncio.Event()
        await self._begin(0)
        probing = [asyncio.create_task(each.probes.run(stop)) for each in self.processes]
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
            await asyncio.gather(*probing)
        for each in ended:
            if isinstance(each, BaseException) and not isinstance(each, asyncio.CancelledError):
                raise each
        self.violations += self.watch.wrong_calls()
        await self._limits()

    async def _begin(self, number: int) -> None:
        await self.truth.delete("/faults")
        self._number, self._began_ms = number, self.clock.wall_ms()
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
        began_s, asked_ms = self.clock.monotonic_s(), self.clock.wall_ms()
        phase = self._number
        answer: Answer | RpcAnswer | None = None
        told = ""
        try:
            answer = await ask()
        except NoAnswer as error:
            told = str(error)
        took_s = self.clock.monotonic_s() - began_s
        if took_s > INTERACTIVE_S + _LATE_S:
            self.violations.append(f"phase {phase}: {chain} took {took_s:.2f} s")
        self.texts.append(told or repr(answer))
        records = () if answer is None else _records(answer)
        if isinstance(answer, Answer):
            self.records += records
        wrong = await self.truth.wrong(chain, records)
        if chain.startswith("rpc.") and self._lags_since_a_moment(records, asked_ms):
            wrong = []
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

    def _lags_since_a_moment(self, records: Sequence[Record], asked_ms: int) -> bool:
        """Whether the node's head was right when it was seen last: that holds for 30 s."""
        faults = self.phases[self._number].faults
        lags = any(faults.get(each.provider) == "lagging" for each in records)
        return lags and asked_ms - self._began_ms <= HEADS_FRESH_S * 1000

    def _survivor(self, chain: str, number: int) -> str | None:
        return self.phases[number].survivors.get(chain)

    def _lives(self, chain: str, asked: int) -> bool:
        """Whether one member had no fault from before the question was asked until it ended."""
        who = self._survivor(chain, asked)
        later = self.phases[self._number].faults
        return who is not None and who not in later

    async def _all_live_again(self) -> None:
        """All faults end: those that were not out for the day are back within 90 s, and so many
        more as their own calls took longer than they do at real speed, and as the machine stood
        still."""
        await self.truth.delete("/faults")
        began_ms, began_s = self.clock.wall_ms(), time.monotonic()
        ahead_s = began_s - self.clock.monotonic_s()
        while out := await self._out_since(began_ms):
            stood_s = time.monotonic() - self.clock.monotonic_s() - ahead_s
            passed_s = (self.clock.wall_ms() - began_ms) / 1000 - self.clock.speed * stood_s
            late = {each: round(passed_s - self._longer_s(each, began_s), 1) for each in out}
            late = {each: late_s for each, late_s in late.items() if late_s > RECOVERY_S}
            if late:
                self.violations.append(f"still out after {RECOVERY_S:.0f} s: {late}")
                return
            await self.clock.sleep(1)
        self.recovered_s.append((self.clock.wall_ms() - began_ms) / 1000)

    def _longer_s(self, resource: str, since_s: float) -> float:
        """For how much longer a call of the resource was under way than at real speed."""
        took_s = 0.0
        for began_s, ended_s in sorted(self.calls.get(resource, {}).items()):
            until_s = time.monotonic() if ended_s is None else ended_s
            took_s += max(0.0, until_s - max(since_s, began_s))
            since_s = max(since_s, until_s)
        return (self.clock.speed - 1) * took_s

    async def _out_since(self, began_ms: int) -> list[str]:
        """Those that a question is not sent to. A feed may be asked once a minute: one that has
        answered is back."""
        rows = [
            each
            for chain in self.registry.chains()
            for each in keyless(self.registry, chain)
            if each.probe and each.provider.id not in _SMALL
        ]
        answered = {
            told.attempt.resource.id
            for told in self.watch.told
            if told.at_ms >= began_ms and told.attempt.error_class is None
        }
        members = await self.processes[0].client.look(rows)
        return [
            row.id
            for row, member in zip(rows, members, strict=True)
            if member.guessed
            or (member.state is not BreakerState.CLOSED and not member.out_until_ms)
            if row.id not in answered or row.kind is not Kind.NEWS
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
    watch = Watch(grace_ms=0.3 * speed * 1000, speed=speed)
    store = NativeStore(redis_url, client_name="test")
    calls: dict[str, dict[float, float | None]] = {}
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(steady_time(monkeypatch))
        stack.push_async_callback(store.aclose)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        truth = Truth(http, base_url)
        clock = FastClock(await truth.now_ms(), speed)

        def balancer(chain: str, nodes: Sequence[Resource], **options: Any) -> RPCLoadBalancer:
            return RPCLoadBalancer(chain, nodes, **{**options, "clock": Ages(clock)})

        monkeypatch.setattr("providers.rpc.nodes.RPCLoadBalancer", balancer)

        def tell(attempt: Attempt) -> None:
            watch.tell(clock.wall_ms(), clock.steady_ms(), attempt)
            if on_attempt is not None:
                on_attempt(attempt)

        opened = [
            await stack.enter_async_context(
                open_chains(
                    *(settings, store, rows, assets.load()),
                    environ=environ or {},
                    clock=clock,
                    on_attempt=tell,
                    on_alert=alerts.append,
                )
            )
            for _ in range(PROCESSES)
        ]
        for chains in opened:
            _watch_calls(chains, clock, watch, calls, monkeypatch)
        yield Hour(opened, truth, clock, rows, planned, watch, alerts, calls=calls)


def _watch_calls(
    chains: Chains,
    clock: FastClock,
    watch: Watch,
    calls: dict[str, dict[float, float | None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, gate = chains.client, chains.client.gate
    admit, call = gate.admit, client.call

    async def watched(
        account: Account, *, weight: int = 1, how: How = "", budget: bool = True
    ) -> Right:
        asked_ms, steady_ms = clock.wall_ms(), clock.steady_ms()
        right = await admit(account, weight=weight, how=how, budget=budget)
        watch.admit(asked_ms, steady_ms, account, right)
        return right

    async def called(resource: Resource, question: Question, **options: Any) -> list[Record]:
        times, began_s = calls.setdefault(resource.id, {}), time.monotonic()
        times[began_s] = None
        try:
            return await call(resource, question, **options)
        finally:
            times[began_s] = time.monotonic()

    monkeypatch.setattr(gate, "admit", watched)
    monkeypatch.setattr(client, "call", called)
