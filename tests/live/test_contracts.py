"""Sizes in contracts become base units, to the last digit."""

from decimal import Decimal

import pytest

from live.contracts import in_coins
from live.events import BookEvent, TickerEvent, TradeEvent


@pytest.mark.parametrize(
    ("contracts", "contract_size", "coins"),
    [
        ("1330.07", "0.01", "13.3007"),  # OKX's BTC-USDT-SWAP, whose candle says so itself
        ("5", "0.1", "0.5"),
        ("7", "1000000000", "7000000000"),
        ("0", "0.01", "0.00"),
        ("123456789012345678901234.123456789012345678901234", "0.0001",
         "12345678901234567890.1234123456789012345678901234"),
    ],
)  # fmt: skip
def test_a_trade_is_in_coins(contracts: str, contract_size: str, coins: str) -> None:
    trade = TradeEvent("BTC-USDT-SWAP", 1, "2", "48938.5", contracts, "buy")
    assert in_coins(trade, Decimal(contract_size)) == TradeEvent(
        "BTC-USDT-SWAP", 1, "2", "48938.5", coins, "buy"
    )


def test_a_book_is_in_coins() -> None:
    book = BookEvent("X-USDT-SWAP", 1, True, [("3", "415")], [("4", "1.5"), ("5", "0")], 7)
    assert in_coins(book, Decimal("0.1")) == BookEvent(
        "X-USDT-SWAP", 1, True, [("3", "41.5")], [("4", "0.15"), ("5", "0.0")], 7
    )


def test_a_ticker_s_sizes_are_in_coins_as_its_volume_is() -> None:
    ticker = TickerEvent("X-USDT-SWAP", 1, {"last_size": "5", "bid_size": "2", "volume_24h": "9"})
    assert in_coins(ticker, Decimal(10)).values == {
        "last_size": "50",
        "bid_size": "20",
        "volume_24h": "9",
    }
