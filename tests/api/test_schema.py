"""The API behaves as /openapi.json says, checked with schemathesis."""

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import pytest

from database import Database, SeriesKey, SeriesRows
from documents.building import encode_funding
from documents.names import DOCUMENTS
from market.markets import Exchange, FundingSeries, ListedMarket, Market
from market.timeframes import Timeframe
from stores.hot.beats import beat
from stores.hot.store import StoreUnavailable
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.documents import AS_OF_MS, document
from tests.fixtures.overviews import document_of, told
from tests.fixtures.simulator import StartSimulator
from timing.backoff import stop_or

TOKEN: Final = "t0ken"
# A stream does not end; tests/api/events/ read it. And those that are described as candles are.
LEFT_OUT: Final = r"^/(events$|api/historical/(open-interest|funding))"
# The routes of workers: as many again, so that they have a run of their own.
OF_WORKERS: Final = r"^/api/(workers?|runs|config|queues|execution-log|failures|data-collections)"
# And those of providers, which need some.
OF_PROVIDERS: Final = (
    r"^/api/(prices|news|sentiment|gas|blockchain|whales|balance|rpc|providers|hierarchy"
    r"|historical/(sentiment|news))"
)
RUN: Final = (
    *("-m", "schemathesis.cli", "run"),
    *("--checks", "all", "--max-examples", "4"),
    *("--generation-deterministic", "--no-shrink"),
    *("--request-timeout", "60", "--warnings", "off", "--no-color"),
    *("--header", f"Authorization: Bearer {TOKEN}"),
)
# What is asked: values drawn for each operation; and each bound of each parameter, more than twice
# as many requests.
PHASES: Final = pytest.mark.parametrize(
    "phases",
    ["examples,fuzzing", pytest.param("examples,coverage,fuzzing", marks=pytest.mark.slow)],
)
# What no schema says: a cursor is of an answer, `to` is not before `from`, `revisions` decides the
# columns, parameters that mean nothing beside others are refused, and a worker's kind, schedule and
# code decide what can be set of it.
VALUES: Final = """
[parameters]
"query.cursor" = ""
"query.revisions" = "newest"
"query.from" = "2025-12-01T00:00:00Z"
"query.to" = "2026-12-01"
"query.source" = "candles"

[[operations]]
include-path-regex = "^/(cache/|market/|coins$|api/history/(holes|backfill)$)"
checks.positive_data_acceptance.expected-statuses = [
    "2xx", "304", "401", "404", "409", "416", "422", "5xx"
]
checks.negative_data_rejection.expected-statuses = ["400", "404", "405", "413", "415", "422", "5xx"]

[[operations]]
include-name-regex = "^(PATCH|PUT) /api/(workers?|config)/"
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "404", "422", "5xx"]
"""
# The names of assets, chains and indices are the registry's. What is wrong with a call of a node is
# told as JSON-RPC tells it.
VALUES_OF_PROVIDERS: Final = """
[[operations]]
include-path-regex = "^/api/(prices|news|sentiment|whales|balance|historical/news)"
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "422", "5xx"]

[[operations]]
include-path-regex = "^/api/(historical/)?news$"
parameters = { "query.since" = "1764547200000" }

[[operations]]
include-path-regex = "^/api/rpc/"
checks.negative_data_rejection.expected-statuses = ["200", "400", "404", "413", "5xx"]
"""
# The one that the description names as its example.
COLLECTORS: Final = (
    '[{"name": "majors", "exchange": "binance", "symbols": {"ETH-USDT": "ETHUSDT"},'
    ' "data_types": ["trade"], "outputs": ["redis"]}]'
)


@pytest.fixture
async def busy_api(
    start_api: StartApi, redis_url: str, database_url: str
) -> AsyncIterator[ServedApi]:
    """An API that has something to answer with, whatever is asked."""
    market = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")
    database = Database(database_url)
    await database.markets.save_markets(Exchange.BINANCE, [ListedMarket(market, 1.0)], seen_at_ms=1)
    await database.collectors.take_file("/f", 1, COLLECTORS)
    times = np.array([AS_OF_MS - AS_OF_MS % Timeframe.H4.interval_ms], np.int64)
    key = SeriesKey.candles(market.exchange, market.symbol, Timeframe.H4)
    await database.history.store([SeriesRows(key, times, np.ones((1, 6)))], AS_OF_MS)
    await database.aclose()
    api = await start_api(redis_url=redis_url, dsn=database_url, api_token=TOKEN, cron_secret=TOKEN)
    book = {market.key: FundingSeries(market, [(AS_OF_MS, 0.0001)], 8, AS_OF_MS)}
    funding = encode_funding(book, version=1, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=[])
    for name in DOCUMENTS:
        await api.publish(name, funding if name == "global_fr" else document(), AS_OF_MS)
    assets = document_of([told("binance", "BTC"), told("bybit", "BTC"), told("bybit", price=9.0)])
    await api.publish("overview", assets, AS_OF_MS)
    await api.queue.request("collect:4h")

    ended = asyncio.Event()

    async def live() -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):  # a busy machine stalls the store
                await beat(api.store, "w1")
            if await stop_or(ended, 5):
                return

    worker = asyncio.create_task(live())
    yield api
    ended.set()
    await worker


