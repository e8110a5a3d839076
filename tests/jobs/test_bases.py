"""The bases in the hot store and in memory: exact, never torn, and never another's by mistake."""

import asyncio
import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import redis.asyncio
import structlog

from cache_manager import CacheManager, StaleVersion
from documents import chunks
from documents.base import decode_bases
from documents.deflated import DeflatedPart, deflate_each
from documents.kept import KeptDocuments
from jobs.bases import Bases
from market.base import Base, extended
from market.markets import Exchange, Market
from stores.hot.leases import Lease, LeaseLost, try_acquire
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore
from stores.hot.upstash_client import UpstashStore
from tests.fixtures.api import ServedApi, get
from tests.fixtures.base_rows import MIDNIGHT, STEP_MS, base_of, five, same
from tests.fixtures.cache import PIECE_BYTES, save
from tests.fixtures.signals import Gate, until_true
from tests.fixtures.upstash import OwnValkey, UpstashEndpoint

EXCHANGE = Exchange.BYBIT
BTC = Market(EXCHANGE, "BTCUSDT", "BTC", "USDT")
ETH = Market(EXCHANGE, "ETHUSDT", "ETH", "USDT")
SOL = Market(EXCHANGE, "SOLUSDT", "SOL", "USDT")
AS_OF = MIDNIGHT + 10 * STEP_MS
NAME = "base:bybit"


@dataclass
class Process:
    """The bases of one worker process, on its own client of the store."""

    cache: CacheManager
    bases: Bases = field(default_factory=Bases)
    kept: KeptDocuments = field(default_factory=lambda: KeptDocuments(64))
    now_ms: Callable[[], int] = lambda: AS_OF + 7

    async def load(self, lease: Lease) -> dict[str, Base]:
        return await self.bases.load(self, EXCHANGE, lease)

    async def publish(
        self, lease: Lease, bases: Mapping[Market, Base], as_of_ms: int = AS_OF
    ) -> None:
        keyed = {market.key: (market, base) for market, base in bases.items()}
        await self.bases.publish(self, EXCHANGE, keyed, as_of_ms, lease)


@pytest.fixture
def ours(cache: CacheManager) -> Process:
    return Process(cache)


@pytest.fixture
def other(cache: CacheManager) -> Process:
    """Another worker process, which knows nothing."""
    return Process(cache)


def some(price: float = 100.0, last: int = 10) -> Base:
    """A base of 26 hours up to that slot, with a hole and a candle of lost digits."""
    chance = random.Random(1)  # noqa: S311 - the same every time
    prices = [price + round(chance.random(), 6) for _ in range(-300, last + 1)]
    candles = (five(slot, price=prices[slot + 300]) for slot in range(-300, last + 1))
    slots = [candle for slot, candle in enumerate(candles, -300) if slot not in (-7, 3)]
    slots[200] = five(-100, volume="12345678901234567.5")
    as_of_ms = MIDNIGHT + last * STEP_MS
    base = extended(None, slots, asked_ms=MIDNIGHT - 300 * STEP_MS, as_of_ms=as_of_ms)
    return base.with_interest([(time_ms, 5.25) for time_ms in base.times.tolist()[:-2]], as_of_ms)


def later(base: Base) -> Base:
    """The base one pass later."""
    as_of_ms = base.as_of_ms + STEP_MS
    slot = (as_of_ms - MIDNIGHT) // STEP_MS
    asked_ms = MIDNIGHT + (slot - 2) * STEP_MS
    answer = [five(number, price=99.5) for number in range(slot - 2, slot + 1)]
    found = extended(base, answer, asked_ms=asked_ms, as_of_ms=as_of_ms)
    return found.with_interest([(asked_ms, 6.5)], as_of_ms)


def are(found: Mapping[str, Base], expected: Mapping[Market, Base]) -> bool:
    return found.keys() == {market.key for market in expected} and all(
        same(found[market.key], base) for market, base in expected.items()
    )


