"""Services that are away, slow, broken, older or something else, as both clients see them."""

import asyncio
import logging
import socket
import zlib

import pytest

from perpcache_client import (
    BadAnswer,
    Client,
    InvalidRequest,
    NotFound,
    PerpcacheError,
    ServiceUnavailable,
    Timeout,
    Unauthorized,
)
from tests.client.clients import opened
from tests.client.rows import AS_OF_MS, ROWS, document
from tests.client.scripted import answer, scripted

TOKEN = "very-secret-token-1234567890"
# What a service says that has no Arrow documents.
NO_ARROW = answer(
    422,
    b'{"detail":[{"type":"enum","loc":["path","name"],"msg":"must be one of 5m, 4h"}]}',
    "Content-Type: application/json",
)
JSON = document(AS_OF_MS)
WHOLE = answer(200, JSON, "Content-Type: application/json", 'ETag: "1"', "Age: 7")


async def test_an_older_service_tells_the_table_as_json(kind: str) -> None:
    async with scripted(NO_ARROW, WHOLE) as service, opened(kind, service.url) as client:
        first = await client.call("table", "4h")
        assert list(first.rows()) == ROWS
        assert 7 <= first.age_s < 60
        assert [each.stale_since for each in first.markets] == [None, None, AS_OF_MS]
        assert [each.symbol for each in first.missing] == ["XYZUSDT"]
        await client.call("table", "4h")
        # It is not asked for Arrow again at once.
        assert service.paths == ["/cache/4h.arrow", "/cache/4h", "/cache/4h"]


async def test_deflated_json_is_read(kind: str) -> None:
    small = answer(200, zlib.compress(JSON), "Content-Encoding: deflate")
    async with scripted(NO_ARROW, small) as service, opened(kind, service.url) as client:
        assert list((await client.call("table", "4h")).rows()) == ROWS
        assert b"accept-encoding: deflate\r\n" in service.heads[1].lower()


async def test_a_body_that_ends_in_the_middle_is_asked_for_again(kind: str) -> None:
    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(WHOLE[:-100])
        await writer.drain()

    async with scripted(NO_ARROW, cut, cut, WHOLE) as service, opened(kind, service.url) as client:
        assert list((await client.call("table", "4h")).rows()) == ROWS
        assert len(service.paths) == 4


async def test_a_stream_that_is_cut_is_no_table(kind: str) -> None:
    """Without a length and cut between two messages, it would pass for a whole one."""

    async def arrow(writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"\xff\xff\xff\xff\x10\0\0\0"
        )
        await writer.drain()

    async with scripted(arrow) as service, opened(kind, service.url) as client:
        with pytest.raises(BadAnswer, match="no whole Arrow stream"):
            await client.call("table", "4h")
        assert len(service.paths) == 3


@pytest.mark.parametrize("body", [b"<html>a portal", b"", b"\xff\xff\xff\xff\0\0\0\0", b"{}"])
async def test_garbage_is_a_bad_answer(kind: str, body: bytes) -> None:
    async with scripted(answer(200, body)) as service, opened(kind, service.url) as client:
        with pytest.raises(BadAnswer):
            await client.call("table", "4h")
        with pytest.raises(BadAnswer):
            await client.call("jobs")


async def test_json_that_is_no_document_is_a_bad_answer(kind: str) -> None:
    wrong = answer(200, b'{"columns": ["open_time"], "markets": [{"rows": [[1, 2]]}]}')
    async with scripted(NO_ARROW, wrong) as service, opened(kind, service.url) as client:
        with pytest.raises(BadAnswer, match="no document"):
            await client.call("table", "4h")


async def test_a_service_that_is_away_is_unavailable(kind: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with opened(kind, url, timeout=0.6) as client:
            with pytest.raises(ServiceUnavailable, match="no whole answer"):
                await client.call("table", "4h")


async def test_the_deadline_holds_for_an_answer_that_trickles(kind: str) -> None:
    """Each byte comes in time, the answer does not."""

    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with scripted(trickle) as service, opened(kind, service.url, timeout=0.5) as client:
        with pytest.raises(Timeout, match="no whole answer within"):
            await client.call("table", "4h")
        assert len(service.paths) == 1


async def test_a_silent_service_is_a_timeout(kind: str) -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with scripted(silent) as service, opened(kind, service.url, timeout=0.5) as client:
        with pytest.raises(TimeoutError):
            await client.call("jobs")


async def test_redirects_are_not_followed_with_the_token(kind: str) -> None:
    moved = answer(308, b"", "Location: http://127.0.0.1:9/elsewhere")
    async with scripted(moved) as service, opened(kind, service.url, token=TOKEN) as client:
        with pytest.raises(BadAnswer, match=r"redirected to 'http://127\.0\.0\.1:9/elsewhere'"):
            await client.call("jobs")


async def test_the_token_is_sent_and_never_told(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    refused = answer(401, b'{"detail":"READ_TOKEN is needed"}')
    broken = b"garbage\r\n\r\n"
    async with scripted(refused, broken) as service:
        async with opened(kind, service.url, token=TOKEN, timeout=0.6) as client:
            with pytest.raises(Unauthorized, match="401: READ_TOKEN is needed") as first:
                await client.call("jobs")
            with pytest.raises(PerpcacheError) as second:
                await client.call("jobs")
            told = [repr(client.__dict__["client"]), repr(vars(first.value)), str(second.value)]
            told += [repr(first.value), repr(second.value), repr(second.value.__cause__)]
        assert f"authorization: bearer {TOKEN}\r\n".encode() in service.heads[0].lower()
    assert TOKEN not in "\n".join([*told, caplog.text])


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "ключ"])
def test_a_token_that_cannot_be_sent_is_refused_unnamed(token: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII") as raised:
        Client("http://127.0.0.1:9", token)
    assert not token or token not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8000", "ftp://a", "http://", "http://a?b", "http://user:pass@a", "http://[::"],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="the address") as raised:
        Client(url)
    assert "pass@" not in str(raised.value)


async def test_an_address_may_have_a_path(kind: str) -> None:
    url_of = "/perpcache/cache/4h?symbol=BTCUSDT%2CETHUSDT"
    async with scripted(NO_ARROW, WHOLE) as service:
        async with opened(kind, service.url + "/perpcache/") as client:
            await client.call("table", "4h", symbol=("BTCUSDT", "ETHUSDT"))
        assert service.paths[1] == url_of


async def test_history_names_its_markets(kind: str) -> None:
    async with scripted(answer(404, b'{"detail":"unknown"}')) as service:
        async with opened(kind, service.url) as client:
            with pytest.raises(InvalidRequest, match="one symbol at a time"):
                await client.call("history", ["BTCUSDT", "ETHUSDT"], kind="prices")
            for words, named in (
                (("BTCUSDT",), {"kind": "prices", "exchange": "bybit"}),
                ((["BTCUSDT", "ETHUSDT"], "4h"), {"exchange": "bybit", "start": "2026-11-01"}),
                (("bybit:ETHUSDT",), {"kind": "funding", "limit": 5}),
            ):
                with pytest.raises(NotFound):
                    await client.call("history", *words, **named)
        assert service.paths == [
            "/api/historical/prices/BTCUSDT?format=arrow&exchange=bybit",
            "/api/historical/candles?format=arrow&timeframe=4h&from=2026-11-01"
            "&symbols=bybit%3ABTCUSDT%2Cbybit%3AETHUSDT",
            "/api/historical/funding?format=arrow&limit=5&symbols=bybit%3AETHUSDT",
        ]
