"""Both clients by exact inputs: what they send, how they read errors, and what they close."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
from aiohttp import web
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)
from upstash_redis.errors import UpstashError

from stores.hot import redis_client
from stores.hot.redis_client import Messages, NativeStore
from stores.hot.store import StoreRefused, StoreUnavailable
from stores.hot.upstash_client import UpstashStore
from tests.fixtures import proxies


class Seen:
    """A server over HTTP that gives one answer, and keeps the requests."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, b'{"result": 1}', dict[str, str]()
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, dict(request.headers), await request.read()))
        headers = {"Content-Type": "application/json", "Set-Cookie": "a=b"} | self.headers
        return web.Response(status=self.status, body=self.body, headers=headers)


@asynccontextmanager
async def serving(seen: Seen) -> AsyncIterator[str]:
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", seen.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def seen() -> Seen:
    return Seen()


@pytest.fixture
async def upstash_store(seen: Seen) -> AsyncIterator[UpstashStore]:
    async with serving(seen) as url:
        store = UpstashStore(url, "geheim", prefix="p:")
        yield store
        await store.aclose()


async def test_a_command_over_rest_is_a_list_of_texts(
    seen: Seen, upstash_store: UpstashStore
) -> None:
    await upstash_store.execute("SREM", "set", b"\xc3\xa4", 7)
    ((path, headers, body),) = seen.requests
    assert (path, body) == ("/", '["srem","p:set","ä","7"]'.encode())
    assert headers["Authorization"] == "Bearer geheim"
    assert headers["Content-Type"] == "application/json"
    assert not [name for name in headers if name.lower().startswith("upstash-tele")]
    assert not {"Cookie", "Upstash-Encoding"} & set(headers)
    await upstash_store.execute("SREM", "set", "a")
    assert "Cookie" not in seen.requests[1][1]  # none is kept
    assert upstash_store.channel("news") == "p:news"
    assert (upstash_store.kind, upstash_store.prefix) == ("upstash", "p:")


async def test_replies_over_rest(seen: Seen, upstash_store: UpstashStore) -> None:
    upstash_store.prefix = ""
    for body, reply in (
        (b'{"result": null}', None),
        (b'{"result": 7}', 7),
        ('{"result": "ä"}'.encode(), "ä".encode()),
        (b'{"result": ["a", null, 3, ["b"]]}', [b"a", None, 3, [b"b"]]),
    ):
        seen.body = body
        assert await upstash_store.execute("ANY") == reply


@pytest.mark.parametrize(
    ("status", "body", "kind", "told", "code"),
    [
        (200, b"<html>", "text/html; charset=x", "HTTP 200, text/html", None),
        (502, b"<html>", "text/html", "HTTP 502, text/html", None),
        (301, b"", "text/html", "HTTP 301, text/html", None),
        (429, b'{"error": "slow"}', "application/json", "HTTP 429: slow", "BUSY"),
        (500, b'{"error": "no"}', "application/json", "HTTP 500: no", "BUSY"),
        (503, b'{"result": 1}', "application/json", "HTTP 503: None", "BUSY"),
        (499, b'{"error": "ERR no"}', "application/json", "ERR no", "ERR"),
        (430, b'{"error": "OOM no"}', "application/json", "OOM no", "OOM"),
        (400, b'{"error": "WRONGTYPE geheim"}', "application/json", "WRONGTYPE ***", "WRONGTYPE"),
        (400, b'{"error": "ERR ' + b"x" * 900 + b'"}', "application/json", "ERR xxx", "ERR"),
        (429, b"[1]", "text/x", "GET: the answer is not what Upstash sends: HTTP 429, tex", None),
        (200, b"{}", "text/x", "GET: the answer is not what Upstash sends", None),
        (200, b"null", "text/x", "GET: the answer is not what Upstash sends: HTTP 200", None),
        (200, b"7", "text/x", "GET: the answer is not what Upstash sends: HTTP 200", None),
    ],
)
async def test_errors_over_rest(
    seen: Seen,
    upstash_store: UpstashStore,
    status: int,
    body: bytes,
    kind: str,
    told: str,
    code: str | None,
) -> None:
    seen.status, seen.body, seen.headers = status, body, {"Content-Type": kind}
    if status == 301:
        seen.headers["Location"] = "/elsewhere"
    with pytest.raises(StoreUnavailable) as caught:
        await upstash_store.execute("GET", "key")
    text = str(caught.value)
    assert text.startswith("upstash: ") and told in text and len(text) < 250
    assert "geheim" not in text and len(seen.requests) == 1
    assert getattr(caught.value, "code", None) == code
    assert isinstance(caught.value, StoreRefused) is (code is not None)


