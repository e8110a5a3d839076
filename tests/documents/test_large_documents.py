"""A document of many pieces, replaced while readers poll: no reader ever sees a mix.

Markets of 499 rows, random to the last digit: what is stored of a thousand is about 25 MB. Every
row carries a number that belongs to its version alone, so a row of another version betrays itself.
The slow tests have documents of full size; the others have as many pieces, smaller ones.
"""

import asyncio
import hashlib
import random
import re
import zlib
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import aiohttp
import orjson
import pytest

from cache_manager import PIECE_BYTES, CacheManager
from documents.building import DocumentBuilder
from market.markets import Exchange, Market, MarketSeries
from market.timeframes import Timeframe
from stores.hot.leases import try_acquire
from tests.fixtures.service import Service, StartService
from tests.fixtures.signals import until_true
from tests.fixtures.upstash import OpenStore

FULL = 1000
ROWS = 499
REPLACEMENTS = 3
NAME = "1h"
HOUR_MS = 3_600_000
FIRST_VERSION = 1_795_185_441_250  # as_of of the first document
FIRST_OPEN_MS = FIRST_VERSION // HOUR_MS * HOUR_MS - (ROWS - 1) * HOUR_MS


def marker(version: int) -> float:
    """What stands as turnover in each row of this version; eight digits and a half."""
    return version % 10_000_000 + 10_000_000.5


class Writer:
    """Builds documents from the same random numbers; only the marker differs."""

    def __init__(self, markets: int) -> None:
        self._markets = markets
        chance = random.Random(0)  # noqa: S311 - the same every time
        digits = array("Q", chance.randbytes(8 * markets * ROWS))
        # About the entropy of real rows: prices of six digits, volumes of eight.
        self.prices = [number % 900_000 + 100_000 for number in digits]
        self.volumes = [(number >> 32) % 90_000_000 / 100 for number in digits]
        self.opens = [(number >> 20) % 900_000 / 1000 for number in digits]
        self.rates = [(number >> 8) % 100_000 / 1e8 for number in digits]
        self.interests = [(number >> 16) % 9_000_000 / 10 for number in digits]

    def document(self, version: int) -> bytes:
        builder = DocumentBuilder(Timeframe.H1, "collected")
        for number in range(self._markets):
            market = Market(
                Exchange.BINANCE if number % 2 else Exchange.BYBIT,
                f"COIN{number:04}USDT",
                f"COIN{number:04}",
                "USDT",
            )
            builder.add(MarketSeries(market, self.rows(number, version), version), {})
        return builder.finish(version=version, as_of_ms=version, updated_at_ms=version, missing=())

    def rows(self, number: int, version: int) -> list[Any]:
        mark = marker(version)
        start = number * ROWS
        rows = []
        for place in range(ROWS):
            price, volume = self.prices[start + place], self.volumes[start + place]
            interest = self.interests[start + place]
            low, high = price * 0.9973 // 1 / 100, price * 1.0051 // 1 / 100
            rows.append((
                FIRST_OPEN_MS + place * HOUR_MS, self.opens[start + place], high, low, price / 100,
                volume, mark, interest, self.rates[start + place],
            ))  # fmt: skip
        return rows


class Reader:
    """Notes every version that it saw of so many markets; `wrong` says what never may be."""

    def __init__(self, markets: int) -> None:
        self.markets = markets
        self.versions: list[int] = []
        self.wrong: list[str] = []

    def saw(self, version: int) -> None:
        if self.versions and version < self.versions[-1]:
            self.wrong.append(f"{version} after {self.versions[-1]}")
        self.versions.append(version)

    def whole(self, deflated: bytes, version: int, content_hash: str) -> None:
        """Checks a whole document against the version and hash that came with it."""
        if hashlib.blake2b(deflated, digest_size=8).hexdigest() != content_hash:
            self.wrong.append("the body does not have its hash")
        json = zlib.decompress(deflated)
        if b'"version":%d,' % version not in json[:400]:
            self.wrong.append("the body is of another version than its headers")
        if json.count(b",%.1f," % marker(version)) != self.markets * ROWS:
            self.wrong.append("rows of another version")
        self.saw(version)


async def read_store(cache: CacheManager, reader: Reader) -> None:
    document = await cache.read(NAME)
    assert document is not None
    meta = document.meta
    await asyncio.to_thread(reader.whole, document.deflated, meta.version, meta.content_hash)


