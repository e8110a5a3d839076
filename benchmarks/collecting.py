"""The collecting rows: a collection compared with its rate limits, ccxt and orjson, and by size."""

import contextlib
import json
import math
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression, median
from typing import Any, Final

import aiohttp

from benchmarks import bodies
from benchmarks.benchmark_run import BenchmarkRun, Stores, open_stores
from benchmarks.machine import ROOT, Running, Spent, run_measured, running
from benchmarks.report import LeftOut, Row, Sample, Target
from data_collector.url_builder import endpoint_table
from market.markets import Exchange
from market.timeframes import Timeframe
from venues.venue import Endpoint

PART: Final = "collecting"
BENCH_PYTHON: Final = ROOT / ".venv-bench" / "bin" / "python"
FRACTION: Final = 0.9  # RATE_FRACTION's default
# Documented limits by counter: requests or weight, and seconds.
LIMITS: Final[Mapping[str, tuple[int, int]]] = {
    "Binance weight": (2400, 60),
    "Binance open interest": (1000, 300),
    "Bybit requests": (600, 5),
}
_MADE: Final = ("4h", "8h")
_MINUTE_MS: Final = 60_000


async def measure(bench: BenchmarkRun) -> None:
    """Measures the collecting rows and adds them to `bench`."""
    await _bodies(bench)
    await _collections(bench)
    await _growth(bench)


class Exchanges:
    """A running simulator."""

    def __init__(self, server: Running, client: aiohttp.ClientSession) -> None:
        self.address = server.address
        self.cpu_s = server.cpu_s
        self.pid = server.process.pid
        self._client = client

    async def get(self, what: str) -> Any:
        async with self._client.get(f"/sim/{what}") as answer:
            answer.raise_for_status()
            return await answer.json()

    async def delete(self, what: str) -> None:
        async with self._client.delete(f"/sim/{what}") as answer:
            answer.raise_for_status()

    async def post(self, what: str, **body: Any) -> None:
        async with self._client.post(f"/sim/{what}", json=body) as answer:
            answer.raise_for_status()


@contextlib.asynccontextmanager
async def exchanges(bench: BenchmarkRun, *options: str) -> AsyncIterator[Exchanges]:
    command = [sys.executable, str(ROOT / "main.py"), "simulate", "--port", "0", *options]
    env = {"PATH": "/usr/bin:/bin"}
    async with (
        running(command, cwd=bench.folder, env=env) as simulator,
        aiohttp.ClientSession(simulator.address) as client,
    ):
        yield Exchanges(simulator, client)


def _counts(binance: int, bybit: int) -> list[str]:
    return ["--binance", str(binance), "--bybit", str(bybit)]


# --- bodies in memory --------------------------------------------------------------------------


async def _bodies(bench: BenchmarkRun) -> None:
    sizes = bench.sizes
    folder = bodies.recorded_folder()
    answers: list[bodies.Answers] = []
    as_of_ms, source = 0, ""
    sources = {"recorded": ["--recorded", str(folder)]} if folder else {}
    sources["generated"] = _counts(sizes.bodies, sizes.bodies)
    for source in sources:
        options = sources[source]
        async with exchanges(bench, "--no-limits", *options) as asked:
            as_of_ms = (await asked.get("clock"))["now_ms"]
            markets = (await asked.get("markets"))["markets"]
            answers = await bodies.ask(
                asked.address, as_of_ms, sizes.history, sizes.bodies, markets
            )
        if len({each.market.exchange for each in answers}) > 1:
            break
    if not answers:
        raise RuntimeError("the simulated exchanges gave no candles")
    bodies.compare(answers, as_of_ms, sizes.history)  # warms up
    samples = [bodies.compare(answers, as_of_ms, sizes.history) for _ in range(sizes.runs)]
    what = "CPU of parse + merge + 8h + encode + compress, per market"
    note = f"{source} answers of {len(answers)} markets in memory"
    target = Target("<=", 2.5)
    bench.add(Row(PART, what, "orjson.loads of the same bodies", "ms", samples, target, note))


