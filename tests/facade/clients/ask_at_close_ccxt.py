"""Many clients of ccxt on one address, which all ask the same just after a candle has closed.

python ask_at_close_ccxt.py CLIENTS BINANCE BYBIT AT

Each loads the markets before, and from AT (seconds since 1970) on they ask together, question after
question: for candles of three markets, for their open interest and for tickers. It prints, for each
question, how many different answers there were.
"""

import asyncio
import json
import sys
import time
from typing import Any

import ccxt.async_support as ccxt  # type: ignore[import-not-found]

SYMBOLS = ("BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT")
# In one process clients wait for each other's work, too.
OPTIONS = {"timeout": 60_000, "enableRateLimit": False}


def binance(address: str) -> Any:
    urls = {"fapiPublic": f"{address}/fapi/v1", "fapiData": f"{address}/futures/data"}
    return ccxt.binanceusdm({"urls": {"api": urls}, **OPTIONS})


def bybit(address: str) -> Any:
    linear = {"fetchMarkets": {"types": ["linear"]}}
    return ccxt.bybit({"urls": {"api": {"public": address}}, "options": linear, **OPTIONS})


def questions() -> list[tuple[str, *tuple[Any, ...]]]:
    """The methods of ccxt with their arguments."""
    found: list[tuple[str, *tuple[Any, ...]]] = [("fetch_tickers",)]
    for symbol in SYMBOLS:
        found += [
            ("fetch_ohlcv", symbol, "5m", None, 499),
            ("fetch_mark_ohlcv", symbol, "5m", None, 100),
            ("fetch_open_interest_history", symbol, "5m"),
        ]
    return found


async def main(clients: str, binance_address: str, bybit_address: str, at_s: str) -> None:
    makers = ((binance, binance_address), (bybit, bybit_address))
    bots = [make(address) for make, address in makers for _ in range(int(clients))]
    different: dict[str, int] = {}
    try:
        await asyncio.gather(*(bot.load_markets() for bot in bots))
        assert time.time() < float(at_s), "it took too long to load the markets"
        await asyncio.sleep(float(at_s) - time.time())
        for method, *arguments in questions():
            answers = await asyncio.gather(*(getattr(bot, method)(*arguments) for bot in bots))
            for exchange_id in ("binanceusdm", "bybit"):
                told = {
                    json.dumps(answer, sort_keys=True)
                    for bot, answer in zip(bots, answers, strict=True)
                    if bot.id == exchange_id
                }
                different[f"{exchange_id} {method} {arguments}"] = len(told)
    finally:
        await asyncio.gather(*(bot.close() for bot in bots))
    json.dump(different, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
