"""Asks with ccxt what bots ask, and prints the answers as JSON.

python ask_ccxt.py ADDRESSES NOW_MS SYMBOLS: ADDRESSES is JSON, by exchange where /fapi/v1/...,
/v5/... and /api/v5/... are.

It runs in an environment with ccxt and imports nothing of the project. Rows are those that were
final at NOW_MS. `hits` counts answers that came from a cache, by what was asked.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import ccxt  # type: ignore[import-not-found]

HOUR_MS = 3_600_000
LENGTHS_MS = {"5m": HOUR_MS // 12, "1h": HOUR_MS, "4h": 4 * HOUR_MS}
MOST = {"okx": 300}  # candles that it tells at once; of others more than are collected
DAYS = {"okx": {"bar": "1D"}}  # by UTC+8


def clients(addresses: dict[str, str]) -> dict[str, Any]:
    """The exchanges of ccxt, which ask at these addresses, by configuration alone."""
    binance = addresses["binance"]
    urls = {
        "fapiPublic": f"{binance}/fapi/v1",
        "fapiPublicV2": f"{binance}/fapi/v2",
        "fapiData": f"{binance}/futures/data",
    }
    linear = {"fetchMarkets": {"types": ["linear"]}}
    swaps = {"fetchMarkets": {"types": ["swap"]}, "defaultType": "swap"}
    return {
        "binance": ccxt.binanceusdm({"urls": {"api": urls}}),
        "bybit": ccxt.bybit({"urls": {"api": {"public": addresses["bybit"]}}, "options": linear}),
        "okx": ccxt.okx({"urls": {"api": {"rest": addresses["okx"]}}, "options": swaps}),
    }


def ask(exchange: Any, now_ms: int, symbols: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    hits: Counter[str] = Counter()

    def note(kind: str, name: str, call: Callable[[], Any]) -> None:
        answer = found[f"{kind} {name}"] = call()
        assert answer, (kind, name)
        headers = {key.lower(): value for key, value in exchange.last_response_headers.items()}
        hits[kind] += headers.get("x-perpcache", "").startswith("hit")

    markets = exchange.load_markets()
    found["markets"] = {
        name: [market["id"], market["active"], market["contractSize"], market["precision"]]
        for name, market in markets.items()
    }
    for symbol in symbols:
        for timeframe, length_ms in LENGTHS_MS.items():

            def closed(*arguments: Any) -> Any:
                rows = exchange.fetch_ohlcv(symbol, timeframe, *arguments)  # noqa: B023
                return [row for row in rows if row[0] + length_ms <= now_ms]  # noqa: B023

            newest_ms = now_ms - now_ms % length_ms
            most = MOST.get(exchange.id, 499)
            note("candles", f"{symbol} {timeframe}", lambda: closed(None, most))  # noqa: B023
            first_ms = newest_ms - 300 * length_ms - 1234  # as bots do: no candle opens there
            note("since", f"{symbol} {timeframe}", lambda: closed(first_ms, 100))  # noqa: B023
        since_ms = now_ms - 30 * HOUR_MS
        note(
            "open interest",
            symbol,
            lambda: exchange.fetch_open_interest_history(symbol, "1h", since_ms, 20),  # noqa: B023
        )
        until = {"until": since_ms + 12 * HOUR_MS}
        note(
            "open interest until",
            symbol,
            lambda: exchange.fetch_open_interest_history(symbol, "1h", since_ms, 50, until),  # noqa: B023
        )
        note(
            "funding",
            symbol,
            lambda: exchange.fetch_funding_rate_history(symbol, now_ms - 240 * HOUR_MS, 20),  # noqa: B023
        )
        # Of days that begin elsewhere, which are never ours.
        found[f"days {symbol}"] = exchange.fetch_ohlcv(
            symbol, "1d", now_ms - 20 * 24 * HOUR_MS, 10, DAYS.get(exchange.id, {})
        )
    found["tickers"] = sorted(exchange.fetch_tickers())
    found["funding rates"] = sorted(exchange.fetch_funding_rates())
    assert abs(exchange.fetch_time() - exchange.milliseconds()) < 60_000
    return {"found": found, "hits": dict(hits)}


def main(addresses: str, now_ms: str, symbols: str) -> None:
    answers = {
        name: ask(exchange, int(now_ms), symbols.split(","))
        for name, exchange in clients(json.loads(addresses)).items()
    }
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
