"""Clients that say nothing, too much, or take nothing: others are served, memory is bounded."""

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from collections.abc import Iterator
from typing import Any

import aiohttp
import psutil
import pytest
import structlog

from api.connections.protocol import ServingProtocol
from commands.listening import warn_if_open
from config import Settings
from tests.faults.attack import (
    JUNK,
    SILLY,
    Bystander,
    answers,
    are_open,
    idle_connections,
    resident,
    send_junk,
    with_close,
)
from tests.fixtures.api import NO_DATABASE, ServedApi, StartApi
from tests.fixtures.documents import AS_OF_MS, document
from tests.fixtures.lateness import elapsed_elsewhere
from tests.fixtures.service import Service, StartService
from tests.fixtures.signals import until_true
from tests.fixtures.watched import WatchedSet

HEAD = b"GET /health HTTP/1.1\r\nHost: x\r\n"
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def alone(redis_url: str) -> dict[str, str]:
    """Settings of a process that asks no exchange and has no database."""
    return {
        "REDIS_URL": redis_url,
        "DATABASE_URL": NO_DATABASE,
        "BINANCE_BASE_URL": NOWHERE,
        "BYBIT_BASE_URL": NOWHERE,
    }


def port_of(service: Service) -> int:
    return int(service.address.rpartition(":")[2])


# What is no request.


async def test_what_is_no_request_gets_one_answer_that_says_so(native_api: ServedApi) -> None:
    async def once(name: str, request: bytes, status: int) -> None:
        answer = await answers(native_api.port, request)
        assert answer.startswith(b"HTTP/1.1 %d " % status), (name, answer[:200])
        # What is hidden behind it is no second request.
        assert answer.count(b"date: ") == 1, (name, answer)
        assert b"connection: close" in answer, name
        assert b'{"detail":' in answer, name
        assert b"evil.example" not in answer, name

    async with asyncio.timeout(20):
        await asyncio.gather(
            *(once(name, request, status) for name, (request, status) in JUNK.items()),
            *(once(name, with_close(r), status) for name, (r, status) in SILLY.items()),
        )


async def test_thousands_of_junk_requests_leave_nothing_behind(
    native_api: ServedApi, caplog: pytest.LogCaptureFixture
) -> None:
    bystander = Bystander(native_api.port)
    with caplog.at_level(logging.WARNING), structlog.testing.capture_logs() as logged:
        async with bystander.asking():
            found = await send_junk(native_api.port, 2000)
    assert found.total() == 2000
    assert found["500"] == found["none"] == 0, found
    assert found["400"] > 500, found
    assert len(bystander.waited_s) > 5
    assert bystander.failed == []
    # One line stands for all of them, whoever writes it.
    assert len(logged) + len(caplog.records) <= 3, (logged[:5], caplog.messages[:5])
    await until_nobody_is_connected(native_api)


async def until_nobody_is_connected(api: ServedApi) -> None:
    await api.http.close()
    await api.limits.connections.until(0)
    await api.limits.tasks.until(0)
    assert not api.limits.idle


async def test_requests_piled_up_on_one_connection(native_api: ServedApi) -> None:
    few = HEAD + b"\r\n"
    answer = await answers(native_api.port, few * 15 + with_close(few))
    assert answer.count(b"HTTP/1.1 200 OK") == 16
    # While the first is held, thousands of others would wait in memory.
    held = b"GET /cache/4h?wait=60 HTTP/1.1\r\nHost: x\r\n\r\n"
    async with asyncio.timeout(20):
        assert await answers(native_api.port, held + few * 2000) == b""
    await until_nobody_is_connected(native_api)


