"""/api/historical over HTTP: rows, pages, validators, formats, refusals, no database."""

import asyncio
import csv
import io
import time
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urljoin

import aiohttp
import numpy as np
import orjson
import pytest
from arro3.io import read_ipc_stream, read_parquet

from database import Database, SeriesKey, SeriesRows
from history.page import SPAN_ROWS
from market.timeframes import DAY_MS, HOUR_MS, Timeframe
from tests.fixtures.api import ServedApi, StartApi, ask, get
from tests.fixtures.postgres import OwnPostgres

START_MS: Final = 1_764_547_200_000
ROUTE: Final = "/api/historical/candles/binance/BTCUSDT?timeframe=1h"
HOURS: Final = 10
TOKEN: Final = "t0ken"


def rows_of(
    symbol: str, count: int, first_ms: int = START_MS, exchange: str = "binance"
) -> SeriesRows:
    times = first_ms + HOUR_MS * np.arange(count, dtype=np.int64)
    values = np.arange(count)[:, None] + np.array([[1.5, 3.0, 1.0, 2.25, 10.0, 20.0]])
    return SeriesRows(SeriesKey.candles(exchange, symbol, Timeframe.H1), times, values)


def one_value(key: SeriesKey, value: float, time_ms: int = START_MS) -> SeriesRows:
    return SeriesRows(key, np.array([time_ms], np.int64), np.array([[value]]))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.history.store(
        [
            rows_of("BTCUSDT", HOURS),
            rows_of("ETHUSDT", 3, exchange="bybit"),
            one_value(SeriesKey.open_interest("binance", "BTCUSDT"), 7.5),
            one_value(SeriesKey.funding("binance", "BTCUSDT"), 0.0001),
        ],
        START_MS + 5,
    )
    yield database
    await database.aclose()


@pytest.fixture
async def api(
    start_api: StartApi, redis_url: str, database_url: str, database: Database
) -> ServedApi:
    return await start_api(redis_url=redis_url, dsn=database_url)


async def test_the_rows_of_a_market(api: ServedApi) -> None:
    status, headers, answer = await ask(api, "GET", f"{ROUTE}&from=2025-12-01&to=2025-12-01T02:00Z")
    assert status == 200
    rows = answer["markets"][0].pop("rows")
    assert answer == {
        "kind": "candles",
        "timeframe": "1h",
        "interval_ms": HOUR_MS,
        "from": START_MS,
        "to": START_MS + 2 * HOUR_MS,
        "as_of": START_MS + 5,
        "rows": 2,
        "unrecorded_rows": 0,
        "next": None,
        "columns": [
            *("open_time", "open", "high", "low", "close", "volume", "turnover"),
            *("open_interest", "funding_rate", "known_at"),
        ],
        "markets": [{"exchange": "binance", "symbol": "BTCUSDT"}],
    }
    assert rows == [
        [START_MS, 1.5, 3.0, 1.0, 2.25, 10.0, 20.0, 7.5, 0.0001, START_MS + 5],
        [START_MS + HOUR_MS, 2.5, 4.0, 2.0, 3.25, 11.0, 21.0, None, 0.0001, START_MS + 5],
    ]
    assert (headers["x-rows"], headers["x-unrecorded-rows"]) == ("2", "0")
    assert headers["x-as-of"] == str(START_MS + 5)
    assert headers["vary"] == "Accept, Accept-Encoding"
    assert int(headers["content-length"]) > 0


async def test_kinds_of_rows(api: ServedApi) -> None:
    base = "/api/historical"
    _, _, answer = await ask(api, "GET", f"{base}/open-interest/binance/btcusdt")
    assert answer["markets"][0]["rows"] == [[START_MS, 7.5, START_MS + 5]]
    _, _, answer = await ask(api, "GET", f"{base}/funding/binance/BTCUSDT?columns=funding_rate")
    assert answer["markets"][0]["rows"] == [[START_MS, 0.0001]]
    assert answer["columns"] == ["funding_time", "funding_rate"]
    _, _, answer = await ask(api, "GET", f"{base}/prices/btc?to=2025-12-01T03:00:00Z&columns=price")
    assert answer["markets"] == [
        {
            "exchange": "binance",
            "symbol": "BTCUSDT",
            "source": "candles",
            "rows": [[START_MS + HOUR_MS, 2.25], [START_MS + 2 * HOUR_MS, 3.25]],
        }
    ]
    _, headers, answer = await ask(
        api,
        "GET",
        f"{base}/candles?timeframe=1h&symbols=ETHUSDT,binance:BTCUSDT,XUSDT&columns=close",
    )
    found = [(m["exchange"], m["symbol"], len(m["rows"])) for m in answer["markets"]]
    assert found == [("binance", "BTCUSDT", HOURS), ("bybit", "ETHUSDT", 3)]
    assert headers["x-unknown-symbols"] == "XUSDT"
    _, _, answer = await ask(
        api, "GET", f"{base}/open-interest?symbols=BTCUSDT,ETHUSDT&timeframe=1d"
    )
    assert [m["rows"] for m in answer["markets"]] == [[[START_MS, 7.5, START_MS + 5]], []]


