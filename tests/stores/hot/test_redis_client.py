"""The store's clients against real servers: replies, deadlines, cancellation, faults."""

import asyncio
import contextlib
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from upstash_redis.asyncio import Redis as UpstashRedis

from config import load_settings
from stores.hot.opening import open_hot_store
from stores.hot.redis_client import NativeStore
from stores.hot.replies import anything, text
from stores.hot.store import HotStore, StoreRefused, StoreUnavailable
from stores.hot.subscription import Subscription
from stores.hot.upstash_client import UpstashStore
from tests.fixtures.lateness import elapsed
from tests.fixtures.signals import until
from tests.fixtures.upstash import OwnValkey, UpstashEndpoint

ECHO = "return {KEYS[1], ARGV[1], 7, false, {'inner', 'täxt'}}"


async def test_replies_are_raw_and_alike(store: HotStore) -> None:
    assert await store.execute("SET", "text", "täxt") == b"OK"
    assert await store.execute("SET", "text", "x", "NX") is None
    assert await store.execute("GET", "text") == "täxt".encode()
    assert await store.execute("GET", "absent") is None
    assert await store.execute("INCRBY", "count", 41) == 41
    assert await store.execute("EXPIRE", "count", 100) == 1
    assert await store.execute("MGET", "text", "absent", b"count") == [
        "täxt".encode(),
        None,
        b"41",
    ]
    assert await store.execute("HSET", "hash", "a", 1, "b", "") == 2
    assert await store.execute("HGETALL", "hash") == [b"a", b"1", b"b", b""]
    assert await store.execute("HGETALL", "absent") == []


async def test_a_script_is_sent_once_and_again_when_the_server_forgot_it(store: HotStore) -> None:
    script = store.script("echo", ECHO)
    expected = [b"key", b"argument", 7, None, [b"inner", "täxt".encode()]]
    assert await script.run(["key"], ["argument"], reply=anything) == expected
    assert await script.run(["key"], ["argument"], reply=anything) == expected
    await store.execute("SCRIPT", "FLUSH")
    assert await script.run(["key"], ["argument"], reply=anything) == expected


async def test_a_known_script_costs_one_command(upstash: UpstashEndpoint) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    script = store.script("echo", ECHO)
    for _ in range(3):
        await script.run(["key"], ["argument"], reply=anything)
    await store.aclose()
    assert upstash.commands() == {"EVALSHA": 3, "EVAL": 1}


async def test_an_error_reply_is_a_refusal_with_its_code(store: HotStore) -> None:
    await store.execute("SET", "text", "x")
    with pytest.raises(StoreRefused, match="WRONGTYPE") as caught:
        await store.execute("HGETALL", "text")
    assert caught.value.code == "WRONGTYPE"
    with pytest.raises(StoreRefused) as caught:
        await store.execute("NONSENSE" * 100)
    assert caught.value.code == "ERR"
    assert len(str(caught.value)) < 300
    assert await store.execute("GET", "text") == b"x"


async def test_a_closed_client_says_so(store: HotStore) -> None:
    await store.execute("PING")
    await store.aclose()
    with pytest.raises(StoreUnavailable):
        await store.execute("PING")


async def test_commands_at_the_same_time_get_their_own_replies(store: HotStore) -> None:
    # More than there are connections.
    asked = [store.execute("ECHO", n, deadline_s=30) for n in range(60)]
    assert await asyncio.gather(*asked) == [str(n).encode() for n in range(60)]


async def test_a_cancelled_command_leaves_no_reply_for_another(store: HotStore) -> None:
    script = store.script("count", "local n = 0 for i = 1, 300000 do n = n + i end return ARGV[1]")
    await script.run([], ["warm"], reply=text)
    for attempt in range(20):
        cancelled = [
            asyncio.create_task(script.run([], [f"old {n}"], reply=text)) for n in range(8)
        ]
        await asyncio.sleep(0.001 * (attempt % 5))  # at another moment of the command each time
        for task in cancelled:
            task.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
        replies = await asyncio.gather(*(store.execute("ECHO", n) for n in range(8)))
        assert replies == [str(n).encode() for n in range(8)]


