"""Upstash behind proxies and in odd environments, and answers that are larger than any of its."""

import asyncio
import base64
import gzip
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from config import load_settings
from stores.hot.opening import open_hot_store
from stores.hot.store import HotStore, StoreUnavailable
from stores.hot.upstash_client import UpstashStore
from tests.fixtures.proxies import SocksProxy, relay, serving
from tests.fixtures.upstash import UpstashEndpoint

HOST = "redis.upstash.test"  # nobody but a proxy reaches it


@pytest.fixture
def port(upstash: UpstashEndpoint) -> int:
    found = urlsplit(upstash.url).port
    assert found is not None
    return found


async def answered(upstash: UpstashEndpoint, **settings: str) -> None:
    """Asserts that Upstash at HOST answers with these settings."""
    store = opened(f"http://{HOST}", upstash.token, **settings)
    try:
        assert await store.execute("GET", "nothing") is None
        assert await store.execute("SET", "some", "thing") == b"OK"
        assert await store.execute("GET", "some") == b"thing"
    finally:
        await store.aclose()


def opened(url: str, token: str, **settings: str) -> HotStore:
    upstash = {"upstash_redis_rest_url": url, "upstash_redis_rest_token": token}
    return open_hot_store(load_settings(**upstash, **settings), client_name="test")


@pytest.mark.parametrize(
    "form", ["127.0.0.1:{}", "http://127.0.0.1:{}", "http://me:s3cr%40t@127.0.0.1:{}"]
)
async def test_it_is_asked_through_the_usual_proxy(
    upstash: UpstashEndpoint, port: int, form: str
) -> None:
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        head = heads[-1].replace(b"http://%b" % HOST.encode(), b"/", 1)
        await relay(reader, writer, port, head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))

    async with serving(talk) as proxy:
        await answered(upstash, http_proxy=form.format(proxy), no_proxy=".elsewhere.test")
    asked = {head.split(b"\r\n")[0] for head in heads}
    assert asked == {b"POST http://%b HTTP/1.1" % HOST.encode()}
    secret = base64.b64encode(b"me:s3cr@t")
    assert (b"Proxy-Authorization: Basic " + secret in heads[0]) is ("@" in form)


@pytest.mark.parametrize("scheme", ["socks5h", "socks5"])
async def test_it_is_asked_through_a_socks_proxy(
    upstash: UpstashEndpoint, port: int, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp_socks")

    async def looked_up(*_: object, **__: object) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 80))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", looked_up)
    proxy = SocksProxy({HOST: port, "192.0.2.7": port}, credentials=("me", "s3cret"))
    async with serving(proxy.talk) as at:
        await answered(upstash, http_proxy=f"{scheme}://me:s3cret@127.0.0.1:{at}")
    assert set(proxy.asked) == {HOST if scheme == "socks5h" else "192.0.2.7"}


async def test_a_proxy_that_refuses_is_told_without_its_password() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"error": "no s3cr@t ' + base64.b64encode(b"me:s3cr@t") + b'"}'
        head = b"HTTP/1.1 407 No\r\nContent-Length: %d\r\n" % len(body)
        writer.write(head + b"Content-Type: application/json\r\n\r\n" + body)
        await writer.drain()

    async with serving(talk) as proxy:
        url = f"http://me:s3cr%40t@127.0.0.1:{proxy}"
        store = opened(f"http://{HOST}", "token", http_proxy=url)
        with pytest.raises(StoreUnavailable, match=r"upstash: no \*\*\* \*\*\*$"):
            await store.execute("GET", "key")
        await store.aclose()


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"])
async def test_proxies_of_the_environment_are_those_of_the_settings(
    upstash: UpstashEndpoint, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Libraries read them by themselves and fail for those they do not know."""
    monkeypatch.setenv(name, "socks5h://127.0.0.1:9")
    store = opened(upstash.url, upstash.token)  # this machine's own addresses are spared
    assert await store.execute("GET", "nothing") is None
    await store.aclose()


async def test_a_netrc_is_not_read(
    upstash: UpstashEndpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login anonymous password me@example.org\n")
    monkeypatch.setenv("NETRC", str(netrc))
    store = opened(upstash.url, upstash.token)
    assert await store.execute("GET", "nothing") is None
    await store.aclose()


@pytest.fixture
async def too_large() -> AsyncIterator[UpstashStore]:
    """A store whose answers are 100 MB of text, in 100 KB."""
    packed = gzip.compress(b'{"result":"' + b"a" * 100_000_000 + b'"}')

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(packed) + packed)
        await writer.drain()

    async with serving(talk) as port:
        store = UpstashStore(f"http://127.0.0.1:{port}", "token")
        yield store
        await store.aclose()


async def test_an_answer_larger_than_any_is_not_read_to_its_end(too_large: UpstashStore) -> None:
    with pytest.raises(StoreUnavailable, match="the answer has more than 16777216 bytes"):
        await too_large.execute("GET", "key", deadline_s=30)
