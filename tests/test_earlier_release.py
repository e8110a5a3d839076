"""A store that the release before wrote is taken over as it is, and shared with its processes.

tests/fixtures/earlier_release/README.md says how the snapshot was made. Literals here were read
from what that release wrote.
"""

import asyncio
import hashlib
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio
from structlog.testing import capture_logs

from api.documents.publish_watcher import PublishWatcher
from budgets.shared_budgets import SharedBudgets
from cache_manager import CacheManager
from commands.coins_csv import export_csv
from commands.data_dir import remember_exchanges
from commands.errors import CannotStart
from config import load_settings
from database import Database
from job_queue.queue import JobQueue
from jobs.known_markets import known_markets
from market.markets import Exchange, Market
from metrics.exposition import unpacked
from metrics.worker import WorkerMetrics
from stores.hot.beats import beat, store_health, workers_alive
from stores.hot.leases import Lease, LeaseHolder, current_holder, try_acquire
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore
from tests.fixtures.api import StartApi
from tests.fixtures.jobs import OpenRunner, by_key
from tests.fixtures.numbers import Numbers
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, StartSimulator
from timing.clock import SystemClock
from venues.venue import Limit
from worker import Worker

SNAPSHOT = Path(__file__).parent / "fixtures" / "earlier_release"
HISTORY = {"history_candles": 40, "funding_history": 12}
WORKER = "vm:17484"  # it was killed during collect:1h
LEASE = "5 a3b2407fe716 vm:17484"
VERSION = 1_795_185_441_250
BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT

Redis = redis.asyncio.Redis