async def stored(cache: CacheManager) -> dict[str, Base]:
    """What lies in the store."""
    document = await cache.read(NAME)
    assert document is not None
    return decode_bases(zlib.decompress(document.deflated), EXCHANGE)


async def test_another_process_reads_what_was_published(
    ours: Process, other: Process, lease: Lease, store: HotStore
) -> None:
    assert await ours.load(lease) == {}
    bases = {BTC: some(), ETH: some(7.0), SOL: base_of(range(5, 9), 8 * STEP_MS)}
    await ours.publish(lease, bases)
    assert are(await other.load(lease), bases)
    assert are(await ours.load(lease), bases)
    meta = await ours.cache.read_meta(NAME)
    assert meta is not None and meta.stored_bytes > 2 * PIECE_BYTES
    assert (meta.version, meta.as_of_ms, meta.updated_at_ms) == (AS_OF, AS_OF, AS_OF + 7)
    left = sorted(await store.execute("KEYS", "*"))
    expected = [b"cache:base:bybit", b"cache:base:bybit:meta", b"lock:worker", b"lock:worker:token"]
    assert left == expected
    assert await store.execute("TTL", "cache:base:bybit") == -1
    # The other one goes on with what it read, and we with what it made of that.
    bases = {market: later(base) for market, base in bases.items()}
    await other.publish(lease, bases, AS_OF + STEP_MS)
    assert are(await ours.load(lease), bases)


async def test_markets_come_and_go(ours: Process, lease: Lease) -> None:
    await ours.publish(lease, {BTC: some(), ETH: some(7.0)})
    for bases in ({ETH: some(7.0), SOL: some(2.0)}, {}, {BTC: some()}):
        await ours.publish(lease, bases)
        assert are(await ours.load(lease), bases)
        assert are(await stored(ours.cache), bases)


async def test_the_meta_alone_is_read_of_what_is_known(upstash: UpstashEndpoint) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    lease = await try_acquire(store, "worker", holder="test", ttl_s=60)
    assert lease is not None
    ours, other = (Process(CacheManager(store)) for _ in range(2))
    bases = {BTC: some()}
    await ours.publish(lease, bases)
    for process, commands in ((ours, 1), (other, 3), (other, 1)):
        upstash.fail("")
        assert are(await process.load(lease), bases)
        assert sum(upstash.commands().values()) == commands
    upstash.fail("")
    found = await ours.bases.newest_as_of_ms(ours, list(Exchange), lease)
    assert found == dict.fromkeys(Exchange, None) | {EXCHANGE: AS_OF}
    assert upstash.commands() == {"MGET": 1}
    await lease.release()
    await store.aclose()


async def test_what_another_process_published_is_read(
    ours: Process, other: Process, lease: Lease, store: HotStore
) -> None:
    await ours.publish(lease, {BTC: some()})
    await other.publish(lease, {BTC: some(50.0)})
    assert are(await ours.load(lease), {BTC: some(50.0)})
    # The store was lost, so the other one's has the version that ours had.
    await ours.publish(lease, {BTC: some(70.0)})
    version = await ours.cache.read_meta(NAME)
    await store.execute("DEL", "cache:base:bybit", "cache:base:bybit:meta")
    assert version is not None
    await other.publish(lease, {BTC: some(80.0)}, version.version)
    meta = await ours.cache.read_meta(NAME)
    assert meta is not None and meta.version == version.version
    assert are(await ours.load(lease), {BTC: some(80.0)})
    # An older copy of the store, as after a failover.
    await ours.publish(lease, {BTC: some(90.0)})
    keys = ("cache:base:bybit", "cache:base:bybit:meta")
    old = [await store.execute("GET", key) for key in keys]
    await ours.publish(lease, {BTC: some(95.0)})
    for key, value in zip(keys, old, strict=True):
        await store.execute("SET", key, value)
    assert are(await ours.load(lease), {BTC: some(90.0)})


