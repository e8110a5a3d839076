"""The exchanges behind proxies of this machine: what passes through them, and what goes wrong."""

import asyncio
import base64
import contextlib
import shutil
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import structlog

from budgets.exchange_client import ExchangeClient
from budgets.proxies import egress_id_of
from budgets.shared_budgets import SharedBudgets
from config import load_settings
from data_collector.url_builder import listing_request
from market.markets import Exchange
from stores.hot.store import HotStore
from tests.fixtures.asking import server_time_ms
from tests.fixtures.proxies import HttpProxy, SocksProxy, certificate, relay, serving
from tests.fixtures.signals import until_true
from tests.fixtures.simulator import NOW_MS, Simulator
from timing.clock import SystemClock
from venues import VENUES
from venues.errors import ExchangeError, SourceDown
from venues.venue import Endpoint

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
HOSTS = {BINANCE: "fapi.exchange.test", BYBIT: "api.exchange.test"}
SECRET = "s3cret/@ü"


def port_of(simulator: Simulator) -> int:
    port = urlsplit(simulator.base_url).port
    assert port is not None
    return port


def names(simulator: Simulator) -> dict[str, int]:
    return dict.fromkeys(HOSTS.values(), port_of(simulator))


def behind(scheme: str = "http", **settings: object) -> ExchangeClient:
    """A client of exchanges that nobody but a proxy can reach."""
    urls = {f"{exchange}_base_url": f"{scheme}://{host}" for exchange, host in HOSTS.items()}
    return ExchangeClient(load_settings(**urls, **settings), request_s=2)


def basic(user: str, password: str) -> bytes:
    text = base64.b64encode(f"{user}:{password}".encode())
    return b"Proxy-Authorization: Basic " + text + b"\r\n"


async def test_both_exchanges_are_asked_through_the_usual_proxy(simulator: Simulator) -> None:
    proxy = HttpProxy(names(simulator))
    async with serving(proxy.talk) as port:
        usual = f"http://ops:s3cret%2F%40%C3%BC@127.0.0.1:{port}/"
        async with behind(http_proxy=usual) as client:
            for _ in range(2):  # a connection that is used again, too
                for exchange in HOSTS:
                    assert await server_time_ms(client, exchange) == NOW_MS
    targets = [head.split(b" ")[1] for head in proxy.heads]
    assert targets[0] == b"http://fapi.exchange.test/fapi/v1/time"
    assert targets[1] == b"http://api.exchange.test/v5/market/time"
    assert len(targets) == 4
    assert all(basic("ops", SECRET) in head for head in proxy.heads)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_a_tunnel_keeps_the_proxys_secret_from_the_exchange(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, trusting = certificate(tmp_path, *HOSTS.values())
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)
    seen: list[bytes] = []

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        await relay(reader, writer, port_of(simulator), seen[-1])

    async with serving(end, server) as tls_port:
        proxy = HttpProxy(dict.fromkeys(HOSTS.values(), tls_port))
        async with serving(proxy.talk) as port:
            usual = f"ops:s3cret%2F%40%C3%BC@127.0.0.1:{port}"  # often without a scheme
            async with behind(
                "https", https_proxy=usual, http_proxy="http://127.0.0.1:1"
            ) as client:
                for exchange in HOSTS:
                    assert await server_time_ms(client, exchange) == NOW_MS
    assert [head.split(b"\r\n")[0] for head in proxy.heads] == [
        f"CONNECT {host}:443 HTTP/1.1".encode() for host in HOSTS.values()
    ]
    assert all(basic("ops", SECRET) in head for head in proxy.heads)
    assert len(seen) == 2
    assert not any(b"proxy-auth" in head.lower() for head in seen)


async def test_the_exchanges_own_proxy_wins_and_no_proxy_spares(simulator: Simulator) -> None:
    own, usual = HttpProxy(names(simulator)), HttpProxy(names(simulator))
    async with serving(own.talk) as own_port, serving(usual.talk) as usual_port:
        settings: dict[str, Any] = {
            "bybit_proxy": f"http://127.0.0.1:{own_port}",
            "http_proxy": f"http://127.0.0.1:{usual_port}",
            "no_proxy": "api.exchange.test",
        }
        async with behind(**settings) as client:
            for exchange in HOSTS:
                await server_time_ms(client, exchange)
        assert [len(own.heads), len(usual.heads)] == [1, 1]
        assert b"api.exchange.test" in own.heads[0]
        settings = {**settings, "bybit_proxy": None, "no_proxy": ".exchange.test"}
        async with behind(**settings) as client:
            with pytest.raises(SourceDown, match="cannot connect: "):
                await _once(client, BYBIT)
        # This machine's own addresses are spared without a word.
        local = load_settings(
            binance_base_url=simulator.base_url, http_proxy=f"http://127.0.0.1:{usual_port}"
        )
        async with ExchangeClient(local) as client:
            assert await server_time_ms(client, BINANCE) == NOW_MS
    assert [len(own.heads), len(usual.heads)] == [1, 1]