# --- collections ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Collected:
    """One collection: the process's use of CPU and memory, its result, the exchanges' counts."""

    spent: Spent
    result: Mapping[str, int]
    stats: Mapping[str, Any]

    @property
    def wall_s(self) -> float:
        return self.result["duration_ms"] / 1000

    def asked(self) -> dict[str, int]:
        """The requests or weight used, by counter."""
        requests = self.stats["requests"]
        return {
            "Binance weight": self.stats["weight_used"],
            "Binance open interest": _total(requests, "binance", "open_interest"),
            "Bybit requests": sum(
                _total(requests, "bybit", name) for name in requests.get("bybit", {})
            ),
        }


@dataclass(frozen=True, slots=True)
class _Ccxt:
    """CPU time of ccxt's process: for fetching one market, and for its start."""

    fetching_ms: float
    start_ms: float

    def per_market_ms(self, markets: int) -> float:
        return self.fetching_ms + self.start_ms / markets


def _total(requests: Mapping[str, Any], exchange: str, endpoint: str) -> int:
    return sum(requests.get(exchange, {}).get(endpoint, {}).values())


def _bound_s(asked: Mapping[str, int], latency_ms: int, *, bursts: bool) -> tuple[float, str]:
    """The longest time that any rate limit allows, plus one latency, and the name of that limit.

    `bursts`: requests that fit into one window may be sent at once, so only counters that need more
    than one window count.
    """
    times = {}
    for name, used in asked.items():
        quantity, window_s = LIMITS[name]
        room = FRACTION * quantity
        times[name] = 0.0 if bursts and used <= room else used * window_s / room
    slowest = max(times, key=lambda name: times[name])
    return times[slowest] + latency_ms / 1000, slowest


async def _collect(
    bench: BenchmarkRun, stores: Stores, asked: Exchanges, egress: str, command: Sequence[str]
) -> _Collected:
    await asked.post("limits/reset")
    await asked.post("stats/reset")
    env = stores.environment(
        BINANCE_BASE_URL=asked.address,
        BYBIT_BASE_URL=asked.address,
        HISTORY_CANDLES=str(bench.sizes.history),
        DATA_DIR=str(bench.folder / "worker"),
        EGRESS_ID=egress,  # fresh budgets, without reservations of the run before
    )
    spent = await run_measured(command, cwd=bench.folder, env=env)
    result = {name: int(number) for name, number in re.findall(r"(\w+) (\d+)", spent.output)}
    return _Collected(spent, result, await asked.get("stats"))


async def _unpaced(
    bench: BenchmarkRun, stores: Stores, asked: Exchanges, job: str, **settings: str
) -> Spent:
    env = stores.environment(
        BINANCE_BASE_URL=asked.address,
        BYBIT_BASE_URL=asked.address,
        DATA_DIR=str(bench.folder / "unpaced"),
        HISTORY_CANDLES=str(bench.sizes.history),
        **settings,
    )
    command = [sys.executable, "-m", "benchmarks.unpaced", job]
    return await run_measured(command, cwd=bench.folder, env=env)


async def _collections(bench: BenchmarkRun) -> None:
    """Measures, in each run, a cold collection, one a minute later, and ccxt for the same data."""
    sizes = bench.sizes
    command = [sys.executable, str(ROOT / "main.py"), "collect", "4h"]
    cold: list[_Collected] = []
    later: list[_Collected] = []
    watched: list[int] = []
    ccxt: list[_Ccxt] = []
    json_mb: list[float] = []
    latency = ["--latency-ms", str(sizes.latency_ms)]
    async with (
        open_stores(bench.folder / "collecting-stores") as stores,
        exchanges(bench, *_counts(*sizes.cold), *latency) as limited,
        exchanges(bench, *_counts(*sizes.cold), "--no-limits") as free,
    ):
        bench.say("setting up: markets and funding")
        for job in ("discovery", "funding"):
            await _unpaced(bench, stores, free, job)
        for run in range(sizes.runs):
            bench.say(f"collection {run + 1} of {sizes.runs}")
            names = [f"cache:{made}{end}" for made in _MADE for end in ("", ":meta")]
            await stores.store.execute("DEL", *names)
            cold.append(await _collect(bench, stores, limited, f"cold{run}", command))
            meta = await stores.cache.read_meta(Timeframe.H4)
            assert meta is not None  # noqa: S101 - it has just been published
            json_mb.append(meta.json_bytes / 1e6)
            await limited.post("clock", advance_ms=_MINUTE_MS)
            await _watch_open_interest(stores, limited)
            later.append(await _collect(bench, stores, limited, f"later{run}", command))
            watched.append(await _watched(limited))
            if BENCH_PYTHON.exists():
                ccxt.append(await _ccxt(bench, free))
    _add_cold_rows(bench, cold)
    _add_later_rows(bench, cold, later, watched)
    _add_cpu_row(bench, cold, ccxt)
    samples = [
        Sample(each.spent.peak_mb, size_mb) for each, size_mb in zip(cold, json_mb, strict=True)
    ]
    what, against = "peak memory of the worker", "the JSON size of the 4h document"
    bench.add(Row(PART, what, against, "MB", samples, Target("<=", 4)))


