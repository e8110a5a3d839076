"""What becomes of a document when markets, parts of them or a whole exchange cannot be fetched."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis

from market.timeframes import Timeframe
from tests.fixtures.service import Service, ServiceSettings, StartService, asking
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

SECRET = "cron-secret"
CRON = {"Authorization": f"Bearer {SECRET}"}
EACH = 6


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    # Far from the end of a candle: a row that was forming is not carried over once it has closed.
    return start_simulator(binance=EACH, bybit=EACH, latency_ms=5, now=NOW_MS)


@pytest.fixture
def settings(exchanges: Simulator, service_settings: ServiceSettings) -> dict[str, str]:
    return service_settings(exchanges, CRON_SECRET=SECRET)


def by_key(document: Any) -> dict[str, Any]:
    return {f"{m['exchange']}:{m['symbol']}": m for m in document["markets"]}


def lacks(document: Any) -> dict[tuple[str, str], str]:
    """The reasons by (market, part)."""
    return {
        (f"{lack['exchange']}:{lack['symbol']}", lack["part"]): lack["reason"]
        for lack in document["missing"]
    }


def asked(exchanges: Simulator, exchange: str) -> int:
    endpoints = exchanges.stats()["requests"].get(exchange, {})
    return sum(sum(statuses.values()) for statuses in endpoints.values())


async def etag(service: Service, path: str) -> str:
    async with aiohttp.ClientSession(service.address) as client, client.head(path) as answer:
        return answer.headers["ETag"]


async def test_single_markets_fail(
    start_service: StartService, settings: dict[str, str], exchanges: Simulator
) -> None:
    # A snapshot is still due, so that the second collection asks for open interest at all.
    exchanges.post(
        "/sim/faults",
        [
            {"kind": "missing_oi", "exchange": "bybit", "symbol": market["symbol"],
             "times": [Timeframe.H4.floor(NOW_MS)]}
            for market in exchanges.get("/sim/markets", exchange="bybit")["markets"]
        ],
    )  # fmt: skip
    service = await start_service(**settings)
    await service.funding_ready()
    await service.collect("4h")
    before = {name: await service.get(f"/cache/{name}") for name in ("4h", "8h")}
    # The ones with the most history: the youngest may have no candles at all.
    binance, bybit = (
        [key for key in by_key(before["4h"]) if key.startswith(name)] for name in ("bin", "byb")
    )
    full = {key for key, market in by_key(before["4h"]).items() if len(market["rows"]) == 50}
    no_klines = next(key for key in binance if key in full)
    no_oi = next(key for key in bybit if key in full)
    new = exchanges.post(
        "/sim/faults",
        {"kind": "list_new", "exchange": "bybit", "symbol": "NEWCOIN", "age_ms": 30 * 86_400_000},
    )[0]["market"]
    await service.ended(await service.post("/api/v1/internal/update-coins", **CRON))
    new_symbol = new.partition(":")[2] or new
    exchanges.post(
        "/sim/faults",
        [
            {"kind": "status", "status": 502, "endpoint": "klines", "exchange": "binance",
             "symbol": no_klines.partition(":")[2]},
            {"kind": "html_200", "endpoint": "klines", "exchange": "bybit", "symbol": new_symbol},
            {"kind": "truncated_json", "endpoint": "open_interest", "exchange": "bybit",
             "symbol": no_oi.partition(":")[2]},
        ],
    )  # fmt: skip
    last = await service.collect("4h")
    assert (last["result"]["carried_over"], last["result"]["markets"]) == (1, 2 * EACH)
    for name in ("4h", "8h"):
        document = await service.get(f"/cache/{name}")
        markets, known = by_key(document), by_key(before[name])
        assert set(markets) == set(known)  # the new one has no earlier rows: only in `missing`
        stale = markets[no_klines]
        assert stale["stale_since"] == document["as_of"]
        assert stale["checked_at"] == known[no_klines]["checked_at"] < document["as_of"]
        assert stale["rows"] == known[no_klines]["rows"]
        fresh = {key: market for key, market in markets.items() if key != no_klines}
        assert all(market["stale_since"] is None for market in fresh.values())
        assert all(market["checked_at"] == document["as_of"] for market in fresh.values())
        kept = {row[0]: row[7] for row in known[no_oi]["rows"]}
        assert sum(value is not None for value in kept.values()) > len(kept) / 2
        assert {row[0]: row[7] for row in markets[no_oi]["rows"]} == kept
        reasons = lacks(document)
        assert "502" in reasons[no_klines, "klines"]
        assert reasons[f"bybit:{new_symbol}", "klines"]
        assert reasons[no_oi, "open_interest"]
        assert {part for _, part in reasons} <= {"klines", "open_interest", "funding_rate"}

    # It is stale since the first failure, not since the last; and fresh when it is well again.
    since = stale["stale_since"]
    await service.collect("4h")
    assert by_key(await service.get("/cache/4h"))[no_klines]["stale_since"] == since
    exchanges.delete("/sim/faults")
    await service.collect("4h")
    document = await service.get("/cache/4h")
    assert len(document["markets"]) == 2 * EACH + 1
    assert all(market["stale_since"] is None for market in document["markets"])


async def test_one_exchange_down_then_both(
    start_service: StartService, settings: dict[str, str], exchanges: Simulator
) -> None:
    service = await start_service(**settings)
    await service.funding_ready()
    await service.collect("1h")
    before = await service.get("/cache/1h")
    exchanges.post("/sim/faults", {"kind": "reset", "exchange": "binance"})
    last = await service.collect("1h")
    assert (last["result"]["markets"], last["result"]["carried_over"]) == (2 * EACH, EACH)
    document = await service.get("/cache/1h")
    for key, market in by_key(document).items():
        down = key.startswith("binance")
        assert market["stale_since"] == (document["as_of"] if down else None)
        assert ((key, "klines") in lacks(document)) == down
        if down:
            assert market["rows"] == by_key(before)[key]["rows"]

    known = await etag(service, "/cache/1h")
    exchanges.post("/sim/faults", {"kind": "status", "status": 503, "exchange": "bybit"})
    wanted = await service.post("/get-market-data", {"timeframe": "1h"})
    job = await service.job("collect:1h", lambda j: j["state"] == "failed")
    assert job["run"] == wanted["run"]
    assert "binance" in job["error"] and "bybit" in job["error"] and "503" in job["error"]
    assert await etag(service, "/cache/1h") == known


async def test_a_long_pause_is_kept_by_every_process_until_it_ends(
    start_simulator: StartSimulator,
    start_service: StartService,
    settings: dict[str, str],
    redis_url: str,
    tmp_path: Path,
) -> None:
    # By our own clock, for the exchange says until when it shuts us out.
    exchanges = start_simulator(binance=EACH, bybit=EACH, latency_ms=5)
    settings |= asking(exchanges)
    service = await start_service(**settings)
    await service.funding_ready()
    await service.collect("1h")
    # Banned in the middle of it, for five minutes.
    exchanges.post(
        "/sim/faults",
        {"kind": "status", "status": 418, "ban_s": 300, "exchange": "binance", "endpoint": "klines",
         "after": 2, "count": 1},
    )  # fmt: skip
    last = await service.collect("1h")
    assert last["result"]["markets"] >= EACH
    assert last["result"]["carried_over"] >= 1
    document = await service.get("/cache/1h")
    stale = {key for key, market in by_key(document).items() if market["stale_since"]}
    assert stale and all(key.startswith("binance") for key in stale)
    assert stale == {key for key, part in lacks(document) if part == "klines"}
    assert any("ban" in lacks(document)[key, "klines"] for key in stale)
    assert len(document["markets"]) == 2 * EACH
    assert exchanges.stats()["limits_broken_total"] == 0

    exchanges.post("/sim/limits/reset")  # whoever asked now would be answered
    exchanges.post("/sim/stats/reset")

    async def carried_over(of: Service) -> None:
        document = await of.get("/cache/1h")
        for key, market in by_key(document).items():
            assert (market["stale_since"] is not None) == key.startswith("binance")
        assert asked(exchanges, "binance") == 0

    # The same process, with every kind of job.
    await service.collect("1h")
    await carried_over(service)
    await service.ended(await service.post("/api/v1/internal/update-fr", **CRON))
    await service.ended(await service.post("/api/v1/internal/update-coins", **CRON))
    await carried_over(service)
    # Another process, on another host as it were.
    elsewhere = settings | {"DATA_DIR": str(tmp_path)}
    collect = await start_service("collect", "1h", wait=False, **elsewhere)
    assert await asyncio.wait_for(collect.process.wait(), 30) == 0
    await carried_over(service)
    # And after a restart.
    await service.stop()
    service = await start_service(**settings)
    await service.collect("1h")
    await carried_over(service)
    assert asked(exchanges, "bybit") > 0

    # The pause ends: everything is fresh again.
    await service.stop()
    with redis.Redis.from_url(redis_url) as store:
        assert 200_000 < int(str(store.pttl("pause:default:binance"))) <= 300_000
        store.pexpire("pause:default:binance", 1)
    service = await start_service(**settings)
    last = await service.collect("1h")
    assert (last["result"]["markets"], last["result"]["carried_over"]) == (2 * EACH, 0)