async def test_a_closed_rest_client_sends_nothing(seen: Seen) -> None:
    async with serving(seen) as url:
        store = UpstashStore(url, "geheim")
        await store.aclose()  # before it was ever used
        with pytest.raises(StoreUnavailable, match="the client is closed"):
            await store.execute("GET", "key")
        store = UpstashStore(url, "geheim")
        await store.execute("SREM", "key", "a")
        session = cast(Any, store._client._client)._session
        assert session.connector.limit == 16 and session.connector._keepalive_timeout == 75.0
        assert session.timeout.total is None and session.trust_env is False
        await store.aclose()
        assert session.closed
        with pytest.raises(StoreUnavailable, match="the client is closed"):
            await store.execute("GET", "key")
    assert len(seen.requests) == 1


@pytest.mark.parametrize("token", ["a\nb", "ä", "a\x7f"])
def test_a_token_that_no_header_may_have_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="UPSTASH_REDIS_REST_TOKEN must be printable ASCII"):
        UpstashStore("http://127.0.0.1:1", token)


def test_what_the_rest_client_is_told_of_errors() -> None:
    store = UpstashStore("http://127.0.0.1:1", "geheim")
    assert store._reason(UpstashError("ERR geheim")) == "ERR ***"
    for error in (ValueError("geheim"), KeyError("x"), TypeError("x"), AttributeError("x")):
        assert store._reason(error) == "the answer is not what Upstash sends"
    assert store._reason(OSError("geheim " + "x" * 500)).startswith("OSError *** xxx")
    assert store._reason(TimeoutError()) == "TimeoutError"
    assert len(store._reason(OSError("x" * 500))) == 203


def clean(text: str) -> str:
    return text.replace("geheim", "***")


@pytest.mark.parametrize(
    ("error", "told", "code"),
    [
        (ResponseError("ERR unknown geheim"), "ERR unknown ***", "ERR"),
        (ResponseError("WRONGTYPE Operation"), "WRONGTYPE Operation", "WRONGTYPE"),
        (OutOfMemoryError("OOM full"), "OOM full", "OOM"),
        (
            ResponseError("OOM full script: a0b1, on @user_script:7."),
            *("OOM full", "OOM"),
        ),
        (ResponseError("ERR x script: on @user_script:12"), "ERR x", "ERR"),
        (AuthenticationError("WRONGPASS invalid"), "WRONGPASS invalid", "WRONGPASS"),
        (ResponseError("ERR " + "x" * 500), "ERR xxx", "ERR"),
        (RedisError("gone geheim"), "gone ***", None),
        (OSError(), "no answer in time", None),
        (TimeoutError("x" * 500), "x" * 200 + "...", None),
    ],
)
def test_errors_of_redis(error: Exception, told: str, code: str | None) -> None:
    unavailable = redis_client._unavailable(error, clean)
    assert str(unavailable).startswith(f"redis: {told}") and len(str(unavailable)) < 250
    if not told.endswith("xxx"):
        assert str(unavailable) == f"redis: {told}"
    assert getattr(unavailable, "code", None) == code
    assert type(unavailable) is (StoreUnavailable if code is None else StoreRefused)


def test_a_code_that_the_driver_took_off_is_put_back() -> None:
    error = NoPermissionError("this user has no permissions")
    error.status_code = "NOPERM"
    unavailable = redis_client._unavailable(error, clean)
    assert isinstance(unavailable, StoreRefused) and unavailable.code == "NOPERM"
    assert str(unavailable) == "redis: NOPERM this user has no permissions"


def test_what_a_server_refuses_while_connecting_is_the_cause() -> None:
    error = ConnectionError("Invalid response")
    error.__cause__ = ResponseError("NOAUTH needed")
    unavailable = redis_client._unavailable(error, clean)
    assert isinstance(unavailable, StoreRefused) and unavailable.code == "NOAUTH"
    error.__cause__ = OSError("refused")
    assert type(redis_client._unavailable(error, clean)) is StoreUnavailable


@pytest.mark.parametrize(
    ("error", "about"),
    [
        (ResponseError("NOPERM this user may not run the 'client|setname' command"), True),
        (ResponseError("ERR unknown command `CLIENT`, with args"), True),
        (ResponseError("ERR unknown command 'client'"), True),
        (ResponseError("ERR the clients are many"), False),
        (OSError("'client'"), False),
    ],
)
def test_errors_about_names(error: Exception, about: bool) -> None:
    assert redis_client._is_about_names(error) is about


