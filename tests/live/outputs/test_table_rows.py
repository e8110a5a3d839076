"""The rows that points become: what cannot be stored is refused with its field and its reason."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest

from live.data_types import DataType, MarketDataPoint
from live.outputs.plain_data import time_ms
from live.outputs.table_rows import row_of
from tests.live.outputs.points import book, candle, now, point, trade


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (trade("\0"), "trade_id: has characters that cannot be stored"),
        (trade("i" * 101), "trade_id: must have 1 to 100 characters"),
        (trade(native="\ud800"), "symbol: has characters that cannot be stored"),
        (point(DataType.TRADE, {"trade_id": "1", "price": 1}), "size: is missing"),
        (point(DataType.TRADE, {"price": Decimal("NaN"), "trade_id": "1", "size": 1}), "finite"),
        (trade(price="1E+9999"), "more than 100 digits"),
        (trade(at=now() - timedelta(days=2)), "is more than a day off"),
        (trade(at=now() + timedelta(days=2)), "is more than a day off"),
        (
            point(DataType.ORDERBOOK, {"bids": [(1,)], "asks": []}),
            "bids: not all levels are (price, size)",
        ),
        (
            point(DataType.ORDERBOOK, {"bids": 7, "asks": []}),
            "bids: is no list of at most 5000 levels",
        ),
        (book(2**63), "last_id: is no whole number of 64 bits"),
        (point(DataType.TICKER, {"last_price": "x"}), "last_price: 'x' is no number"),
        (point(DataType.TICKER, {"what": object()}), "JSON does not have"),
        (candle(1_795_985_160_000), "data type: candle has no table"),
    ],
)
def test_what_cannot_be_stored_is_refused(bad: MarketDataPoint, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        row_of(bad, time_ms(now()))


def test_a_day_off_is_near_enough() -> None:
    """Books of quiet markets are told with the time of their last change."""
    moment = now()
    for days in (-1, 1):
        assert row_of(trade(at=moment + timedelta(days=days)), time_ms(moment)).symbol
