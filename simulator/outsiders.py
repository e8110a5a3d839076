"""The contracts that share the exchanges' lists and must not be collected."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from simulator.candles import DAY_MS
from simulator.market import Market

# base, rank, quote, life -> a market not yet marked as what it is
Make = Callable[[str, int, str, str], Market]

_QUARTER_MS: Final = 91 * DAY_MS


def outsiders(exchange: str, start_ms: int, make: Make) -> list[Market]:
    """Dated futures, other quotes, stocks and metals, contracts before and after their life."""
    quarter_ends = [start_ms - start_ms % _QUARTER_MS + k * _QUARTER_MS for k in (1, 2)]
    build = _binance if exchange == "binance" else _bybit
    return build(make, quarter_ends)


def _binance(make: Make, quarter_ends: list[int]) -> list[Market]:
    found = []
    for base, kind in (("TSLA", "EQUITY"), ("XAU", "COMMODITY"), ("SAMSUNG", "KR_EQUITY")):
        market = make(base, 90, "USDT", "trading")
        market.contract_type, market.symbol_type = "TRADIFI_PERPETUAL", kind
        found.append(market)
    for base, quote in (
        ("BTC", "USDC"), ("ETH", "USDC"), ("SOL", "USDC"), ("BTC", "USD1"), ("BTC", "U"),
        ("ETH", "BTC"),
    ):  # fmt: skip
        found.append(make(base, 60, quote, "trading"))
    for base in ("BTCST", "QUACK"):
        market = make(base, 400, "USDT", "awaited")
        market.status = "PENDING_TRADING"
        found.append(market)
    found[-1].contract_type = ""  # seen on a pending symbol
    for base, status in (("FTT", "SETTLING"), ("WAVES", "SETTLING"), ("OMG", "CLOSE")):
        market = make(base, 300, "USDT", "settled")
        market.status, market.delivery_ms = status, quarter_ends[0] - 300 * DAY_MS
        found.append(market)
    for end_ms, kind in zip(quarter_ends, ("CURRENT_QUARTER", "NEXT_QUARTER"), strict=True):
        for base in ("BTC", "ETH"):
            market = make(base, 40, "USDT", "trading")
            market.symbol += datetime.fromtimestamp(end_ms / 1000, UTC).strftime("_%y%m%d")
            market.contract_type, market.delivery_ms = kind, end_ms
            found.append(market)
    return found


def _bybit(make: Make, quarter_ends: list[int]) -> list[Market]:
    found = []
    for base, kind in (
        ("TSLA", "stock"), ("NVDA", "stock"), ("XAUT", "commodity"), ("EURUSD", "forex"),
    ):  # fmt: skip
        market = make(base, 90, "USDT", "trading")
        market.symbol_type = kind
        found.append(market)
    for base in ("BTC", "ETH", "SOL"):
        market = make(base, 60, "USDC", "trading")
        market.symbol, market.quote = f"{base}PERP", "USDC"
        found.append(market)
    for end_ms in quarter_ends:
        day = datetime.fromtimestamp(end_ms / 1000, UTC).strftime("%d%b%y").upper()
        for base, quote, symbol in (
            ("BTC", "USDT", f"BTCUSDT-{day}"),
            ("BTC", "USDC", f"BTC-{day}"),
        ):
            market = make(base, 50, quote, "trading")
            market.symbol, market.contract_type = symbol, "LinearFutures"
            market.delivery_ms = end_ms
            found.append(market)
    for base, status, life in (
        ("PREDICT", "PreLaunch", "awaited"), ("WAVES", "Closed", "settled"),
        ("OMG", "Delivering", "settled"),
    ):  # fmt: skip
        market = make(base, 400, "USDT", life)
        market.status = status
        if status != "PreLaunch":
            market.delivery_ms = quarter_ends[0] - 200 * DAY_MS
        found.append(market)
    return found
