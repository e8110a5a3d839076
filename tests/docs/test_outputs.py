"""What docs/collectors.md tells of outputs: the subscriber in Python, and the queries."""

import asyncio
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import asyncpg

from config import load_settings
from database import Database
from live.data_types import DataType, MarketDataPoint
from live.outputs.kinds import OUTPUTS
from live.outputs.output import Output
from live.outputs.postgres_tables import LIMITS as TABLES
from live.outputs.postgres_tables import PostgresTables
from live.outputs.redis_channels import LIMITS as CHANNELS
from live.outputs.redis_channels import RedisChannels
from live.outputs.sender import Limits
from stores.cold.live_partitions import LIVE_TABLES
from stores.hot.redis_client import NativeStore
from tests.docs.blocks import ROOT, claim
from tests.fixtures.signals import until, until_true

DOCUMENT: Final = "docs/collectors.md"
SUBSCRIBER: Final = claim(DOCUMENT, 'psubscribe("live:binance:trade:*")')
QUERIES: Final = claim(DOCUMENT, "FROM live_trades")
TEXT: Final = (ROOT / DOCUMENT).read_text(encoding="utf-8")


def trade(number: int) -> MarketDataPoint:
    data = {"exchange_symbol": "BTCUSDT", "trade_id": str(number), "side": "buy"}
    data |= {"price": Decimal(85_000 + number), "size": Decimal("0.10")}  # type: ignore[dict-item]
    return MarketDataPoint("binance", "BTC-USDT", datetime.now(UTC), DataType.TRADE, data)


async def send(output: Output, *points: MarketDataPoint) -> None:
    """Hands them over and ends the output, which sends them first."""
    for point in points:
        output.take(point)
    task = asyncio.create_task(output.run())
    await until_true(lambda: output.status()["queued"] == 0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_subscriber_sees_points_gaps_and_restarts(redis_url: str) -> None:
    store = NativeStore(redis_url, client_name="test")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-c", SUBSCRIBER.text),
        env=os.environ | {"REDIS_URL": redis_url},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None

    async def listens() -> bool:
        return bool(await store.execute("PUBSUB", "NUMPAT"))

    try:
        await until(listens)
        # A queue that holds one message: of three the first two are dropped.
        await send(RedisChannels(store), trade(1), trade(2))
        await send(RedisChannels(store, limits=Limits(0.01, 10, 1000, 600)), trade(3))
        small = RedisChannels(store, limits=Limits(0.01, 10, 1000, 600))
        task = asyncio.create_task(small.run())
        small.take(trade(4))
        await until_true(lambda: small.status()["sent"] == 1)
        for number in (5, 6, 7):
            small.take(trade(number))
        await until_true(lambda: small.status()["queued"] == 0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        lines = []
        async with asyncio.timeout(60):
            while "BTCUSDT 85007 0.1" not in lines:
                lines.append((await process.stdout.readline()).decode().strip())
    finally:
        process.kill()
        await process.wait()
        await store.aclose()
    new = "a new publisher: live:binance:trade:BTCUSDT"
    assert lines == [
        *(new, "BTCUSDT 85001 0.1", "BTCUSDT 85002 0.1"),
        *(new, "BTCUSDT 85003 0.1"),
        *(new, "BTCUSDT 85004 0.1", "missing: 2", "BTCUSDT 85007 0.1"),
    ]


async def test_the_queries_read_what_was_stored(database_url: str) -> None:
    database = Database(database_url)
    moment = datetime.now(UTC) - timedelta(seconds=5)
    values = {"bid_price": Decimal(1), "ask_price": Decimal(2), "high_24h": Decimal("3.50")}
    book = {"bids": [(Decimal(1), Decimal(5))], "asks": [(Decimal(2), Decimal(6))], "last_id": 9}
    name = {"exchange_symbol": "BTCUSDT"}
    await send(
        PostgresTables(database.live_tables, 7),
        trade(1),
        MarketDataPoint("bybit", "BTC-USDT", moment, DataType.TICKER, values | name),
        MarketDataPoint("binance", "BTC-USDT", moment, DataType.ORDERBOOK, book | name),
    )
    await database.aclose()
    connection = await asyncpg.connect(database_url, timeout=30)
    trades, tickers, books = [
        [tuple(row) for row in await connection.fetch(query)]
        for query in QUERIES.text.split(";")
        if query.strip()
    ]
    await connection.close()
    assert [row[1:] for row in trades] == [(Decimal(85_001), Decimal("0.1"), "buy")]
    assert [(row[0], *row[2:]) for row in tickers] == [("BTCUSDT", 1, 2, "3.5")]
    assert [row[1:] for row in books] == [(1, 2, 9)]


def test_names_and_numbers_are_those_of_the_code() -> None:
    section = TEXT.partition("## Outputs")[2].partition("\n## ")[0]
    assert re.findall(r"^### (\w+)$", section, re.MULTILINE) == list(OUTPUTS)
    assert set(re.findall(r"`(live_\w+)`", section)) == set(LIVE_TABLES)
    assert f"up to {CHANNELS['native'].queue_bytes // 10**6} MB (`redis`)" in section
    assert f"or {TABLES.queue_bytes // 10**6} MB (`postgres`" in section
    assert CHANNELS["native"].queue_bytes == CHANNELS["upstash"].queue_bytes
    assert f"every {CHANNELS['native'].every_s:g} s, over Upstash every second" in section
    assert (CHANNELS["upstash"].every_s, TABLES.every_s) == (1, 1)
    assert load_settings().live_retention_days == 7
