"""GET /cache/overview, GET /market and GET /market/{asset}, over HTTP."""

import asyncio
import gzip
import time
import zlib
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import orjson
import pytest

from tests.fixtures.api import ServedApi, StartApi, ask, get
from tests.fixtures.overviews import AS_OF, NOW, document_of, told

MARKETS = [
    told("binance", "1000PEPE", price=2000.0, interest=5.0),
    told("bybit", "PEPE", price=2.1),
    told("binance", "BTC", price=100.0, interest=1000.0),
    told("bybit", "BTC", price=101.0, interest=1000.0),
    told("binance", "TWO", price=1.0),
    told("bybit", "TWO", price=9.0),
    told("binance", "龙虾", price=1.0, interest=1.0),
]


@pytest.fixture
async def served(native_api: ServedApi) -> AsyncIterator[ServedApi]:
    await native_api.publish("overview", document_of(MARKETS), AS_OF)
    yield native_api


def whole() -> Any:
    return orjson.loads(document_of(MARKETS))


@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate"])
@pytest.mark.parametrize("path", ["/cache/overview", "/market", "/market/PEPE"])
async def test_codings_have_the_same_bytes_and_the_validator_of_any_gives_304(
    served: ServedApi, path: str, coding: str
) -> None:
    plain = (await get(served, path, Accept_Encoding="identity"))[2]
    async with served.http.get(
        path, headers={"Accept-Encoding": coding}, auto_decompress=False
    ) as answer:
        body, headers = await answer.read(), answer.headers
    assert headers.get("Content-Encoding", "identity") == coding
    if coding != "identity":
        body = gzip.decompress(body) if coding == "gzip" else zlib.decompress(body)
    assert body == plain
    assert headers["ETag"].endswith(f'-{coding}"') and headers["Cache-Control"] == "no-cache"
    assert headers["Vary"] == "Accept-Encoding"
    status, unchanged, nothing = await get(served, path, If_None_Match=headers["ETag"])
    assert (status, nothing) == (304, b"")
    assert unchanged["etag"].rpartition("-")[0] == headers["ETag"].rpartition("-")[0]
    other = headers["ETag"].replace(str(AS_OF), str(AS_OF - 1))
    assert (await get(served, path, If_None_Match=other))[0] == 200


@pytest.mark.parametrize("path", ["/cache/overview", "/market", "/market/PEPE"])
async def test_answers_say_how_old_they_are(native_api: ServedApi, path: str) -> None:
    made_ms = time.time_ns() // 1_000_000 - 90_000
    await native_api.publish("overview", document_of(MARKETS), AS_OF, updated_at_ms=made_ms)
    status, headers, _ = await get(native_api, path)
    assert status == 200 and 90 <= int(headers["age"]) < 120
    unchanged = (await get(native_api, path, If_None_Match=headers["etag"]))[1]
    assert 90 <= int(unchanged["age"]) < 120
    assert unchanged["last-modified"] == formatdate(made_ms // 1000, usegmt=True)


@pytest.mark.parametrize("path", ["/cache/overview", "/market", "/market/PEPE"])
async def test_head_and_other_methods(served: ServedApi, path: str) -> None:
    status, headers, body = await get(served, path, "HEAD", Accept_Encoding="identity")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) == len(
        (await get(served, path, Accept_Encoding="identity"))[2]
    )
    assert (await ask(served, "POST", path, {}))[0] == 405


@pytest.mark.parametrize("path", ["/cache/overview", "/market", "/market/PEPE"])
async def test_identity_may_not_be_refused_with_all_others(served: ServedApi, path: str) -> None:
    assert (await get(served, path, Accept_Encoding="br, *;q=0"))[0] == 406


async def test_the_document_is_served_as_it_is_stored(served: ServedApi) -> None:
    status, _, body = await get(served, "/cache/overview")
    assert status == 200 and body == document_of(MARKETS)
    # It has no rows, and so no table.
    assert (await get(served, "/cache/overview", Accept="text/csv"))[2] == body
    assert (await ask(served, "GET", "/cache/overview.csv"))[0] == 422


@pytest.mark.parametrize(
    ("query", "assets"),
    [
        ("asset=BTC", ["BTC"]),
        ("asset=pepe,btc", ["BTC", "PEPE"]),
        ("asset=1000PEPE&asset=PEPEUSDT", ["PEPE"]),
        ("asset=%E9%BE%99%E8%99%BE", ["龙虾"]),
        ("asset=BTC,NONE", ["BTC"]),
    ],
)
async def test_chosen_assets(served: ServedApi, query: str, assets: list[str]) -> None:
    status, headers, found = await ask(served, "GET", f"/cache/overview?{query}")
    assert status == 200
    assert [each["asset"] for each in found["assets"]] == assets
    by_name = {each["asset"]: each for each in whole()["assets"]}
    assert found == whole() | {"assets": [by_name[name] for name in assets]}
    assert headers.get("x-unknown-symbols") == ("NONE" if "NONE" in query else None)
    assert (await get(served, f"/cache/overview?{query}", If_None_Match=headers["etag"]))[0] == 304
    assert (await get(served, "/cache/overview", If_None_Match=headers["etag"]))[0] == 200


