"""GET and HEAD /cache/<name>, served for real, over both kinds of store."""

import asyncio
import contextlib
import gzip
import socket
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import product
from typing import Any

import orjson
import pytest

from database import Database
from documents.building import DocumentBuilder, encode_funding
from market.markets import Exchange, FundingSeries, ListedMarket, Market, MarketSeries, Missing, Row
from market.timeframes import Timeframe
from stores.hot.store import StoreUnavailable
from tests.fixtures.api import ServedApi, StartApi

HOUR_MS = 3_600_000
AS_OF_MS = 1_700_000_000_000
FORMING_MS = 1_699_992_000_000  # the 4h candle that holds AS_OF_MS
MARKETS = (
    Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT"),
    Market(Exchange.BINANCE, "ETHUSDT", "ETH", "USDT"),
    Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT"),
)


def document(version: int = AS_OF_MS, rows: int = 5, price: float = 1.5) -> bytes:
    builder = DocumentBuilder(Timeframe.H4, "collected")
    for market in MARKETS:
        candles: list[Row] = [
            (FORMING_MS - age * 4 * HOUR_MS, price, 2.0, 1.0, 1.25, 10.0, 12.5, None, 1e-05)
            for age in reversed(range(rows))
        ]
        builder.add(MarketSeries(market, candles, AS_OF_MS), {"hurst": 0.5})
    missing = [Missing(Exchange.BYBIT, "XYZUSDT", "klines", "gone")]
    return builder.finish(
        version=version, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS, missing=missing
    )


@pytest.fixture
async def published(api: ServedApi) -> ServedApi:
    await api.publish("4h", document(), AS_OF_MS)
    return api


@pytest.fixture
async def native_published(native_api: ServedApi) -> ServedApi:
    await native_api.publish("4h", document(), AS_OF_MS)
    return native_api


async def get(
    api: ServedApi, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with api.http.request(method, path, headers=named) as answer:
        return answer.status, {k.lower(): v for k, v in answer.headers.items()}, await answer.read()


DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "deflate": zlib.decompress,
    "gzip": gzip.decompress,
    "identity": bytes,
}


async def test_every_coding_holds_the_same_json(published: ServedApi) -> None:
    cut = orjson.loads(document())
    cut["missing"] = []
    cut["markets"] = cut["markets"][:2]
    for market in cut["markets"]:
        market["rows"] = market["rows"][-2:]
    expected = {"": document(), "?limit=2&exchange=binance": orjson.dumps(cut)}
    for (query, plain), (coding, decode) in product(expected.items(), DECODERS.items()):
        status, headers, body = await get(published, f"/cache/4h{query}", Accept_Encoding=coding)
        assert status == 200
        assert headers.get("content-encoding", "identity") == coding
        assert headers["content-type"] == "application/json"
        assert decode(body) == plain


async def test_what_is_stored_is_what_deflate_sends(published: ServedApi) -> None:
    stored = await published.cache.read("4h")
    assert stored is not None
    _, _, body = await get(published, "/cache/4h", Accept_Encoding="gzip, deflate")
    assert body == stored.deflated
    _, _, plain = await get(published, "/cache/4h")
    assert plain == document()


async def test_headers_of_a_document(api: ServedApi) -> None:
    made_ms = time.time_ns() // 1_000_000 - 90_000
    meta = await api.publish("4h", document(), AS_OF_MS, updated_at_ms=made_ms)
    status, headers, body = await get(api, "/cache/4h", Accept_Encoding="deflate")
    assert status == 200
    assert headers["etag"] == f'"{AS_OF_MS}-{meta.content_hash}-deflate"'
    assert 90 <= int(headers["age"]) <= 100
    assert parsedate_to_datetime(headers["last-modified"]).timestamp() == made_ms // 1000
    assert headers["cache-control"] == "no-cache"
    assert headers["vary"] == "Accept-Encoding"
    assert int(headers["content-length"]) == len(body)
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