async def test_connections_are_bounded_and_named(redis_url: str) -> None:
    store = NativeStore(redis_url, client_name="perpcache-test", max_connections=4)
    await asyncio.gather(*(store.execute("PING") for _ in range(100)))
    clients = (await store.execute("CLIENT", "LIST")).decode().splitlines()
    assert sum("name=perpcache-test" in client for client in clients) == 4
    await store.aclose()


async def test_a_stalled_server_costs_the_deadline_and_recovers(
    own_valkey: Callable[..., OwnValkey],
) -> None:
    server = own_valkey()
    store = NativeStore(server.url, client_name="test")
    await asyncio.gather(*(store.execute("PING") for _ in range(5)))
    server.pause()
    # More callers than connections, and one with more than a socket's buffer takes.
    asked = [store.execute("PING", deadline_s=0.3) for _ in range(40)]
    asked.append(store.execute("SET", "big", b"x" * 8_000_000, deadline_s=0.3))
    async with elapsed() as took:
        replies = await asyncio.gather(*asked, return_exceptions=True)
    assert took.own_s < 1
    assert all(isinstance(reply, StoreUnavailable) for reply in replies)
    assert "no answer within 0.3 s" in str(replies[0])
    server.resume()
    assert await store.execute("PING") == b"PONG"
    await store.aclose()


async def test_a_restarted_server_costs_no_command(own_valkey: Callable[..., OwnValkey]) -> None:
    server = own_valkey()
    store = NativeStore(server.url, client_name="test")
    await asyncio.gather(*(store.execute("PING") for _ in range(5)))
    await store.execute("SET", "kept", "1")
    server.kill()
    with pytest.raises(StoreUnavailable):
        await store.execute("GET", "kept")
    server.start()
    replies = await asyncio.gather(*(store.execute("GET", "kept") for _ in range(10)))
    assert replies == [b"1"] * 10
    await store.aclose()


