"""Processes of the release before and of this one share a store: the formats where they meet.

The literals were read from what that release wrote.
"""

import asyncio
import base64
import hashlib
import json
import os
import re
import zlib
from pathlib import Path
from typing import Any

from api.documents.publish_watcher import PublishWatcher
from budgets.shared_budgets import SharedBudgets
from cache_manager import CacheManager
from commands.composition import local_wakeup
from config import load_settings
from documents.building import encode_funding
from documents.reading import decode_funding
from job_queue.queue import JobQueue
from job_queue.transitions import FINISH, HAS_WORK, TAKE
from jobs.known_markets import KNOWN_MARKETS, Selection, load_known_markets, save_known_markets
from market.markets import Exchange, FundingSeries, Market
from market.rows import TimedValues
from metrics.exposition import unpack
from metrics.worker import WorkerMetrics
from stores.hot.beats import beat, store_health, workers_alive
from stores.hot.event_log import LOG
from stores.hot.leases import LeaseHolder, current_holder, try_acquire
from stores.hot.redis_client import NativeStore
from stores.hot.replies import anything
from tests.fixtures.api import StartApi
from tests.fixtures.cache import known
from tests.fixtures.chunked import chunked_document
from tests.fixtures.earlier_release import VERSION, WORKER, Redis, lease_of
from tests.fixtures.signals import until
from timing.clock import SystemClock
from venues.venue import Limit

# How that release counts what is taken of a limit: room, and ms until it is worth asking again.
THAT_RELEASE_TAKES = """
    local quantity, slot_ms, held = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local slot = math.floor(now / slot_ms)
    local used, oldest = 0, slot
    local taken = redis.call('HGETALL', KEYS[1])
    for i = 1, #taken, 2 do
      local number = tonumber(taken[i])
      local room = tonumber(string.match(taken[i + 1], '^%d+$') or '')
      if number and room and room > 0 and number > slot - held and number <= slot + held then
        used = used + room
        oldest = math.min(oldest, number)
      end
    end
    local room = math.max(quantity - used, used == 0 and tonumber(ARGV[4]) or 0)
    if room < tonumber(ARGV[4]) then return {0, (oldest + held) * slot_ms - now} end
    return {math.min(room, tonumber(ARGV[5])), (slot + 1) * slot_ms - now}
"""
LEASE = "5 a3b2407fe716 vm:17484"
BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT


async def test_leases_are_counted_on(earlier_store: NativeStore, earlier_hot: Redis) -> None:
    assert await earlier_hot.get("lock:worker") == LEASE.encode()
    held = await current_holder(earlier_store, "worker")
    assert held is not None
    assert held == LeaseHolder(WORKER, 5, held.ttl_ms) and 0 < held.ttl_ms <= 60_000
    assert await try_acquire(earlier_store, "worker", holder="test", ttl_s=15) is None
    await earlier_hot.delete("lock:worker")
    async with await lease_of(earlier_store) as lease:
        value = await _text(earlier_hot, "lock:worker")
        assert re.fullmatch(r"6 [0-9a-f]{12} test:1", value) and lease.token == 6
        assert await earlier_hot.get("lock:worker:token") == b"6"
        assert 0 < await earlier_hot.pttl("lock:worker") <= 15_000
    assert await earlier_hot.get("lock:worker") is None


async def test_beats_and_their_notes_mean_the_same(
    earlier_store: NativeStore, earlier_hot: Redis
) -> None:
    assert (await store_health(earlier_store)).worker_alive
    notes = await workers_alive(earlier_store)
    assert list(notes) == [WORKER]
    theirs = {family.name: family.type for family in unpack(notes[WORKER])}
    ours = {family.name: family.type for family in WorkerMetrics().registry.collect()}
    assert {"perpcache_job_runs", "perpcache_exchange_requests"} <= set(theirs) & set(ours)
    assert {name: ours[name] for name in set(theirs) & set(ours)} == {
        name: theirs[name] for name in set(theirs) & set(ours)
    }
    await beat(earlier_store, "test:1", "note")
    assert await earlier_hot.smembers("workers") == {WORKER.encode(), b"test:1"}
    assert await _text(earlier_hot, "workers:test:1") == "note"
    assert await _text(earlier_hot, "workers:any") == "1"
    for key in ("workers:test:1", "workers:any"):
        assert 0 < await earlier_hot.ttl(key) <= 30