async def test_a_head_that_grows_for_ever_is_refused_before_it_ends(
    native_api: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_read, data_received = asyncio.Event(), ServingProtocol.data_received

    def note(self: ServingProtocol, data: bytes) -> None:
        data_received(self, data)
        was_read.set()

    monkeypatch.setattr(ServingProtocol, "data_received", note)
    for beginning, status in ((b"GET /" + b"a" * 100, 414), (HEAD + b"a: b", 431)):
        reader, writer = await asyncio.open_connection("127.0.0.1", native_api.port)
        writer.write(beginning)
        sent = 0
        answer = asyncio.create_task(reader.read())
        with contextlib.suppress(ConnectionError):
            while not answer.done() and sent < 2**22:
                was_read.clear()
                writer.write(b"c" * 8192)
                sent += 8192
                reading = asyncio.create_task(was_read.wait())
                await asyncio.wait({reading, answer}, return_when=asyncio.FIRST_COMPLETED)
                reading.cancel()
        with contextlib.suppress(ConnectionError):
            assert (await answer).startswith(b"HTTP/1.1 %d " % status)
        assert sent < 2**20
        writer.close()


async def test_silence_after_an_answer_is_not_prolonged_by_empty_bytes(
    native_api: ServedApi,
) -> None:
    """An empty line, or the byte of a body that nobody read, is no sign of a next request."""
    for after in (b"\r\n", b"x"):
        asked = HEAD + (b"Content-Length: 9\r\n\r\n" if after == b"x" else b"\r\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", native_api.port)
        writer.write(asked)
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        writer.write(after)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                await reader.read()
        writer.close()


async def test_the_beginning_of_a_head_behind_a_request_that_is_held(
    native_api: ServedApi,
) -> None:
    held = b"GET /cache/4h?wait=0.2 HTTP/1.1\r\nHost: x\r\n\r\n"
    async with asyncio.timeout(20):
        answer = await answers(native_api.port, held + b"GET /he")
    assert answer.count(b"date: ") <= 1


async def test_an_upgrade_is_not_made_and_ends_the_connection(
    native_api: ServedApi, caplog: pytest.LogCaptureFixture
) -> None:
    asked = (
        HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"
    )
    with caplog.at_level(logging.WARNING):
        answer = await answers(native_api.port, asked)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in answer
    assert caplog.records == []


async def test_bodies_that_break_off_are_no_mistake_of_ours(
    native_api: ServedApi, caplog: pytest.LogCaptureFixture
) -> None:
    beginning = (
        b"POST /get-market-data HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{"
    )
    with caplog.at_level(logging.WARNING), structlog.testing.capture_logs() as logged:
        with idle_connections(native_api.port, 50, beginning):
            await native_api.limits.tasks.until(50)
        await until_nobody_is_connected(native_api)
    assert (logged, caplog.records) == ([], [])


# Connections that do nothing, and no files for more.


async def test_the_idle_make_room_and_the_served_do_not(
    start_api: StartApi, redis_url: str
) -> None:
    api = await start_api(redis_url=redis_url, connections=20)
    await api.http.close()
    served = b"GET /cache/4h?wait=60 HTTP/1.1\r\nHost: x\r\n\r\n"
    with (
        idle_connections(api.port, 5, served) as waiting,
        idle_connections(api.port, 15, HEAD + b"\r\n") as idle,
    ):
        await api.held.until(5)
        await api.limits.idle.until(15)
        for _ in range(3):
            assert b"200 OK" in await answers(api.port, with_close(HEAD + b"\r\n"))
        assert are_open(waiting) == 5
        assert [are_open([connection]) for connection in idle[:5]] == [0, 1, 1, 1, 1]
        with idle_connections(api.port, 15, served):
            await api.held.until(20)
            assert (are_open(waiting), are_open(idle)) == (5, 0)
            answer = await answers(api.port, with_close(HEAD + b"\r\n"))
            assert answer.startswith(b"HTTP/1.1 503 ")
        await api.held.until(5)
        assert b"200 OK" in await answers(api.port, with_close(HEAD + b"\r\n"))
    await until_nobody_is_connected(api)


@pytest.fixture
def few_open_files() -> Iterator[int]:
    """The soft limit of this process, and of those it starts, is a quarter of the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(256, min(soft, hard // 4)), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("command", ["api", "worker"])
async def test_each_process_may_open_as_many_files_as_the_hard_limit_says(
    start_service: StartService, alone: dict[str, str], few_open_files: int, command: str
) -> None:
    service = await start_service(command, wait=False, **alone)
    process = psutil.Process(service.process.pid)
    await until_true(lambda: process.rlimit(psutil.RLIMIT_NOFILE)[0] == few_open_files)


async def test_a_thousand_idle_connections_and_then_no_more_files(
    start_service: StartService, alone: dict[str, str]
) -> None:
    service = await start_service("api", **alone)
    port, pid = port_of(service), service.process.pid
    process = psutil.Process(pid)
    bystander = Bystander(port)
    await bystander.ask()
    before = resident(pid)
    crowd = idle_connections(port, 500, HEAD + b"\r\n"), idle_connections(port, 500, HEAD)
    with crowd[0] as idle, crowd[1]:
        async with bystander.asking():
            await bystander.until(10)
        assert are_open(idle) == 500
        assert resident(pid) - before < 1000 * 32 * 1024
        # Not even the reserve is left now.
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds(), 20_000))
        used = process.cpu_times()
        with contextlib.suppress(OSError):
            await asyncio.wait_for(answers(port, HEAD + b"\r\n"), 1)
        after = process.cpu_times()
        assert after.user + after.system - used.user - used.system < 0.5, "it spins"
    await until_true(lambda: process.num_fds() <= 200)
    await bystander.ask()
    assert bystander.failed == []


# Those that do not read.


async def test_who_does_not_read_is_cut_whatever_it_asked_for(
    native_api: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of /docs and the last bytes of a document have a deadline like all others."""
    as_it_is, watch_unsent = ServingProtocol.connection_made, ServingProtocol._watch_unsent
    stalled: WatchedSet[ServingProtocol] = WatchedSet()

    def note(self: ServingProtocol) -> None:
        watch_unsent(self)
        stalled.add(self)

    monkeypatch.setattr(ServingProtocol, "_watch_unsent", note)

    def with_little_room(self: ServingProtocol, transport: asyncio.Transport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        as_it_is(self, transport)

    monkeypatch.setattr(ServingProtocol, "connection_made", with_little_room)
    small = document(AS_OF_MS, rows=500)
    assert 64 * 1024 < len(small) < 120 * 1024  # two pieces: the last one is given away at once
    await native_api.publish("4h", small, AS_OF_MS)
    await native_api.publish("8h", document(AS_OF_MS, rows=250), AS_OF_MS)  # and here the first
    await native_api.http.close()
    asked = (
        b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /cache/4h HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /cache/4h HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /cache/8h HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as opened:
        for request in asked:
            lazy = opened.enter_context(socket.socket())
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.setblocking(False)
            await loop.sock_connect(lazy, ("127.0.0.1", native_api.port))
            await loop.sock_sendall(lazy, request)
        await stalled.until(4)
        await until_nobody_is_connected(native_api)


async def test_downloads_that_are_broken_off(
    native_api: ServedApi, caplog: pytest.LogCaptureFixture
) -> None:
    await native_api.publish("4h", document(AS_OF_MS, rows=20_000), AS_OF_MS)
    with caplog.at_level(logging.WARNING), structlog.testing.capture_logs() as logged:
        for _ in range(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", native_api.port)
            writer.write(b"GET /cache/4h HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await reader.readexactly(1000)
            writer.transport.abort()
        await until_nobody_is_connected(native_api)
    assert (logged, caplog.records) == ([], [])


async def test_open_requests_do_not_hold_up_the_end(
    start_service: StartService, alone: dict[str, str]
) -> None:
    service = await start_service("api", **alone)
    port = port_of(service)
    held = b"GET /cache/4h?wait=60 HTTP/1.1\r\nHost: x\r\n\r\n"
    unfinished = b"POST /get-market-data HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
    with idle_connections(port, 20, HEAD), idle_connections(port, 20, unfinished):
        waiting = [asyncio.create_task(answers(port, held)) for _ in range(50)]
        async with aiohttp.ClientSession(service.address) as http, asyncio.timeout(20):
            while True:
                async with http.get("/metrics") as page:
                    if 'waiting_requests{process="api-1"} 50.0' in await page.text():
                        break
        with elapsed_elsewhere() as took:
            assert await service.stop(signal.SIGTERM) == 0
        assert took.own_s < 3
        for answer in await asyncio.gather(*waiting):
            assert answer.startswith(b"HTTP/1.1 404 Not Found")
            assert b"nothing collected yet: POST /get-market-data" in answer
            assert answer.endswith(b'with all others"}')


# Intruders.


async def test_secrets_are_told_to_nobody(
    start_service: StartService, alone: dict[str, str]
) -> None:
    secrets = {"API_TOKEN": "opensesame-api", "CRON_SECRET": "opensesame-cron"}
    service = await start_service("api", **alone, **secrets, LOG_LEVEL="DEBUG")
    told: list[str] = []
    async with aiohttp.ClientSession(service.address) as http:
        for token in (*secrets.values(), "wrong"):
            bearer = {"Authorization": f"Bearer {token}"}
            for method, path in (
                ("POST", "/get-market-data"),
                ("POST", "/api/v1/internal/update-fr"),
                ("DELETE", "/jobs/funding"),
                ("GET", "/coins"),
                ("GET", f"/jobs/{token}"),
                ("GET", f"/cache/4h?symbol={token}&limit={token}"),
            ):
                async with http.request(method, path, headers=bearer, json={}) as answer:
                    told += [await answer.text(), str(answer.headers)]
        for path in ("/docs", "/docs/start.js", "/openapi.json", "/metrics", "/ready", "/jobs"):
            async with http.get(path) as answer:
                told.append(await answer.text())
    for token in secrets.values():
        told.append((await answers(port_of(service), token.encode() * 100)).decode())
    assert await service.stop() == 0
    told += service.lines
    assert any("requests_refused" in line for line in service.lines)
    assert not [text for text in told if "opensesame" in text]


OPEN = ("0.0.0.0", "::", "192.168.1.5", "2001:db8::1", "fe80::1%eth0")  # noqa: S104


def settings(**given: Any) -> Settings:
    return Settings(**given)


def test_an_address_that_others_reach_without_a_token_is_warned_of() -> None:
    with structlog.testing.capture_logs() as logged:
        for address in ("127.0.0.1", "127.8.8.8", "::1"):
            warn_if_open(settings(), address)
        for address in OPEN:
            warn_if_open(settings(api_token="t0ken"), address)
    assert logged == []
    with structlog.testing.capture_logs() as logged:
        for address in OPEN:
            warn_if_open(settings(host=address), address)
        warn_if_open(settings(api_token=""), "0.0.0.0")  # noqa: S104
    assert len(logged) == len(OPEN) + 1
    assert {line["log_level"] for line in logged} == {"warning"}
    assert all("API_TOKEN" in line["reason"] for line in logged)


async def test_the_warning_is_printed_at_the_start(
    start_service: StartService, alone: dict[str, str]
) -> None:
    # As in the container: the image sets HOST so.
    service = await start_service("api", **alone, HOST="0.0.0.0", LOG_FORMAT="json")  # noqa: S104
    assert any("open_to_the_network_without_token" in line for line in service.lines)
