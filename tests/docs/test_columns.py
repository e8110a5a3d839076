"""What docs/columns.md tells to run, by polars, pandas, DuckDB and pyarrow over HTTP."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import duckdb
import pytest

from documents.building import DocumentBuilder, encode_funding
from market.markets import Exchange, FundingSeries, Market, MarketSeries, Missing, Row
from market.timeframes import HOUR_MS, Timeframe
from tests.docs.blocks import Block, claim
from tests.fixtures.api import ServedApi
from tests.fixtures.documents import AS_OF_MS, FORMING_MS, MARKETS

pytest.importorskip("polars")
http: Any = pytest.importorskip("fsspec.implementations.http")

READERS: Final = claim("docs/columns.md", "pd.read_csv")
BESIDE: Final = claim("docs/columns.md", "import json")
RANGES: Final = claim("docs/columns.md", "pl.scan_parquet")
DUCKDB: Final = claim("docs/columns.md", "import duckdb")
EMPTY: Final = Market(Exchange.BYBIT, "EMPTYUSDT", "EMPTY", "USDT")
STALE_MS: Final = AS_OF_MS - HOUR_MS


async def publish(api: ServedApi) -> None:
    """Three markets, one of them stale, and one without rows."""
    builder = DocumentBuilder(Timeframe.H4, "collected")
    for place, market in enumerate(MARKETS):
        rows: list[Row] = [
            (
                FORMING_MS - age * 4 * HOUR_MS,
                *(1.5, 2.0, 1.0, 1.25 + place, 10.0, 12.5 + age),
                *(None if age else 7.0, 1e-05),
            )
            for age in reversed(range(5))
        ]
        stale_ms = STALE_MS if place == 2 else None
        builder.add(MarketSeries(market, rows, AS_OF_MS, stale_ms), {})
    builder.add(MarketSeries(EMPTY, [], AS_OF_MS), {})
    missing = [Missing(Exchange.BYBIT, "EMPTYUSDT", "klines", "gone")]
    text = builder.finish(version=1, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS, missing=missing)
    await api.publish("4h", text, AS_OF_MS)
    book = {m.key: FundingSeries(m, [(AS_OF_MS, 0.0001)], 8, AS_OF_MS) for m in MARKETS}
    funding = encode_funding(book, version=1, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=[])
    await api.publish("global_fr", funding, AS_OF_MS)


async def run(api: ServedApi, blocks: Iterable[Block]) -> dict[str, Any]:
    """What the names of these blocks mean when they have run, one behind the other."""
    names: dict[str, Any] = {}
    for block in blocks:
        code = compile(block.text.replace(":8000", f":{api.port}"), block.document, "exec")
        await asyncio.to_thread(exec, code, names)
    return names


async def test_each_reader_reads_a_table_in_one_line(native_api: ServedApi) -> None:
    await publish(native_api)
    names = await run(native_api, [READERS])
    arrow, table, files = names["arrow"], names["table"], names["files"]
    assert arrow.shape == (15, 12)
    assert arrow["open_interest"].null_count() == 12
    assert str(arrow.schema["open_time"]) == "Datetime(time_unit='ms', time_zone='UTC')"
    assert arrow["closed"].to_list() == [*[True] * 4, False] * 3
    assert table["turnover"].tolist() == [16.5, 15.5, 14.5, 13.5] * 2
    assert table["open_time"].tolist()[-1] == FORMING_MS - 4 * HOUR_MS
    assert files["funding_rate"].tolist() == [0.0001] * 3
    assert files["funding_time"].astype("int64").tolist() == [AS_OF_MS] * 3


async def test_what_stands_beside_rows_is_in_the_metadata(native_api: ServedApi) -> None:
    await publish(native_api)
    names = await run(native_api, [BESIDE])
    assert names["rows"].num_rows == 15
    assert [each["symbol"] for each in names["missing"]] == ["EMPTYUSDT"]
    (stale,) = names["stale"]
    assert (stale["exchange"], stale["symbol"]) == ("bybit", "BTCUSDT")
    assert stale["stale_since"] == STALE_MS


async def test_a_version_is_read_by_ranges(native_api: ServedApi) -> None:
    await publish(native_api)

    class Http(http.HTTPFileSystem):  # type: ignore[misc]
        """In place of DuckDB's own extension, which tests cannot download: it asks for ranges."""

        def modified(self, _: str) -> datetime:
            return datetime.fromtimestamp(AS_OF_MS // 1000, UTC)

    duckdb.register_filesystem(Http())
    try:
        names = await run(native_api, [RANGES, DUCKDB])
        top = await asyncio.to_thread(names["top"].fetchall)
    finally:
        duckdb.unregister_filesystem("http")
    assert names["fixed"].endswith(f"/cache/4h/{AS_OF_MS}.parquet")
    assert names["whole"].shape == (15, 12)
    assert names["closes"]["close"].to_list() == [1.25] * 5 + [2.25] * 5 + [3.25] * 5
    assert sorted(top) == [("BTCUSDT", 16.5), ("ETHUSDT", 16.5)]
