"""Which of an exchange's limits a provider's resource counts against."""

from dataclasses import replace

import pytest

from market.markets import Exchange
from providers.exchange_budgets import counter_of, exchange_of
from tests.providers.asking import row


@pytest.mark.parametrize(
    ("url", "counter"),
    [
        ("https://www.okx.com/api/v5/market/tickers", (Exchange.OKX, "tickers")),
        ("https://www.okx.com/api/v5/public/elsewhere", (Exchange.OKX, "candles")),
        ("https://api.bybit.com/v5/market/tickers", (Exchange.BYBIT, "requests")),
        ("https://fapi.binance.com/fapi/v1/premiumIndex", (Exchange.BINANCE, "weight")),
    ],
)
def test_it_is_that_of_its_path(url: str, counter: tuple[Exchange, str]) -> None:
    resource = replace(row("any"), url=url)
    assert counter_of(resource) == counter
    assert exchange_of(resource) is counter[0]
    assert exchange_of(replace(resource, url="https://example.org/")) is None