async def test_a_server_out_of_memory_refuses(own_valkey: Callable[..., OwnValkey]) -> None:
    server = own_valkey("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    store = NativeStore(server.url, client_name="test")
    with pytest.raises(StoreRefused) as caught:
        for n in range(10):
            await store.execute("SET", f"big {n}", b"x" * 1_000_000)
    assert caught.value.code == "OOM"
    await store.aclose()


async def test_the_addresses_that_can_be_used(own_valkey: Callable[..., OwnValkey]) -> None:
    port = _free_port()
    server = own_valkey("--requirepass", "pässword", port=port)
    by_tcp = NativeStore(f"redis://:p%C3%A4ssword@127.0.0.1:{port}/1", client_name="test")
    assert await by_tcp.execute("SET", "where", "database 1") == b"OK"
    await by_tcp.aclose()
    by_socket = NativeStore(f"{server.url}?db=1&password=p%C3%A4ssword", client_name="test")
    assert await by_socket.execute("GET", "where") == b"database 1"
    await by_socket.aclose()
    wrong = NativeStore(f"redis://:wrong-secret@127.0.0.1:{port}", client_name="test")
    with pytest.raises(StoreRefused, match="WRONGPASS") as caught:
        await wrong.execute("PING")
    assert "wrong-secret" not in str(caught.value)
    await wrong.aclose()
    with pytest.raises(ValueError, match="option"):
        NativeStore("redis://127.0.0.1?nonsense=1", client_name="test")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_tls_is_spoken_and_the_certificate_checked(redis_url: str, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_unix_connection(redis_url.removeprefix("unix://"))

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(1 << 16):
                    sink.write(data)
            sink.close()

        await asyncio.gather(copy(reader, inner[1]), copy(inner[0], writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    trusting = NativeStore(
        f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}", client_name="test"
    )
    assert await trusting.execute("PING") == b"PONG"
    await trusting.aclose()
    strict = NativeStore(f"rediss://127.0.0.1:{port}", client_name="test")
    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        await strict.execute("PING")
    await strict.aclose()
    server.close()
    await server.wait_closed()


async def test_nobody_there(tmp_path: Path) -> None:
    nowhere = NativeStore(f"unix://{tmp_path}/absent.sock", client_name="test")
    with pytest.raises(StoreUnavailable, match=r"redis: .*absent\.sock"):
        await nowhere.execute("PING")
    away = UpstashStore(f"http://127.0.0.1:{_free_port()}", "secret")
    with pytest.raises(StoreUnavailable, match="upstash: PING: ClientConnectorError"):
        await away.execute("PING")
    await away.aclose()


def test_settings_choose_the_client(redis_url: str, upstash: UpstashEndpoint) -> None:
    chosen = open_hot_store(load_settings(redis_url=redis_url), client_name="test")
    assert chosen.kind == "native"
    rest = {name.lower(): value for name, value in upstash.environment.items()}
    assert open_hot_store(load_settings(**rest), client_name="test").kind == "upstash"
    with pytest.raises(ValueError, match="no hot store is configured"):
        open_hot_store(load_settings(), client_name="test")


@pytest.mark.parametrize(
    ("fault", "error", "reason"),
    [
        ("503", StoreUnavailable, "not what Upstash sends: HTTP 503, text/html"),
        ("html", StoreUnavailable, "not what Upstash sends: HTTP 200, text/html"),
        ("truncated", StoreUnavailable, "not what Upstash sends"),
        ("list", StoreUnavailable, "not what Upstash sends"),
        ("empty", StoreUnavailable, "not what Upstash sends"),
        ("no result", StoreUnavailable, "not what Upstash sends"),
        ("reset", StoreUnavailable, "upstash: "),
        ("stall", StoreUnavailable, "no answer within 0.5 s"),
        ("500", StoreRefused, "HTTP 500: ERR internal error"),
        ("429", StoreRefused, "HTTP 429: ERR max concurrent connections exceeded"),
        ("quota", StoreRefused, "ERR max daily request limit exceeded"),
    ],
)
async def test_whatever_upstash_answers_is_one_error(
    upstash: UpstashEndpoint, fault: str, error: type[Exception], reason: str
) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    upstash.fail(fault)
    with pytest.raises(StoreUnavailable, match=reason) as caught:
        await store.execute("INCR", "count", deadline_s=0.5)
    assert type(caught.value) is error
    if isinstance(caught.value, StoreRefused):
        # A quota stays used up; the others are about now, and waited out.
        assert caught.value.transient == (fault != "quota")
    upstash.fail("")
    assert await store.execute("INCR", "count") == 1  # it was never sent twice
    await store.aclose()


async def test_a_stalled_upstash_costs_the_deadline_and_recovers(upstash: UpstashEndpoint) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    upstash.fail("stall")
    for _ in range(3):
        # More callers than connections: those that wait for one give up in time too.
        asked = [store.execute("PING", deadline_s=0.3) for _ in range(40)]
        async with elapsed() as took:
            replies = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(reply, StoreUnavailable) for reply in replies)
        assert took.own_s < 1.5
    upstash.fail("")
    assert await store.execute("PING") == b"PONG"
    await store.aclose()


async def test_a_lost_reply_is_not_asked_again(upstash: UpstashEndpoint) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    upstash.fail("lost reply", times=1)
    with pytest.raises(StoreUnavailable):
        await store.execute("INCR", "count")
    assert await store.execute("GET", "count") == b"1"
    await store.aclose()


async def test_upstash_refuses_too_large_requests_and_answers(upstash: UpstashEndpoint) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    with pytest.raises(StoreRefused, match="ERR max request size exceeded"):
        await store.execute("SET", "big", b"x" * (10 << 20), deadline_s=30)
    for part in range(3):
        await store.execute("SETRANGE", "big", part << 22, b"x" * (1 << 22), deadline_s=30)
    with pytest.raises(StoreRefused, match="ERR max request size exceeded"):
        await store.execute("GET", "big", deadline_s=30)
    await store.aclose()


async def test_no_error_tells_the_token(upstash: UpstashEndpoint) -> None:
    wrong = UpstashStore(upstash.url, "wrong-secret")
    with pytest.raises(StoreRefused, match="Unauthorized") as caught:
        await wrong.execute("PING")
    assert "wrong-secret" not in str(caught.value)
    await wrong.aclose()
    with pytest.raises(ValueError, match="UPSTASH_REDIS_REST_TOKEN") as unsent:
        UpstashStore(upstash.url, "wrong\nsecret")
    assert "secret" not in str(unsent.value)


async def test_one_https_connection_is_used_again(upstash: UpstashEndpoint) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    for _ in range(20):
        await store.execute("PING")
    await store.aclose()
    assert upstash.connections() == 1


async def test_the_endpoint_serves_upstashs_own_client(upstash: UpstashEndpoint) -> None:
    """As it is by default, with base64, pipelines and transactions: the endpoint is no fiction."""
    client = UpstashRedis(upstash.url, upstash.token, allow_telemetry=False)
    assert await client.set("key", "välue")
    assert await client.get("key") == "välue"
    pipeline = client.pipeline()
    pipeline.get("key")
    pipeline.incr("count")
    pipeline.hgetall("absent")
    assert await pipeline.exec() == ["välue", 1, {}]
    transaction = client.multi()
    transaction.incr("count")
    transaction.mget("key", "absent")
    assert await transaction.exec() == [2, ["välue", None]]
    assert await client.eval("return {ARGV[1], 1}", [], ["x"]) == ["x", 1]
    await client.close()


async def test_a_subscription_hears_reconnects_and_says_so(
    own_valkey: Callable[..., OwnValkey],
) -> None:
    server = own_valkey()
    store = NativeStore(server.url, client_name="test")
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    subscription = Subscription(
        store, "news", heard.put_nowait, on_connected=lambda: heard.put_nowait(b"(connected)")
    )
    subscription.start()
    assert await heard.get() == b"(connected)"
    await store.execute("PUBLISH", "news", "one")
    assert await heard.get() == b"one"
    assert subscription.live
    clients = (await store.execute("CLIENT", "LIST", "TYPE", "pubsub")).decode()
    assert "name=test:listen" in clients
    server.kill()
    server.start()
    assert await heard.get() == b"(connected)"
    await store.execute("PUBLISH", "news", "two")
    assert await heard.get() == b"two"
    await subscription.aclose()
    await store.aclose()


async def test_a_listener_notices_a_silent_server(
    own_valkey: Callable[..., OwnValkey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stores.hot.redis_client._PING_AFTER_S", 0.1)
    monkeypatch.setattr("stores.hot.redis_client.DEADLINE_S", 0.3)
    server = own_valkey()
    store = NativeStore(server.url, client_name="test")
    async with store.listen("news") as messages:
        first = asyncio.create_task(anext(messages))

        async def was_asked_twice() -> bool:
            told = (await store.execute("INFO", "commandstats")).decode()
            asked = re.search(r"cmdstat_ping:calls=(\d+)", told)
            return asked is not None and int(asked[1]) >= 2

        await until(was_asked_twice)
        assert not first.done()  # silence alone is no loss: the server answers when asked
        await store.execute("PUBLISH", "news", "one")
        assert await first == b"one"
        server.pause()
        with pytest.raises(StoreUnavailable):
            await anext(messages)
    server.resume()
    await store.aclose()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_user_who_may_not_subscribe_is_not_tried_again_every_second(
    own_valkey: Callable[..., OwnValkey], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = own_valkey()
    with redis.Redis.from_url(server.url) as owner:
        owner.execute_command("ACL", "SETUSER", "perp", "on", ">pw", "~*", "+@all", "-subscribe")
    store = NativeStore(server.url.replace("unix://", "unix://perp:pw@"), client_name="test")
    pauses: list[float] = []
    enough = asyncio.Event()

    async def noted(pause_s: float) -> None:
        pauses.append(pause_s)
        enough.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("stores.hot.subscription.asyncio.sleep", noted)
    subscription = Subscription(store, "published", on_message=lambda _: None)
    subscription.start()
    await enough.wait()
    assert pauses == [60.0] and not subscription.live
    await subscription.aclose()
    await store.aclose()