def _add_cpu_row(bench: BenchmarkRun, cold: Sequence[_Collected], ccxt: Sequence[_Ccxt]) -> None:
    what, against = "CPU of a cold collection, per market", "ccxt, the same candles and snapshots"
    if not ccxt:
        bench.left_out.append(LeftOut(PART, what, "ccxt is not installed: `make bench` does it"))
        return
    samples = [
        Sample(
            each.spent.cpu_s * 1000 / each.result["markets"],
            theirs.per_market_ms(each.result["markets"]),
        )
        for each, theirs in zip(cold, ccxt, strict=True)
    ]
    fetching_ms = median(theirs.fetching_ms for theirs in ccxt)
    note = (
        "whole processes: ours from its start to the published documents; ccxt's fetching of "
        f"{bench.sizes.ccxt} markets of each exchange without limits ({fetching_ms:.3g} ms per "
        "market) and its start, spread over as many markets as ours; its lists are given to it"
    )
    bench.add(Row(PART, what, against, "ms", samples, Target("<=", 1 / 3), note))


def _add_cold_rows(bench: BenchmarkRun, cold: Sequence[_Collected]) -> None:
    latency_ms = bench.sizes.latency_ms
    markets = " + ".join(map(str, bench.sizes.cold))
    kinds = {
        False: "requests / (0.9 x documented rate) + latency",
        True: "the same, for counters that one window does not hold",
    }
    for bursts, against in kinds.items():
        bounds = [_bound_s(each.asked(), latency_ms, bursts=bursts) for each in cold]
        samples = [
            Sample(each.wall_s, bound) for each, (bound, _) in zip(cold, bounds, strict=True)
        ]
        note = "; ".join(f"{name} {used}" for name, used in cold[0].asked().items())
        note = f"{note}; bound by {bounds[0][1]}"
        # Requests of the first window may be sent at once; the stricter bound allows for that.
        target = None if bursts else Target("<=", 1.15)
        what = f"wall time of a cold 4h collection, {markets} markets"
        bench.add(Row(PART, what, against, "s", samples, target, note))
    broken = [Sample(each.stats["limits_broken_total"]) for each in cold]
    bench.add(Row(PART, "limits broken by it", "", "", broken, Target("<=", 0)))


async def _watch_open_interest(stores: Stores, asked: Exchanges) -> None:
    """Makes the simulator count open-interest requests for markets that lack no snapshot."""
    document: Any = await stores.cache.get_from_cache(Timeframe.H4)
    complete: dict[str, list[str]] = {}
    for market in document["markets"]:
        table = endpoint_table(Exchange(market["exchange"]), Endpoint.OPEN_INTEREST)
        kept_ms = document["as_of"] - table.horizon_ms if table.horizon_ms is not None else 0
        if all(row[7] is not None for row in market["rows"] if row[0] >= kept_ms):
            complete.setdefault(market["exchange"], []).append(market["symbol"])
    for exchange, symbols in complete.items():
        # A fault without effect, whose hits are counted.
        await asked.post(
            "faults",
            kind="slow",
            seconds=0,
            endpoint="open_interest",
            exchange=exchange,
            symbol=symbols,
        )


async def _watched(asked: Exchanges) -> int:
    met = sum(int(rule["used"]) for rule in await asked.get("faults"))
    await asked.delete("faults")
    return met


