"""Points on the channels of a real Valkey, over both clients: exact, in order, gaps told."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.client import PubSub

from live.data_types import DataType
from live.outputs import sender
from live.outputs.redis_channels import LIMITS, RedisChannels
from live.outputs.sender import Limits
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore
from stores.hot.upstash_client import UpstashStore
from tests.fixtures.signals import turns, until_true
from tests.fixtures.upstash import OwnValkey, UpstashEndpoint
from tests.live.outputs.points import NATIVE, book, candle, point, ticker, trade

AT = datetime(2026, 11, 29, 20, 46, 7, 334_000, tzinfo=UTC)
AT_MS = 1_795_985_167_334
QUICK = Limits(0.001, 2_000, 400_000, 32_000_000)
TRADES = f"live:okx:trade:{NATIVE}"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the last batch takes longer than the second that a process has."""
    monkeypatch.setattr(sender, "LAST_S", 30.0)


class Heard:
    """What a subscriber got, by channel; `numbers` are sequences."""

    def __init__(self) -> None:
        self.by_channel: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.sizes: list[int] = []

    def numbers(self, channel: str) -> list[int]:
        return [message["sequence"] for message in self.by_channel[channel]]

    async def listen(self, channels: PubSub) -> None:
        async for message in channels.listen():
            if message["type"] == "pmessage":
                self.by_channel[message["channel"].decode()].append(json.loads(message["data"]))
                self.sizes.append(len(message["data"]))


@asynccontextmanager
async def subscriber(url: str, heard: Heard | None = None) -> AsyncIterator[Heard]:
    heard = heard or Heard()
    async with redis.asyncio.Redis.from_url(url) as client, client.pubsub() as channels:
        await channels.psubscribe("*live:*")
        await channels.get_message(timeout=10)  # it stands
        task = asyncio.create_task(heard.listen(channels))
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def running(output: RedisChannels) -> AsyncIterator[None]:
    task = asyncio.create_task(output.run())
    await turns()  # what never began has no last batch
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_message_says_all_that_the_point_says(redis_url: str, store: HotStore) -> None:
    output = RedisChannels(store, limits=QUICK)
    async with subscriber(redis_url) as heard, running(output):
        output.take(trade("t1", "85885.40", "0.00000010", AT))
        output.take(ticker(AT, last_price="85885.40", trades_24h="12"))
        output.take(book(7, AT))
        output.take(candle(AT_MS))
        await until_true(lambda: len(heard.sizes) == 4)
    by_channel = dict(heard.by_channel)
    publisher = by_channel[TRADES][0]["publisher"]
    assert isinstance(publisher, str) and len(publisher) >= 16
    common = {
        "publisher": publisher, "sequence": 1, "exchange": "okx", "symbol": "BTC/USDT",
        "exchange_symbol": NATIVE, "time": AT_MS,
    }  # fmt: skip
    (told,) = by_channel.pop(TRADES)
    assert told == common | {
        "type": "trade",
        "data": {
            "exchange_symbol": NATIVE, "trade_id": "t1", "price": "85885.4", "size": "0.0000001",
            "side": "sell",
        },
    }  # fmt: skip
    (told,) = by_channel.pop(f"live:okx:ticker:{NATIVE}")
    data = {"exchange_symbol": NATIVE, "last_price": "85885.4", "trades_24h": 12}
    assert told == common | {"type": "ticker", "data": data}
    (told,) = by_channel.pop(f"live:okx:orderbook:{NATIVE}")
    assert told == common | {
        "type": "orderbook",
        "data": {
            "exchange_symbol": NATIVE, "last_id": 7,
            "bids": [["100.5", "2"], ["100.4", "0.1"]], "asks": [["100.6", "0.0000001"]],
        },
    }  # fmt: skip
    (told,) = by_channel.pop(f"live:okx:candle:{NATIVE}")
    assert told["data"] == {
        "exchange_symbol": NATIVE, "timeframe": "1m", "timestamp": AT_MS,
        "close_time": AT_MS + 60_000, "open": "1.1", "high": "2", "low": "1", "close": "1.5",
        "volume": "1000", "turnover": "1500", "trades_count": None, "closed": False,
    }  # fmt: skip
    assert not by_channel
    assert output.status()["sent"] == 4


async def test_each_channel_counts_for_itself_under_the_prefix(redis_url: str) -> None:
    store = NativeStore(redis_url, client_name="test", prefix="desk:")
    first, second = (RedisChannels(store, limits=QUICK) for _ in range(2))
    async with subscriber(redis_url) as heard:
        async with running(first), running(second):
            for number in range(500):
                first.take(trade(str(number)))
            first.take(trade(native="ETH-USDT-SWAP"))
            second.take(trade("later"))
        await until_true(lambda: len(heard.sizes) == 502)
    ours = heard.by_channel[f"desk:{TRADES}"]
    by_publisher = defaultdict(list)
    for message in ours:
        by_publisher[message["publisher"]].append(
            (message["sequence"], message["data"]["trade_id"])
        )
    assert sorted(by_publisher.values(), key=len) == [
        [(1, "later")],
        [(number + 1, str(number)) for number in range(500)],
    ]
    assert heard.numbers("desk:live:okx:trade:ETH-USDT-SWAP") == [1]
    await store.aclose()