@pytest.fixture
async def hot(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the hot store with the snapshot in it, as a process of any release has."""
    async with Redis.from_url(redis_url, protocol=2) as client:
        for key, kept in json.loads((SNAPSHOT / "hot_store.json").read_text()).items():
            value = kept["value"]
            if kept["type"] == "hash":
                await client.hset(key, mapping=value)
            elif kept["type"] == "set":
                await client.sadd(key, *value)
            else:
                await client.set(key, value)
            if kept["ttl_ms"] > 0:
                await client.pexpire(key, kept["ttl_ms"])
        yield client


@pytest.fixture
async def cold(database_url: str) -> str:
    """The address of a database with the snapshot's tables."""
    connection = await asyncpg.connect(database_url)
    await connection.execute((SNAPSHOT / "cold_store.sql").read_text())
    await connection.close()
    return database_url


@pytest.fixture
async def native(hot: Redis, redis_url: str) -> AsyncIterator[NativeStore]:
    """Our own client of the snapshot."""
    store = NativeStore(redis_url, client_name="test")
    yield store
    await store.aclose()


@pytest.fixture
async def heard(hot: Redis) -> AsyncIterator["asyncio.Queue[tuple[bytes, bytes]]"]:
    """Channel and text of what is published from now on."""
    messages: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()
    async with hot.pubsub() as channels:
        await channels.psubscribe("*")
        await channels.get_message(timeout=10)  # it stands

        async def listen() -> None:
            async for message in channels.listen():
                if message["type"] == "pmessage":
                    messages.put_nowait((message["channel"], message["data"]))

        listening = asyncio.create_task(listen())
        yield messages
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


def snapshot(name: str) -> Any:
    return json.loads((SNAPSHOT / name).read_text())


async def test_documents_and_jobs_are_served_as_that_release_served_them(
    start_api: StartApi, store_settings: dict[str, Any], hot: Redis, cold: str
) -> None:
    api = await start_api(dsn=cold, **store_settings)
    for path, served in snapshot("served.json").items():
        async with api.http.get(path) as answer:
            body = await answer.read()
            assert (answer.status, answer.headers["etag"]) == (200, served["etag"]), path
            assert hashlib.sha256(body).hexdigest() == served["sha256"], path
        # A client that polls since before the upgrade has the newest.
        async with api.http.get(path, headers={"If-None-Match": served["etag"]}) as answer:
            assert answer.status == 304, path
    async with api.http.get("/jobs") as answer:
        assert await answer.json() == snapshot("jobs.json")
    async with api.http.get("/ready") as answer:
        ready = await answer.json()
    assert (ready["status"], set(ready["parts"].values())) == ("ready", {"ok"})
    async with api.http.get("/metrics") as answer:
        told = Numbers(await answer.text())
    runs = {
        sample.labels["job_id"]: sample.value
        for sample in told.samples
        if sample.name == "perpcache_job_runs_total"
        and sample.labels["outcome"] == "complete"
        and sample.labels["worker"] == WORKER
    }
    assert {job: count for job, count in runs.items() if count} == {
        **dict.fromkeys(("discovery", "funding"), 1),
        **dict.fromkeys(("collect:4h", "collect:1h", "collect:5m"), 1),
    }


async def test_jobs_go_on_and_documents_are_refreshed(
    start_simulator: StartSimulator, open_runner: OpenRunner, hot: Redis, cold: str
) -> None:
    exchanges = start_simulator(binance=3, bybit=3, now=NOW_MS + 60_000, frozen=True)
    await hot.delete("lock:worker")  # its time ran out
    async with open_runner(exchanges, **HISTORY) as runner:
        context = runner.context
        lease = await try_acquire(context.store, "worker", holder="test", ttl_s=60)
        assert lease is not None
        worker, stop = Worker(context, holder="test"), asyncio.Event()
        # First what the dead worker ran, then what it had not begun.
        with capture_logs() as logs:
            for job_id, run, attempts in (("collect:1h", 3, 2), ("collect:5m", 2, 1)):
                job = await context.queue.take(lease)
                assert job is not None
                assert (job.id, job.run, job.attempts) == (job_id, run, attempts)
                assert await worker.run_one(job, lease, stop) == "complete"
            assert await context.queue.take(lease) is None
            await lease.release()
            await runner.complete("collect:4h")
        collected = [line for line in logs if line["event"] == "collected"]
        # A market of six is disabled. None was fetched anew, and nothing stored was wrong.
        assert [line["refreshed"] for line in collected] == [5, 5, 5]
        assert [line["corrected"] for line in collected] == [0, 0, 0]
        for name in ("1h", "5m", "4h", "8h"):
            document = await runner.document(name)
            truth = exchanges.truth(name, candles=40, funding_history=12, as_of=document["as_of"])
            assert document["version"] == VERSION + 60_000
            assert {key: market["rows"] for key, market in by_key(document).items()} == {
                key: rows for key, rows in truth.items() if key != "bybit:ETHUSDT"
            }


async def test_tables_and_their_migration_are_left_as_they_are(cold: str) -> None:
    database = Database(cold)
    try:
        await database.open()
        text = io.StringIO()
        assert await export_csv(database, text) == 6
        assert text.getvalue() == (SNAPSHOT / "coins.csv").read_text()
        assert await database.markets.discovered_at_ms(BYBIT) == 1_795_886_029_424
    finally:
        await database.aclose()
    connection = await asyncpg.connect(cold)
    applied = await connection.fetch("SELECT name, checksum, applied_at::text FROM"
                                     " perpcache_migrations")  # fmt: skip
    await connection.close()
    assert [row["name"] for row in applied] == ["0001_coins"]
    assert str(applied[0]["applied_at"]) in (SNAPSHOT / "cold_store.sql").read_text()


def test_a_data_dir_belongs_to_the_same_exchanges(tmp_path: Path) -> None:
    text = (SNAPSHOT / "exchanges.json").read_text()
    (tmp_path / "exchanges.json").write_text(text)
    addresses = {f"{name}_base_url": address for name, address in json.loads(text).items()}
    remember_exchanges(load_settings(data_dir=tmp_path, **addresses))
    assert (tmp_path / "exchanges.json").read_text() == text
    with pytest.raises(CannotStart, match=r"was filled from binance at http://127\.0\.0\.1"):
        remember_exchanges(load_settings(data_dir=tmp_path))


async def test_leases_are_counted_on(native: NativeStore, hot: Redis) -> None:
    assert await hot.get("lock:worker") == LEASE.encode()
    held = await current_holder(native, "worker")
    assert held is not None
    assert held == LeaseHolder(WORKER, 5, held.ttl_ms) and 0 < held.ttl_ms <= 30_000
    assert await try_acquire(native, "worker", holder="test", ttl_s=15) is None
    await hot.delete("lock:worker")
    async with await _lease(native) as lease:
        value = await _text(hot, "lock:worker")
        assert re.fullmatch(r"6 [0-9a-f]{12} test:1", value) and lease.token == 6
        assert await hot.get("lock:worker:token") == b"6"
        assert 0 < await hot.pttl("lock:worker") <= 15_000
    assert await hot.get("lock:worker") is None


async def test_beats_and_their_notes_mean_the_same(native: NativeStore, hot: Redis) -> None:
    assert (await store_health(native)).worker_alive
    notes = await workers_alive(native)
    assert list(notes) == [WORKER]
    theirs = {family.name: family.type for family in unpacked(notes[WORKER])}
    ours = {family.name: family.type for family in WorkerMetrics().registry.collect()}
    assert {"perpcache_job_runs", "perpcache_exchange_requests"} <= set(theirs) & set(ours)
    assert {name: ours[name] for name in set(theirs) & set(ours)} == {
        name: theirs[name] for name in set(theirs) & set(ours)
    }
    await beat(native, "test:1", "note")
    assert await hot.smembers("workers") == {WORKER.encode(), b"test:1"}
    assert [await hot.get(key) for key in ("workers:test:1", "workers:any")] == [b"note", b"1"]
    for key in ("workers:test:1", "workers:any"):
        assert 29 <= await hot.ttl(key) <= 30


async def test_budgets_are_those_of_the_same_slots(native: NativeStore, hot: Redis) -> None:
    key = "budget:default:binance:funding"
    ((_, taken),) = (await hot.hgetall(key)).items()
    assert taken == b"7"
    seconds, _ = await hot.time()
    slot = seconds // 15  # a twentieth of five minutes
    await hot.delete(key)
    await hot.hset(key, mapping={str(slot): taken})
    shared = SharedBudgets(native, "default", SystemClock())
    room = await shared.take(BINANCE, "funding", Limit(500, 300.0), 450, 1, 450)
    assert room.room == 443
    slots = await hot.hgetall(key)
    assert {int(number) - slot for number in slots} <= {0, 1}
    assert sum(map(int, slots.values())) == 450
    assert 0 < await hot.pttl(key) <= 23 * 15_000


async def test_pauses_are_told_and_heard(
    native: NativeStore, hot: Redis, heard: "asyncio.Queue[tuple[bytes, bytes]]"
) -> None:
    shared = SharedBudgets(native, "default", SystemClock())
    await shared.pause(BINANCE, 5.0, "-1003 Too many requests")
    channel, told = await asyncio.wait_for(heard.get(), 10)
    assert channel == b"paused:default"
    assert re.fullmatch(rb"binance (5000|4[0-9]{3}) -1003 Too many requests", told)
    assert await hot.get("pause:default:binance") == b"-1003 Too many requests"
    assert 0 < await hot.pttl("pause:default:binance") <= 5000
    pauses: asyncio.Queue[tuple[Exchange, float, str]] = asyncio.Queue()
    shared.listen(lambda *pause: pauses.put_nowait(pause))
    try:
        await _listened_to(hot, "paused:default")
        await hot.publish("paused:default", "bybit 2500 10006 Too many visits!")
        assert await asyncio.wait_for(pauses.get(), 10) == (BYBIT, 2.5, "10006 Too many visits!")
    finally:
        await shared.aclose()


async def test_what_is_published_is_seen_by_both(
    native: NativeStore, hot: Redis, heard: "asyncio.Queue[tuple[bytes, bytes]]"
) -> None:
    cache = CacheManager(native)
    theirs = (await cache.read_metas(["4h"]))["4h"]
    assert theirs is not None
    assert (theirs.version, theirs.as_of_ms) == (VERSION, VERSION)
    assert (theirs.stored_bytes, theirs.json_bytes) == (13_848, 23_432)
    assert theirs.content_hash == theirs.stored_hash == "4abd1d3e22e2b1b4"
    await hot.delete("lock:worker")
    async with await _lease(native) as lease:
        await cache.save_to_cache(
            "4h", b'{"a":1}', version=VERSION + 1, as_of_ms=VERSION, updated_at_ms=7, lease=lease
        )
    assert await asyncio.wait_for(heard.get(), 10) == (b"published", b"4h 1795185441251")
    text = await _text(hot, "cache:4h:meta")
    ours = json.loads(text)
    assert text == json.dumps(ours, separators=(",", ":"))
    assert list(ours) == [
        *("version", "content_hash", "updated_at", "as_of"),
        *("stored_bytes", "json_bytes", "stored_hash"),
    ]
    assert (ours["version"], ours["updated_at"], ours["as_of"]) == (VERSION + 1, 7, VERSION)
    assert ours["stored_bytes"] == len(await _text(hot, "cache:4h"))
    watcher = PublishWatcher(cache, poll_s=60)
    try:
        waiting = asyncio.create_task(watcher.wait_newer("4h", VERSION + 1, 20))
        await _listened_to(hot, "published")
        # As that release writes it.
        await hot.set("cache:4h:meta", text.replace(str(VERSION + 1), str(VERSION + 2)))
        await hot.publish("published", f"4h {VERSION + 2}")
        meta = await waiting
        assert meta is not None and meta.version == VERSION + 2
    finally:
        await watcher.aclose()


async def test_workers_of_both_are_woken(
    native: NativeStore, hot: Redis, heard: "asyncio.Queue[tuple[bytes, bytes]]"
) -> None:
    queue = JobQueue(native)
    try:
        await queue.request("collect:15m")
        assert await asyncio.wait_for(heard.get(), 10) == (b"queued", b"collect:15m")
        assert await hot.hget("job:collect:15m", "seq") == b"9"  # counted on from 8
        await queue.wait_for_work(0.0)  # listens from now on
        await _listened_to(hot, "queued")
        await queue.has_work("worker")
        waiting = asyncio.create_task(queue.wait_for_work(600.0))
        await hot.publish("queued", "collect:30m")
        await asyncio.wait_for(waiting, 20)
    finally:
        await queue.aclose()


async def test_markets_kept_for_when_the_database_is_away_are_known(
    native: NativeStore, hot: Redis
) -> None:
    await hot.delete("lock:worker")
    async with await _lease(native) as lease:
        markets = await known_markets(
            native, lease, {"exchanges": [BINANCE, BYBIT], "quote": "USDT", "markets_limit": 0}
        )
    assert len(markets) == 5  # one of six is disabled
    assert markets[0] == Market(BINANCE, "BTCUSDT", "BTC", "USDT", 1_568_102_400_000)


async def _text(hot: Redis, key: str) -> str:
    value = await hot.get(key)
    assert isinstance(value, bytes)
    return value.decode()


async def _listened_to(hot: Redis, channel: str) -> None:
    async def is_it() -> bool:
        return bool(await hot.pubsub_numsub(channel) == [(channel.encode(), 1)])

    await until(is_it)


async def _lease(store: HotStore) -> Lease:
    lease = await try_acquire(store, "worker", holder="test:1", ttl_s=15)
    assert lease is not None
    return lease
