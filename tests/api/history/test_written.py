"""Rows as JSON, NDJSON, CSV, Arrow and Parquet, read back by readers that are not ours."""

import asyncio
import csv
import gzip
import io
import json
import zlib
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from arro3.core import Table
from arro3.io import read_ipc_stream, read_parquet

from api.documents.content_coding import Coding
from api.formats import Format
from api.history.body import parquet, written
from api.history.columns import layout_of
from api.history.head import Head
from history.selection import Block, Kind, MarketName
from stores.cold.history.series import NEVER_MS

FIRST_MS = 1_764_547_200_000
STEP_MS = 14_400_000
BTC = MarketName("binance", "BTCUSDT")
ODD = MarketName("bybit", 'A,"%d"币\\USDT')  # a name that every format has to escape
NONE = MarketName("binance", "EMPTYUSDT")
# Floats that need all their digits, and those that look like integers.
NUMBERS = [0.1 + 0.2, 1.0, 5e-324, 1.7976931348623157e308, 123456789012345680.0, -0.0]


def block(market: MarketName, begin: int, count: int) -> Block:
    values = np.array([NUMBERS[i % len(NUMBERS)] + 0 for i in range(count * 8)]).reshape(count, 8)
    values[::3, 6] = np.nan
    values[1::2, 7] = np.nan
    times = FIRST_MS + STEP_MS * np.arange(begin, begin + count, dtype=np.int64)
    return Block(market, times, values, times + STEP_MS + 7)


def head_of(
    kind: Kind, markets: Sequence[MarketName], columns: Sequence[str] | None = None, **more: Any
) -> Head:
    revisions = more.pop("revisions", False)
    layout = layout_of(kind, columns, revisions=revisions)
    fields = {"as_of": FIRST_MS, "next": None, "kind": kind, "columns": layout.names}
    return Head(layout, tuple(markets), fields, **more)


async def bytes_of(
    format_: Format, head: Head, blocks: Sequence[Block], coding: Coding = Coding.IDENTITY
) -> bytes:
    async def told() -> AsyncGenerator[Block, None]:
        for each in blocks:
            await asyncio.sleep(0)
            yield each

    if format_ is Format.PARQUET:
        with ThreadPoolExecutor(1) as executor:
            return b"".join([piece async for piece in parquet(head, told(), executor)])
    return b"".join([piece async for piece in written(format_, head, told(), coding)])


def rows_of(blocks: Sequence[Block]) -> list[tuple[Any, ...]]:
    """(exchange, symbol, time, numbers, known_at) of every row, None for null."""
    found = []
    for each in blocks:
        for time_ms, values, known_ms in zip(
            each.times.tolist(), each.values.tolist(), each.known_at.tolist(), strict=True
        ):
            numbers = [None if np.isnan(value) else value for value in values]
            found.append((*each.market, time_ms, *numbers, known_ms))
    return found


BLOCKS = [block(BTC, 0, 5), block(BTC, 5, 2), block(ODD, 3, 4)]
MARKETS = [BTC, NONE, ODD]
CANDLES = head_of("candles", MARKETS)


async def test_json_names_every_market_and_loses_no_digit() -> None:
    document = json.loads(await bytes_of(Format.JSON, CANDLES, BLOCKS))
    assert [(m["exchange"], m["symbol"], len(m["rows"])) for m in document["markets"]] == [
        (*BTC, 7),
        (*NONE, 0),
        (*ODD, 4),
    ]
    told = [(m["exchange"], m["symbol"], *row) for m in document["markets"] for row in m["rows"]]
    assert told == rows_of(BLOCKS)
    assert (document["as_of"], document["next"]) == (FIRST_MS, None)
    assert document["columns"] == list(CANDLES.layout.names)


@pytest.mark.parametrize(
    ("markets", "blocks"),
    [
        ([], []),
        ([NONE], []),
        ([NONE, BTC], [block(BTC, 0, 1)]),
        ([BTC, NONE], [block(BTC, 0, 1)]),
        ([NONE, ODD], []),
    ],
)
async def test_json_of_few_rows(markets: list[MarketName], blocks: list[Block]) -> None:
    document = json.loads(await bytes_of(Format.JSON, head_of("candles", markets), blocks))
    assert [(m["exchange"], m["symbol"]) for m in document["markets"]] == markets
    assert sum(len(m["rows"]) for m in document["markets"]) == len(blocks)


async def test_ndjson_is_an_object_a_line() -> None:
    lines = (await bytes_of(Format.NDJSON, CANDLES, BLOCKS)).splitlines()
    objects = [json.loads(line) for line in lines]
    names = ("exchange", "symbol", *CANDLES.layout.names)
    assert [tuple(found[name] for name in names) for found in objects] == rows_of(BLOCKS)
    assert all(tuple(found) == names for found in objects)


async def test_csv_is_read_by_the_csv_module_and_by_pandas() -> None:
    text = (await bytes_of(Format.CSV, CANDLES, BLOCKS)).decode()
    names, *lines = csv.reader(io.StringIO(text))
    assert names == ["exchange", "symbol", *CANDLES.layout.names]
    told = [
        (
            *line[:2],
            int(line[2]),
            *(float(cell) if cell else None for cell in line[3:-1]),
            int(line[-1]),
        )
        for line in lines
    ]
    assert told == rows_of(BLOCKS)
    frame = pd.read_csv(io.StringIO(text))
    expected = pd.DataFrame(rows_of(BLOCKS), columns=names).astype({n: float for n in names[3:-1]})
    pd.testing.assert_frame_equal(frame, expected, check_exact=True)