async def test_budgets_are_those_of_the_same_slots(
    earlier_store: NativeStore, earlier_hot: Redis
) -> None:
    key = "budget:default:binance:funding"
    ((_, taken),) = (await earlier_hot.hgetall(key)).items()
    assert taken == b"7"
    seconds, _ = await earlier_hot.time()
    slot = seconds // 15  # a twentieth of five minutes
    await earlier_hot.delete(key)
    await earlier_hot.hset(key, mapping={str(slot): taken})
    shared = SharedBudgets(earlier_store, "default", SystemClock())
    room = await shared.take(BINANCE, "funding", Limit(500, 300.0), 450, 1, 450)
    assert room.room == 443
    slots = await earlier_hot.hgetall(key)
    # We cut a slot into five parts, 812.0 to 812.00000; that release reads them as the number 812.
    names = {name.decode() for name in slots if isinstance(name, bytes)}
    (ours,) = names - {str(slot)}
    assert re.fullmatch(r"[0-9]+\.0{1,5}", ours)
    assert int(float(ours)) - slot in (0, 1)
    assert sum(map(int, slots.values())) == 450
    assert 0 < await earlier_hot.pttl(key) <= 23 * 15_000
    # It is refused room, and told to ask again when the slot is no longer held.
    refused = await earlier_hot.eval(THAT_RELEASE_TAKES, 1, key, 450, 15_000, 22, 1, 1)
    seconds, micros = await earlier_hot.time()
    until_ms = (slot + 22) * 15_000 - seconds * 1000 - micros // 1000
    assert refused[0] == 0
    assert 0 < refused[1] <= until_ms + 15_100


async def test_a_short_window_is_counted_by_both(
    earlier_store: NativeStore, earlier_hot: Redis
) -> None:
    shared = SharedBudgets(earlier_store, "default", SystemClock())
    room = await shared.take(BYBIT, "requests", Limit(600, 5.0), 540, 1, 500)
    assert room.room == 500
    key = "budget:default:bybit:requests"
    ((slot, taken),) = (await earlier_hot.hgetall(key)).items()
    assert isinstance(slot, bytes) and re.fullmatch(rb"[0-9]+", slot) and taken == b"500"
    theirs = await earlier_hot.eval(THAT_RELEASE_TAKES, 1, key, 540, 250, 22, 1, 540)
    assert theirs[0] == 40


async def test_known_markets_are_as_that_release_reads_them(
    earlier_store: NativeStore, earlier_hot: Redis
) -> None:
    """Rows of five, and what it does not know beside them."""
    markets = [
        Market(BYBIT, "ETHUSDT", "ETH", "USDT", 5),
        Market(BINANCE, "BTCUSDT", "BTC", "USDT", 1_568_102_400_000, since_ms=7),
    ]
    selection: Selection = {"exchanges": [BINANCE, BYBIT], "quote": "USDT", "markets_limit": 0}
    await earlier_hot.delete("lock:worker")
    async with await lease_of(earlier_store) as lease:
        await save_known_markets(earlier_store, lease, selection, markets)
        stored = json.loads(await _text(earlier_hot, KNOWN_MARKETS))
        assert stored.pop("native") == {}
        assert stored == {
            "selection": [["binance", "bybit"], "USDT", 0],
            "markets": [
                ["binance", "BTCUSDT", "BTC", "USDT", 1_568_102_400_000],
                ["bybit", "ETHUSDT", "ETH", "USDT", 5],
            ],
            "since": {"binance:BTCUSDT": 7},
        }
        # As that release writes it.
        await earlier_hot.set(KNOWN_MARKETS, json.dumps(stored))
        assert await load_known_markets(earlier_store, lease, selection) == sorted(markets)


