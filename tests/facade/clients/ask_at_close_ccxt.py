"""Many clients of ccxt on one address, which all ask the same just after a candle has closed.

python ask_at_close_ccxt.py CLIENTS ADDRESSES AT: of each exchange, by JSON of their addresses.

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
LACKING = {("okx", "fetch_mark_ohlcv")}  # which the simulated exchange does not have
# In one process clients wait for each other's work, too.
OPTIONS = {"timeout": 60_000, "enableRateLimit": False}


def binance(address: str) -> Any:
    urls = {"fapiPublic": f"{address}/fapi/v1", "fapiData": f"{address}/futures/data"}
    return ccxt.binanceusdm({"urls": {"api": urls}, **OPTIONS})


def bybit(address: str) -> Any:
    linear = {"fetchMarkets": {"types": ["linear"]}}
    return ccxt.bybit({"urls": {"api": {"public": address}}, "options": linear, **OPTIONS})


def okx(address: str) -> Any:
    swaps = {"fetchMarkets": {"types": ["swap"]}, "defaultType": "swap"}
    return ccxt.okx({"urls": {"api": {"rest": address}}, "options": swaps, **OPTIONS})


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


async def main(clients: str, addresses: str, at_s: str) -> None:
    makers = {"binance": binance, "bybit": bybit, "okx": okx}
    asked = json.loads(addresses).items()
    bots = [makers[name](address) for name, address in asked for _ in range(int(clients))]
    different: dict[str, int] = {}
    try:
        await asyncio.gather(*(bot.load_markets() for bot in bots))
        assert time.time() < float(at_s), "it took too long to load the markets"
        await asyncio.sleep(float(at_s) - time.time())
        for method, *arguments in questions():
            asking = [bot for bot in bots if (bot.id, method) not in LACKING]
            answers = await asyncio.gather(*(getattr(bot, method)(*arguments) for bot in asking))
            for exchange_id in dict.fromkeys(bot.id for bot in asking):
                told = {
                    json.dumps(answer, sort_keys=True)
                    for bot, answer in zip(asking, answers, strict=True)
                    if bot.id == exchange_id
                }
                different[f"{exchange_id} {method} {arguments}"] = len(told)
    finally:
        await asyncio.gather(*(bot.close() for bot in bots))
    json.dump(different, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
