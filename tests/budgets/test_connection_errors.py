"""What is told of a connection that failed: the reason to all, the address to the log alone."""

import asyncio
import base64
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from budgets.connection_errors import public_cause
from budgets.exchange_client import ExchangeClient
from budgets.request_counts import RequestCounts
from config import load_settings
from data_collector.url_builder import listing_request
from market.markets import Exchange
from venues.errors import BadRequest, SourceDown
from venues.venue import Endpoint

TIME = listing_request(Exchange.BYBIT, Endpoint.TIME)


@contextlib.asynccontextmanager
async def answering(
    answer: bytes, heads: list[bytes] | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """The port of a server that reads a head and sends these bytes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if heads is not None:
                heads.append(head)
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def failure(base_url: str) -> tuple[SourceDown, list[str]]:
    """The error of a request, and the errors that were logged."""
    settings = load_settings(bybit_base_url=base_url)
    with capture_logs() as logged:
        async with ExchangeClient(settings) as client:
            with pytest.raises(SourceDown) as failed:
                await client.send(TIME, RequestCounts())
    return failed.value, [
        line["error"] for line in logged if line["event"] == "exchange_not_reached"
    ]


async def test_who_refuses_is_named_in_the_log_alone() -> None:
    error, logged = await failure("http://me:hunter2@127.0.0.1:9")
    assert error.cause == "ClientConnectorError: cannot connect: Connection refused"
    assert logged == ["ClientConnectorError: 127.0.0.1:9: cannot connect: Connection refused"]


async def test_a_name_that_does_not_resolve_is_not_repeated() -> None:
    error, logged = await failure("http://proxy.internal.invalid:8080")
    assert error.cause.startswith("ClientConnectorDNSError: cannot connect: ")
    assert "internal" not in str(error)
    assert "proxy.internal.invalid:8080" in logged[0]


@pytest.mark.parametrize(
    ("answer", "type_name"),
    [
        (b"", "ServerDisconnectedError"),
        (b"nonsense\r\n\r\n", "ClientResponseError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "ClientPayloadError"),
        (b"HTTP/1.1 200 OK\r\nbad\x00header 127.0.0.1: x\r\n\r\n", "ClientResponseError"),
    ],
)
async def test_a_broken_answer_is_told_without_our_address(answer: bytes, type_name: str) -> None:
    async with answering(answer) as port:
        error, logged = await failure(f"http://me:hunter2@127.0.0.1:{port}/base")
    assert error.cause.startswith(f"{type_name}: ")
    assert "127.0.0.1" not in error.cause and str(port) not in error.cause
    assert "hunter2" not in f"{error.cause} {logged}"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_a_certificate_that_is_refused_is_a_source_that_is_down(tmp_path: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=proxy.internal"]
    command += ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    async with answering(b"", tls=tls) as port:
        error, _ = await failure(f"https://127.0.0.1:{port}")
    assert error.cause == (
        "ClientConnectorCertificateError: the certificate is refused: self-signed certificate"
    )


async def test_user_and_password_of_an_address_are_basic_authentication() -> None:
    heads: list[bytes] = []
    async with answering(b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\n{}", heads) as port:
        settings = load_settings(bybit_base_url=f"http://me:h%C3%BC@127.0.0.1:{port}/base/")
        async with ExchangeClient(settings) as client:
            with pytest.raises(BadRequest):
                await client.send(TIME, RequestCounts())
    (head,) = heads
    credentials = base64.b64encode("me:hü".encode())
    assert head.startswith(b"GET /base/v5/market/time ")
    assert b"\r\nAuthorization: Basic " + credentials + b"\r\n" in head
    assert b"@" not in head


def test_a_cause_never_holds_the_host_that_was_asked() -> None:
    error = OSError("no route to Proxy.internal:8080 (10.0.0.5:8080)\x1b")
    assert public_cause(error, "proxy.internal") == (
        "OSError: no route to (address) ((address))\\x1b"
    )