async def test_unknown_assets_are_told_with_near_ones(served: ServedApi) -> None:
    for path in ("/cache/overview?asset=PEPPE", "/market/PEPPE", "/market/peppe"):
        status, headers, found = await ask(served, "GET", path)
        assert status == 404 and "did you mean PEPE?" in found["detail"], found
        assert headers["x-unknown-symbols"].upper() == "PEPPE"
    status, _, found = await ask(served, "GET", "/market/QQQQQQ")
    assert status == 404 and "GET /market lists" in found["detail"]
    assert (await ask(served, "GET", "/market/" + "X" * 5000))[0] == 404
    wild = '"*"'
    assert (await get(served, "/cache/overview?asset=ABSENT", If_None_Match="*"))[0] == 404, wild


@pytest.mark.parametrize(
    "query",
    [
        *("since=1", "limit=1", "symbol=BTCUSDT", "closed=true", "exchange=binance"),
        *("asset=", "wait=61", "assets=BTC", "as_of=1", "as_of=now", "as_of=2026-11-21&wait=1"),
    ],
)
async def test_what_does_not_apply_is_refused(served: ServedApi, query: str) -> None:
    status, _, found = await ask(served, "GET", f"/cache/overview?{query}")
    assert status == 422, found
    if query[:4] not in ("asse", "wait", "as_o"):
        assert "asset, wait, as_of" in str(found["detail"])


@pytest.mark.parametrize(
    "name", ["PEPE", "pepe", "1000PEPE", "1000pepeusdt", "PEPEUSDT", "PEPE1000", "10000PEPE"]
)
async def test_an_asset_has_many_names(served: ServedApi, name: str) -> None:
    status, headers, found = await ask(served, "GET", f"/market/{name}")
    assert status == 200
    (expected,) = [each for each in whole()["assets"] if each["asset"] == "PEPE"]
    head = {key: whole()[key] for key in ("version", "as_of", "updated_at", "at", "quote")}
    assert found == head | expected
    assert found["at"] == NOW and found["open_interest"]["coins"] == 5100.0
    assert headers["etag"] == (await ask(served, "GET", "/market/PEPE"))[1]["etag"]


async def test_the_list_begins_with_most_open_interest(served: ServedApi) -> None:
    _, _, found = await ask(served, "GET", "/market")
    # TWO has no sum: its two prices are of two coins.
    assert [each["asset"] for each in found["assets"]] == ["BTC", "PEPE", "龙虾", "TWO"]
    assert found["count"] == 4 and found["at"] == NOW
    btc, two = found["assets"][0], found["assets"][3]
    assert btc["open_interest"] == {"coins": 2000.0, "quote": 201_000.0}
    assert btc["spread_bps"] == pytest.approx(100.0) and btc["change"]["24h"] == 0.0
    assert two["open_interest"] == {"coins": None, "quote": None} and two["left_out"] == 2
    status, headers, first = await ask(served, "GET", "/market?limit=1")
    assert (status, first["assets"], first["count"]) == (200, [btc], 4)
    assert (await get(served, "/market", If_None_Match=headers["etag"]))[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/market?limit=0",
        "/market?limit=x",
        "/market?symbol=BTC",
        "/market/BTC?since=1",
        "/market?limit=1&limit=2",
    ],
)
async def test_wrong_parameters_of_the_list(served: ServedApi, path: str) -> None:
    assert (await ask(served, "GET", path))[0] == 422


@pytest.mark.parametrize("path", ["/cache/overview", "/market", "/market/BTC"])
async def test_before_the_first_collection_the_answer_says_what_to_post(
    native_api: ServedApi, path: str
) -> None:
    status, _, found = await ask(native_api, "GET", path)
    assert status == 404
    assert 'POST /get-market-data {"timeframe":"all"} collects it' in found["detail"]


async def test_wait_holds_until_another_version(served: ServedApi) -> None:
    _, headers, _ = await get(served, "/cache/overview?asset=BTC")
    path = "/cache/overview?asset=BTC&wait=30"
    waiting = asyncio.create_task(get(served, path, If_None_Match=headers["etag"]))
    await served.held.until(1)
    await served.publish("overview", document_of(MARKETS[2:3], AS_OF + 5), AS_OF + 5)
    status, _, body = await waiting
    assert status == 200 and orjson.loads(body)["version"] == AS_OF + 5


async def test_a_new_version_is_told_by_the_list_at_once(served: ServedApi) -> None:
    await ask(served, "GET", "/market")
    await served.publish("overview", document_of(MARKETS[2:3], AS_OF + 5), AS_OF + 5)
    _, _, found = await ask(served, "GET", "/market")
    assert (found["version"], found["count"]) == (AS_OF + 5, 1)


async def test_a_read_token_guards_them(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url, read_token="r3ad")
    for path in ("/cache/overview", "/market", "/market/BTC"):
        assert (await ask(api, "GET", path))[0] == 401
        with_token = {"Authorization": "Bearer r3ad"}
        assert (await ask(api, "GET", path, headers=with_token))[0] == 404


async def test_a_damaged_document_is_told(served: ServedApi) -> None:
    await served.publish("overview", b'{"name":"overview"}', AS_OF + 5)
    for path in ("/market", "/market/BTC", "/cache/overview?asset=BTC"):
        assert (await ask(served, "GET", path))[0] in (500, 503)