async def test_pages_by_cursor_and_by_link(api: ServedApi, database: Database) -> None:
    """Both lead to all rows once, in the state of the first page."""
    address = "/api/historical/candles?timeframe=1h&symbols=BTCUSDT,ETHUSDT&limit=4&columns=close"
    _, _, answer = await ask(api, "GET", address)
    pages = [answer]
    correction = rows_of("BTCUSDT", HOURS)
    await database.history.store(
        [SeriesRows(correction.key, correction.times, correction.values + 100)], START_MS + 9
    )
    while answer["next"]:
        _, _, answer = await ask(api, "GET", f"{address}&cursor={answer['next']}")
        pages.append(answer)
    assert [page["rows"] for page in pages] == [4, 4, 4, 1]
    assert {page["as_of"] for page in pages} == {START_MS + 5}
    closes = [row[1] for page in pages for m in page["markets"] for row in m["rows"]]
    assert closes == [2.25 + n for n in (*range(HOURS), *range(3))]
    lines, link = [], f"{address}&format=csv"
    while link:
        async with api.http.get(link) as page:
            lines += list(csv.reader(io.StringIO(await page.text())))[1:]
            header = page.headers.get("Link", "")
            assert f"cursor={page.headers.get('X-Next-Cursor', '')}>" in (header or "cursor=>")
            assert not header or header.endswith('>; rel="next"')
            # Relative to what was asked, as the header says it.
            link = header and urljoin(str(page.url), header[1 : header.index(">")])
    assert [line[1] for line in lines] == ["BTCUSDT"] * HOURS + ["ETHUSDT"] * 3
    assert float(lines[0][3]) == 102.25
    # Of many markets the address is too long for what proxies and clients take as a header.
    many = ",".join(f"COIN{number}USDT" for number in range(600))
    long = f"{address.replace('ETHUSDT', many)}&format=csv"
    async with api.http.get(long) as page:
        assert len((await page.text()).splitlines()) == 5
        assert "Link" not in page.headers
        cursor = page.headers["X-Next-Cursor"]
    async with api.http.get(f"{long}&cursor={cursor}") as page:
        assert (page.status, page.headers["X-Rows"]) == (200, "4")
    status, _, answer = await ask(api, "GET", f"{ROUTE}&cursor={pages[0]['next']}")
    assert status == 422
    assert answer["detail"][0]["loc"] == ["query", "cursor"]
    assert "of another request" in answer["detail"][0]["msg"]


async def test_an_unchanged_range_answers_304(api: ServedApi, database: Database) -> None:
    address = f"{ROUTE}&to=2025-12-01T08:00Z"
    for extra in ("", "&format=csv", "&format=arrow", "&format=parquet", "&limit=3"):
        _, headers, _ = await get(api, address + extra)
        etag = headers["etag"]
        assert etag.startswith('"')
        for method in ("GET", "HEAD"):
            status, again, body = await get(api, address + extra, method, If_None_Match=etag)
            assert (status, again["etag"], body) == (304, etag, b"")
            assert again["x-rows"] == headers["x-rows"]
    _, headers, _ = await get(api, address)
    etag = headers["etag"]
    # What comes later, elsewhere or into chunks changes nothing.
    await database.history.store([rows_of("BTCUSDT", 1, START_MS + 99 * HOUR_MS)], START_MS + 9)
    await database.history.store([rows_of("BTCUSDT", 1, exchange="bybit")], START_MS + 9)
    await database.history.compact(START_MS + 1000 * DAY_MS)
    assert (await get(api, address, If_None_Match=f'W/"x", {etag}'))[0] == 304
    for other in ("&columns=close", "&format=ndjson", "&as_of=2025-12-02", "&limit=3"):
        _, headers, _ = await get(api, address + other, If_None_Match=etag)
        assert headers["etag"] != etag
    await database.history.store([rows_of("BTCUSDT", 2, START_MS + HOUR_MS)], START_MS + 12)
    status, headers, _ = await get(api, address, If_None_Match=etag)
    assert (status, headers["etag"] != etag) == (200, True)
    # As of then it is still what it was, under a tag of its own.
    _, then, body = await get(api, f"{address}&as_of={START_MS + 5}")
    assert [row[1] for row in orjson.loads(body)["markets"][0]["rows"]][:3] == [1.5, 2.5, 3.5]
    assert (await get(api, f"{address}&as_of={START_MS + 5}", If_None_Match=then["etag"]))[0] == 304