async def test_what_only_a_later_release_knows_is_passed_by(
    earlier_store: NativeStore, earlier_hot: Redis
) -> None:
    """An exchange that is none of ours is paused, and is in the funding that its host published."""
    shared = SharedBudgets(earlier_store, "default", SystemClock())
    pauses: asyncio.Queue[tuple[Exchange, float, str]] = asyncio.Queue()
    shared.listen(lambda *pause: pauses.put_nowait(pause))
    try:
        await _listened_to(earlier_hot, "paused:default")
        await earlier_hot.publish("paused:default", "kraken 9000 too many")
        await earlier_hot.publish("paused:default", "okx 2500 busy")
        assert await asyncio.wait_for(pauses.get(), 60) == (Exchange.OKX, 2.5, "busy")
    finally:
        await shared.aclose()
    settled = FundingSeries(
        Market(BYBIT, "ETHUSDT", "ETH", "USDT"),
        TimedValues.of([(1_795_161_600_000, 0.0001)]), 8, VERSION,
    )  # fmt: skip
    alone = encode_funding(
        {"bybit:ETHUSDT": settled}, version=1, as_of_ms=1, updated_at_ms=1, missing=[]
    )
    (theirs,) = json.loads(alone)["markets"]
    other = json.dumps({**theirs, "exchange": "kraken"}, separators=(",", ":")).encode()
    both = alone.replace(b'],"missing":', b',%b],"missing":' % other)
    assert len(json.loads(both)["markets"]) == 2
    assert decode_funding(both).keys() == {"bybit:ETHUSDT"}


async def test_pauses_are_told_and_heard(
    earlier_store: NativeStore,
    earlier_hot: Redis,
    messages_heard: "asyncio.Queue[tuple[bytes, bytes]]",
) -> None:
    shared = SharedBudgets(earlier_store, "default", SystemClock())
    await shared.pause(BINANCE, 5.0, "-1003 Too many requests")
    channel, told = await asyncio.wait_for(messages_heard.get(), 60)
    assert channel == b"paused:default"
    assert re.fullmatch(rb"binance (5000|4[0-9]{3}) -1003 Too many requests", told)
    assert await earlier_hot.get("pause:default:binance") == b"-1003 Too many requests"
    assert 0 < await earlier_hot.pttl("pause:default:binance") <= 5000
    pauses: asyncio.Queue[tuple[Exchange, float, str]] = asyncio.Queue()
    shared.listen(lambda *pause: pauses.put_nowait(pause))
    try:
        await _listened_to(earlier_hot, "paused:default")
        await earlier_hot.publish("paused:default", "bybit 2500 10006 Too many visits!")
        assert await asyncio.wait_for(pauses.get(), 60) == (BYBIT, 2.5, "10006 Too many visits!")
    finally:
        await shared.aclose()


async def test_what_is_published_is_seen_by_both(
    earlier_store: NativeStore,
    earlier_hot: Redis,
    messages_heard: "asyncio.Queue[tuple[bytes, bytes]]",
) -> None:
    cache = CacheManager(earlier_store)
    theirs = (await cache.read_metas(["4h"]))["4h"]
    assert theirs is not None
    assert (theirs.version, theirs.as_of_ms) == (VERSION, VERSION)
    assert (theirs.stored_bytes, theirs.json_bytes) == (13_848, 23_432)
    assert theirs.content_hash == theirs.stored_hash == "4abd1d3e22e2b1b4"
    await earlier_hot.delete("lock:worker")
    async with await lease_of(earlier_store) as lease:
        await cache.save_to_cache(
            "4h", b'{"a":1}', version=VERSION + 1, as_of_ms=VERSION, updated_at_ms=7, lease=lease
        )
    assert await asyncio.wait_for(messages_heard.get(), 60) == (b"published", b"4h 1795185441251")
    text = await _text(earlier_hot, "cache:4h:meta")
    ours = json.loads(text)
    assert text == json.dumps(ours, separators=(",", ":"))
    assert list(ours) == [
        *("version", "content_hash", "updated_at", "as_of"),
        *("stored_bytes", "json_bytes", "stored_hash", "published_at"),
    ]
    assert (ours["version"], ours["updated_at"], ours["as_of"]) == (VERSION + 1, 7, VERSION)
    assert ours["stored_bytes"] == len(await _text(earlier_hot, "cache:4h"))
    watcher = PublishWatcher(cache, poll_s=60)
    try:
        waiting = asyncio.create_task(watcher.wait_newer("4h", known(VERSION + 1), 20))
        await _listened_to(earlier_hot, "published")
        # As that release writes it.
        await earlier_hot.set("cache:4h:meta", text.replace(str(VERSION + 1), str(VERSION + 2)))
        await earlier_hot.publish("published", f"4h {VERSION + 2}")
        meta = await waiting
        assert meta is not None and meta.version == VERSION + 2
    finally:
        await watcher.aclose()