async def test_head_is_get_without_a_body(native_published: ServedApi) -> None:
    paths = ("/cache/4h", "/cache/4h?limit=1", "/cache/4h?symbol=NOPE", "/cache/4h?limit=0")
    for path, coding in product((*paths, "/cache/8h", "/health", "/docs"), DECODERS):
        got = await get(native_published, path, Accept_Encoding=coding)
        head = await get(native_published, path, "HEAD", Accept_Encoding=coding)
        for headers in (got[1], head[1]):
            headers.pop("date")
            headers.pop("age", None)
        assert head == (got[0], got[1], b"")
    # On a connection that goes on: nothing of a body may follow.
    request = b"HEAD /cache/4h HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    status, _, rest = await native_published.raw(request)
    assert (status, rest) == (200, b"")


async def test_validators_of_any_coding_give_304(native_published: ServedApi) -> None:
    etags = {}
    for coding in DECODERS:
        for query in ("", "?limit=1"):
            _, headers, _ = await get(native_published, f"/cache/4h{query}", Accept_Encoding=coding)
            etags[coding, query] = headers["etag"]
    assert len(set(etags.values())) == 6
    for (_, query), etag in etags.items():
        for validator in (etag, f"W/{etag}", f'"old", {etag}', "*"):
            status, headers, body = await get(
                native_published,
                f"/cache/4h{query}",
                If_None_Match=validator,
                Accept_Encoding="gzip",
            )
            assert (status, body) == (304, b"")
            assert headers["etag"] == etags["gzip", query]
            assert {"last-modified", "age", "cache-control", "vary"} <= set(headers)
            assert "content-length" not in headers
        other = "" if query else "?limit=1"
        status, _, _ = await get(native_published, f"/cache/4h{other}", If_None_Match=etag)
        assert status == 200
    await native_published.publish("4h", document(AS_OF_MS + 1), AS_OF_MS + 1)
    for (_, query), etag in etags.items():
        status, _, _ = await get(native_published, f"/cache/4h{query}", If_None_Match=etag)
        assert status == 200


async def test_filters_over_http(native_published: ServedApi) -> None:
    async def read(query: str) -> dict[str, Any]:
        status, _, body = await get(native_published, f"/cache/4h?{query}", Accept_Encoding="gzip")
        assert status == 200
        found: dict[str, Any] = orjson.loads(gzip.decompress(body))
        return found

    def places(found: dict[str, Any]) -> list[tuple[str, str]]:
        return [(market["exchange"], market["symbol"]) for market in found["markets"]]

    assert places(await read("symbol=BTCUSDT")) == [("binance", "BTCUSDT"), ("bybit", "BTCUSDT")]
    assert places(await read("symbol=ETHUSDT&symbol=BTCUSDT&exchange=bybit")) == [
        ("bybit", "BTCUSDT")
    ]
    assert await read("symbol=btcusdt") == await read("symbol=BTCUSDT")
    none = await read("symbol=ETHUSDT&exchange=bybit")
    assert (none["markets"], none["missing"]) == ([], [])
    assert (await read("exchange=bybit"))["missing"] == orjson.loads(document())["missing"]
    closed = await read("closed=true&limit=1")
    assert [m["rows"][0][0] for m in closed["markets"]] == [FORMING_MS - 4 * HOUR_MS] * 3
    since = await read(f"since={FORMING_MS - 1}")
    assert [[row[0] for row in m["rows"]] for m in since["markets"]] == [[FORMING_MS]] * 3


async def test_a_date_alone_is_a_validator(native_published: ServedApi) -> None:
    _, headers, _ = await get(native_published, "/cache/4h?limit=1")
    made, etag = headers["last-modified"], headers["etag"]
    for date, expected in (
        (made, 304),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 304),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 200),
        ("no date", 200),
    ):
        status, got, body = await get(native_published, "/cache/4h?limit=1", If_Modified_Since=date)
        assert (status, got["etag"], not body) == (expected, etag, expected == 304)
        # An entity tag says more, so the date beside it is not looked at.
        for tag, status_by_tag in (('"1-old-gzip"', 200), (etag, 304)):
            headers = {"If_None_Match": tag, "If_Modified_Since": date}
            status, _, _ = await get(native_published, "/cache/4h?limit=1", **headers)
            assert status == status_by_tag
    waiting = await get(native_published, "/cache/4h?wait=0.1", If_Modified_Since=made)
    assert waiting[0] == 304


