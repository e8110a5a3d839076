"""Fetches candles and open interest with ccxt, and prints the CPU time that this took.

python ccxt_fetch.py ADDRESS CANDLES BINANCE,SYMBOLS BYBIT,SYMBOLS

It runs in an environment with ccxt and imports nothing of the project. The CPU time excludes the
import; lists of markets are not requested.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import ccxt.async_support as ccxt  # type: ignore[import-not-found]

CONCURRENCY = 20
H4_MS = 4 * 3_600_000
DAY_MS = 86_400_000


def market(symbol: str) -> dict[str, Any]:
    """A linear perpetual contract in ccxt's form, so that it need not ask for the lists."""
    base = symbol.removesuffix("USDT")
    return {
        "id": symbol, "symbol": f"{base}/USDT:USDT", "base": base, "quote": "USDT",
        "settle": "USDT", "baseId": base, "quoteId": "USDT", "settleId": "USDT",
        "type": "swap", "spot": False, "margin": False, "swap": True, "future": False,
        "option": False, "contract": True, "linear": True, "inverse": False, "active": True,
        "contractSize": 1.0, "precision": {"amount": 0.001, "price": 0.01},
        "limits": {"amount": {}, "price": {}, "cost": {}, "leverage": {}}, "info": {},
    }  # fmt: skip


async def fetch_binance(exchange: Any, symbol: str, candles: int) -> int:
    now_ms = exchange.milliseconds()
    since_ms = now_ms - now_ms % H4_MS - (candles - 1) * H4_MS
    rows = await exchange.fetch_ohlcv(symbol, "4h", since_ms, candles)
    known_ms = max(since_ms, now_ms - 30 * DAY_MS + H4_MS)
    await exchange.fetch_open_interest_history(symbol, "4h", known_ms, 500)
    return len(rows)


async def fetch_bybit(exchange: Any, symbol: str, candles: int) -> int:
    now_ms = exchange.milliseconds()
    since_ms = now_ms - now_ms % H4_MS - (candles - 1) * H4_MS
    rows = await exchange.fetch_ohlcv(symbol, "4h", since_ms, candles)
    end_ms = now_ms
    while end_ms > since_ms:  # 200 snapshots each, the newest first
        page = await exchange.fetch_open_interest_history(
            symbol, "4h", max(since_ms, end_ms - 200 * H4_MS), 200, {"endTime": end_ms}
        )
        if not page:
            break
        end_ms = page[0]["timestamp"] - 1
    return len(rows)


async def fetch_all(
    exchange: Any,
    fetch: Callable[[Any, str, int], Awaitable[int]],
    symbols: Sequence[str],
    candles: int,
) -> int:
    gate = asyncio.Semaphore(CONCURRENCY)

    async def one(symbol: str) -> int:
        async with gate:
            return await fetch(exchange, f"{symbol.removesuffix('USDT')}/USDT:USDT", candles)

    return sum(await asyncio.gather(*map(one, symbols)))


async def main(address: str, candles: int, binance: list[str], bybit: list[str]) -> None:
    options = {"enableRateLimit": False, "options": {"defaultType": "swap"}}
    venues = [
        (ccxt.binanceusdm(options), fetch_binance, binance),
        (ccxt.bybit(options), fetch_bybit, bybit),
    ]
    venues[0][0].urls["api"]["fapiPublic"] = f"{address}/fapi/v1"
    venues[0][0].urls["api"]["fapiData"] = f"{address}/futures/data"
    venues[1][0].urls["api"]["public"] = address
    for exchange, _, symbols in venues:
        exchange.set_markets([market(symbol) for symbol in symbols])
    try:
        began = time.process_time()
        rows = await asyncio.gather(*(fetch_all(*venue, candles) for venue in venues))
        cpu_s = time.process_time() - began
    finally:
        await asyncio.gather(*(exchange.close() for exchange, _, _ in venues))
    sys.stdout.write(json.dumps({"cpu_s": cpu_s, "rows": sum(rows)}) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3].split(","), sys.argv[4].split(",")))
