"""OKX's rows of candles, open interest and funding, as JSON bytes. All values are strings."""

from collections.abc import Sequence

from simulator.candles import Ints
from simulator.market import Market
from simulator.okx import bars, contracts
from simulator.okx.bars import Bar
from simulator.text import plain, plain_column


def candle_rows(market: Market, candles: Ints, confirm: int) -> list[bytes]:
    """One JSON array of 9 strings for each candle, followed by a comma."""
    times, o, h, low, c, v, q = candles[:7].tolist()
    prices = (plain_column(column, market.price_decimals) for column in (o, h, low, c))
    amounts = contracts.sizes(market, v, q)
    seconds = contracts.second_amounts(market, v, q)
    quotes = contracts.quote_amounts(market, q)
    return [
        ('["' + '","'.join((str(row[0]), *row[1:])) + f'","{confirm}"],').encode()
        for row in zip(times, *prices, amounts, seconds, quotes, strict=True)
    ]


def candle_text(market: Market, values: Sequence[int], confirm: int) -> str:
    """The same of one candle, given by its columns, without the comma."""
    time, o, h, low, c, v, q = values[:7]
    prices = [plain(price, market.price_decimals) for price in (o, h, low, c)]
    amounts = (contracts.size(market, v, q), *contracts.second_amounts(market, [v], [q]))
    texts = [str(time), *prices, *amounts, *contracts.quote_amounts(market, [q]), str(confirm)]
    return '["' + '","'.join(texts) + '"]'


def open_interest_rows(
    market: Market, bar: Bar, first_ms: int, last_ms: int
) -> tuple[list[int], list[bytes]]:
    """Times, and rows of time, contracts, coins and US dollars, each followed by a comma."""
    points = bars.snapshots(market, bar, first_ms, last_ms)
    prices = market.candles.rough_prices(points[0]).tolist()
    times, rows = points[0].tolist(), []
    for time, value, price in zip(times, points[1].tolist(), prices, strict=True):
        number, coins, usd = open_interest(market, value, price)
        rows.append(f'["{time}","{number}","{coins}","{usd}"],'.encode())
    return times, rows


def open_interest(market: Market, value: int, price: int) -> tuple[str, str, str]:
    """Open interest in contracts, coins and US dollars."""
    both = market.price_decimals + market.quantity_decimals
    return (
        contracts.size(market, value, value * price),
        plain(value, market.quantity_decimals),
        plain(value * price, both),
    )
