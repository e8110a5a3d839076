"""The main job, end to end: discovered, funded, queued, collected, merged, stored, read back.

The whole service runs in processes of its own, on real stores, against the simulator over HTTP;
what it serves is compared with the simulator's truth, which is computed apart from its answers.
"""

import asyncio
import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
import redis

from market.markets import Exchange
from market.timeframes import DAY_MS, HOUR_MS
from tests.fixtures.exchange_answers import our_key
from tests.fixtures.jobs import ALL
from tests.fixtures.service import SHORT_HISTORY, Service, ServiceSettings, StartService
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

FUNDING_HISTORY = 400
CANDLES = 499


def rows_by_market(document: Any) -> dict[str, list[list[Any]]]:
    return {f"{m['exchange']}:{m['symbol']}": m["rows"] for m in document["markets"]}


@pytest.fixture
def whole_history(service_settings: ServiceSettings) -> ServiceSettings:
    """`service_settings` with the histories that a service keeps when nobody sets them."""

    def made(exchanges: Simulator, **given: str) -> dict[str, str]:
        usual = service_settings(exchanges, **given)
        return {name: value for name, value in usual.items() if name not in SHORT_HISTORY}

    return made


def told_rates(market: str, rows: list[list[Any]]) -> list[list[Any]]:
    """The rows with null rates where only settlements of before OKX's three months tell them."""
    if not market.startswith("okx:"):
        return rows
    first_ms = NOW_MS - 90 * DAY_MS
    # The first of them was settled at most 8 hours later.
    known_ms = next((row[0] for row in rows if row[0] >= first_ms + 8 * HOUR_MS), 0)
    return [[*row[:8], row[8] if row[0] >= known_ms else None] for row in rows]


# Some forty are few to wait for, and some of them are young, or have not traded yet.
@pytest.mark.parametrize(
    "counts",
    [
        dict.fromkeys(map(str, Exchange), 14),
        pytest.param({"binance": 150, "bybit": 200, "okx": 150}, marks=pytest.mark.slow),
    ],
    ids=["few", "many"],
)
@pytest.mark.timeout(300)
async def test_every_row_of_every_market_is_the_truth(
    start_simulator: StartSimulator,
    start_service: StartService,
    whole_history: ServiceSettings,
    counts: dict[str, int],
) -> None:
    # Three collections of 150 markets stay within what one process may ask at once of Binance's
    # open interest, 1000 in 5 minutes, so that nothing here waits for the window to move on.
    # At an hour without settlements close by, or a refresh of funding may rightly come between.
    simulator = start_simulator(**counts, now=NOW_MS, frozen=True)
    service = await start_service(**whole_history(simulator, EXCHANGES=ALL))
    await service.funding_ready()
    funding_requests = simulator.stats()["funding_requests"]
    assert funding_requests >= sum(counts.values())
    documents: dict[str, Any] = {}
    for timeframe in ("4h", "1h", "12h"):
        last = await service.collect(timeframe, timeout_s=120)
        assert last["result"]["markets"] >= sum(counts.values()) * 0.97
    for timeframe in ("4h", "8h", "1h", "12h"):
        documents[timeframe] = await service.get(f"/cache/{timeframe}")

    for timeframe, document in documents.items():
        told = await asyncio.to_thread(
            simulator.truth,
            timeframe,
            as_of=document["as_of"],
            candles=CANDLES,
            funding_history=FUNDING_HISTORY,
        )
        truth = {our_key(key): rows for key, rows in told.items()}
        served = rows_by_market(document)
        unserved = {
            f"{item['exchange']}:{item['symbol']}"
            for item in document["missing"]
            if item["part"] == "klines"
        }
        # Only a market that has not traded a single candle yet may be missing.
        assert all(not truth[key] for key in unserved), unserved
        assert set(served) | unserved == set(truth)
        for key, rows in served.items():
            assert told_rates(key, rows) == told_rates(key, truth[key]), (timeframe, key)

    stats = simulator.stats()
    assert stats["limits_broken"] == {}
    assert stats["rejected"] == []
    assert stats["funding_requests"] == funding_requests