async def test_a_document_made_of_chunks_is_read_and_replaced_by_both(
    earlier_store: NativeStore, earlier_hot: Redis
) -> None:
    cache, made = CacheManager(earlier_store), chunked_document(VERSION + 1)
    theirs = await _text(earlier_hot, "cache:4h")
    theirs_meta = await _text(earlier_hot, "cache:4h:meta")
    await earlier_hot.delete("lock:worker")
    async with await lease_of(earlier_store) as lease:
        await cache.save_to_cache(
            "4h", made, version=VERSION + 1, as_of_ms=VERSION, updated_at_ms=7, lease=lease
        )
    # As that release reads it.
    ours = json.loads(await _text(earlier_hot, "cache:4h:meta"))
    stream = base64.b64decode(await _text(earlier_hot, "cache:4h"), validate=True)
    assert hashlib.blake2b(stream, digest_size=8).hexdigest() == ours["stored_hash"]
    assert zlib.decompress(stream) == made.inflate()
    assert ours["json_bytes"] == len(made.inflate())
    # As that release publishes, which leaves our index of chunks where it is.
    newer = theirs_meta.replace(f'"version":{VERSION}', f'"version":{VERSION + 2}')
    await earlier_hot.mset({"cache:4h": theirs, "cache:4h:meta": newer})
    assert await earlier_hot.exists("cache:4h:chunks")
    stored = await cache.read("4h")
    assert stored is not None
    assert (stored.meta.version, stored.chunks()) == (VERSION + 2, None)
    assert stored.inflate() == zlib.decompress(base64.b64decode(theirs))


async def test_workers_of_both_are_woken(
    earlier_store: NativeStore,
    earlier_hot: Redis,
    messages_heard: "asyncio.Queue[tuple[bytes, bytes]]",
) -> None:
    queue = JobQueue(earlier_store)
    try:
        await queue.request("collect:15m")
        assert await asyncio.wait_for(messages_heard.get(), 60) == (b"queued", b"collect:15m")
        assert await earlier_hot.hget("job:collect:15m", "seq") == b"9"  # counted on from 8
        await queue.wait_for_work(0.0)  # listens from now on
        await _listened_to(earlier_hot, "queued")
        await queue.has_work("worker")
        waiting = asyncio.create_task(queue.wait_for_work(600.0))
        await earlier_hot.publish("queued", "collect:30m")
        await asyncio.wait_for(waiting, 20)
    finally:
        await queue.aclose()


async def test_a_job_of_all_timeframes_waits_for_a_worker_that_knows_it(
    earlier_store: NativeStore,
    earlier_hot: Redis,
    messages_heard: "asyncio.Queue[tuple[bytes, bytes]]",
) -> None:
    # That release's workers and API name these jobs alone to the scripts.
    timeframes = ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
    theirs = [*(f"job:collect:{name}" for name in timeframes), "job:discovery"]
    take = earlier_store.script("take", TAKE)
    finish = earlier_store.script("finish", FINISH)
    has_work = earlier_store.script("has_work", HAS_WORK)
    queue = JobQueue(earlier_store)
    asked = await queue.request("collect:all")
    assert (asked.state, asked.run) == ("queued", 1)
    assert await asyncio.wait_for(messages_heard.get(), 60) == (b"queued", b"collect:all")
    before = await earlier_hot.hgetall("job:collect:all")
    await earlier_hot.delete("lock:worker")
    async with await lease_of(earlier_store) as lease:
        taken = []
        while True:
            answer: Any = await take.run(
                [LOG, lease.key, *theirs], [lease.value, 1, 3, 600, 0], reply=anything
            )
            if answer[1] == 0:
                break
            job = theirs[answer[1] - 1]
            fields = dict(zip(answer[2][::2], answer[2][1::2], strict=True))
            taken.append(job)
            end = ["complete", 1, 1, "{}", "", 600, "", job.removeprefix("job:")]
            await finish.run(
                [LOG, lease.key, job], [lease.value, fields[b"run"], *end], reply=anything
            )
        # The run whose worker was killed, and what was queued behind it.
        assert taken == ["job:collect:1h", "job:collect:5m"]
        assert await earlier_hot.hgetall("job:collect:all") == before
    keys = ["lock:worker", *theirs, "lock:funding", "job:funding"]
    looked: Any = await has_work.run(keys, [0, 1 + len(theirs), 2], reply=anything)
    assert looked[0] == -1
    assert await queue.has_work("worker")
    async with await lease_of(earlier_store) as lease:
        ours = await queue.take(lease)
        assert ours is not None
        assert (ours.id, ours.run, ours.attempts) == ("collect:all", 1, 1)