def test_the_driver_s_own_waits_and_repeats_are_off() -> None:
    url = "redis://:geheim@127.0.0.1:7/3?socket_timeout=5&socket_connect_timeout=6"
    url += "&health_check_interval=7&protocol=3&decode_responses=1&retry_on_timeout=1"
    store = NativeStore(url, client_name="test", prefix="p:")
    options = dict(store._options)
    assert options.pop("retry")._retries == 0
    assert options == {
        **{"host": "127.0.0.1", "port": 7, "db": 3, "password": "geheim", "client_name": "test"},
        **{"protocol": 2, "decode_responses": False, "retry_on_timeout": False},
        **{"socket_timeout": None, "socket_connect_timeout": None, "health_check_interval": 0},
    }
    assert (store.kind, store.prefix, store.channel("news")) == ("native", "p:", "p:news")
    assert store._clean("with geheim") == "with ***"


async def test_a_connection_that_is_refused_is_tried_once(tmp_path: Any) -> None:
    connected: list[int] = []

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(1)
        writer.close()

    server = await asyncio.start_unix_server(close, tmp_path / "s")
    store = NativeStore(f"unix://{tmp_path}/s", client_name="test")
    with pytest.raises(StoreUnavailable):
        await store.execute("GET", "a")
    assert len(connected) == 1 and store._named and store._idle == []
    server.close()


@pytest.mark.parametrize("reply", [b"%1\r\n*1\r\n:1\r\n:1\r\n", b"-MOVED 1 geheim\r\n"])
async def test_an_answer_that_no_redis_sends_is_an_unavailable_store(reply: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while words := await reader.read(65536):
            connecting = words.count(b"CLIENT")
            writer.write(b"+OK\r\n" * connecting or reply)

    async with proxies.serving(talk) as port:
        store = NativeStore(f"redis://127.0.0.1:{port}", client_name="test")
        for _ in range(2):
            with pytest.raises(StoreUnavailable) as caught:
                await store.execute("GET", "a")
            assert str(caught.value) == "redis: the answer is not what Redis sends"
            with pytest.raises(StoreUnavailable) as caught:
                async with store.listen("news"):
                    pass
            assert str(caught.value) == "redis: the answer is not what Redis sends"
        await store.aclose()


class Connection:
    """A connection that gives prepared replies and keeps what was done with it."""

    def __init__(self, *replies: Any, writer: Any = None) -> None:
        self.replies = list(replies)
        self.done: list[Any] = []
        self._writer = writer

    async def send_command(self, *words: Any) -> None:
        self.done.append(words)

    async def read_response(self, **options: Any) -> Any:
        self.done.append(options)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def disconnect(self, nowait: bool = False) -> None:
        self.done.append(("disconnect", nowait))
        if self.replies:
            raise self.replies.pop(0)


def messages_of(connection: Connection) -> Messages:
    return Messages(cast(AbstractConnection, connection), clean)


def waited(seconds: float) -> dict[str, Any]:
    return {"timeout": seconds, "disconnect_on_error": False}


async def test_a_listener_asks_a_silent_server() -> None:
    connection = Connection(
        *([b"subscribe", b"c", 1], [b"message", b"c", b"one"]),
        *(None, [b"pong", b""], None, ResponseError("MISCONF"), [b"message", b"c", b"two"]),
        *(None, None),
    )
    messages = messages_of(connection)
    assert messages.__aiter__() is messages
    assert await anext(messages) == b"one"
    assert connection.done == [waited(10.0), waited(10.0)]
    connection.done.clear()
    assert await anext(messages) == b"two"
    ping = ("PING",)
    asked = [waited(10.0), ping, waited(2.0)]
    assert connection.done == [*asked, *asked, waited(10.0)]
    connection.done.clear()
    with pytest.raises(StoreUnavailable, match="no answer to PING within 2 s while listening"):
        await anext(messages)
    assert connection.done == asked


async def test_each_channel_is_confirmed() -> None:
    connection = Connection([b"subscribe", b"a", 1], [b"subscribe", b"b", 2])
    await messages_of(connection).subscribe(["a", "b"])
    assert connection.done == [("SUBSCRIBE", "a", "b"), {}, {}]
    with pytest.raises(StoreRefused, match="redis: NOPERM no channel"):
        await messages_of(Connection(ResponseError("NOPERM no channel"))).subscribe(["a"])


class Writer:
    def __init__(self) -> None:
        self.transport, self.aborted = self, 0

    def abort(self) -> None:
        self.aborted += 1


async def test_connections_are_closed_at_once() -> None:
    store, writer = NativeStore("redis://127.0.0.1:1", client_name="test"), Writer()
    open_one, closed = Connection(writer=writer), Connection(OSError("gone"))
    await store._discard(*cast(Any, (open_one, closed)))
    assert writer.aborted == 1
    assert open_one.done == closed.done == [("disconnect", True)]
    with suppress(StoreUnavailable):
        await store.execute("PING")