async def test_the_stored_value_is_the_json_that_the_api_serves(
    start_simulator: StartSimulator,
    start_service: StartService,
    whole_history: ServiceSettings,
    redis_url: str,
) -> None:
    simulator = start_simulator(binance=5, bybit=5)
    service = await start_service(**whole_history(simulator))
    await service.funding_ready()
    await service.collect("4h")
    with redis.Redis.from_url(redis_url) as client:
        blob = client.get("cache:4h")
    assert isinstance(blob, bytes)
    stored = json.loads(zlib.decompress(base64.b64decode(blob)))
    assert stored == await service.get("/cache/4h")


async def test_post_answers_while_a_collection_runs(
    start_simulator: StartSimulator,
    start_service: StartService,
    whole_history: ServiceSettings,
) -> None:
    simulator = start_simulator(binance=5, bybit=5, latency_ms=250)
    service = await start_service(**whole_history(simulator, CONCURRENCY_LIMIT="2"))
    await service.funding_ready()
    first = await service.post("/get-market-data", {"timeframe": "1h"})
    active = await service.job("collect:1h", lambda j: j["state"] == "active")
    assert active["progress"]["phase"] in ("queued", "markets", "waiting", "fetch")
    again = await service.post("/get-market-data", {"timeframe": "1h"})
    assert again["coalesced"]
    assert again["rerun"]
    assert again["run"] == first["run"] + 1
    seen = await service.job("collect:1h", lambda j: j["progress"]["done"] > 0)
    assert seen["progress"]["total"] == 20  # klines and open interest of 10 markets
    # The second POST is answered by data that is no older than it.
    last = await service.ended(again)
    assert last["as_of"] >= again["enqueued_at"] - 1000


@pytest.mark.timeout(180)
async def test_recorded_8h_candles_come_out_of_a_4h_collection(
    start_simulator: StartSimulator,
    start_service: StartService,
    whole_history: ServiceSettings,
    recorded_data: Path,
) -> None:
    # The 120 markets with most turnover: two pages of funding each stay within what may be asked
    # of Binance at once, so that the test does not wait for the limit's window to move on.
    simulator = start_simulator(recorded=recorded_data, frozen=True)
    settings = whole_history(simulator, RATE_FRACTION="1", MARKETS_LIMIT="120")
    service = await start_service(**settings)
    await service.funding_ready()
    await service.collect("4h", timeout_s=120)
    four_hours = await service.get("/cache/4h")
    eight_hours = await service.get("/cache/8h")
    assert len(four_hours["markets"]) == 123

    served = rows_by_market(eight_hours)
    compared = 0
    for symbol in ("BTCUSDT", "LTCUSDT"):
        native = await asyncio.to_thread(
            simulator.get, "/sim/recorded", exchange="binance", symbol=symbol, interval="8h"
        )
        compared += same_candles(native["rows"], served[f"binance:{symbol}"], eight_hours)
    assert compared >= 400

    for timeframe, document in (("4h", four_hours), ("8h", eight_hours)):
        truth = await asyncio.to_thread(
            simulator.truth,
            timeframe,
            as_of=document["as_of"],
            candles=CANDLES,
            funding_history=FUNDING_HISTORY,
        )
        for key, rows in rows_by_market(document).items():
            assert rows == truth[key], (timeframe, key)
    assert simulator.stats()["limits_broken"] == {}
    assert simulator.stats()["rejected"] == []


def same_candles(native: list[list[Any]], ours: list[list[Any]], document: Any) -> int:
    """Compares closed candles with the exchange's own; how many there were in both."""
    own = {row[0]: row[1:6] for row in ours if row[0] <= document["last_closed_open_time"]}
    both = [row for row in native if row[0] in own]
    for row in both:
        assert own[row[0]] == [float(value) for value in row[1:6]], row
    assert len(both) == len(own)
    return len(both)


async def test_wrong_settings_stop_the_start_with_one_line_each(
    start_service: StartService,
) -> None:
    service: Service = await start_service(wait=False, PORT="x", RATE_FRACTION="2")
    assert await asyncio.wait_for(service.process.wait(), 20) == 78
    await service.stop()
    assert sorted(line.split(":")[1].strip() for line in service.lines) == ["PORT", "RATE_FRACTION"]
