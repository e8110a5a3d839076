"""Outages of simulated providers at a time that the test sets: nothing sleeps, every call is real.

The simulator's clock stands still until the test moves it; ours and the hot store's show the same.
Between two steps all that was begun is awaited, and deadlines are kept by a time that leaves out
what the machine stood still: so what is measured does not depend on the machine.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import pytest

from config import load_settings
from providers import assets, registry
from providers.attempts import Attempt
from providers.breaker import BreakerState
from providers.chain import Chains
from providers.errors import ProviderError
from providers.gate import Skipped
from providers.members import Member
from providers.opening import open_chains
from providers.probes import cheapest
from providers.registry import Registry
from providers.resources import Resource, State
from tests.fixtures.steady_time import steady_time
from tests.fixtures.virtual_store import ToldStore

_WAITING: Final = {"Probes.run", "Event.wait"}
_SETTLED_S: Final = 60.0  # real ones, after which a test has failed


class ManualClock:
    """`passed_s` is added to the event loop's time, by which deadlines of calls are kept."""

    def __init__(self, now_ms: int) -> None:
        self._base_ms, self.passed_s = now_ms, 0.0
        self.sleeping: dict[asyncio.Task[Any], tuple[float, asyncio.Event]] = {}
        self.changed = asyncio.Event()

    def wall_ms(self) -> int:
        return self._base_ms + round(self.passed_s * 1000)

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time() + self.passed_s

    async def sleep(self, delay_s: float) -> None:
        task, woken = asyncio.current_task(), asyncio.Event()
        assert task is not None
        self.sleeping[task] = (self.passed_s + delay_s, woken)
        self.changed.set()
        try:
            await woken.wait()
        finally:
            self.sleeping.pop(task, None)

    def wake(self) -> None:
        for task, (until_s, woken) in list(self.sleeping.items()):
            if until_s <= self.passed_s:
                woken.set()
                del self.sleeping[task]


@dataclass(slots=True)
class World:
    """`processes`: the chains of each; the first one is used. `began_s`: of each attempt."""

    http: aiohttp.ClientSession
    url: str
    store: ToldStore
    clock: ManualClock
    registry: Registry
    attempts: list[Attempt] = field(default_factory=list)
    processes: list[Chains] = field(default_factory=list)
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    _before: set[asyncio.Task[Any]] = field(default_factory=asyncio.all_tasks)

    @property
    def chains(self) -> Chains:
        return self.processes[0]

    async def start(self, processes: int = 1) -> None:
        settings = load_settings(providers_base_url=self.url)
        for _ in range(processes):
            chains = await self._stack.enter_async_context(
                open_chains(
                    *(settings, self.store, self.registry, assets.load()),
                    environ={},
                    clock=self.clock,
                    on_attempt=self.attempts.append,
                )
            )
            stop = asyncio.Event()
            running = asyncio.create_task(chains.probes.run(stop))
            self._stack.push_async_callback(asyncio.wait, [running])
            self._stack.callback(stop.set)
            self.processes.append(chains)
        await self.settled()

    async def stop(self) -> None:
        """Ends all processes."""
        stack, self._stack = self._stack, contextlib.AsyncExitStack()
        self.processes.clear()
        await stack.aclose()

    async def fault(self, **rule: Any) -> None:
        async with self.http.post(f"{self.url}/sim/providers/faults", json=rule) as answer:
            assert answer.status == 200, await answer.text()

    async def revive(self) -> None:
        async with self.http.delete(f"{self.url}/sim/providers/faults") as answer:
            assert answer.status == 200

    async def wrongs(self) -> dict[str, Any]:
        """What the simulator was asked that it should not have been."""
        path = f"{self.url}/sim/providers/requests?after={10**9}"
        async with self.http.get(path) as answer:
            told = await answer.json()
        return {name: told[name] for name in ("asked_while_suspended", "limits_broken")}

    async def pass_time(self, seconds: float) -> None:
        """Lets time pass, and waits until all that this has begun has ended."""
        passed = {"pass_ms": round(seconds * 1000)}
        async with self.http.post(f"{self.url}/sim/clock", json=passed) as answer:
            assert answer.status == 200, await answer.text()
        self.clock.passed_s += seconds
        await self.store.tell_us(self.clock.wall_ms() * 1000)
        self.clock.wake()
        await self.settled()

    async def settled(self) -> None:
        """Waits until everything waits for time to pass."""
        async with asyncio.timeout(_SETTLED_S):
            while True:
                self.clock.changed.clear()
                asleep = sum(_name(each) == "ManualClock.sleep" for each in self.clock.sleeping)
                busy = [
                    each
                    for each in asyncio.all_tasks() - self._before
                    if each not in (*self.clock.sleeping, asyncio.current_task())
                    and _name(each) not in _WAITING
                ]
                if not busy and asleep == len(self.processes):
                    return
                changed = asyncio.create_task(self.clock.changed.wait())
                await asyncio.wait((changed, *busy), return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()

    def keyless(self) -> list[Resource]:
        """All rows that are asked without a key, and by a URL."""
        return [
            each
            for each in self.registry.resources
            if each.state is State.ALIVE
            and each.url
            and not each.needs_key
            and each.reader != "own"
        ]

    async def members(self, rows: Iterable[Resource]) -> list[tuple[Resource, Member]]:
        found = list(rows)
        return list(zip(found, await self.chains.client.look(found), strict=True))

    async def out(self, rows: Iterable[Resource]) -> list[Resource]:
        """Those that no question is sent to now."""
        return [
            row
            for row, member in await self.members(rows)
            if member.state is not BreakerState.CLOSED or member.out_until_ms
        ]

    async def ask(self, row: Resource) -> str | None:
        return await answered_by(self.chains, row)


async def answered_by(chains: Chains, row: Resource) -> str | None:
    """Asks one member as a question does; why it did not answer, None if it did."""
    try:
        await chains.client.call(row, cheapest(row, assets.load()), within_s=3)
    except (ProviderError, Skipped) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _name(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", "")


@contextlib.asynccontextmanager
async def open_world(
    redis_url: str, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    store = ToldStore(redis_url, client_name="test")
    try:
        async with steady_time(monkeypatch), aiohttp.ClientSession() as http:
            async with http.get(f"{base_url}/sim/providers/truth") as answer:
                now_ms = int((await answer.json())["now_ms"])
            await store.tell_us(now_ms * 1000)
            rows = registry.load(load_settings())
            world = World(http, base_url, store, ManualClock(now_ms), rows)
            try:
                yield world
            finally:
                await world.stop()
    finally:
        await store.aclose()