async def test_as_of_unrecorded_and_revisions(api: ServedApi, database: Database) -> None:
    correction = rows_of("BTCUSDT", 1, START_MS + HOUR_MS)
    await database.history.store([correction], START_MS + 20 * HOUR_MS)
    address = f"{ROUTE}&columns=open,known_at&to=2025-12-01T02:00Z"
    _, _, now = await ask(api, "GET", address)
    assert [row[1] for row in now["markets"][0]["rows"]] == [1.5, 1.5]
    _, _, then = await ask(api, "GET", f"{address}&as_of={START_MS + 5}")
    assert [row[1] for row in then["markets"][0]["rows"]] == [1.5, 2.5]
    assert then["as_of"] == START_MS + 5
    _, _, before = await ask(api, "GET", f"{address}&as_of={START_MS}")
    assert (before["rows"], before["as_of"]) == (0, START_MS)
    early = rows_of("BTCUSDT", 2, START_MS - 2 * HOUR_MS)
    await database.history.store([early], START_MS + 30 * HOUR_MS)
    for columns, unrecorded in (("omit", 0), ("closed", 2)):
        query = f"{ROUTE}&as_of={START_MS}&unrecorded={columns}"
        _, headers, answer = await ask(api, "GET", query)
        assert (answer["rows"], answer["unrecorded_rows"]) == (unrecorded, unrecorded)
        assert headers["x-unrecorded-rows"] == str(unrecorded)
    _, headers, _ = await get(api, f"{ROUTE}&as_of={START_MS}&unrecorded=closed&format=csv")
    assert headers["x-unrecorded-rows"] == "2"
    query = f"{ROUTE}&revisions=all&columns=open,known_from,known_to&to=2025-12-01T02:00Z"
    _, _, every = await ask(api, "GET", f"{query}&from=2025-12-01T01:00Z")
    assert every["markets"][0]["rows"] == [
        [START_MS + HOUR_MS, 2.5, START_MS + 5, START_MS + 20 * HOUR_MS],
        [START_MS + HOUR_MS, 1.5, START_MS + 20 * HOUR_MS, None],
    ]


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("candles/kraken/BTCUSDT?timeframe=1h", 422, "'binance', 'bybit' or 'okx'"),
        ("candles/binance/BTCUSD?timeframe=1h", 404, "did you mean BTCUSDT"),
        ("candles/bybit/BTCUSDT?timeframe=1h", 404, "of this symbol on bybit: did you mean"),
        ("candles?symbols=QQQ1,QQQ2&timeframe=1h", 404, "GET /coins"),
        ("prices/NOTHING", 404, "nothing is recorded"),
        ("candles/binance/BTCUSDT?timeframe=7h", 422, "must be one of 5m, 15m"),
        ("candles/binance/BTCUSDT?timeframe=1h&colums=close", 422, "did you mean columns?"),
        ("candles/binance/BTCUSDT?timeframe=1h&columns=clos", 422, "did you mean close?"),
        (
            "candles/binance/BTCUSDT?timeframe=1h&format=xml",
            422,
            "json, ndjson, csv, arrow, parquet",
        ),
        ("candles/binance/BTCUSDT?timeframe=1h&cursor=zzz", 422, "must be `next`"),
        ("candles/binance/BTCUSDT%00?timeframe=1h", 404, "did you mean BTCUSDT"),
        ("prices/%00", 404, "nothing is recorded"),
        ("nosuch", 404, "Not Found"),
    ],
)
async def test_what_is_unknown_is_told_with_what_there_is(
    api: ServedApi, path: str, status: int, told: str
) -> None:
    found, _, answer = await ask(api, "GET", f"/api/historical/{path}")
    assert found == status
    assert told in str(answer["detail"])