async def test_a_backfill_waits_for_a_worker_that_knows_its_lane(
    earlier_store: NativeStore,
    earlier_hot: Redis,
    messages_heard: "asyncio.Queue[tuple[bytes, bytes]]",
) -> None:
    queue = JobQueue(earlier_store)
    await queue.request("backfill")
    # That release hears of a job that it does not know, and looks at the jobs of its own lanes.
    assert await asyncio.wait_for(messages_heard.get(), 60) == (b"queued", b"backfill")
    before = await earlier_hot.hgetall("job:backfill")
    await earlier_hot.delete("lock:funding")
    has_work = earlier_store.script("has_work", HAS_WORK)
    theirs = ["lock:funding", "job:funding", "lock:history", "job:record"]
    await has_work.run(theirs, [0, 2, 2], reply=anything)
    assert await earlier_hot.hgetall("job:backfill") == before
    assert await queue.has_work("backfill")
    lease = await try_acquire(earlier_store, "backfill", holder="test:1", ttl_s=15)
    assert lease is not None
    async with lease:
        ours = await queue.take(lease)
        assert ours is not None and (ours.id, ours.run) == ("backfill", 1)


async def test_workers_of_one_host_are_woken_through_its_data_dir(tmp_path: Path) -> None:
    wakeup = local_wakeup(load_settings(data_dir=tmp_path))
    folder = tmp_path / "bells"
    folder.mkdir(mode=0o700)
    theirs = folder / "0123456789abcdef.bell"
    os.mkfifo(theirs, 0o600)
    reader = os.open(theirs, os.O_RDONLY | os.O_NONBLOCK)
    try:
        rung = asyncio.Event()
        with wakeup.listening(rung.set):
            (ours,) = {pipe.name for pipe in folder.iterdir()} - {theirs.name}
            assert re.fullmatch(r"[0-9a-f]{16}\.bell", ours)
            wakeup.wake()
            assert os.read(reader, 10) == b"!"
            await asyncio.wait_for(rung.wait(), 60)
            rung.clear()
            writer = os.open(folder / ours, os.O_WRONLY | os.O_NONBLOCK)
            os.write(writer, b"!")
            os.close(writer)
            await asyncio.wait_for(rung.wait(), 60)
    finally:
        os.close(reader)


async def test_ready_tells_what_the_other_releases_worker_met(
    start_api: StartApi, earlier_hot: Redis, earlier_cold: str, redis_url: str
) -> None:
    unreachable = "Cannot connect to host 127.0.0.1:1 ssl:default [Connect call failed]"
    error = "; ".join(f"{name} time: ClientConnectorError: {unreachable}" for name in Exchange)
    await _set_fields(earlier_hot, "job:collect:4h", state="failed", error=error, result="")
    ended = {"last_state": "failed", "last_error": error, "last_finished_at": "1795886040000"}
    await _set_fields(earlier_hot, "job:collect:4h", last_as_of="", last_result="", **ended)
    api = await start_api(dsn=earlier_cold, redis_url=redis_url)
    async with api.http.get("/ready") as answer:
        ready = await answer.json()
    assert (answer.status, ready["status"]) == (200, "degraded")
    assert "collect:4h failed" in ready["parts"]["exchanges"]
    assert "binance time: ClientConnectorError" in ready["parts"]["exchanges"]


async def _text(earlier_hot: Redis, key: str) -> str:
    value = await earlier_hot.get(key)
    assert isinstance(value, bytes)
    return value.decode()


async def _listened_to(earlier_hot: Redis, channel: str) -> None:
    async def is_it() -> bool:
        return bool(await earlier_hot.pubsub_numsub(channel) == [(channel.encode(), 1)])

    await until(is_it)


async def _set_fields(earlier_hot: Redis, key: str, **fields: str) -> None:
    await earlier_hot.hset(key, mapping=dict[Any, Any](fields))
