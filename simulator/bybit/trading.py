"""Bybit's simulated order book, trades and risk limits, as REST tells them."""

from collections.abc import Iterable
from typing import Any, Final

from simulator.market import Market
from simulator.streams.book import Book, Levels, levels
from simulator.tape import Trade
from simulator.text import plain

# Value of a position up to which a limit holds, maintenance and initial margin in percent, and the
# largest leverage (choice: the same for all contracts).
_RISK_LIMITS: Final = (
    ("2000000", "0.01", "0.02", "50.00"),
    ("4000000", "0.02", "0.04", "25.00"),
    ("8000000", "0.05", "0.1", "10.00"),
)


def orderbook(book: Book, now_ms: int, depth: int) -> dict[str, Any]:
    """The result of GET /v5/market/orderbook, with the numbers that the stream has."""
    state, market = book.at(now_ms, depth), book.market

    def texts(side: Levels) -> list[tuple[str, str]]:
        prices, amounts = market.price_decimals, market.quantity_decimals
        return [(plain(price, prices), plain(size, amounts)) for price, size in side]

    return {
        "s": market.symbol,
        "b": texts(levels(state.bids, market.tick)),
        "a": texts(levels(state.asks, market.tick)),
        "ts": now_ms,
        "u": state.version % 10**9,
        "seq": state.version * 10,
        "cts": now_ms - 1,
    }


def recent_trades(market: Market, found: Iterable[Trade]) -> list[dict[str, Any]]:
    """The list of GET /v5/market/recent-trade, from ascending trades: newest first."""
    rows = [
        {
            "execId": execution_id(trade),
            "symbol": market.symbol,
            "price": plain(trade.price, market.price_decimals),
            "size": plain(trade.volume, market.quantity_decimals),
            "side": "Buy" if trade.is_buy else "Sell",
            "time": str(trade.time_ms),
            "isBlockTrade": False,
            "isRPITrade": False,
            "seq": str(trade.number),
        }
        for trade in found
    ]
    return rows[::-1]


def execution_id(trade: Trade) -> str:
    digits = f"{trade.number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def risk_limits(market: Market) -> list[dict[str, Any]]:
    """The entries of one contract in GET /v5/market/risk-limit."""
    return [
        {
            "id": number,
            "symbol": market.symbol,
            "riskLimitValue": value,
            "maintenanceMargin": maintenance,
            "initialMargin": initial,
            "isLowestRisk": 1 if number == 1 else 0,
            "maxLeverage": leverage,
            "mmDeduction": "",
        }
        for number, (value, maintenance, initial, leverage) in enumerate(_RISK_LIMITS, 1)
    ]
