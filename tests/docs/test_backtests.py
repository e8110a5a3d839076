"""The recipes of docs/bots.md for backtests, each run in an environment with its package."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import pytest

from documents.building import DocumentBuilder
from market.markets import Exchange, Market, MarketSeries, Row
from market.timeframes import HOUR_MS, Timeframe
from tests.docs.blocks import Block, claim
from tests.fixtures.api import ServedApi
from tests.fixtures.environments import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
PERPCACHE: Final = "http://127.0.0.1:8000"
CANDLES: Final = claim("docs/bots.md", "def candles(")
VECTORBT: Final = claim("docs/bots.md", "import vectorbt")
BACKTRADER: Final = claim("docs/bots.md", "import backtrader")
NAUTILUS: Final = claim("docs/bots.md", "nautilus_trader.model.data")
COUNT: Final = 120
NEWEST_MS: Final = 1_700_002_800_000  # of the forming candle, a full hour
AS_OF_MS: Final = NEWEST_MS + HOUR_MS // 2
WITHIN_S: Final = 240


def rows(price: float) -> list[Row]:
    """A price that swings; open interest is unknown on the first rows, funding changes its sign."""
    found: list[Row] = []
    for index in range(COUNT):
        opened = price + 7 * (index % 20) - 3 * (index % 7)
        close = price + 7 * ((index + 1) % 20) - 3 * ((index + 1) % 7)
        interest = None if index < 10 else 1000.5 + index
        rate = 0.0001 if index < 60 else -0.0001
        extremes = max(opened, close) + 1.5, min(opened, close) - 1.5
        time_ms = NEWEST_MS - (COUNT - 1 - index) * HOUR_MS
        found.append((time_ms, opened, *extremes, close, 10.25, 1025.0, interest, rate))
    return found


PRICES: Final = {Exchange.BINANCE: 500.0, Exchange.BYBIT: 502.0}


async def ran(api: ServedApi, *parts: str | Block) -> Any:
    """The JSON that a program of these parts prints, the document being there."""
    builder = DocumentBuilder(Timeframe.H1, "collected")
    for exchange, price in PRICES.items():
        market = Market(exchange, "BTCUSDT", "BTC", "USDT")
        builder.add(MarketSeries(market, rows(price), AS_OF_MS), {})
    builder.add(MarketSeries(Market(Exchange.BINANCE, "ETHUSDT", "ETH", "USDT"), [], AS_OF_MS), {})
    document = builder.finish(version=1, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS, missing=[])
    await api.publish("1h", document, 1)
    assert CANDLES.text.count(PERPCACHE) == 1
    own = CANDLES.text.replace(PERPCACHE, f"http://127.0.0.1:{api.port}")
    texts = [own, *(part if isinstance(part, str) else part.text for part in parts)]
    python: Path = await asyncio.to_thread(environment, "recipes") / "python"
    process = await asyncio.create_subprocess_exec(
        str(python), "-c", "\n".join(texts),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(WITHIN_S):
        printed, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()[-3000:]
    return json.loads(printed.splitlines()[-1])


async def test_one_market_as_a_table(native_api: ServedApi) -> None:
    told = await ran(
        native_api,
        """
table, empty = candles("binance", "BTCUSDT", "1h"), candles("binance", "ETHUSDT", "1h")
assert str(table.index.dtype) == "datetime64[ns, UTC]" == str(empty.index.dtype)
assert list(empty) == list(table) and not len(empty)
times = [stamp.value // 10**6 for stamp in table.index]
values = table.astype(object).where(table.notna(), None).values.tolist()
print(json.dumps([list(table), times, values]))
""",
    )
    columns, times, values = told
    assert columns[:2] == ["open", "high"]
    expected = rows(PRICES[Exchange.BINANCE])[:-1]  # but for the forming candle
    assert times == [row[0] for row in expected]
    assert values == [list(row[1:]) for row in expected]


async def test_vectorbt(native_api: ServedApi) -> None:
    told = await ran(
        native_api,
        VECTORBT,
        """
updated = data.update()
print(json.dumps([
    list(close.columns), close.values.tolist(), portfolio.trades.count().tolist(),
    updated.get("open_interest")["bybit:BTCUSDT"].isna().sum().item(), len(updated.get("close")),
]))
""",
    )
    names, closes, trades, unknown, length = told
    assert names == ["binance:BTCUSDT", "bybit:BTCUSDT"]
    series = [rows(price)[:-1] for price in PRICES.values()]
    assert closes == [[one[4], other[4]] for one, other in zip(*series, strict=True)]
    assert min(trades) > 2
    assert (unknown, length) == (10, COUNT - 1)


async def test_backtrader(native_api: ServedApi) -> None:
    told = await ran(
        native_api,
        BACKTRADER,
        """
feed = results[0].data
lines = [list(line.array) for line in (feed.close, feed.volume, feed.funding_rate)]
print(json.dumps([lines, list(feed.openinterest.array)[10:], results[0].position.size]))
""",
    )
    expected = rows(PRICES[Exchange.BINANCE])[:-1]
    (closes, volumes, rates), interest, size = told
    assert closes == [row[4] for row in expected]
    assert volumes == [row[5] for row in expected]
    assert rates == [row[8] for row in expected]
    assert interest == [row[7] for row in expected[10:]]
    assert size == 1  # longs have been paid for long


async def test_nautilus(native_api: ServedApi) -> None:
    told = await ran(
        native_api,
        NAUTILUS,
        """
print(json.dumps([
    str(bars[0].bar_type), [bar.ts_event for bar in bars], [float(bar.close) for bar in bars]
]))
""",
    )
    expected = rows(PRICES[Exchange.BINANCE])[:-1]
    assert told[0] == "BTCUSDT-PERP.BINANCE-1-HOUR-LAST-EXTERNAL"
    assert told[1] == [(row[0] + HOUR_MS) * 10**6 for row in expected]
    assert told[2] == [row[4] for row in expected]