async def test_an_etag_that_a_proxy_marked_is_known(native_published: ServedApi) -> None:
    _, headers, _ = await get(native_published, "/cache/4h")
    for suffix in ("-gzip", "-br", "--gzip"):
        marked = headers["etag"][:-1] + suffix + '"'
        status, _, _ = await get(native_published, "/cache/4h", If_None_Match=marked)
        assert status == 304


async def test_symbols_that_nobody_lists_are_named(
    start_api: StartApi, store_settings: dict[str, Any], database_url: str
) -> None:
    database = Database(database_url)
    young = Market(Exchange.BINANCE, "YOUNGUSDT", "YOUNG", "USDT")
    listed = [ListedMarket(market, 1.0) for market in (MARKETS[0], young)]
    await database.markets.save_markets(Exchange.BINANCE, listed, seen_at_ms=1)
    await database.aclose()
    api = await start_api(**store_settings, dsn=database_url)
    await api.publish("4h", document(), AS_OF_MS)
    for method in ("GET", "GET", "HEAD"):  # the second finds what the first made
        # In the document; in its list of what is missing; on a list alone; nowhere.
        for known in ("btcusdt", "XYZUSDT", "youngusdt"):
            status, headers, _ = await get(api, f"/cache/4h?symbol={known}", method)
            assert (status, "x-unknown-symbols" in headers) == (200, False)
            path = f"/cache/4h?symbol={known},nope&symbol=btcusd"
            status, headers, _ = await get(api, path, method)
            assert (status, headers["x-unknown-symbols"]) == (200, "BTCUSD, NOPE")
        status, headers, body = await get(api, "/cache/4h?symbol=btcusd,nope", method)
        assert (status, headers["x-unknown-symbols"]) == (404, "BTCUSD, NOPE")
        assert headers["cache-control"] == "no-cache"
        if method == "GET":
            assert "did you mean BTCUSDT" in orjson.loads(body)["detail"]
    for symbol, near in (("young-usdt", "YOUNGUSDT"), ("BTC", "BTCUSDT"), ("qqqqqqq", None)):
        status, _, body = await get(api, f"/cache/4h?symbol={symbol}")
        told = orjson.loads(body)["detail"]
        assert (status, f"did you mean {near}" in told) == (404, near is not None)
        assert ("GET /coins" in told) == (near is None)


async def test_unknown_symbols_are_few_and_plain_in_the_answer(
    native_published: ServedApi,
) -> None:
    hostile = "A%0D%0AX-Evil:1,<script>," + "A" * 9000
    status, headers, body = await get(native_published, f"/cache/4h?symbol={hostile}")
    assert status == 404
    assert "x-evil" not in headers
    assert "script" not in body.decode()
    named = headers["x-unknown-symbols"].split(", ")
    assert named == ["%3CSCRIPT%3E", "A%0D%0AX-EVIL%3A1", "A" * 64]
    many = ",".join(f"NOPE{number:04}" for number in range(1500))
    started = time.monotonic()
    status, headers, _ = await get(native_published, f"/cache/4h?symbol=BTCUSDT,{many}")
    assert (status, headers["x-unknown-symbols"].count(",")) == (200, 50)
    assert headers["x-unknown-symbols"].endswith(", NOPE0049, ...")
    assert time.monotonic() - started < 5


async def test_funding_is_served_too(api: ServedApi) -> None:
    rows = [(AS_OF_MS - age, 0.0001) for age in (3, 2, 1)]
    book = {MARKETS[0].key: FundingSeries(MARKETS[0], rows, 8, AS_OF_MS)}
    text = encode_funding(book, version=1, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=[])
    await api.publish("global_fr", text, 1)
    assert (await get(api, "/cache/global_fr"))[2] == text
    _, _, body = await get(api, "/cache/global_fr?limit=1&closed=true")
    assert orjson.loads(body)["markets"][0]["rows"] == [[AS_OF_MS - 1, 0.0001]]


async def test_nothing_yet_says_what_to_post(api: ServedApi) -> None:
    status, headers, body = await get(api, "/cache/4h")
    assert status == 404
    assert 'POST /get-market-data {"timeframe":"4h"}' in orjson.loads(body)["detail"]
    assert headers["content-type"] == "application/json"
    _, _, body = await get(api, "/cache/global_fr")
    assert "POST /api/v1/internal/update-fr" in orjson.loads(body)["detail"]


