"""What docs/overview.md tells to run, and that it names every figure."""

import asyncio
import contextlib
import io
import json
import subprocess
from typing import Any, Final

import numpy as np

from database import Database, Publish, SeriesKey, SeriesRows, write_publish
from market.assets.prices import LARGEST_FACTOR
from market.timeframes import Timeframe
from tests.docs.blocks import ROOT, Block, claim
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.overviews import AS_OF, NOW, document_of, told

ONE: Final = claim("docs/overview.md", 'print("spread:"')
AS_IT_WAS: Final = claim("docs/overview.md", "/market/BTC?as_of=")
POLLING: Final = claim("docs/overview.md", "If-None-Match")
MARKETS: Final = [
    told("binance", "BTC", price=100.0, interest=1000.0),
    told("bybit", "BTC", price=101.0, interest=1000.0),
    told("bybit", "ETH"),
]


async def run(api: ServedApi, block: Block) -> tuple[dict[str, Any], str]:
    """The names of the block when it has run, and what it printed."""
    names: dict[str, Any] = {}
    code = compile(block.text.replace(":8000", f":{api.port}"), block.document, "exec")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        await asyncio.to_thread(exec, code, names)
    return names, printed.getvalue()


async def test_an_asset_is_read_in_one_request(native_api: ServedApi) -> None:
    await native_api.publish("overview", document_of(MARKETS), AS_OF)
    names, printed = await run(native_api, ONE)
    assert names["btc"]["open_interest"]["quote"] == 201_000.0
    lines = printed.splitlines()
    assert lines[0] == "201000.0 USDT on ['binance', 'bybit']"
    assert lines[1:3] == ["24h: 0.0", "funding a year: 0.1095"]
    assert len(lines) == 6


async def test_a_bot_gets_each_version_once(native_api: ServedApi) -> None:
    await native_api.publish("overview", document_of(MARKETS), AS_OF)
    polling = asyncio.create_task(run(native_api, POLLING))
    await native_api.held.until(1)  # the second request, which has the first version
    await native_api.publish("overview", document_of(MARKETS[:2], AS_OF + 1), AS_OF + 1)
    _, printed = await polling
    assert printed.splitlines() == [
        f"{NOW} {{'BTC': 0.0001, 'ETH': 0.0001}}",
        f"{NOW} {{'BTC': 0.0001}}",
    ]


async def test_it_is_told_as_it_was(start_api: StartApi, redis_url: str, database_url: str) -> None:
    as_of_ms = 1_795_220_985_000 - 1_795_220_985_000 % Timeframe.M5.interval_ms + 5_000
    last_ms = Timeframe.M5.last_closed_open_time(as_of_ms)
    opens = last_ms - Timeframe.M5.interval_ms * np.arange(2)[::-1]
    markets = [(exchange, "BTCUSDT", "BTC", "USDT") for exchange in ("binance", "bybit")]
    publish = Publish(
        document="5m",
        base=None,
        version=as_of_ms,
        updated_at_ms=as_of_ms + 20_000,
        as_of_ms=as_of_ms,
        first_ms=int(opens[0]),
        candles=2,
        funding_updated_ms=None,
        universe=markets,
        missing=[],
        stale=[],
        entry=b"",
    )
    rows = []
    for place, (exchange, symbol, *_) in enumerate(markets):
        candles = SeriesKey.candles(exchange, symbol, Timeframe.M5)
        interest = SeriesKey.open_interest(exchange, symbol)
        rows.append(SeriesRows(candles, opens, np.full((2, 6), 100.0 + place)))
        rows.append(SeriesRows(interest, opens + Timeframe.M5.interval_ms, np.full((2, 1), 7.0)))
    database = Database(database_url)
    await database.history.store(
        rows,
        publish.updated_at_ms,
        within=lambda connection: write_publish(connection, publish, publish.updated_at_ms),
    )
    await database.aclose()
    api = await start_api(redis_url=redis_url, dsn=database_url)
    for line in AS_IT_WAS.text.replace(":8000", f":{api.port}").splitlines():
        done = await asyncio.to_thread(
            subprocess.run, ["sh", "-c", line], capture_output=True, check=True
        )
        found = json.loads(done.stdout)
        (btc,) = found.get("assets", [found])
        assert (found["version"], found["at"]) == (as_of_ms, last_ms + Timeframe.M5.interval_ms)
        assert found["funding_intervals"] == "not_recorded"
        assert btc["open_interest"]["quote"] == 7.0 * 100 + 7.0 * 101
        assert btc["price"]["spread_bps"] == 100.0
        assert btc["funding"]["rate_8h"] is None


def test_the_factor_is_the_one_of_the_code() -> None:
    text = (ROOT / "docs/overview.md").read_text(encoding="utf-8")
    assert f"factor of {LARGEST_FACTOR:g} from the weighted median" in text