@pytest.mark.parametrize("known", [True, False])
async def test_what_was_lost_with_its_meta_counts_as_absent(
    ours: Process, other: Process, lease: Lease, store: HotStore, known: bool
) -> None:
    await ours.publish(lease, {BTC: some()})
    process = ours if known else other
    await store.execute("DEL", "cache:base:bybit:meta")
    assert await process.load(lease) == {}
    await store.execute("SET", "cache:base:bybit:meta", "{}")
    assert await process.load(lease) == {}


Damage = Callable[[HotStore], Any]


async def _cut(store: HotStore) -> None:
    value = await store.execute("GET", "cache:base:bybit")
    await store.execute("SET", "cache:base:bybit", value[:-4])


async def _changed(store: HotStore) -> None:
    await store.execute("SETRANGE", "cache:base:bybit", 3000, "AAAA")


async def _list(store: HotStore) -> None:
    await store.execute("DEL", "cache:base:bybit")
    await store.execute("RPUSH", "cache:base:bybit", "not", "ours")


async def _deleted(store: HotStore) -> None:
    await store.execute("DEL", "cache:base:bybit")


@pytest.mark.parametrize("damage", [_cut, _changed, _list, _deleted])
async def test_a_damaged_document_counts_as_absent_and_is_replaced(
    ours: Process, other: Process, lease: Lease, store: HotStore, damage: Damage
) -> None:
    await ours.publish(lease, {BTC: some()})
    await damage(store)
    with structlog.testing.capture_logs() as logs:
        assert await other.load(lease) == {}
    assert ("document_damaged", NAME) in [(line["event"], line.get("document")) for line in logs]
    assert are(await ours.load(lease), {BTC: some()})  # its meta is as it was
    bases = {BTC: later(some())}
    await ours.publish(lease, bases, AS_OF + STEP_MS)
    assert are(await other.load(lease), bases)


def _of_another_exchange(text: bytes) -> bytes:
    return text.replace(b'"base:bybit"', b'"base:binance"')


def _of_other_columns(text: bytes) -> bytes:
    return text.replace(b'"read_at"]', b'"funding_rate"]')


def _without_markets(text: bytes) -> bytes:
    return b"{}"


def _of_nothing(text: bytes) -> bytes:
    return b""


def _of_unlisted_market(text: bytes) -> bytes:
    return text.replace(b'"symbol"', b'"name"')


@pytest.mark.parametrize(
    "change",
    [_of_another_exchange, _of_other_columns, _without_markets, _of_nothing, _of_unlisted_market],
)
async def test_another_form_counts_as_absent(
    ours: Process, other: Process, lease: Lease, change: Callable[[bytes], bytes]
) -> None:
    await ours.publish(lease, {BTC: some()})
    document = await ours.cache.read(NAME)
    assert document is not None
    changed = change(document.inflate())
    assert changed != document.inflate()
    version = AS_OF + 1
    await ours.cache.save_to_cache(
        NAME, changed, version=version, as_of_ms=AS_OF, updated_at_ms=AS_OF, lease=lease
    )
    for process in (ours, other):
        with structlog.testing.capture_logs() as logs:
            assert await process.load(lease) == {}
        assert [line["event"] for line in logs] == ["document_damaged"]
    await other.publish(lease, {BTC: some()})
    assert are(await ours.load(lease), {BTC: some()})


@pytest.mark.parametrize("number", [np.inf, -np.inf])
@pytest.mark.parametrize(("slot", "column"), [(12, 1), (12, 6), (-8, 6)])
async def test_a_base_that_is_not_finite_is_left_out(
    ours: Process, other: Process, lease: Lease, number: float, slot: int, column: int
) -> None:
    bad = some()
    bad.values[slot, column] = number  # the slot before the last 7 is a hole
    assert slot == 12 or not bad.there[slot]
    with structlog.testing.capture_logs() as logs:
        await ours.publish(lease, {BTC: some(50.0), ETH: bad})
    left_out = [line for line in logs if line["event"] == "base_not_stored"]
    assert [line["market"] for line in left_out] == [ETH.key]
    assert "not finite" in left_out[0]["error"]
    for process in (ours, other):
        assert are(await process.load(lease), {BTC: some(50.0)})
    await ours.publish(lease, {ETH: some()})
    assert are(await stored(ours.cache), {ETH: some()})


