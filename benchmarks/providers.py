"""The rows of providers: what a chain costs over the bare HTTP call that it makes."""

import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import aiohttp
import orjson

from benchmarks.benchmark_run import BenchmarkRun, open_stores
from benchmarks.machine import ROOT, environment, running
from benchmarks.report import Row, Sample, Target
from commands.runtime import tune_garbage_collection
from config import load_settings
from logging_setup import configure_logging
from providers import assets, registry
from providers.chain import Chains
from providers.opening import open_chains
from providers.questions import Question
from providers.resources import Level, LevelTimes, Limit, Resource

PART: Final = "providers"
_MEMBER: Final = "price.aggregate/coingecko"
_ASKED: Final = Question("price.aggregate", ("btc", "eth"), (("quote", "USD"),))
_PATH: Final = (
    "/api.coingecko.com/api/v3/simple/price?ids=bitcoin,ethereum&vs_currencies=usd"
    "&include_market_cap=true&include_24hr_vol=true&include_24hr_change=true"
    "&include_last_updated_at=true&precision=full"
)
_NO_LIMIT: Final = (Limit(10**9, 60),)  # counted as any other
_WITHIN_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class _OneRow:
    """A registry of one row."""

    row: Resource
    levels: Mapping[Level, LevelTimes]

    @property
    def resources(self) -> Sequence[Resource]:
        return (self.row,)

    def chain(self, id_: str) -> Sequence[Resource]:
        return self.resources


@contextlib.asynccontextmanager
async def _asking(bench: BenchmarkRun) -> AsyncIterator[tuple[Chains, str]]:
    """A chain of one row that is never fresh, over a real hot store, and the provider's address."""
    options = ("--providers", "--no-limits", "--port", "0", "--binance", "3", "--bybit", "3")
    async with (
        open_stores(bench.folder / "providers", bench.cores.load, postgres=False) as stores,
        running(
            [sys.executable, "-m", "simulator", *options],
            cwd=bench.folder,
            env=environment(PYTHONPATH=str(ROOT)),
            cores=bench.cores.load,
        ) as simulator,
    ):
        settings = load_settings(
            redis_url=stores.redis_url, providers_base_url=simulator.address, rate_fraction=1.0
        )
        known = registry.load(settings)
        row = known.resource(_MEMBER)
        row = replace(row, ttl_s=0.0, provider=replace(row.provider, limits=_NO_LIMIT))
        rows = _OneRow(row, known.levels)
        async with open_chains(settings, stores.store, rows, assets.load(), environ={}) as chains:
            yield chains, simulator.address + _PATH


async def measure(bench: BenchmarkRun) -> None:
    """Measures a chain beside the call that it makes, both over HTTP."""
    configure_logging("WARNING", "console")
    tune_garbage_collection()
    count = bench.sizes.provider_calls
    bench.say(f"providers: {count} questions, and as many bare calls")
    both: list[Sample] = []
    async with _asking(bench) as (chains, url), aiohttp.ClientSession() as http:

        async def ask() -> None:
            answer = await chains.ask(_ASKED, _WITHIN_S)
            if answer.cached or answer.missing:
                raise RuntimeError("the provider was not asked, or did not answer")

        async def call() -> None:
            async with http.get(url) as answer:
                orjson.loads(await answer.read())

        for work in (ask, call):
            await _cpu_ms(work, max(1, count // 10))  # connections, scripts and first values
        for _ in range(bench.sizes.runs):
            bare = await _cpu_ms(call, count)
            both.append(Sample(await _cpu_ms(ask, count), bare))
    over = [Sample(each.ours - (each.other or 0.0)) for each in both]
    what = "CPU of a chain over the bare HTTP call, each question"
    note = (
        "two prices of one provider, asked for anew each time, the hot store's commands included: "
        "what is known, who may be asked, breaker, budget, reading, bounds, plausibility, usage"
    )
    bench.add(Row(PART, what, "", "ms", over, Target("<=", 1, "ms"), note))
    what = "CPU of a question for which a provider is asked"
    bench.add(Row(PART, what, "aiohttp and orjson: the same request alone", "ms", both))


async def _cpu_ms(work: Callable[[], Awaitable[None]], count: int) -> float:
    """The CPU time of this process for one of so many in turn, in ms."""
    began_s = time.process_time()
    for _ in range(count):
        await work()
    return (time.process_time() - began_s) / count * 1000