async def test_formats_by_accept_and_codings(api: ServedApi) -> None:
    _, headers, body = await get(api, ROUTE, Accept="application/vnd.apache.arrow.stream")
    assert headers["content-type"] == "application/vnd.apache.arrow.stream"
    assert read_ipc_stream(body).read_all().num_rows == HOURS
    assert "content-encoding" not in headers
    accepted = "application/vnd.apache.parquet, */*;q=0.1"
    _, headers, body = await get(api, ROUTE, Accept=accepted, Accept_Encoding="gzip")
    assert read_parquet(body).read_all().num_rows == HOURS
    assert "content-encoding" not in headers
    assert headers["content-disposition"].endswith("binance_BTCUSDT_candles_1h.parquet")
    status, headers, body = await get(api, ROUTE, Accept="text/html")
    assert status == 406
    assert b"application/vnd.apache.arrow.stream" in body
    assert (await get(api, ROUTE, Accept="text/html, */*;q=0.1"))[0] == 200
    assert (await get(api, ROUTE, Accept_Encoding="identity;q=0"))[0] == 406
    _, headers, body = await get(api, ROUTE, Accept_Encoding="gzip")
    assert headers["content-encoding"] == "gzip"
    _, plain, _ = await get(api, ROUTE)
    assert plain["etag"] != headers["etag"]
    # A validator of another coding is of the same rows.
    assert (await get(api, ROUTE, If_None_Match=plain["etag"], Accept_Encoding="gzip"))[0] == 304


async def test_a_long_range_is_a_stream(api: ServedApi, database: Database) -> None:
    count = 3 * SPAN_ROWS + 5
    await database.history.store([rows_of("LONGUSDT", count, 0)], START_MS + 5)
    await database.history.compact(START_MS + 9)
    address = "/api/historical/candles/binance/LONGUSDT?timeframe=1h"
    opens = [1.5 + n for n in range(count)]
    _, headers, body = await get(api, address)
    assert (headers.get("content-length"), headers["transfer-encoding"]) == (None, "chunked")
    assert [row[1] for row in orjson.loads(body)["markets"][0]["rows"]] == opens
    for format_, read in (("arrow", read_ipc_stream), ("parquet", read_parquet)):
        _, headers, body = await get(api, f"{address}&format={format_}")
        assert headers["x-rows"] == str(count)
        assert read(body).read_all().column("open").to_numpy().tolist() == opens
    status, headers, body = await get(api, address, "HEAD")
    assert (status, body, headers["x-rows"]) == (200, b"", str(count))


async def test_read_token_guards_it(
    start_api: StartApi, redis_url: str, database_url: str, database: Database
) -> None:
    api = await start_api(redis_url=redis_url, dsn=database_url, read_token=TOKEN)
    assert (await get(api, ROUTE))[0] == 401
    assert (await get(api, ROUTE, Authorization=f"Bearer {TOKEN}"))[0] == 200


async def test_without_a_database_it_says_so_in_time(native_api: ServedApi) -> None:
    began = time.monotonic()
    status, headers, answer = await ask(native_api, "GET", ROUTE)
    assert (status, headers["retry-after"]) == (503, "5")
    assert "the database" in answer["detail"]
    assert time.monotonic() - began < 3


async def test_a_database_that_hangs_is_told_in_time(
    start_api: StartApi, redis_url: str, own_postgres: OwnPostgres
) -> None:
    database = Database(own_postgres.url)
    await database.history.store([rows_of("BTCUSDT", HOURS)], START_MS + 5)
    await database.aclose()
    api = await start_api(redis_url=redis_url, dsn=own_postgres.url)
    assert (await get(api, ROUTE))[0] == 200
    processes = own_postgres.processes()
    for process in processes:
        process.suspend()
    try:
        began = time.monotonic()
        status, _, answer = await ask(api, "GET", ROUTE)
        took_s = time.monotonic() - began
    finally:
        for process in processes:
            process.resume()
    assert (status, took_s < 3) == (503, True)
    assert answer["detail"] == "the database did not answer within 2.5 s"


async def test_an_answer_that_cannot_be_completed_is_cut(
    start_api: StartApi, redis_url: str, own_postgres: OwnPostgres
) -> None:
    """No client takes half a range for a whole one, in any format."""
    database = Database(own_postgres.url)
    count = 40 * SPAN_ROWS
    await database.history.store([rows_of("BTCUSDT", count, 0)], START_MS + 5)
    await database.aclose()
    api = await start_api(redis_url=redis_url, dsn=own_postgres.url, send_buffer=64 * 1024)
    async with api.http.get(f"{ROUTE}&format=csv") as answer:
        await answer.content.readexactly(1000)
        own_postgres.kill()
        with pytest.raises(aiohttp.ClientPayloadError):
            await asyncio.wait_for(answer.read(), 15)
