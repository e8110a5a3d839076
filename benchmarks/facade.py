"""The exchanges' own addresses: candles from the cache against bare ASGI, and who is asked."""

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import orjson

from benchmarks.benchmark_run import BenchmarkRun, Stores, open_stores
from benchmarks.collecting import exchanges
from benchmarks.documents import symbol
from benchmarks.load import MISSING, have_wrk
from benchmarks.machine import ROOT, Running, running
from benchmarks.markets import options
from benchmarks.report import LeftOut, Row, Sample, Target
from benchmarks.serving import side_by_side
from documents.building import DocumentBuilder
from documents.deflated import Deflated
from market.markets import Exchange, Market, MarketSeries
from market.timeframes import Timeframe
from timing.clock import now_ms

PART: Final = "facade"
_TIMEFRAME: Final = Timeframe.H1
_CLIENTS: Final = 50
_QUESTIONS: Final = 40
_PATHS: Final = {
    Exchange.BINANCE: "/binance/fapi/v1/klines?symbol={symbol}&interval=1h&limit={rows}"
    "&endTime={end}",
    Exchange.BYBIT: "/bybit/v5/market/kline?category=linear&symbol={symbol}&interval=60"
    "&limit={rows}&end={end}",
}


async def measure(bench: BenchmarkRun) -> None:
    """Measures the rows of the facade and adds them to `bench`."""
    load_cores = bench.cores.load if bench.cores.load != bench.cores.server else ()
    async with open_stores(bench.folder / "facade-stores", load_cores, postgres=False) as stores:
        await _from_the_cache(bench, stores)
        await _at_one_moment(bench, stores)


@contextlib.asynccontextmanager
async def _api(bench: BenchmarkRun, stores: Stores, **more: str) -> AsyncIterator[Running]:
    command = [sys.executable, str(ROOT / "main.py"), "api"]
    folder = str(bench.folder / "facade-stores")
    env = stores.environment(DATA_DIR=folder, FACADE="on", PROVIDERS="off", **more)
    async with running(command, cwd=bench.folder, env=env, cores=bench.cores.server) as server:
        yield server


async def _from_the_cache(bench: BenchmarkRun, stores: Stores) -> None:
    markets, rows = bench.sizes.large
    at_ms = now_ms()
    end_ms = _TIMEFRAME.floor(at_ms) - 1
    async with stores.lease() as lease:
        version = await stores.cache.next_version(_TIMEFRAME, at_ms)
        document = await asyncio.to_thread(_document, markets, rows, version)
        await stores.cache.save_to_cache(
            _TIMEFRAME,
            document,
            version=version,
            as_of_ms=version,
            updated_at_ms=version,
            lease=lease,
        )
    for number, exchange in enumerate((Exchange.BYBIT, Exchange.BINANCE)):
        what = f"{exchange.title()} candles from the cache, {rows - 1}"
        if not have_wrk():
            bench.left_out.append(LeftOut(PART, what, MISSING))
            continue
        named = {"symbol": symbol(number), "rows": rows - 1, "end": end_ms}
        path = _PATHS[exchange].format(**named)
        files = bench.folder / f"facade-{exchange}"
        files.mkdir()
        apps = [sys.executable, "-m", "benchmarks.apps", "bare", str(files)]
        # An address where nobody answers: what is not in the cache would be an error.
        async with _api(bench, stores, **_nowhere()) as ours:
            (files / "candles").write_bytes(await _body(ours, path, rows - 1))
            env, cores = stores.environment(), bench.cores.server
            async with running(apps, cwd=bench.folder, env=env, cores=cores) as bare:
                samples = await side_by_side(
                    bench, f"{ours.address}{path}", f"{bare.address}/candles", {}, "requests/s"
                )
        against = "bare ASGI, the same bytes"
        bench.add(Row(PART, what, against, "requests/s", samples, Target(">=", 0.4)))


def _nowhere() -> dict[str, str]:
    return {f"{exchange.upper()}_BASE_URL": "http://127.0.0.1:1" for exchange in Exchange}


async def _body(ours: Running, path: str, rows: int) -> bytes:
    async with aiohttp.ClientSession(ours.address) as client, client.get(path) as answer:
        body = await answer.read()
        told = orjson.loads(body)
        found = told if isinstance(told, list) else told.get("result", {}).get("list", [])
        if answer.headers.get("X-Perpcache", "").partition(";")[0] != "hit" or len(found) != rows:
            raise RuntimeError(f"{path} was answered {answer.status}: {body[:200]!r}")
    return body


async def _at_one_moment(bench: BenchmarkRun, stores: Stores) -> None:
    """Clients that ask the same questions at once, none of which the cache can answer."""
    samples = []
    for _ in range(bench.sizes.runs):
        await stores.store.execute("FLUSHALL")
        async with exchanges(bench, *options((_QUESTIONS,))) as asked:
            markets = (await asked.get("markets"))["markets"]
            base = {f"{exchange.upper()}_BASE_URL": asked.address for exchange in Exchange}
            async with _api(bench, stores, **base) as ours:
                await asked.post("stats/reset")
                await _ask_at_once(ours, [market["symbol"] for market in markets])
                told = (await asked.get("stats"))["requests"]["binance"]["klines"]
            samples.append(Sample(sum(told.values()) / len(markets)))
    what = f"requests to the exchange per question, {_CLIENTS} clients ask {_QUESTIONS} at once"
    bench.add(Row(PART, what, "", "", samples, Target("<=", 1, ""), "nothing is in the cache"))


async def _ask_at_once(ours: Running, symbols: list[str]) -> None:
    async def client() -> None:
        async with aiohttp.ClientSession(ours.address) as session:
            for name in symbols:
                query = {"symbol": name, "interval": "1h", "limit": "500"}
                async with session.get("/binance/fapi/v1/klines", params=query) as answer:
                    body = await answer.read()
                    if answer.status != 200:
                        raise RuntimeError(f"{name} was answered {answer.status}: {body[:200]!r}")

    async with asyncio.TaskGroup() as group:
        for _ in range(_CLIENTS):
            group.create_task(client())


def _document(markets: int, rows: int, version: int) -> Deflated:
    builder = DocumentBuilder(_TIMEFRAME, "collected", trade_columns=True)
    for number in range(markets):
        exchange = Exchange.BINANCE if number % 2 else Exchange.BYBIT
        market = Market(exchange, symbol(number), f"COIN{number:04}", "USDT")
        builder.add(MarketSeries(market, _rows(number, rows, version), version), {})
    return builder.finish_deflated(
        version=version, as_of_ms=version, updated_at_ms=version, missing=()
    )


def _rows(number: int, rows: int, as_of_ms: int) -> list[Any]:
    """A market's rows up to `as_of_ms`, of as many digits as exchanges tell."""
    chance = random.Random(number)  # noqa: S311 - repeatable
    first_ms = _TIMEFRAME.window_start(as_of_ms, rows)
    made: list[Any] = []
    for place in range(rows):
        o, c = (chance.randrange(900, 1100) for _ in range(2))
        prices = [cents / 100 for cents in (o, max(o, c) + 1, min(o, c) - 1, c)]
        volume = chance.randrange(1, 10**8) / 10
        told = (*prices, volume, round(volume * c / 100, 3))
        half = (chance.randrange(1, 10**5), round(volume / 2, 1), round(volume * c / 200, 3))
        made.append((first_ms + place * _TIMEFRAME.interval_ms, *told, None, None, *half))
    return made