async def test_closed_chunks_are_kept(
    ours: Process, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(texts: Sequence[bytes]) -> list[DeflatedPart]:
        made.append(len(texts))
        return deflate_each(texts)

    monkeypatch.setattr(chunks, "deflate_each", counted)
    bases = {BTC: some(), ETH: some(7.0)}
    await ours.publish(lease, bases)
    assert made == [6, 6]
    for _ in range(3):
        made.clear()
        bases = {market: later(base) for market, base in bases.items()}
        await ours.publish(lease, bases, bases[BTC].as_of_ms)
        assert made == [2, 2]
        assert are(await stored(ours.cache), bases)


async def test_what_is_in_memory_is_counted_and_cannot_be_changed(
    ours: Process, other: Process, lease: Lease, store: HotStore
) -> None:
    bases = {Market(EXCHANGE, f"C{n}USDT", f"C{n}", "USDT"): some(n, 50) for n in range(1, 21)}
    arrays = sum(b.values.nbytes + b.read_ms.nbytes + b.lost.nbytes for b in bases.values())
    document = 20 * 25_000  # about, with what is kept of it
    await ours.publish(lease, bases)
    published = ours.kept.bytes
    assert arrays + document / 2 < published < 2 * (arrays + document)
    await other.load(lease)
    assert arrays < other.kept.bytes < published
    await ours.publish(lease, bases)
    assert ours.kept.bytes == published
    for process in (ours, other):
        with pytest.raises(ValueError, match="read-only"):
            (await process.load(lease))[next(iter(bases)).key].values[0, 0] = 1.0
    # Others hold nothing any more once the bases are gone.
    await ours.publish(lease, {})
    await store.execute("DEL", "cache:base:bybit:meta")
    for process in (ours, other):
        assert await process.load(lease) == {}
        assert process.kept.bytes == 0


async def test_a_lost_lease_leaves_what_was_there(
    ours: Process, lease: Lease, store: HotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, bases = {BTC: some(), ETH: some(7.0)}, {BTC: some(50.0)}
    await ours.publish(lease, before)
    stage = ours.cache._stage

    async def stage_then_lose(*arguments: Any) -> None:
        await stage(*arguments)
        await store.execute("SET", lease.key, "99 nonce somebody else")

    with monkeypatch.context() as patch:
        patch.setattr(ours.cache, "_stage", stage_then_lose)
        with pytest.raises(LeaseLost):
            await ours.publish(lease, bases)
    assert await store.execute("EXISTS", f"staging:{NAME}:{lease.token}") == 0
    assert are(await stored(ours.cache), before)
    await store.execute("SET", lease.key, lease.value)
    assert are(await ours.load(lease), before)
    await ours.publish(lease, bases)
    assert are(await stored(ours.cache), bases)
    await lease.release()
    for call in (ours.load(lease), ours.publish(lease, before)):
        with pytest.raises(LeaseLost):
            await call


async def test_a_publish_whose_reply_is_lost_is_not_taken_for_one_that_failed(
    ours: Process, lease: Lease, store: HotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored, but this process does not know: it has to read it."""
    await ours.publish(lease, {BTC: some()})
    publish = ours.cache._publish.run

    async def publish_and_end(*arguments: Any, **options: Any) -> Any:
        await publish(*arguments, **options)
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(ours.cache._publish, "run", publish_and_end)
        with pytest.raises(asyncio.CancelledError):
            await ours.publish(lease, {BTC: some(50.0)})
    assert are(await ours.load(lease), {BTC: some(50.0)})


async def test_a_cancelled_publish_changes_nothing(
    ours: Process, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, bases = {BTC: some(), ETH: some(7.0)}, {ETH: some(50.0), SOL: some(3.0)}
    await ours.publish(lease, before)
    gate, stage = Gate(), ours.cache._stage

    async def held(*arguments: Any) -> None:
        await gate.passed()
        await stage(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ours.cache, "_stage", held)
        publishing = asyncio.create_task(ours.publish(lease, bases))
        await gate.wait_until_reached()
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
    assert are(await ours.load(lease), before)
    await ours.publish(lease, bases)
    assert are(await stored(ours.cache), bases)


async def test_a_later_version_is_not_replaced(
    ours: Process, other: Process, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ours.publish(lease, {BTC: some()})
    stage = ours.cache._stage

    async def stage_late(*arguments: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(ours.cache, "_stage", stage)
            await other.publish(lease, {BTC: some(50.0)}, AS_OF + 5)
        await stage(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ours.cache, "_stage", stage_late)
        with pytest.raises(StaleVersion):
            await ours.publish(lease, {BTC: some(70.0)}, AS_OF + 3)
    assert are(await ours.load(lease), {BTC: some(50.0)})


async def test_a_store_that_is_away_delays_only(own_valkey: Callable[..., OwnValkey]) -> None:
    server = own_valkey()
    store = NativeStore(server.url, client_name="test")
    lease = await try_acquire(store, "worker", holder="test", ttl_s=60)
    assert lease is not None
    ours, other = (Process(CacheManager(store)) for _ in range(2))
    await ours.publish(lease, {BTC: some()})
    server.kill()
    waiting = [asyncio.create_task(process.load(lease)) for process in (ours, other)]
    newest = asyncio.create_task(ours.bases.newest_as_of_ms(ours, [EXCHANGE], lease))
    with structlog.testing.capture_logs() as logs:
        await until_true(lambda: len(logs) >= 3)
    server.start()
    for load in waiting:
        assert are(await load, {BTC: some()})
    assert await newest == {EXCHANGE: AS_OF}
    server.kill()
    loading = asyncio.create_task(ours.load(lease))
    await asyncio.sleep(0)
    lease.lost.set()
    with pytest.raises(LeaseLost):
        await loading
    server.start()
    await store.aclose()


async def test_nobody_is_told_of_a_base(ours: Process, lease: Lease, redis_url: str) -> None:
    if ours.cache.store.kind != "native":
        pytest.skip("there are no channels over REST")
    async with redis.asyncio.Redis.from_url(redis_url) as client, client.pubsub() as channel:
        await channel.subscribe("published")
        assert (await channel.get_message(timeout=10))["type"] == "subscribe"
        await ours.publish(lease, {BTC: some()})
        await save(ours.cache, lease, 10)
        assert (await channel.get_message(timeout=10))["data"] == b"4h 10"


async def test_a_base_is_not_served(api: ServedApi) -> None:
    paths = ("/cache", "/ready", "/health", "/cache/4h", "/openapi.json")
    before = {path: (await get(api, path))[0] for path in paths}
    async with api.lease() as lease:
        process = Process(api.cache)
        await process.publish(lease, {BTC: some()})
        assert are(await Process(api.cache).load(lease), {BTC: some()})
    for path in paths:
        status, _, body = await get(api, path)
        assert status == before[path] and b"base:" not in body
    for suffix in ("", "?symbol=BTCUSDT", "?wait=1&version=1"):
        unknown = await get(api, f"/cache/base:nobody{suffix}")
        status, _, body = await get(api, f"/cache/{NAME}{suffix}")
        assert (status, body) == (422, unknown[2].replace(b"base:nobody", NAME.encode()))
    assert (await get(api, f"/cache/{NAME}", "HEAD"))[0] == 422
    assert NAME.encode() not in (await get(api, "/metrics"))[2]