async def test_nothing_yet_says_how_the_job_goes_and_how_it_ended(api: ServedApi) -> None:
    """One job makes 4h and 8h; what is said of either is said of it."""

    async def told() -> set[str]:
        answers = [await get(api, f"/cache/{name}") for name in ("4h", "8h")]
        assert {answer[0] for answer in answers} == {404}
        assert {answer[1]["cache-control"] for answer in answers} == {"no-cache"}
        return {orjson.loads(body)["detail"].replace("8h", "4h") for _, _, body in answers}

    follow = "GET /jobs/collect:4h follows it"
    assert await told() == {
        'nothing collected yet: POST /get-market-data {"timeframe":"4h"} collects it'
    }
    await api.queue.request("collect:4h")
    assert await told() == {f"nothing collected yet: collect:4h is queued, {follow}"}
    async with api.lease() as lease:
        job = await api.queue.take(lease)
        assert job is not None
        assert await told() == {f"nothing collected yet: collect:4h is running, {follow}"}
        before_ms = time.time_ns() // 1_000_000
        await api.queue.finish(
            job, lease, state="failed", as_of_ms=None, result=None, error="binance: unreachable"
        )
    after = await api.queue.get("collect:4h")
    assert after is not None
    assert after.finished_at is not None
    assert before_ms - 1000 < after.finished_at
    ended = datetime.fromtimestamp(after.finished_at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    failed = f"the last run of collect:4h failed at {ended}: binance: unreachable"
    again = 'POST /get-market-data {"timeframe":"4h"} tries again'
    assert await told() == {f"nothing collected yet: {failed}; {again}"}
    await api.queue.request("collect:4h")
    assert await told() == {f"nothing collected yet: collect:4h is queued, {follow}; {failed}"}
    await api.queue.abort("collect:4h")
    (text,) = await told()
    assert "the last run of collect:4h was aborted at " in text


async def test_no_funding_yet_says_how_its_job_goes(native_api: ServedApi) -> None:
    await native_api.queue.request("funding")
    _, _, body = await get(native_api, "/cache/global_fr")
    assert "no funding yet: funding is queued, GET /jobs/funding" in orjson.loads(body)["detail"]


REFUSED = [
    ("GET", "/cache/7h", 422, "5m, 15m"),
    ("GET", "/cache/", 422, "global_fr"),
    ("GET", "/cache/4h/x", 422, "global_fr"),
    ("GET", "/cache/4h:meta", 422, "global_fr"),
    ("GET", "/cache/4h?limit=0", 422, "at least 1"),
    ("GET", "/cache/4h?exchange=kraken", 422, "binance, bybit"),
    ("GET", "/cache/4h?wait=61", 422, "0 to 60"),
    ("GET", "/cache/4h?closed=maybe", 422, "true or false"),
    ("GET", "/cache/4h?symbl=BTCUSDT", 422, "did you mean symbol?"),
    ("HEAD", "/cache/4h?symbl=BTCUSDT", 422, ""),
    ("GET", "/cache/4h?symbol=%3Cscript%3E&limit=%3Cscript%3E", 422, "integer"),
    ("POST", "/cache/4h", 405, "Method Not Allowed"),
    ("DELETE", "/cache/4h", 405, "Method Not Allowed"),
    ("OPTIONS", "/cache/4h", 405, "Method Not Allowed"),
]


async def test_what_cannot_be_answered(native_published: ServedApi) -> None:
    for method, path, status, words in REFUSED:
        got, headers, body = await get(native_published, path, method)
        assert got == status, path
        assert method == "HEAD" or words in str(orjson.loads(body)["detail"])
        assert headers["content-type"] == "application/json"
        assert b"script" not in body
        if status == 405:
            assert headers["allow"] == "GET, HEAD"


async def test_no_coding_is_acceptable(native_published: ServedApi) -> None:
    status, headers, body = await get(native_published, "/cache/4h", Accept_Encoding="identity;q=0")
    assert (status, headers["vary"]) == (406, "Accept-Encoding")
    assert "deflate" in orjson.loads(body)["detail"]


async def test_a_client_that_asks_for_no_coding_gets_none(native_published: ServedApi) -> None:
    request = b"GET /cache/4h HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    status, headers, body = await native_published.raw(request)
    assert status == 200
    assert "content-encoding" not in headers
    assert body == document()


async def test_readers_share_checks_and_one_load(published: ServedApi) -> None:
    published.counts.clear()
    answers = await asyncio.gather(
        *(get(published, "/cache/4h?limit=1", Accept_Encoding="gzip") for _ in range(50))
    )
    assert {answer[0] for answer in answers} == {200}
    assert len({answer[2] for answer in answers}) == 1
    assert published.counts["documents"] == 1
    etag = answers[0][1]["etag"]
    published.counts.clear()
    for _ in range(10):
        status, _, _ = await get(published, "/cache/4h?limit=1", If_None_Match=etag)
        assert status == 304
    assert published.counts == {"versions": 10}


async def test_wait_ends_with_the_next_version(published: ServedApi) -> None:
    _, headers, _ = await get(published, "/cache/4h")
    published.counts.clear()
    path = "/cache/4h?wait=20"
    waiting = [
        asyncio.create_task(get(published, path, If_None_Match=headers["etag"])) for _ in range(20)
    ]
    # Over HTTP nothing tells when a request is held; a short while later each has looked once.
    await asyncio.sleep(0.3)
    assert not any(waiter.done() for waiter in waiting)
    version = AS_OF_MS + 1
    published_at = time.monotonic()
    await published.publish("4h", document(version), version)
    answers = await asyncio.gather(*waiting)
    assert time.monotonic() - published_at < 5
    for status, got, body in answers:
        assert (status, got["etag"].split("-")[0]) == (200, f'"{version}')
        assert body == document(version)
    # None of them has cost a look of its own.
    assert published.counts["versions"] < 20


async def test_wait_ends_without_one(published: ServedApi) -> None:
    _, headers, _ = await get(published, "/cache/4h")
    started = time.monotonic()
    for validator in (headers["etag"], "*"):
        status, _, _ = await get(published, "/cache/4h?wait=0.2", If_None_Match=validator)
        assert status == 304
    assert 0.4 <= time.monotonic() - started < 5


async def test_wait_is_not_needed_for_what_is_new(published: ServedApi) -> None:
    for headers in ({}, {"If_None_Match": '"1-old-gzip"'}):
        async with asyncio.timeout(5):
            status, _, _ = await get(published, "/cache/4h?wait=60", **headers)
        assert status == 200


async def test_wait_holds_for_the_first_version(api: ServedApi) -> None:
    status, _, _ = await get(api, "/cache/4h?wait=0.1")
    assert status == 404
    waiting = asyncio.create_task(get(api, "/cache/4h?wait=20"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await api.publish("4h", document(), AS_OF_MS)
    status, _, body = await waiting
    assert (status, body) == (200, document())


async def test_who_waits_is_answered_when_the_server_stops(published: ServedApi) -> None:
    _, headers, _ = await get(published, "/cache/4h")
    waiting = asyncio.create_task(
        get(published, "/cache/4h?wait=60", If_None_Match=headers["etag"])
    )
    await asyncio.sleep(0.1)
    async with asyncio.timeout(5):
        await published.app.release_waiters()
        status, _, _ = await waiting
    assert status == 304


async def test_readers_see_no_mix_and_no_step_back(api: ServedApi) -> None:
    """Prices of a version are all equal to its number: a mix would show."""
    versions = range(1, 16)

    async def write() -> None:
        for version in versions:
            await api.publish("4h", document(version, 200, float(version)), version)

    async def read(coding: str, query: str) -> int:
        seen = 0
        while seen < versions[-1]:
            status, headers, body = await get(api, f"/cache/4h{query}", Accept_Encoding=coding)
            if status == 404:
                continue
            assert status == 200
            found = orjson.loads(DECODERS[coding](body))
            prices = {row[1] for market in found["markets"] for row in market["rows"]}
            assert prices == {float(found["version"])}
            assert headers["etag"].startswith(f'"{found["version"]}-')
            assert found["version"] >= seen
            seen = found["version"]
        return seen

    readers = [read(coding, query) for coding in DECODERS for query in ("", "?limit=3")]
    await asyncio.gather(write(), *readers)


async def test_own_copy_while_the_store_is_away(start_api: StartApi, own_valkey: Any) -> None:
    valkey = own_valkey()
    api = await start_api(redis_url=valkey.url)
    made_ms = time.time_ns() // 1_000_000 - 60_000
    await api.publish("4h", document(), AS_OF_MS, updated_at_ms=made_ms)
    await api.publish("8h", document(), AS_OF_MS)
    _, fresh, _ = await get(api, "/cache/4h")
    valkey.kill()
    with pytest.raises(StoreUnavailable):
        await api.cache.read_meta("4h")
    for query in ("", "?limit=1"):
        status, headers, _ = await get(api, f"/cache/4h{query}", Accept_Encoding="deflate")
        assert status == 200
        assert int(headers["age"]) >= 60
    status, _, _ = await get(api, "/cache/4h", If_None_Match=fresh["etag"])
    assert status == 304
    # Of the other one there is no copy here.
    async with asyncio.timeout(3):
        status, headers, body = await get(api, "/cache/8h")
    assert (status, headers["retry-after"]) == (503, "5")
    assert "redis" in orjson.loads(body)["detail"]
    valkey.start()
    await api.publish("4h", document(AS_OF_MS + 1), AS_OF_MS + 1)
    _, _, body = await get(api, "/cache/4h")
    assert orjson.loads(body)["version"] == AS_OF_MS + 1


async def test_a_store_that_stalls_delays_no_more_than_its_deadline(
    start_api: StartApi, own_valkey: Any
) -> None:
    valkey = own_valkey()
    api = await start_api(redis_url=valkey.url)
    await api.publish("4h", document(), AS_OF_MS)
    await get(api, "/cache/4h")
    valkey.pause()
    try:
        started = time.monotonic()
        answers = await asyncio.gather(*(get(api, "/cache/4h") for _ in range(20)))
        assert {answer[0] for answer in answers} == {200}
        assert time.monotonic() - started < 3
    finally:
        valkey.resume()


async def test_a_store_that_fell_back_takes_no_reader_back(published: ServedApi) -> None:
    newer = AS_OF_MS + 5
    await published.publish("4h", document(newer), newer)
    assert orjson.loads((await get(published, "/cache/4h"))[2])["version"] == newer
    # As after a restart that lost the last second.
    await published.store.execute("DEL", "cache:4h", "cache:4h:meta")
    await published.publish("4h", document(), AS_OF_MS)
    assert orjson.loads((await get(published, "/cache/4h"))[2])["version"] == newer
    await published.store.execute("DEL", "cache:4h", "cache:4h:meta")
    assert (await get(published, "/cache/4h"))[0] == 404
    await published.publish("4h", document(), AS_OF_MS)
    assert orjson.loads((await get(published, "/cache/4h"))[2])["version"] == AS_OF_MS


async def test_a_reader_that_takes_nothing_is_cut_and_holds_up_nobody(
    native_published: ServedApi,
) -> None:
    big = document(AS_OF_MS + 1, rows=40_000)
    await native_published.publish("4h", big, AS_OF_MS + 1)
    lazy = socket.socket()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.setblocking(False)
    loop = asyncio.get_running_loop()
    with lazy:
        await loop.sock_connect(lazy, ("127.0.0.1", native_published.port))
        await loop.sock_sendall(lazy, b"GET /cache/4h HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(3):
            status, _, body = await get(native_published, "/cache/4h")
            assert (status, body) == (200, big)
        await asyncio.sleep(1.5)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while part := await loop.sock_recv(lazy, 2**20):
                received += len(part)
    assert received < len(big) / 2


async def test_a_head_that_does_not_end_is_cut(native_published: ServedApi) -> None:
    async def cut(beginning: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", native_published.port)
        writer.write(beginning)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()

    beginnings = (b"", b"GET /cache/4h HT", b"GET /health HTTP/1.1\r\nHost: x\r\nA")
    async with asyncio.timeout(5):
        await asyncio.gather(*map(cut, beginnings))
