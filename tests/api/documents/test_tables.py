"""Documents as tables, /cache/<name>.arrow: every row and null is the JSON's."""

from typing import Any

import orjson
import pyarrow as pa
import pytest

from documents.building import encode_funding
from market.markets import FundingSeries
from tests.fixtures.api import ServedApi, get
from tests.fixtures.documents import AS_OF_MS, FORMING_MS, MARKETS

QUERIES = (
    *("", "?limit=2", "?exchange=bybit", "?symbol=ETHUSDT", "?symbol=btcusdt&limit=1"),
    *(f"?since={FORMING_MS}", "?closed=true", "?closed=true&limit=1", f"?since={FORMING_MS + 1}"),
)


def rows_of_json(text: bytes) -> list[dict[str, Any]]:
    """The rows that a table of this document has to have, read by the JSON module's own types."""
    told = orjson.loads(text)
    rows = []
    for market in told["markets"]:
        for line in market["rows"]:
            row = {"exchange": market["exchange"], "symbol": market["symbol"]}
            row |= dict(zip(told["columns"], line, strict=True))
            if told.get("last_closed_open_time") is not None:
                row["closed"] = row["open_time"] <= told["last_closed_open_time"]
            rows.append(row)
    return rows


def rows_of_arrow(table: pa.Table) -> list[dict[str, Any]]:
    time = table.column_names[2]
    assert table.schema.field(time).type == pa.timestamp("ms", tz="UTC")
    table = table.set_column(2, time, table[time].cast(pa.int64()))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


@pytest.mark.parametrize("query", QUERIES)
async def test_arrow_has_the_rows_of_json(native_published: ServedApi, query: str) -> None:
    status, headers, body = await get(native_published, f"/cache/4h.arrow{query}")
    _, _, json = await get(native_published, f"/cache/4h{query}")
    assert (status, headers["content-type"]) == (200, "application/vnd.apache.arrow.stream")
    assert "content-encoding" not in headers
    with pa.ipc.open_stream(body) as stream:
        table = stream.read_all()
    assert rows_of_arrow(table) == rows_of_json(json)
    told = orjson.loads(json)
    said = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
    assert (said["timeframe"], said["source"]) == ("4h", "collected")
    for name in ("version", "as_of", "updated_at", "missing", "columns", "last_closed_open_time"):
        assert orjson.loads(said[name]) == told[name]
    heads = [{n: v for n, v in market.items() if n != "rows"} for market in told["markets"]]
    assert orjson.loads(said["markets"]) == heads


async def test_funding_as_a_table(native_api: ServedApi) -> None:
    rows = [(AS_OF_MS - 28_800_000, 0.0001), (AS_OF_MS, -1e-05)]
    book = {m.key: FundingSeries(m, rows, 8, AS_OF_MS) for m in MARKETS[:2]}
    text = encode_funding(book, version=1, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=[])
    await native_api.publish("global_fr", text, AS_OF_MS)
    _, _, body = await get(native_api, "/cache/global_fr.arrow")
    with pa.ipc.open_stream(body) as stream:
        table = stream.read_all()
    assert table.column_names == ["exchange", "symbol", "funding_time", "funding_rate"]
    assert rows_of_arrow(table) == rows_of_json(text)


async def test_a_table_is_validated_by_its_own_tag(native_published: ServedApi) -> None:
    _, headers, _ = await get(native_published, "/cache/4h.arrow")
    _, of_json, _ = await get(native_published, "/cache/4h")
    again = await get(native_published, "/cache/4h.arrow", If_None_Match=headers["etag"])
    assert (again[0], again[2]) == (304, b"")
    other = await get(native_published, "/cache/4h.arrow", If_None_Match=of_json["etag"])
    assert other[0] == 200
    other = await get(native_published, "/cache/4h", If_None_Match=headers["etag"])
    assert other[0] == 200
    negotiated = await get(
        native_published, "/cache/4h", Accept="application/vnd.apache.arrow.stream"
    )
    assert negotiated[1]["etag"] == headers["etag"]
    assert negotiated[1]["vary"] == "Accept, Accept-Encoding"
