"""GET and HEAD /cache/<name>, over HTTP and both kinds of store."""

import asyncio
import contextlib
import gzip
import socket
import time
import zlib
from collections.abc import Callable
from email.utils import formatdate, parsedate_to_datetime
from itertools import product
from typing import Any

import orjson
import pytest

from documents.building import encode_funding
from market.markets import FundingSeries
from stores.hot.store import StoreUnavailable
from tests.fixtures.api import ServedApi, StartApi, get
from tests.fixtures.documents import AS_OF_MS, FORMING_MS, HOUR_MS, MARKETS, document
from tests.fixtures.lateness import elapsed
from tests.fixtures.signals import until

DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "deflate": zlib.decompress,
    "gzip": gzip.decompress,
    "identity": bytes,
}
DOCUMENT_KEYS = ("cache:4h", "cache:4h:meta")


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
    assert headers["vary"] == "Accept, Accept-Encoding"
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
        (formatdate(time.time(), usegmt=True), 304),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 200),  # served by a clock that was ahead
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


async def test_funding_is_served_too(api: ServedApi) -> None:
    rows = [(AS_OF_MS - age, 0.0001) for age in (3, 2, 1)]
    book = {MARKETS[0].key: FundingSeries(MARKETS[0], rows, 8, AS_OF_MS)}
    text = encode_funding(book, version=1, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=[])
    await api.publish("global_fr", text, 1)
    assert (await get(api, "/cache/global_fr"))[2] == text
    _, _, body = await get(api, "/cache/global_fr?limit=1&closed=true")
    assert orjson.loads(body)["markets"][0]["rows"] == [[AS_OF_MS - 1, 0.0001]]


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
    async with elapsed() as took:
        status, headers, body = await get(api, "/cache/8h")
    assert took.own_s < 3
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
        async with elapsed() as took:
            answers = await asyncio.gather(*(get(api, "/cache/4h") for _ in range(20)))
        assert {answer[0] for answer in answers} == {200}
        assert took.own_s < 3
    finally:
        valkey.resume()


async def test_a_store_that_fell_back_takes_no_reader_back(published: ServedApi) -> None:
    newer = AS_OF_MS + 5
    older = [(key, await published.store.execute("GET", key)) for key in DOCUMENT_KEYS]
    await published.publish("4h", document(newer), newer)
    assert orjson.loads((await get(published, "/cache/4h"))[2])["version"] == newer
    # As after a restart that lost the last second.
    for key, value in older:
        await published.store.execute("SET", key, value)
    assert orjson.loads((await get(published, "/cache/4h"))[2])["version"] == newer
    await published.store.execute("DEL", "cache:4h", "cache:4h:meta")
    assert (await get(published, "/cache/4h"))[0] == 404
    await published.publish("4h", document(), AS_OF_MS)
    assert orjson.loads((await get(published, "/cache/4h"))[2])["version"] == AS_OF_MS


async def test_a_later_document_is_served_whatever_its_version(published: ServedApi) -> None:
    """A wrong clock gave a version of tomorrow, and the store was lost before anybody looked."""
    wrong = AS_OF_MS + 24 * HOUR_MS
    await published.publish("4h", document(wrong), wrong)
    _, headers, _ = await get(published, "/cache/4h")
    late = [(key, await published.store.execute("GET", key)) for key in DOCUMENT_KEYS]
    path = "/cache/4h?wait=20"
    waiting = asyncio.create_task(get(published, path, If_None_Match=headers["etag"]))
    await published.held.until(1)
    await published.store.execute("DEL", *DOCUMENT_KEYS)
    await published.publish("4h", document(AS_OF_MS + 1), AS_OF_MS + 1)
    assert orjson.loads((await waiting)[2])["version"] == AS_OF_MS + 1
    assert orjson.loads((await get(published, "/cache/4h"))[2])["version"] == AS_OF_MS + 1
    # As a replica answers that has not heard of the loss.
    for key, value in late:
        await published.store.execute("SET", key, value)
    assert orjson.loads((await get(published, "/cache/4h"))[2])["version"] == AS_OF_MS + 1


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

        async def cut() -> bool:
            return len(native_published.limits.connections) < 2  # the other reader's stays

        await until(cut, within_s=20)
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
    async with asyncio.timeout(30):
        await asyncio.gather(*map(cut, beginnings))
