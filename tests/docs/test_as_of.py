"""What docs/history.md tells of documents and markets as they were, run against a real record."""

import asyncio
import json
import subprocess
from typing import Any, Final

import numpy as np

from database import Database, Publish, SeriesKey, SeriesRows, write_publish
from market.markets import Exchange, ListedMarket, Market
from market.timeframes import Timeframe
from tests.docs.blocks import Block, claim
from tests.fixtures.api import StartApi

DOCUMENT: Final = claim("docs/history.md", "/cache/4h?symbol=BTCUSDT&as_of=")
COINS: Final = claim("docs/history.md", "/coins?as_of=")
UPDATED_MS: Final = 1_795_219_225_000  # 2026-11-21 00:00:25 UTC
BTC: Final = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")


async def test_the_lines_for_a_shell(
    start_api: StartApi, redis_url: str, database_url: str
) -> None:
    as_of_ms = UPDATED_MS - 5000
    opened = Timeframe.H4.last_closed_open_time(as_of_ms) - Timeframe.H4.interval_ms * np.arange(2)
    database = Database(database_url)
    await database.markets.save_markets(
        Exchange.BINANCE, [ListedMarket(BTC, 1.0)], seen_at_ms=as_of_ms
    )
    publish = Publish(
        document="4h",
        base=None,
        version=as_of_ms,
        updated_at_ms=UPDATED_MS,
        as_of_ms=as_of_ms,
        first_ms=int(opened[-1]),
        candles=2,
        funding_updated_ms=None,
        universe=[("binance", "BTCUSDT", "BTC", "USDT")],
        missing=[],
        stale=[],
        entry=b"",
    )
    candles = SeriesRows(
        SeriesKey.candles("binance", "BTCUSDT", Timeframe.H4), opened[::-1], np.full((2, 6), 7.5)
    )
    await database.history.store(
        [candles],
        UPDATED_MS,
        within=lambda connection: write_publish(connection, publish, UPDATED_MS),
    )
    await database.publishes.forget_entries(UPDATED_MS + 1)
    await database.aclose()
    api = await start_api(redis_url=redis_url, dsn=database_url)

    async def ask(block: Block) -> Any:
        line = block.text.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{api.port}")
        done = await asyncio.to_thread(
            subprocess.run,
            ["/bin/sh", "-c", line.replace("curl ", "curl -sS ", 1)],
            capture_output=True,
            check=True,
            timeout=30,
        )
        return json.loads(done.stdout)

    document = await ask(DOCUMENT)
    assert (document["version"], document["forming_rows"]) == (as_of_ms, "forgotten")
    (market,) = document["markets"]
    assert market["rows"] == [[int(t), *[7.5] * 6, None, None] for t in opened[::-1]]
    (listed,) = (await ask(COINS))["coins"]
    assert (listed["symbol"], listed["listed_from"]) == ("BTCUSDT", as_of_ms)
