"""What is shown of the budgets' use."""

from budgets.used import read_of_budgets
from config import load_settings


def test_limits_by_market_are_left_out() -> None:
    read = read_of_budgets(load_settings(exchanges="okx"))
    assert "budget:default:okx:candles" in read.keys
    assert not [key for key in read.keys if "open_interest" in key]
    used = read.made([3] * len(read.keys))
    (okx,) = used.values()
    assert okx["candles"].quantity == 36 and okx["candles"].left == 33
    assert "open_interest" not in okx
