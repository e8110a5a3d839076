"""The names of simulated markets: the exchange's own, and the key that documents have for it."""

from collections.abc import Mapping
from typing import Any, Final

EXCHANGES: Final = ("binance", "bybit", "okx")
# Their streams do not close candles without a trade.
SILENT_UNCLOSED: Final = frozenset({"okx"})


def market_key(simulated: Mapping[str, Any]) -> str:
    """`exchange:symbol` as documents name a contract that the simulator tells of; its own `symbol`
    is the exchange's name, such as BTC-USDT-SWAP."""
    return f"{simulated['exchange']}:{simulated['base']}{simulated['quote']}"
