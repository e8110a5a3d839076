"""Asks two addresses the same with ccxt, and compares all numbers of the answers.

python compare_ccxt.py HERE THERE NOW_MS SYMBOLS: HERE has /binance/..., /bybit/... and /okx/...,
THERE all their own paths, and SYMBOLS is JSON, the exchange's names of markets by exchange and
timeframe.

It asks for closed candles, and of the markets of 1h for open interest and funding rates, too. What
ccxt makes of both answers must be equal, and so must each field of a candle as it came, as a
decimal. It prints as JSON how many numbers those are, what differs, and how many of the candles'
numbers came from the cache.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ask_ccxt import HOUR_MS, MOST, clients  # type: ignore[import-not-found]  # beside this one

LENGTHS_MS = {"m": HOUR_MS // 60, "h": HOUR_MS, "d": 24 * HOUR_MS}
CANDLES = 490
INTEREST_ROWS = 150
RATES = 40
# Of the fields of a candle: prices, volume, turnover, and Binance's trades and taker volumes. Times
# are compared, too, and not counted.
COUNTED = {
    "binanceusdm": (1, 2, 3, 4, 5, 7, 8, 9, 10),
    "bybit": (1, 2, 3, 4, 5, 6),
    "okx": (1, 2, 3, 4, 5, 6, 7, 8),
}


def fields(answer: Any) -> list[list[Decimal]]:
    """The candles of an answer as they came."""
    rows = answer if isinstance(answer, list) else answer.get("data") or answer["result"]["list"]
    return [[Decimal(str(field)) for field in row] for row in rows]


class Comparison:
    """Puts questions to both, and counts the numbers that are equal and those that are not."""

    def __init__(self, here: Any, there: Any) -> None:
        self._both = here, there
        for exchange in self._both:
            exchange.enableRateLimit, exchange.enableLastJsonResponse = False, True
        self.numbers: Counter[str] = Counter()
        self.different: list[str] = []
        self.cached = 0

    def _ask(self, question: Callable[[Any], Any]) -> tuple[Any, Any]:
        told, true = (question(exchange) for exchange in self._both)
        if told != true:
            self.different.append(self._both[0].last_request_url)
        return told, true

    def candles(self, symbol: str, timeframe: str, now_ms: int) -> None:
        length_ms = int(timeframe[:-1]) * LENGTHS_MS[timeframe[-1]]
        end_ms = now_ms - now_ms % length_ms
        page = MOST.get(self._both[0].id, CANDLES)
        for first_ms in range(end_ms - CANDLES * length_ms, end_ms, page * length_ms):
            count = min(page, (end_ms - first_ms) // length_ms)
            self._page(symbol, timeframe, first_ms, count)

    def _page(self, symbol: str, timeframe: str, first_ms: int, count: int) -> None:
        self._ask(lambda exchange: exchange.fetch_ohlcv(symbol, timeframe, first_ms, count))
        told, true = (fields(exchange.last_json_response) for exchange in self._both)
        counted = COUNTED[self._both[0].id]
        numbers = len(true) * len(counted)
        self.numbers["candles"] += numbers
        headers = {key.lower(): value for key, value in self._both[0].last_response_headers.items()}
        self.cached += numbers if headers["x-perpcache"].startswith("hit") else 0
        if told != true:
            self.different.append(f"fields of {self._both[0].last_request_url}")

    def history(self, symbol: str, now_ms: int) -> None:
        first_ms = now_ms - now_ms % HOUR_MS - (INTEREST_ROWS + 5) * HOUR_MS + 2
        wanted = "1h", first_ms, INTEREST_ROWS + 10, {"until": first_ms + INTEREST_ROWS * HOUR_MS}
        _, true = self._ask(lambda found: found.fetch_open_interest_history(symbol, *wanted))
        names = ("openInterestAmount", "openInterestValue")
        self.numbers["open interest"] += sum(
            row[name] is not None for row in true for name in names
        )
        since_ms = now_ms - 8 * HOUR_MS * RATES
        _, true = self._ask(lambda found: found.fetch_funding_rate_history(symbol, since_ms, RATES))
        self.numbers["funding rates"] += sum(row["fundingRate"] is not None for row in true)


def main(here: str, there: str, now_ms: str, symbols: str) -> None:
    began_s = time.monotonic()
    wanted = json.loads(symbols)
    ours = clients({name: f"{here}/{name}" for name in wanted})
    theirs = clients(dict.fromkeys(wanted, there))
    told: dict[str, Any] = {}
    for name, by_timeframe in wanted.items():
        comparison = Comparison(ours[name], theirs[name])
        for exchange in (ours[name], theirs[name]):
            exchange.load_markets()
        for timeframe, ids in by_timeframe.items():
            for symbol in (ours[name].markets_by_id[each][0]["symbol"] for each in ids):
                comparison.candles(symbol, timeframe, int(now_ms))
                if timeframe == "1h":
                    comparison.history(symbol, int(now_ms))
        told[name] = {
            "numbers": dict(comparison.numbers),
            "different": comparison.different,
            "cached": comparison.cached,
        }
    json.dump({"exchanges": told, "seconds": round(time.monotonic() - began_s, 1)}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
