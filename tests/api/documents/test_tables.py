"""Documents as tables over HTTP: every row and null is the JSON's, in every format and filter."""

import gzip
import zlib
from io import BytesIO

import orjson
import pyarrow.parquet as pq
import pytest

from documents.building import encode_funding
from market.markets import FundingSeries
from tests.fixtures.api import ServedApi, get
from tests.fixtures.documents import AS_OF_MS, FORMING_MS, MARKETS, document
from tests.fixtures.tables import read_table, rows_of, rows_of_json

TYPES = {
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv; charset=utf-8",
}
QUERIES = (
    *("", "?limit=2", "?exchange=bybit", "?symbol=ETHUSDT", "?symbol=btcusdt&limit=1"),
    *(f"?since={FORMING_MS}", "?closed=true", "?closed=true&limit=1", f"?since={FORMING_MS + 1}"),
)


@pytest.mark.parametrize("format_", TYPES)
async def test_a_table_has_the_rows_of_json(native_published: ServedApi, format_: str) -> None:
    for query in QUERIES:
        status, headers, body = await get(native_published, f"/cache/4h.{format_}{query}")
        _, _, json = await get(native_published, f"/cache/4h{query}")
        assert (status, headers["content-type"]) == (200, TYPES[format_])
        assert "content-encoding" not in headers
        assert rows_of(format_, body) == rows_of_json(json), query
        assert int(headers["content-length"]) == len(body)


@pytest.mark.parametrize("query", ["", "?symbol=ETHUSDT&limit=1"])
async def test_metadata_says_what_stands_beside_rows(
    native_published: ServedApi, query: str
) -> None:
    _, _, json = await get(native_published, f"/cache/4h{query}")
    told = orjson.loads(json)
    heads = [{n: v for n, v in market.items() if n != "rows"} for market in told["markets"]]
    for format_ in ("arrow", "parquet"):
        _, _, body = await get(native_published, f"/cache/4h.{format_}{query}")
        metadata = read_table(format_, body).schema.metadata
        said = {name.decode(): value.decode() for name, value in metadata.items()}
        assert (said["timeframe"], said["source"]) == ("4h", "collected")
        for name in ("version", "as_of", "updated_at", "missing", "last_closed_open_time"):
            assert orjson.loads(said[name]) == told[name]
        assert orjson.loads(said["markets"]) == heads
        units = orjson.loads(said["units"])
        assert list(units) == told["columns"]
        assert (units["volume"], units["turnover"]) == ("base units", "quote units")
    # Of a file, in one key, for readers that do not know of Arrow's schema.
    whole = orjson.loads(pq.read_metadata(BytesIO(body)).metadata[b"perpcache"])
    assert {name: whole[name] for name in told if name != "markets"} == {
        name: value for name, value in told.items() if name != "markets"
    }


async def test_funding_as_a_table(native_api: ServedApi) -> None:
    rows = [(AS_OF_MS - 28_800_000, 0.0001), (AS_OF_MS, -1e-05)]
    book = {m.key: FundingSeries(m, rows, 8, AS_OF_MS) for m in MARKETS[:2]}
    text = encode_funding(book, version=1, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=[])
    await native_api.publish("global_fr", text, AS_OF_MS)
    for format_ in TYPES:
        _, _, body = await get(native_api, f"/cache/global_fr.{format_}")
        assert rows_of(format_, body) == [
            {
                "exchange": "binance",
                "symbol": market.symbol,
                "funding_time": time_ms,
                "funding_rate": rate,
            }
            for market in MARKETS[:2]
            for time_ms, rate in rows
        ]


async def test_csv_is_compressed_as_json_is(native_published: ServedApi) -> None:
    _, _, plain = await get(native_published, "/cache/4h.csv")
    assert plain.startswith(b"exchange,symbol,open_time,open,")
    for coding, decode in (("deflate", zlib.decompress), ("gzip", gzip.decompress)):
        _, headers, body = await get(native_published, "/cache/4h.csv", Accept_Encoding=coding)
        assert (headers["content-encoding"], headers["vary"]) == (coding, "Accept-Encoding")
        assert decode(body) == plain
    for format_ in ("arrow", "parquet"):
        _, headers, _ = await get(
            native_published, f"/cache/4h.{format_}", Accept_Encoding="deflate, gzip"
        )
        assert "content-encoding" not in headers
        assert "vary" not in headers


@pytest.mark.parametrize("format_", TYPES)
async def test_a_table_is_validated_by_its_own_tag(
    native_published: ServedApi, format_: str
) -> None:
    api, path = native_published, f"/cache/4h.{format_}"
    _, headers, body = await get(api, path)
    _, of_json, _ = await get(api, "/cache/4h")
    again = await get(api, path, If_None_Match=headers["etag"])
    assert (again[0], again[2]) == (304, b"")
    assert (await get(api, path, If_None_Match=of_json["etag"]))[0] == 200
    assert (await get(api, "/cache/4h", If_None_Match=headers["etag"]))[0] == 200
    head = await get(api, path, "HEAD")
    assert (head[0], head[1]["content-length"], head[2]) == (200, str(len(body)), b"")
    assert head[1]["etag"] == headers["etag"]
    await api.publish("4h", document(AS_OF_MS + 1), AS_OF_MS + 1)
    newer = await get(api, path + "?wait=10", If_None_Match=headers["etag"])
    assert newer[0] == 200
    assert newer[1]["etag"].startswith(f'"{AS_OF_MS + 1}-')


@pytest.mark.parametrize(
    ("accept", "format_"),
    [
        ("application/vnd.apache.arrow.stream", "arrow"),
        ("application/vnd.apache.parquet", "parquet"),
        ("text/csv", "csv"),
        ("text/*;q=0.5, application/json;q=0.4", "csv"),
        ("application/json;q=0.9, application/vnd.apache.arrow.stream", "arrow"),
        ("*/*", "json"),
        ("application/json, text/plain, */*", "json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
        ("image/png", "json"),
        ("application/x-ndjson", "json"),
        ("text/csv;q=0, */*;q=0.1", "json"),
    ],
)
async def test_accept_chooses_the_format(
    native_published: ServedApi, accept: str, format_: str
) -> None:
    status, headers, _ = await get(native_published, "/cache/4h", Accept=accept)
    assert status == 200
    assert headers["content-type"] == ({"json": "application/json"} | TYPES)[format_]
    assert headers["vary"] == "Accept, Accept-Encoding"
    if format_ != "json":
        _, direct, _ = await get(native_published, f"/cache/4h.{format_}")
        assert headers["etag"] == direct["etag"]


async def test_what_is_wrong_is_told_in_json(native_published: ServedApi) -> None:
    for path, status in (
        *(("4h.xml", 422), ("4h.", 422), ("5s.arrow", 422), ("4h.arrow.csv", 422)),
        *(("8h.arrow", 404), ("4h.csv?symbol=NOPE", 404), ("4h.parquet?limit=0", 422)),
        *(("4h/12.arrow", 422), ("5s/12.parquet", 422), ("4h/12.parquet", 404)),
    ):
        got = await get(native_published, f"/cache/{path}")
        assert (got[0], got[1]["content-type"]) == (status, "application/json"), path
        assert orjson.loads(got[2])["detail"]
    status, headers, body = await get(native_published, "/cache/4h.csv?symbol=NOPE,BTCUSDT")
    assert (status, headers["x-unknown-symbols"]) == (200, "NOPE")
    assert {row["symbol"] for row in rows_of("csv", body)} == {"BTCUSDT"}
