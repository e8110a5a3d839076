"""Binance's simulated trades, aggregated trades and best prices, as REST tells them."""

from collections.abc import Iterable
from typing import Any

from simulator.market import Market
from simulator.streams.book import Book, levels
from simulator.tape import Trade
from simulator.text import fixed


def trades(market: Market, found: Iterable[Trade]) -> list[dict[str, Any]]:
    """The body of GET /fapi/v1/trades: taker's orders, each as one fill (choice)."""
    prices, amounts = market.price_decimals, market.quantity_decimals
    return [
        {
            "id": trade.last_id,
            "price": fixed(trade.price, prices),
            "qty": fixed(trade.volume, amounts),
            "quoteQty": fixed(trade.price * trade.volume, prices + amounts),
            "time": trade.time_ms,
            "isBuyerMaker": not trade.is_buy,
        }
        for trade in found
    ]


def aggregated_trades(market: Market, found: Iterable[Trade]) -> list[dict[str, Any]]:
    """The body of GET /fapi/v1/aggTrades, with the ids that the stream has."""
    return [
        {
            "a": trade.number,
            "p": fixed(trade.price, market.price_decimals),
            "q": fixed(trade.volume, market.quantity_decimals),
            "nq": fixed(trade.volume, market.quantity_decimals),
            "f": trade.first_id,
            "l": trade.last_id,
            "T": trade.time_ms,
            "m": not trade.is_buy,
        }
        for trade in found
    ]


def book_ticker(book: Book, now_ms: int) -> dict[str, Any]:
    """One entry of GET /fapi/v1/ticker/bookTicker; zeros where there is no book (choice)."""
    state, market = book.at(now_ms, 1), book.market
    (bid, bid_size), *_ = levels(state.bids, market.tick) or [(0, 0)]
    (ask, ask_size), *_ = levels(state.asks, market.tick) or [(0, 0)]
    return {
        "symbol": market.symbol,
        "bidPrice": fixed(bid, market.price_decimals),
        "bidQty": fixed(bid_size, market.quantity_decimals),
        "askPrice": fixed(ask, market.price_decimals),
        "askQty": fixed(ask_size, market.quantity_decimals),
        "time": now_ms,
    }