async def test_a_batch_is_one_command(upstash: UpstashEndpoint, redis_url: str) -> None:
    """On Upstash each is paid for."""
    store = UpstashStore(upstash.url, upstash.token)
    output = RedisChannels(store)
    upstash.fail("")
    async with subscriber(redis_url) as heard, running(output):
        for number in range(300):
            output.take(trade(str(number), native=f"COIN{number % 9}-USDT"))
        output.take(point(DataType.TRADE, {"note": "täxt \U0001f680 \x00"}))
        await until_true(lambda: len(heard.sizes) == 301)
    assert upstash.commands() == {"EVALSHA": 1, "EVAL": 1}  # the script was not known there
    assert heard.by_channel["live:okx:trade:BTC/USDT"][0]["data"] == {
        "note": "täxt \U0001f680 \x00"
    }
    assert LIMITS["upstash"].every_s >= 1
    await store.aclose()


async def test_large_batches_stay_below_what_upstash_takes(
    upstash: UpstashEndpoint, redis_url: str
) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    output = RedisChannels(store, limits=LIMITS["upstash"])
    upstash.fail("")
    levels = [(Decimal(price), Decimal("0.00000123")) for price in range(500)]
    async with subscriber(redis_url) as heard, running(output):
        for number in range(100):  # 3 MB in all
            data = {"bids": levels, "asks": levels, "last_id": number}
            output.take(point(DataType.ORDERBOOK, data))
        await until_true(lambda: len(heard.sizes) == 100)
    assert upstash.largest_bytes() < 1_000_000
    assert [m["data"]["last_id"] for m in heard.by_channel["live:okx:orderbook:BTC/USDT"]] == [
        *range(100)
    ]
    await store.aclose()


@pytest.mark.parametrize(
    "data",
    [
        {"price": Decimal("NaN")},
        {"what": object()},
        {"name": "\ud800"},
        {"bids": [(Decimal(1), Decimal(1))] * 40_000},
    ],
)
async def test_what_cannot_be_told_is_refused_and_counted(
    redis_url: str, store: HotStore, data: dict[str, Any]
) -> None:
    output = RedisChannels(store, limits=QUICK)
    async with subscriber(redis_url) as heard, running(output):
        output.take(point(DataType.TRADE, data | {"exchange_symbol": NATIVE}))
        output.take(trade())
        await until_true(lambda: len(heard.sizes) == 1)
    assert heard.numbers(TRADES) == [1]  # no gap: nobody was to get it
    status = output.status()
    assert (status["sent"], status["errors"]) == (1, 1)
    assert status["last_error"].startswith("okx: BTC/USDT: trade: ")


async def test_channels_without_end_take_no_memory(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("live.outputs.redis_channels.MOST_CHANNELS", 10)
    store = NativeStore(redis_url, client_name="test")
    output = RedisChannels(store, limits=QUICK)
    for number in range(30):
        output.take(trade(native=f"COIN{number}"))
    output.take(trade(native="COIN3"))
    assert (output.status()["queued"], output.status()["errors"]) == (11, 20)
    await store.aclose()


async def test_a_refusal_of_the_store_is_no_outage(own_valkey: Callable[..., OwnValkey]) -> None:
    """A user without the right to publish: nothing waits, everything is counted."""
    server = own_valkey()
    async with redis.asyncio.Redis.from_url(server.url) as admin:
        await admin.execute_command("ACL", "SETUSER", "default", "resetchannels")  # type: ignore[no-untyped-call]
        store = NativeStore(server.url, client_name="test")
        output = RedisChannels(store, limits=QUICK)
        async with running(output):
            for number in range(10):
                output.take(trade(str(number)))
            await until_true(lambda: output.status()["errors"] == 10)
            assert "permission" in output.status()["last_error"]
            await admin.execute_command("ACL", "SETUSER", "default", "allchannels")  # type: ignore[no-untyped-call]
            output.take(trade("11"))
            await until_true(lambda: output.status()["sent"] == 1)
        await store.aclose()


async def test_a_store_that_dies_under_load_costs_what_is_counted(
    own_valkey: Callable[..., OwnValkey],
) -> None:
    """Killed and started again while points come: a subscriber sees a gap for what was dropped,
    and nothing else is missing."""
    server = own_valkey()
    store = NativeStore(server.url, client_name="test")
    output = RedisChannels(store, limits=Limits(0.001, 100, 50_000, 200_000))  # of some 400 points
    taken = 0

    async def take(count: int) -> None:
        nonlocal taken
        for _ in range(count):
            taken += 1
            output.take(trade(str(taken)))
            if taken % 20 == 0:
                await asyncio.sleep(0.001)

    heard = Heard()
    async with running(output):
        async with subscriber(server.url, heard):
            await take(2000)
            await until_true(lambda: output.status()["queued"] == 0)
            await until_true(lambda: len(heard.sizes) == output.status()["sent"])
        server.kill()
        await take(3000)
        status = output.status()
        assert status["dropped"] > 2000
        assert 0 < status["queued"] < 600
        server.start()
        # Nobody hears what is published before the subscriber is back: it sees that gap as well.
        async with subscriber(server.url, heard):
            await take(2000)
            await until_true(lambda: output.status()["queued"] == 0)
            await until_true(lambda: heard.numbers(TRADES)[-1] == taken)
    status = output.status()
    assert status["sent"] + status["dropped"] == taken == 7000
    numbers = heard.numbers(TRADES)
    assert numbers == sorted(numbers)
    assert numbers[:2000] == list(range(1, 2001))
    for message in heard.by_channel[TRADES]:
        assert message["data"]["trade_id"] == str(message["sequence"])
    missed = taken - len(set(numbers))
    assert missed >= status["dropped"]
    await store.aclose()
