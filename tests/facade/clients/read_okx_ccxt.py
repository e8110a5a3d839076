"""Reads recorded answers of OKX with ccxt, and prints what it makes of them as JSON.

python read_okx_ccxt.py ADDRESS CANDLES: ADDRESS has /api/v5/public/..., and for each of CANDLES, a
JSON list of [name, timeframe], /<name>/api/v5/... with the same and the candles of that name.
"""

import json
import sys
from typing import Any

import ccxt  # type: ignore[import-not-found]

SYMBOL = "BTC/USDT:USDT"


def okx(address: str) -> Any:
    swaps = {"fetchMarkets": {"types": ["swap"]}, "defaultType": "swap"}
    return ccxt.okx({"urls": {"api": {"rest": address}}, "options": swaps})


def main(address: str, candles: str) -> None:
    exchange = okx(address)
    markets = exchange.load_markets()
    told: dict[str, Any] = {
        "markets": {
            market["id"]: market["contractSize"]
            for market in markets.values()
            if market["linear"] and market["settle"] == "USDT" and market["active"]
        },
        "funding": [
            [row["timestamp"], row["fundingRate"]]
            for row in exchange.fetch_funding_rate_history(SYMBOL)
        ],
        "candles": {
            name: okx(f"{address}/{name}").fetch_ohlcv(SYMBOL, timeframe)
            for name, timeframe in json.loads(candles)
        },
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
