"""What a part of a collection costs of each limit, by hand."""

from data_collector.part_asks import PartAsks
from market.markets import Exchange, Market
from market.timeframes import Timeframe
from tests.fixtures.simulator import NOW_MS


def markets(exchange: Exchange, count: int) -> tuple[Market, ...]:
    return tuple(Market(exchange, f"M{n}USDT", f"M{n}", "USDT", 1) for n in range(count))


def test_of_a_limit_by_market_it_is_what_one_market_takes() -> None:
    both = markets(Exchange.BYBIT, 20) + markets(Exchange.OKX, 30)
    asks = PartAsks(both, (Timeframe.H4, Timeframe.D1), NOW_MS, 399)
    cost = asks.cost()
    # Of 399 candles two pages of 300, of snapshots four of 100; 1d has no more than 30 days.
    assert cost[Exchange.OKX, "candles"] == 30 * 2 * 2
    assert 4 < cost[Exchange.OKX, "open_interest"] <= 8
    one = PartAsks(both[-1:], asks.timeframes, NOW_MS, 399).cost()
    assert one[Exchange.OKX, "open_interest"] == cost[Exchange.OKX, "open_interest"]
    assert one[Exchange.OKX, "candles"] * 30 == cost[Exchange.OKX, "candles"]
    bybit = asks.of(both[:1]).cost()
    assert bybit[Exchange.BYBIT, "requests"] * 20 == cost[Exchange.BYBIT, "requests"]


def test_old_candles_cost_what_serves_them() -> None:
    cost = PartAsks(markets(Exchange.OKX, 10), (Timeframe.M5,), NOW_MS, 2000).cost()
    assert cost[Exchange.OKX, "candles"] == 10 * 5  # the newest 1440
    assert cost[Exchange.OKX, "history_candles"] == 10 * 2