def _add_later_rows(
    bench: BenchmarkRun,
    cold: Sequence[_Collected],
    later: Sequence[_Collected],
    watched: Sequence[int],
) -> None:
    what = "refresh one minute later"
    pairs = list(zip(later, cold, strict=True))
    walls = [Sample(again.wall_s, first.wall_s) for again, first in pairs]
    note = "both with budgets that nothing was taken from"
    quarter = Target("<=", 0.25)
    bench.add(Row(PART, f"{what}, wall time", "the cold one", "s", walls, quarter, note))
    requests = [Sample(again.stats["total"], first.stats["total"]) for again, first in pairs]
    bench.add(Row(PART, f"{what}, requests", "the cold one", "", requests))
    spent = [Sample(again.spent.cpu_s, first.spent.cpu_s) for again, first in pairs]
    note = "the whole process, from its start to the published documents"
    bench.add(Row(PART, f"{what}, CPU", "the cold one", "s", spent, None, note))
    weights, snapshots, funding = [], [], []
    for again in later:
        asked = again.stats["requests"]
        weight = again.stats["weight_used"] - _total(asked, "binance", "time")
        weights.append(Sample(weight / max(1, _total(asked, "binance", "klines"))))
        snapshots.append(sum(_total(asked, exchange, "open_interest") for exchange in asked))
        funding.append(Sample(again.stats["funding_requests"]))
    none = Target("<=", 0)
    one = Target("<=", 1.01)  # all candles of a few markets with holes are fetched again
    bench.add(Row(PART, f"{what}, Binance kline weight per market", "", "", weights, one))
    name = f"{what}, open-interest requests of markets whose snapshots are all there"
    note = f"those of other markets: {', '.join(map(str, snapshots))}"
    bench.add(Row(PART, name, "", "", [*map(Sample, watched)], none, note))
    bench.add(Row(PART, f"{what}, funding requests", "", "", funding, none))


async def _ccxt(bench: BenchmarkRun, free: Exchanges) -> _Ccxt:
    markets = (await free.get("markets"))["markets"]
    chosen = []
    for exchange in ("binance", "bybit"):
        listed = [
            each["symbol"] for each in markets if each["exchange"] == exchange and each["collected"]
        ]
        plain = [symbol for symbol in listed if symbol.endswith("USDT") and symbol.isascii()]
        chosen.append(plain[: bench.sizes.ccxt])
    command = [str(BENCH_PYTHON), str(Path(__file__).parent / "ccxt_fetch.py"), free.address]
    command += [str(bench.sizes.history), *map(",".join, chosen)]
    spent = await run_measured(command, cwd=bench.folder, env={"PATH": "/usr/bin:/bin"})
    found = json.loads(spent.output.splitlines()[-1])
    fetching_s = float(found["cpu_s"])
    markets = sum(map(len, chosen))
    return _Ccxt(1000 * fetching_s / markets, 1000 * (spent.cpu_s - fetching_s))


# --- growth --------------------------------------------------------------------------------------


async def _growth(bench: BenchmarkRun) -> None:
    """Measures CPU and memory of one collection of each size, without rate limits."""
    sizes = bench.sizes
    half = max(sizes.growth) // 2
    cpu_s, peak_mb = [], []
    async with (
        open_stores(bench.folder / "growth-stores") as stores,
        exchanges(bench, *_counts(half, half), "--no-limits") as free,
    ):
        await _unpaced(bench, stores, free, "discovery")
        for markets in sizes.growth:
            bench.say(f"growth: {markets} markets")
            await stores.store.execute("FLUSHALL")
            await stores.store.execute("SET", "cache:global_fr", "")
            spent = await _unpaced(
                bench, stores, free, "collect:4h", MARKETS_LIMIT=str(markets // 2)
            )
            cpu_s.append(spent.cpu_s)
            peak_mb.append(spent.peak_mb)
    for what, unit, found in (("CPU", "s", cpu_s), ("memory", "MB", peak_mb)):
        line = linear_regression(sizes.growth, found)
        exponent = linear_regression([*map(math.log, sizes.growth)], [*map(math.log, found)]).slope
        points = ", ".join(
            f"{count}: {value:.3g} {unit}" for count, value in zip(sizes.growth, found, strict=True)
        )
        note = f"{points}; fits {line.intercept:.3g} + {line.slope:.3g} {unit} per market"
        target = Target("<=", 1)
        name = f"{what} from {sizes.growth[0]} to {sizes.growth[-1]} markets, growth exponent"
        bench.add(Row(PART, name, "", "", [Sample(exponent)], target, note))
