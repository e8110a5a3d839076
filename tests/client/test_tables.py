"""Tables of the real API, read by both clients, against hand-written rows."""

import math
import time

import duckdb
import numpy as np
import pandas as pd
import pytest

from perpcache_client import InvalidRequest, Missing, NotFound, Table
from tests.client.clients import opened
from tests.client.rows import AS_OF_MS, CLOSED, COLUMNS, FORMING_MS, ROWS, STEP_MS, document
from tests.fixtures.api import ServedApi


@pytest.fixture
async def url(native_api: ServedApi) -> str:
    await native_api.publish("4h", document(AS_OF_MS), AS_OF_MS)
    return f"http://127.0.0.1:{native_api.port}"


async def table(kind: str, url: str, **named: object) -> Table:
    async with opened(kind, url) as client:
        found = await client.call("table", "4h", **named)
    assert isinstance(found, Table)
    return found


async def test_the_rows_are_those_of_the_document(kind: str, url: str) -> None:
    found = await table(kind, url)
    assert found.columns == COLUMNS
    assert list(found.rows()) == ROWS
    assert len(found) == 4
    assert (found.name, found.version, found.as_of) == ("4h", AS_OF_MS, AS_OF_MS)
    assert found.missing == (Missing("bybit", "XYZUSDT", "klines", "gone"),)
    assert found.unknown == ()
    assert [(each.exchange, each.symbol, each.checked_at) for each in found.markets] == [
        ("binance", "BTCUSDT", AS_OF_MS),
        ("binance", "NEWUSDT", AS_OF_MS),
        ("bybit", "ETHUSDT", AS_OF_MS),
    ]
    assert [each.stale_since for each in found.markets] == [None, None, AS_OF_MS]


async def test_filters_are_those_of_the_service(kind: str, url: str) -> None:
    found = await table(kind, url, symbol=["BTCUSDT", "ethusdt"], exchange="bybit", closed=True)
    assert list(found.rows()) == [("bybit", "ETHUSDT", *CLOSED, True)]
    found = await table(kind, url, symbol="BTCUSDT", limit=1)
    assert list(found.rows()) == ROWS[1:2]
    found = await table(kind, url, since=pd.Timestamp(FORMING_MS, unit="ms", tz="UTC"))
    assert list(found.rows()) == [ROWS[1], ROWS[3]]


async def test_a_market_without_rows_is_an_empty_table(kind: str, url: str) -> None:
    found = await table(kind, url, symbol="NEWUSDT")
    assert found.columns == COLUMNS
    assert (len(found), list(found.rows())) == (0, [])
    frame = found.to_pandas()
    assert (list(frame.columns), len(frame)) == (COLUMNS, 0)
    assert str(frame["open_time"].dtype) == "datetime64[ms, UTC]"
    arrays = found.to_numpy()
    kinds = {name: array.dtype.kind for name, array in arrays.items()}
    assert (kinds["open_time"], kinds["open"], kinds["closed"], kinds["symbol"]) == tuple("MfbO")


async def test_unknown_symbols_are_told(kind: str, url: str) -> None:
    found = await table(kind, url, symbol=["BTCUSDT", "TYPO/€"])
    assert found.unknown == ("TYPO/€",)
    with pytest.raises(NotFound, match="no listed market has this symbol") as raised:
        await table(kind, url, symbol="BTCUSD")
    assert raised.value.unknown == ("BTCUSD",)


async def test_refusals_have_the_services_words(kind: str, url: str) -> None:
    with pytest.raises(InvalidRequest, match="limit: must be an integer of at least 1") as raised:
        await table(kind, url, limit=0)
    assert raised.value.status == 422
    assert raised.value.errors[0]["loc"] == ["query", "limit"]
    async with opened(kind, url) as client:
        with pytest.raises(InvalidRequest, match="name: must be one of 5m, 15m"):
            await client.call("table", "4x")
        with pytest.raises(NotFound, match=r'POST /get-market-data \{"timeframe":"1h"\}'):
            await client.call("table", "1h")


async def test_the_age_is_the_services_and_grows(kind: str, native_api: ServedApi) -> None:
    updated_at_ms = time.time_ns() // 1_000_000 - 100_000
    await native_api.publish("4h", document(1), 1, updated_at_ms=updated_at_ms)
    found = await table(kind, f"http://127.0.0.1:{native_api.port}")
    first = found.age_s
    assert 99 <= first < 160
    assert found.age_s >= first


async def test_numpy(url: str) -> None:
    arrays = (await table("Client", url)).to_numpy()
    assert list(arrays) == COLUMNS
    times = np.array([FORMING_MS - STEP_MS, FORMING_MS] * 2, "datetime64[ms]")
    np.testing.assert_array_equal(arrays["open_time"], times)
    assert arrays["open_time"].dtype == "datetime64[ms]"
    np.testing.assert_array_equal(arrays["close"], [1.25, 1.75, 1.25, 1.75])
    np.testing.assert_array_equal(arrays["open_interest"], [7.75, math.nan, 7.75, math.nan])
    np.testing.assert_array_equal(arrays["closed"], [True, False, True, False])
    assert arrays["symbol"].tolist() == ["BTCUSDT", "BTCUSDT", "ETHUSDT", "ETHUSDT"]


async def test_pandas(url: str) -> None:
    frame = (await table("Client", url)).to_pandas()
    assert list(frame.columns) == COLUMNS
    assert str(frame["open_time"].dtype) == "datetime64[ms, UTC]"
    assert frame["open_time"].iloc[1] == pd.Timestamp("2023-11-14 20:00", tz="UTC")
    assert frame["exchange"].tolist() == ["binance", "binance", "bybit", "bybit"]
    assert frame.loc[frame["closed"], "open_interest"].tolist() == [7.75, 7.75]
    assert frame["funding_rate"].isna().tolist() == [False, True, False, True]
    assert frame.dtypes["closed"] == np.bool_


async def test_polars(url: str) -> None:
    import polars as pl

    frame = (await table("Client", url)).to_polars()
    assert frame.columns == COLUMNS
    assert frame.schema["open_time"] == pl.Datetime("ms", "UTC")
    assert frame.filter(pl.col("closed"))["open_interest"].to_list() == [7.75, 7.75]
    assert frame["funding_rate"].null_count() == 2
    assert frame["symbol"].cast(pl.String).to_list() == [row[1] for row in ROWS]


async def test_duckdb_and_pyarrow_take_it_as_it_is(url: str) -> None:
    import pyarrow as pa

    found = await table("Client", url)
    told = duckdb.execute(
        "select symbol, count(*), sum(close), count(open_interest) from found "
        "where closed group by symbol order by symbol"
    ).fetchall()
    assert told == [("BTCUSDT", 1, 1.25, 1), ("ETHUSDT", 1, 1.25, 1)]
    arrow = pa.table(found)
    assert arrow.num_rows == 4
    assert arrow.schema.field("open_time").type == pa.timestamp("ms", tz="UTC")
    assert arrow.column("symbol").to_pylist() == [row[1] for row in ROWS]
    # The service told it as an Arrow stream, with what it says beside the rows.
    assert arrow.schema.metadata[b"version"] == b"%d" % AS_OF_MS
    # It can be taken more than once.
    assert pa.table(found).equals(arrow)
