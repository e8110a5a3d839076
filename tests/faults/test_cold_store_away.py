"""PostgreSQL away, from the start or in the middle: collection goes on with the known markets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from jobs.known_markets import KNOWN_MARKETS, Selection, load_known_markets, save_known_markets
from market.markets import Exchange, Market
from market.timeframes import HOUR_MS
from stores.hot.leases import Lease, LeaseLost, try_acquire
from stores.hot.opening import open_hot_store
from stores.hot.store import HotStore
from tests.fixtures.postgres import OwnPostgres
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.simulator import Simulator, StartSimulator
from tests.fixtures.upstash import OwnValkey
from timing.clock import now_ms

SECRET = "cron-secret"
MARKETS = 12


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    # In the middle of this hour: no candle closes, and no number changes, while a test runs.
    now = now_ms() // HOUR_MS * HOUR_MS + HOUR_MS // 2
    return start_simulator(binance=6, bybit=6, now=now)


@pytest.fixture
def settings(
    exchanges: Simulator, service_settings: ServiceSettings, own_postgres: OwnPostgres
) -> dict[str, str]:
    return service_settings(
        exchanges, DATABASE_URL=own_postgres.url, CRON_SECRET=SECRET, HISTORY_CANDLES="200"
    )


async def internal(service: Service, what: str) -> Any:
    return await service.post(f"/api/v1/internal/{what}", Authorization=f"Bearer {SECRET}")


def metas(document: Any) -> dict[str, Any]:
    return {f"{m['exchange']}:{m['symbol']}": m["meta"] for m in document["markets"]}


async def test_lost_in_the_middle(
    start_service: StartService, settings: dict[str, str], own_postgres: OwnPostgres
) -> None:
    service = await start_service(**settings)
    await service.funding_ready()
    await service.collect("1h")
    before = metas(await service.get("/cache/1h"))
    assert len(before) == MARKETS
    assert any(meta["hurst"] is not None for meta in before.values())
    await asyncio.to_thread(own_postgres.kill)

    ready = await service.until_ready("degraded")
    assert ready["parts"]["database"].startswith("away: the database failed")
    assert (ready["parts"]["store"], ready["parts"]["worker"]) == ("ok", "ok")
    status, answer = await service.answer("/coins")
    assert status == 503
    assert answer["detail"].startswith("the database failed")
    assert (await service.collect("1h"))["result"]["markets"] == MARKETS
    assert metas(await service.get("/cache/1h")) == before
    asked = await internal(service, "update-fr")
    assert (await service.ended(asked))["result"]["markets"] == MARKETS
    asked = await internal(service, "update-coins")
    failed = await service.job("discovery", lambda job: job["last"]["run"] >= asked["run"])
    assert failed["last"]["state"] == "failed"
    assert failed["error"].startswith("the database failed")

    # A start without it is no different.
    await service.stop()
    service = await start_service(**settings)
    assert (await service.collect("4h"))["result"]["markets"] == MARKETS
    assert len((await service.get("/cache/8h"))["markets"]) == MARKETS
    due = service.said("due_jobs_not_checked")
    assert sum("job=discovery" in line for line in due) == 1 and len(due) <= 2
    assert len(service.said("using_last_known_markets")) == 1

    await asyncio.to_thread(own_postgres.start)
    # The failed discovery is told until one completes; a worker runs it by itself after a minute.
    await service.ended(await internal(service, "update-coins"))
    await service.until_ready("ready")
    coins = await service.get("/coins?timeframe=1h")
    assert {f"{c['exchange']}:{c['symbol']}" for c in coins["coins"]} == set(before)
    await service.collect("1h")
    assert len(service.said("using_last_known_markets")) == 1


async def test_down_at_the_first_start(
    start_service: StartService, settings: dict[str, str], own_postgres: OwnPostgres
) -> None:
    """Nothing is known yet: the job says why it cannot work; later the tables are made."""
    await asyncio.to_thread(own_postgres.kill)
    service = await start_service(**settings)
    asked = await service.post("/get-market-data", {"timeframe": "1h"})
    job = await service.job("collect:1h", lambda job: job["last"] is not None)
    assert (job["state"], job["last"]["run"]) == ("failed", asked["run"])
    assert job["error"].startswith("the database failed")
    assert (await service.answer("/cache/1h"))[0] == 404
    await asyncio.to_thread(own_postgres.start)
    await service.until_ready("ready")
    # Nobody asked for it: the schedule looked again.
    await service.job("discovery", lambda job: job["last"] is not None, 15)
    assert len((await service.get("/coins"))["coins"]) == MARKETS
    assert (await service.collect("1h"))["result"]["markets"] == MARKETS


# What is kept.

ASKED: Selection = {"exchanges": tuple(Exchange), "quote": "USDT", "markets_limit": 0}
LISTED = [
    Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT", 7),
    Market(Exchange.BINANCE, "数USDT", "数", "USDT"),
]


@pytest.fixture
async def lease(store: HotStore) -> AsyncIterator[Lease]:
    lease = await try_acquire(store, "funding", holder="test", ttl_s=60)
    assert lease is not None
    yield lease
    await lease.release()


async def test_what_is_kept_comes_back(store: HotStore, lease: Lease) -> None:
    assert await load_known_markets(store, lease, ASKED) == []
    await save_known_markets(store, lease, ASKED, LISTED)
    found = await load_known_markets(store, lease, ASKED)
    assert [(m.key, m.base, m.quote, m.launched_ms) for m in found] == [
        ("binance:数USDT", "数", "USDT", 0),
        ("bybit:BTCUSDT", "BTC", "USDT", 7),
    ]
    assert await store.execute("PTTL", KNOWN_MARKETS) == -1
    await save_known_markets(store, lease, ASKED, LISTED[:1])
    assert await load_known_markets(store, lease, ASKED) == LISTED[:1]
    swapped: Selection = {**ASKED, "exchanges": tuple(reversed(Exchange))}
    assert await load_known_markets(store, lease, swapped) == LISTED[:1]


@pytest.mark.parametrize(
    "other",
    [
        {**ASKED, "exchanges": (Exchange.BYBIT,)},
        {**ASKED, "quote": "USDC"},
        {**ASKED, "markets_limit": 5},
    ],
)
async def test_markets_of_another_selection_stay_out(redis_url: str, other: Selection) -> None:
    store = open_hot_store(redis_url, client_name="test")
    lease = await try_acquire(store, "worker", holder="test", ttl_s=60)
    assert lease is not None
    await save_known_markets(store, lease, ASKED, LISTED)
    assert await load_known_markets(store, lease, other) == []
    await save_known_markets(store, lease, other, LISTED[:1])
    assert await load_known_markets(store, lease, other) == LISTED[:1]
    assert await load_known_markets(store, lease, ASKED) == []
    await lease.release()
    await store.aclose()


async def test_only_the_leases_holder_keeps_markets(store: HotStore, lease: Lease) -> None:
    await save_known_markets(store, lease, ASKED, LISTED)
    await store.execute("SET", lease.key, "99 nonce somebody else")
    with pytest.raises(LeaseLost):
        await save_known_markets(store, lease, ASKED, LISTED[:1])
    assert len(await load_known_markets(store, lease, ASKED)) == 2


@pytest.mark.parametrize("damage", ["", "[]", '{"selection":1}', "{", '{"markets":[[1]]}'])
async def test_damage_is_as_good_as_nothing(store: HotStore, lease: Lease, damage: str) -> None:
    await store.execute("SET", KNOWN_MARKETS, damage)
    assert await load_known_markets(store, lease, ASKED) == []
    await save_known_markets(store, lease, ASKED, LISTED)
    assert len(await load_known_markets(store, lease, ASKED)) == 2


async def test_a_full_store_does_not_stop_the_work_at_hand(
    own_valkey: Callable[..., OwnValkey],
) -> None:
    store = open_hot_store(own_valkey().url, client_name="test")
    lease = await try_acquire(store, "worker", holder="test", ttl_s=60)
    assert lease is not None
    await store.execute("CONFIG", "SET", "maxmemory", 1)
    await save_known_markets(store, lease, ASKED, LISTED)
    assert await load_known_markets(store, lease, ASKED) == []
    await lease.release()
    await store.aclose()
