"""Answers that never end, lie about their length or have absurd headers: the deadline holds, the
event loop stays free, and the failure is the request's."""

import asyncio
import contextlib
import struct
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace

import pytest

from budgets.exchange_client import (
    LARGEST_BODY,
    LARGEST_OF_MARKET,
    MOST_CHUNKS,
    ExchangeClient,
)
from budgets.informational import MOST_INFORMATIONAL
from budgets.request_counts import RequestCounts
from config import load_settings
from data_collector.url_builder import listing_request
from market.markets import Exchange
from venues.errors import BadPayload, ExchangeError, SourceDown
from venues.venue import Endpoint

TIME = listing_request(Exchange.BYBIT, Endpoint.TIME)
DEADLINE_S = 1.0
PATIENCE_S = 60.0  # more than a busy machine needs for what it must not wait for
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def _bytes(text: bytes) -> Answer:
    """Sends `text`, and keeps the connection open."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()
        await asyncio.Event().wait()

    return answer


def _endless(text: bytes, begin: bytes = b"") -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        while True:
            writer.write(text)
            await writer.drain()

    return answer


def _slow(text: bytes, begin: bytes = b"") -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        while True:
            writer.write(text)
            await writer.drain()
            await asyncio.sleep(0.05)

    return answer


def _bomb() -> bytes:
    """256 MB of one letter as gzip, in less than 1 MB: a packed megabyte, 256 times."""
    piece, times = b"[" * (1 << 20), 256
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    check = 0
    for _ in range(times):
        check = zlib.crc32(piece, check)
    sums = struct.pack("<II", check, times * len(piece))
    return b"\x1f\x8b\x08" + bytes(7) + packed * times + packer.flush() + sums


BOMB = _bomb()
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

ANSWERS: dict[str, tuple[Answer, type[ExchangeError], str]] = {
    "endless 100 Continue": (_endless(CONTINUE * 5000), SourceDown, "informational answers"),
    "endless 103 Early Hints": (_endless(HINTS * 3000), SourceDown, "informational answers"),
    "a 100 Continue now and then": (_slow(CONTINUE), SourceDown, "informational answers"),
    "endless header fields": (_endless(b"X-A: b\r\n" * 5000, OK), SourceDown, "headers"),
    "a header field of 1 MB": (
        _bytes(OK + b"X-A: " + b"x" * 1_000_000 + b"\r\n\r\n"),
        SourceDown,
        "8190",
    ),
    "a status line without end": (_endless(b"x" * 50_000, b"HTTP/1.1 200 "), SourceDown, "8190"),
    "a status line, letter by letter": (_slow(b"x", b"HTTP/1.1 200 "), SourceDown, "no answer"),
    "a length of 5,000 digits": (
        _bytes(OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n[]"),
        SourceDown,
        "overflow",
    ),
    "a negative length": (_bytes(OK + b"Content-Length: -5\r\n\r\n[]"), SourceDown, "bybit time"),
    "two lengths": (
        _bytes(OK + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\n[]"),
        SourceDown,
        "Length",
    ),
    "more promised than sent": (
        _bytes(OK + b"Content-Length: 1000000\r\n\r\n[]"),
        SourceDown,
        "no answer within",
    ),
    "one byte per chunk, slowly": (_slow(b"1\r\n[\r\n", CHUNKED), SourceDown, "no answer within"),
    "one byte per chunk, at full speed": (
        _endless(b"1\r\n[\r\n" * 5000, CHUNKED),
        BadPayload,
        f"{MOST_CHUNKS} chunks",
    ),
    "a chunk size without end": (_endless(b"0" * 50_000, CHUNKED), SourceDown, "bybit time"),
    "endless trailers": (
        _endless(b"X-A: b\r\n" * 5000, CHUNKED + b"1\r\n[\r\n0\r\n"),
        SourceDown,
        "bybit time",
    ),
    "a status without a body": (
        _bytes(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        SourceDown,
        "no message",
    ),
    "an endless body": (_endless(b"[" * 100_000, OK + b"\r\n"), BadPayload, str(LARGEST_BODY)),
    "a bomb": (
        _bytes(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB),
        BadPayload,
        str(LARGEST_BODY),
    ),
    "no bomb after all": (
        _bytes(OK + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nplaintext"),
        SourceDown,
        "bybit time",
    ),
    "another protocol": (
        _bytes(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n[]"),
        SourceDown,
        "bybit time",
    ),
    "no HTTP": (_bytes(b"\x00\x1b[2J\x07" * 100 + b"\r\n\r\n"), SourceDown, "bybit time"),
}


@contextlib.contextmanager
def _served(answer: Answer) -> Iterator[str]:
    """A server that reads one request and then does what `answer` does, in a thread of its own."""
    loop = asyncio.new_event_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_answered(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                await answer(writer)
        finally:
            writer.transport.abort()

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    starting = asyncio.start_server(serve, "127.0.0.1", 0)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result(10)

    async def stop() -> None:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
        await asyncio.sleep(0)  # the aborted transports close their sockets

    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


# These come too slowly to be told from an answer, or the parser of aiohttp reads them as fast as
# they come; other tasks run in between. All others end the request when they are seen.
READ_UNTIL_THE_DEADLINE = {
    "a chunk size without end",
    "a status line, letter by letter",
    "more promised than sent",
    "one byte per chunk, slowly",
}


@contextlib.asynccontextmanager
async def counted_turns() -> AsyncIterator[list[int]]:
    """Inside, the first of the list counts the turns of the event loop."""
    turns = [0]

    async def count() -> None:
        while True:
            await asyncio.sleep(0)
            turns[0] += 1

    counting = asyncio.create_task(count())
    try:
        yield turns
    finally:
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)


@pytest.mark.parametrize("name", list(ANSWERS))
async def test_an_answer_that_is_none(name: str) -> None:
    answer, kind, cause = ANSWERS[name]
    is_waited_for = name in READ_UNTIL_THE_DEADLINE
    with _served(answer) as url:
        settings = load_settings(binance_base_url=url, bybit_base_url=url)
        async with (
            ExchangeClient(
                settings, request_s=DEADLINE_S if is_waited_for else PATIENCE_S
            ) as client,
            counted_turns() as turns,
        ):
            with pytest.raises(kind, match=cause) as caught:
                await client.send(TIME, RequestCounts())
    # The error tells whether it was read until the deadline, whatever the machine's speed.
    assert ("no answer within" in str(caught.value)) == is_waited_for
    assert not is_waited_for or turns[0] > 10  # other tasks ran meanwhile
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


async def test_rows_of_one_market_are_few_but_lists_may_be_long() -> None:
    """20 answers of 16 MB at a time would keep the event loop from the lease of the worker."""
    body = b'{"retCode":0,"result":' + b" " * LARGEST_OF_MARKET + b"{}}"
    head = OK + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    with _served(_bytes(head + body)) as url:
        settings = load_settings(binance_base_url=url, bybit_base_url=url)
        async with ExchangeClient(settings, request_s=10) as client:
            assert await client.send(TIME, RequestCounts()) == body
            with pytest.raises(BadPayload, match=f"more than {LARGEST_OF_MARKET} bytes"):
                await client.send(replace(TIME, symbol="BTCUSDT"), RequestCounts())


async def test_a_few_informational_answers_are_passed_over() -> None:
    body = b'{"retCode":0,"result":{}}'
    answer = HINTS * MOST_INFORMATIONAL + OK + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with _served(_bytes(answer)) as url:
        settings = load_settings(binance_base_url=url, bybit_base_url=url)
        async with ExchangeClient(settings, request_s=10) as client:
            assert await client.send(TIME, RequestCounts()) == body


@pytest.mark.parametrize("late", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"\r\n"])
async def test_what_follows_an_answer_is_not_the_next_ones(late: bytes) -> None:
    """A server, or a proxy, may send an answer too many while the connection is idle."""
    idle, closed = asyncio.Event(), asyncio.Event()
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        if connections == 1:
            writer.write(OK + b"Content-Length: 3\r\n\r\n[1]")
            await idle.wait()
            writer.write(late)
            assert await reader.read() == b""
            closed.set()
        else:
            writer.write(OK + b"Content-Length: 3\r\n\r\n[2]")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = load_settings(binance_base_url=url, bybit_base_url=url)
    async with server, ExchangeClient(settings) as client:
        assert await client.send(TIME, RequestCounts()) == b"[1]"
        idle.set()
        await asyncio.wait_for(closed.wait(), PATIENCE_S)
        assert await client.send(TIME, RequestCounts()) == b"[2]"
    assert connections == 2