async def _once(client: ExchangeClient, exchange: Exchange) -> None:
    """One request without retries."""
    await client.send(listing_request(exchange, Endpoint.TIME), client.counts)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_socks(simulator: Simulator, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    pytest.importorskip("aiohttp_socks")
    local = {"127.0.0.1": port_of(simulator)}
    proxy = SocksProxy(names(simulator) | local, credentials=("ops:x", "s3cret/@"))
    async with serving(proxy.talk) as port:
        address = f"{scheme}://ops%3Ax:s3cret%2F%40@127.0.0.1:{port}"
        hosts = {BINANCE: HOSTS[BINANCE] if scheme == "socks5h" else "localhost"}
        settings = load_settings(
            binance_base_url=f"http://{hosts[BINANCE]}",
            bybit_base_url=simulator.base_url,
            binance_proxy=address,
        )
        async with ExchangeClient(settings) as client:
            for exchange in HOSTS:  # the other one is asked without it
                assert await server_time_ms(client, exchange) == NOW_MS
    # The proxy gets the name where it shall look it up, else an address.
    assert proxy.asked == [HOSTS[BINANCE] if scheme == "socks5h" else "127.0.0.1"]


# --- what goes wrong -----------------------------------------------------------------------------


def told(text: bytes) -> bytes:
    return b"HTTP/1.1 " + text + b"\r\nContent-Length: 0\r\nX-Inside: proxy.corp.internal\r\n\r\n"


@pytest.mark.parametrize(
    ("scheme", "answer", "cause"),
    [
        ("https", told(b"407 Ask proxy.corp.internal"), "the proxy answers HTTP 407"),
        ("http", told(b"407 Ask proxy.corp.internal"), "the proxy answers HTTP 407"),
        ("https", told(b"502 Bad Gateway"), "the proxy answers HTTP 502"),
        ("https", told(b"302 Found\r\nLocation: http://evil/"), "the proxy answers HTTP 302"),
        ("https", b"", "no answer through the proxy within 2 s"),
        ("http", b"", "no answer through the proxy within 2 s"),
    ],
)
async def test_faults_of_a_proxy_are_its_own(scheme: str, answer: bytes, cause: str) -> None:
    proxy = HttpProxy({}, answer=answer)
    async with serving(proxy.talk) as port:
        address = f"http://ops:topsecret@127.0.0.1:{port}"
        async with behind(scheme, binance_proxy=address) as client:
            with structlog.testing.capture_logs() as logged, pytest.raises(SourceDown) as error:
                await _once(client, BINANCE)
    assert error.value.cause == cause
    assert "topsecret" not in f"{logged}{error.value!r}"
    assert "127.0.0.1" not in str(error.value)
    for line in logged:
        assert line["proxy"] == f"127.0.0.1:{port}"
    assert len(logged) == (scheme == "https" and bool(answer))


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_only_promises_an_answer(scheme: str) -> None:
    """Nothing else would run in this process meanwhile, not even the deadline."""
    promises = HttpProxy({}, answer=b"HTTP/1.1 100 Continue\r\n\r\n" * 5000)
    async with serving(promises.talk) as port:
        client = behind(scheme, binance_proxy=f"http://127.0.0.1:{port}")
        with pytest.raises(SourceDown, match="more than 10 informational answers"):
            async with client:
                await _once(client, BINANCE)


REPEATS = {
    "an error page": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 1000\r\n\r\n<pre>",
    "a page of success": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<pre>",
    "no HTTP": b"",
}


@pytest.mark.parametrize("form", REPEATS)
@pytest.mark.parametrize("variable", ["binance_proxy", "http_proxy"])
async def test_a_proxy_that_repeats_its_password(variable: str, form: str) -> None:
    """A page about what is wrong with a request may hold the whole request."""
    password = "a-long-password-" * 9  # it reaches over the end of what is told

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (line,) = [line for line in head.split(b"\r\n") if line.startswith(b"Proxy-Auth")]
        writer.write(REPEATS[form] + line.ljust(1000))
        await writer.drain()

    async with serving(repeat) as port:
        settings = {variable: f"http://ops:{password}@127.0.0.1:{port}"}
        async with behind(**settings) as client:
            with structlog.testing.capture_logs() as logged, pytest.raises(ExchangeError) as error:
                await server_time_ms(client, BINANCE)
    (secret,) = basic("ops", password).split()[2:]
    for half in (secret[:20], secret[20:40]):
        assert half.decode() not in f"{logged}{error.value!r}{error.value}"


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
async def test_a_proxy_that_is_not_there(scheme: str) -> None:
    if scheme == "socks5h":
        pytest.importorskip("aiohttp_socks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        async with behind(binance_proxy=f"{scheme}://ops:topsecret@127.0.0.1:{port}") as client:
            with structlog.testing.capture_logs() as logged, pytest.raises(SourceDown) as error:
                await _once(client, BINANCE)
    assert error.value.cause == "cannot connect to the proxy"
    (line,) = logged
    assert line["proxy"] == f"127.0.0.1:{port}"  # the operator learns which
    assert "topsecret" not in str(line)


@pytest.mark.parametrize("wrong", ["credentials", "refuses"])
async def test_a_socks_proxy_that_refuses(wrong: str) -> None:
    pytest.importorskip("aiohttp_socks")
    proxy = SocksProxy({}, refuses=wrong == "refuses")
    if wrong == "credentials":
        proxy.credentials = ("somebody", "else")
    async with (
        serving(proxy.talk) as port,
        behind(binance_proxy=f"socks5h://ops:topsecret@127.0.0.1:{port}") as client,
    ):
        with structlog.testing.capture_logs() as logged, pytest.raises(SourceDown) as error:
            await _once(client, BINANCE)
    assert error.value.cause == "the proxy opens no connection"
    assert len(logged) == 1
    assert "topsecret" not in str(logged)


async def test_redirects_are_not_followed(simulator: Simulator) -> None:
    proxy = HttpProxy({})
    proxy.answer = (
        f"HTTP/1.1 302 Found\r\nLocation: {simulator.base_url}/fapi/v1/time\r\n".encode()
        + b"Content-Length: 0\r\n\r\n"
    )
    async with serving(proxy.talk) as port:  # an exchange that sends us elsewhere
        settings = load_settings(binance_base_url=f"http://127.0.0.1:{port}")
        async with ExchangeClient(settings) as client:
            with pytest.raises(SourceDown) as error:
                await _once(client, BINANCE)
    assert error.value.status == 302
    assert len(proxy.heads) == 1
    assert simulator.stats()["total"] == 0


async def test_no_secret_of_netrc_is_sent(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login ops password topsecret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    proxy = HttpProxy(names(simulator))
    async with (
        serving(proxy.talk) as port,
        behind(http_proxy=f"http://127.0.0.1:{port}") as client,
    ):
        await server_time_ms(client, BINANCE)
    assert b"authorization" not in proxy.heads[0].lower()


# --- limits belong to addresses ------------------------------------------------------------------


def test_behind_a_proxy_we_have_another_address() -> None:
    plain = load_settings()
    assert {egress_id_of(plain, exchange) for exchange in VENUES} == {"default"}
    proxied = load_settings(bybit_proxy="http://ops:topsecret@Proxy.example:3128", egress_id="fra")
    assert egress_id_of(proxied, BINANCE) == "fra"
    name = egress_id_of(proxied, BYBIT)
    assert name.startswith("fra.") and "topsecret" not in name and "proxy" not in name.lower()
    # The same proxy is the same address whoever logs in; another one is another.
    for url, same in (
        ("https://other:word@proxy.example:3128", True),
        ("http://proxy.example:3129", False),
        ("http://proxy2.example:3128", False),
    ):
        other = load_settings(bybit_proxy=url, egress_id="fra")
        assert (egress_id_of(other, BYBIT) == name) is same, url
    usual = load_settings(https_proxy="proxy.example:3128", egress_id="fra")
    assert {egress_id_of(usual, exchange) for exchange in (BINANCE, BYBIT)} == {name}


async def test_pauses_and_budgets_are_those_of_the_proxys_address(store: HotStore) -> None:
    limit = next(iter(VENUES[BYBIT].limits.values()))
    counter = next(iter(VENUES[BYBIT].limits))
    direct = SharedBudgets(store, "default", SystemClock())
    through = SharedBudgets(store, "default", SystemClock(), {BYBIT: "default.1"})
    heard: list[tuple[str, Exchange, float, str]] = []
    direct.listen(lambda *pause: heard.append(("direct", *pause)))
    through.listen(lambda *pause: heard.append(("through", *pause)))
    async with contextlib.AsyncExitStack() as opened:
        opened.push_async_callback(direct.aclose)
        opened.push_async_callback(through.aclose)
        taken = await direct.take(BYBIT, counter, limit, 10, 1, 10)
        assert taken.room == 10
        assert (await direct.take(BYBIT, counter, limit, 10, 1, 1)).room == 0
        assert (await through.take(BYBIT, counter, limit, 10, 1, 10)).room == 10
        if store.kind == "native":
            await until_true(
                lambda: all(s.live for b in (direct, through) for s in b._subscriptions)
            )
        await through.pause(BYBIT, 90, "behind the proxy")
        assert (await direct.take(BYBIT, counter, limit, 10, 1, 1)).paused_s == 0
        assert (await through.take(BYBIT, counter, limit, 10, 1, 1)).paused_s > 80
        await direct.pause(BINANCE, 90, "for both")
        if store.kind == "native":
            await until_true(lambda: len(heard) == 3)
            assert sorted(entry[:2] for entry in heard) == [
                ("direct", BINANCE), ("through", BINANCE), ("through", BYBIT),
            ]  # fmt: skip