async def read_all(client: aiohttp.ClientSession, reader: Reader) -> None:
    async with client.get(f"/cache/{NAME}", headers={"Accept-Encoding": "deflate"}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Encoding"] == "deflate"
        body = await answer.read()
    version, content_hash = answer.headers["ETag"].strip('"').split("-")[:2]
    await asyncio.to_thread(reader.whole, body, int(version), content_hash)


def _some(markets: int) -> tuple[int, ...]:
    return 0, 7, markets // 2 - 1, markets // 2, markets - 1


async def read_some(client: aiohttp.ClientSession, reader: Reader) -> None:
    symbols = [f"COIN{number:04}USDT" for number in _some(reader.markets)]
    path = f"/cache/{NAME}?symbol={','.join(symbols)}&limit=3&closed=true"
    async with client.get(path, headers={"Accept-Encoding": "identity"}) as answer:
        assert answer.status == 200
        document = orjson.loads(await answer.read())
    assert [market["symbol"] for market in document["markets"]] == sorted(
        symbols, key=lambda symbol: (int(symbol[4:8]) % 2 == 0, symbol)
    )
    version = document["version"]
    if not answer.headers["ETag"].startswith(f'"{version}-'):
        reader.wrong.append("the body is of another version than its ETag")
    rows = [row for market in document["markets"] for row in market["rows"]]
    assert len(rows) == 3 * len(symbols)
    if {row[6] for row in rows} != {marker(version)}:
        reader.wrong.append("rows of another version")
    assert rows[2][0] == FIRST_OPEN_MS + (ROWS - 2) * HOUR_MS  # the forming one is left out
    reader.saw(version)


@pytest.fixture
async def api(
    start_service: StartService, store_environment: dict[str, str], database_url: str
) -> AsyncIterator[Service]:
    yield await start_service("api", **store_environment, DATABASE_URL=database_url)


def have_read_on(readers: Sequence[Reader], seen: Sequence[int]) -> bool:
    """Each has read more versions than it had."""
    return all(len(r.versions) > n for r, n in zip(readers, seen, strict=True))


@pytest.mark.parametrize("markets", [FULL // 8, pytest.param(FULL, marks=pytest.mark.slow)])
@pytest.mark.timeout(180)
async def test_readers_never_see_a_mix(api: Service, open_store: OpenStore, markets: int) -> None:
    writing, reading = (
        CacheManager(store, piece_bytes=PIECE_BYTES[store.kind] * markets // FULL)
        for store in (open_store(), open_store())
    )
    writer = Writer(markets)
    lease = await try_acquire(writing.store, "worker", holder="test", ttl_s=60)
    assert lease is not None
    published: list[int] = []

    async def publish() -> None:
        as_of_ms = FIRST_VERSION + len(published)
        version = await writing.next_version(NAME, as_of_ms)
        document = await asyncio.to_thread(writer.document, version)
        meta = await writing.save_to_cache(
            NAME, document, version=version, as_of_ms=version, updated_at_ms=version, lease=lease
        )
        assert 20_000 * markets < meta.stored_bytes < 30_000 * markets
        published.append(version)

    await publish()
    done = asyncio.Event()
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(api.address, timeout=timeout, auto_decompress=False) as client:
        looks: list[tuple[Reader, Callable[[Reader], Any]]] = [
            (Reader(markets), lambda reader: read_store(reading, reader)),
            (Reader(markets), lambda reader: read_all(client, reader)),
            (Reader(markets), lambda reader: read_some(client, reader)),
        ]

        async def poll(reader: Reader, look: Callable[[Reader], Any]) -> None:
            while not done.is_set():
                await look(reader)
            await look(reader)

        async with asyncio.TaskGroup() as polling:
            for reader, look in looks:
                polling.create_task(poll(reader, look))
            for _ in range(REPLACEMENTS):
                seen = [len(reader.versions) for reader, _ in looks]
                await publish()
                # Each reader gets to see it, so each replacement is read across.
                await until_true(partial(have_read_on, [reader for reader, _ in looks], seen))
            done.set()
    await lease.release()
    assert published == sorted(set(published))
    for reader, _ in looks:
        assert reader.wrong == []
        assert set(reader.versions) <= set(published)
        assert reader.versions[-1] == published[-1]
        assert len(set(reader.versions)) > 1


def test_the_markers_tell_versions_apart() -> None:
    texts = {repr(marker(FIRST_VERSION + number)) for number in range(REPLACEMENTS + 1)}
    assert len(texts) == REPLACEMENTS + 1
    assert all(re.fullmatch(r"\d{8}\.5", text) for text in texts)