def table_of(format_: Format, data: bytes) -> Table:
    return (read_ipc_stream if format_ is Format.ARROW else read_parquet)(data).read_all()


@pytest.mark.parametrize("format_", [Format.ARROW, Format.PARQUET])
async def test_tables_have_types_nulls_and_what_json_tells_around_the_rows(format_: Format) -> None:
    table = table_of(format_, await bytes_of(format_, CANDLES, BLOCKS))
    columns = [table.column(name).to_pylist() for name in table.column_names]
    found = [tuple(map(as_number, row)) for row in zip(*columns, strict=True)]
    assert found == rows_of(BLOCKS)
    schema = table.schema
    types = [str(schema.field(name).type).strip() for name in schema.names]
    assert types[:3] == [*["arro3.core.DataType<Dictionary(Int32, Utf8)>"] * 2, types[-1]]
    assert types[-1] == 'arro3.core.DataType<Timestamp(ms, "UTC")>'
    assert set(types[3:-1]) == {"arro3.core.DataType<Float64>"}
    metadata = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    assert metadata["as_of"] == str(FIRST_MS)
    assert (metadata["next"], metadata["kind"]) == ("null", "candles")


@pytest.mark.parametrize("format_", [Format.ARROW, Format.PARQUET])
async def test_tables_without_rows_have_their_columns(format_: Format) -> None:
    table = table_of(format_, await bytes_of(format_, CANDLES, []))
    assert table.num_rows == 0
    assert table.column_names == ["exchange", "symbol", *CANDLES.layout.names]


@pytest.mark.parametrize("format_", list(Format))
async def test_picked_columns(format_: Format) -> None:
    head = head_of("candles", [BTC], ["known_at", "close"])
    only = head_of("candles", [BTC], ["open_time"])
    expected = [(*row[:3], row[6], row[-1]) for row in rows_of(BLOCKS[:1])]
    for each, rows in ((head, expected), (only, [row[:3] for row in expected])):
        assert await read_back(format_, each, BLOCKS[:1]) == rows


@pytest.mark.parametrize("format_", list(Format))
async def test_versions_that_are_known_still_have_no_end(format_: Format) -> None:
    head = head_of("funding", [BTC], revisions=True)
    times = np.array([FIRST_MS, FIRST_MS], np.int64)
    known_to = np.array([FIRST_MS + 2, NEVER_MS], np.int64)
    versions = Block(BTC, times, np.array([[1.5], [2.5]]), times + np.array([1, 2]), known_to)
    assert await read_back(format_, head, [versions]) == [
        (*BTC, FIRST_MS, 1.5, FIRST_MS + 1, FIRST_MS + 2),
        (*BTC, FIRST_MS, 2.5, FIRST_MS + 2, None),
    ]


@pytest.mark.parametrize("format_", list(Format))
async def test_prices_have_a_source(format_: Format) -> None:
    head = head_of("prices", [BTC], ["price"], source="candles")
    prices = Block(BTC, *(np.array([FIRST_MS], np.int64), np.array([[2.5]]), np.array([FIRST_MS])))
    assert await read_back(format_, head, [prices], ["source"]) == [
        (*BTC, FIRST_MS, 2.5, "candles"),
    ]


async def read_back(
    format_: Format, head: Head, blocks: Sequence[Block], more: Sequence[str] = ()
) -> list[tuple[Any, ...]]:
    """The rows as a reader of that format finds them."""
    data = await bytes_of(format_, head, blocks)
    names = ["exchange", "symbol", *head.layout.names, *more]
    if format_ is Format.JSON:
        return [
            (m["exchange"], m["symbol"], *row, *(m[name] for name in more))
            for m in json.loads(data)["markets"]
            for row in m["rows"]
        ]
    if format_ is Format.NDJSON:
        return [tuple(json.loads(line).values()) for line in in_order(data, names)]
    if format_ is Format.CSV:
        found, *lines = csv.reader(io.StringIO(data.decode()))
        assert found == names
        return [tuple(map(from_text, line)) for line in lines]
    table = table_of(format_, data)
    assert table.column_names == names
    columns = [table.column(name).to_pylist() for name in names]
    return [tuple(map(as_number, row)) for row in zip(*columns, strict=True)]


def in_order(data: bytes, names: Sequence[str]) -> list[str]:
    """The lines of NDJSON with their keys in this order."""
    objects = [json.loads(line) for line in data.splitlines()]
    return [json.dumps({name: found[name] for name in names}) for found in objects]


def from_text(cell: str) -> object:
    if not cell:
        return None
    if cell.isdigit():
        return int(cell)
    try:
        return float(cell)
    except ValueError:
        return cell


def as_number(value: object) -> object:
    """A timestamp in milliseconds; other values as they are."""
    if not isinstance(value, datetime):
        return value
    assert value.utcoffset() is not None
    return round((value - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


@pytest.mark.parametrize("format_", [Format.JSON, Format.NDJSON, Format.CSV])
async def test_text_is_compressed_as_one_stream(format_: Format) -> None:
    plain = await bytes_of(format_, CANDLES, BLOCKS)
    assert zlib.decompress(await bytes_of(format_, CANDLES, BLOCKS, Coding.DEFLATE)) == plain
    assert gzip.decompress(await bytes_of(format_, CANDLES, BLOCKS, Coding.GZIP)) == plain