async def checked(
    api: ServedApi, folder: Path, phases: str, paths: list[str], *, only: bool
) -> None:
    """Asks the routes that match one of the patterns, or all others: no 500, no status, header or
    body that is not described, nothing let in that it forbids."""
    (folder / "schemathesis.toml").write_text(f"{VALUES}{VALUES_OF_PROVIDERS}")
    api.app.openapi()  # made at the first request, which takes a second
    pattern = "|".join(paths)
    option = "--include-path-regex" if only else "--exclude-path-regex"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *RUN, "--phases", phases, option, pattern),
        f"http://127.0.0.1:{api.port}/openapi.json",
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(240):
            said = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said
    async with api.http.get("/openapi.json") as page:
        found = (await page.json())["paths"].items()
    operations = sum(len(item) for path, item in found if bool(re.search(pattern, path)) is only)
    assert operations >= 15
    assert re.search(rf"Tested: {operations}\b", said), said
    async with api.http.get("/metrics") as page:
        assert 'status="500"' not in await page.text()


async def statuses(api: ServedApi) -> set[tuple[str, str]]:
    """Which route has answered with which status."""
    async with api.http.get("/metrics") as page:
        found = re.findall(
            r'^perpcache_http_requests_total{.*route="(.+?)",status="(\d+)"}',
            await page.text(),
            re.MULTILINE,
        )
    return set(found)


@PHASES
async def test_the_routes_of_workers_are_as_their_description_says(
    controlled_api: ServedApi, tmp_path: Path, phases: str
) -> None:
    await checked(controlled_api, tmp_path, phases, [OF_WORKERS], only=True)
    found = await statuses(controlled_api)
    worker, run = "/api/workers/{name}", "/api/runs/{run_id}"
    assert {(worker, "200"), (f"{worker}/run", "202"), (run, "200")} <= found
    assert {("/api/config/{worker}/{key}", "200"), ("/api/queues/{name}", "200")} <= found


@PHASES
async def test_the_routes_of_providers_are_as_their_description_says(
    redis_url: str,
    database_url: str,
    start_simulator: StartSimulator,
    start_api: StartApi,
    tmp_path: Path,
    phases: str,
) -> None:
    imitated = start_simulator(providers=True, binance=5, bybit=5, no_limits=True)
    api = await start_api(
        redis_url=redis_url,
        dsn=database_url,
        providers_base_url=imitated.base_url,
        api_token=TOKEN,
        max_provider_calls_per_client=100_000,
    )
    await checked(api, tmp_path, phases, [OF_PROVIDERS], only=True)
    found = await statuses(api)
    assert {
        (f"/api/{name}", "200") for name in ("prices", "news", "sentiment", "providers")
    } <= found
    assert {("/api/gas/{chain}", "200"), ("/api/rpc/{chain}", "200")} <= found


@PHASES
async def test_the_api_is_as_its_description_says(
    busy_api: ServedApi, tmp_path: Path, phases: str
) -> None:
    await checked(busy_api, tmp_path, phases, [LEFT_OUT, OF_WORKERS, OF_PROVIDERS], only=False)
    # It got through to what answers with 200, and was not turned away everywhere.
    found = await statuses(busy_api)
    assert {("/coins", "200"), ("/cache/{name}", "200"), ("/jobs/{job_id}", "200")} <= found
    assert ("/api/historical/candles", "200") in found
    collectors = "/api/collectors/{name}"
    assert {(collectors, "200"), (f"{collectors}/stop", "202")} <= found
    assert (f"{collectors}/symbols/{{symbol:path}}", "202") in found


async def test_every_status_that_can_be_answered_is_described(native_api: ServedApi) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{native_api.port}") as http:
        page: dict[str, Any] = (await http.get("/openapi.json")).json()
    for path, item in page["paths"].items():
        for method, operation in item.items():
            described = {int(status) for status in operation["responses"]}
            # What the protocol answers by itself, whatever was asked for.
            assert {400, 405, 413, 414, 431, 500, 503, 505} <= described, (path, method)
            if method in ("post", "put", "patch", "delete"):
                assert {401, 408} <= described, (path, method)
            if path.startswith("/cache/"):
                own = {206, 416} if path.endswith(".parquet") else {406}
                assert {200, 304, 404, 422, 429} | own <= described
