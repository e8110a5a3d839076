"""watch: each version once and in order, by events and by long polls, through any break."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TypeVar

import pytest

from perpcache_client import NotFound, Unauthorized
from tests.client.clients import opened
from tests.client.rows import CLOSED, ROWS, document
from tests.client.scripted import answer, scripted
from tests.client.test_faults import NO_ARROW
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.overviews import document_of, told
from tests.fixtures.signals import until_true

SOON_S = 60.0
T = TypeVar("T")


async def following(tables: AsyncGenerator[T, None]) -> T:
    async with asyncio.timeout(SOON_S):
        return await anext(tables)


def url_of(api: ServedApi) -> str:
    return f"http://127.0.0.1:{api.port}"


class Relay:
    """One address in front of a service that is exchanged for another, as by a restart."""

    def __init__(self) -> None:
        self.target = 0
        self._pipes: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self, target: int) -> None:
        self.target = target
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Nobody listens any more, and all connections are cut."""
        if self._server is not None:
            self._server.close()
        for writer in self._pipes:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            pair = {writer, back}
            self._pipes |= pair
            await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
            self._pipes -= pair


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_each_version_comes_once(kind: str, native_api: ServedApi) -> None:
    await native_api.publish("4h", document(1), 1)
    async with opened(kind, url_of(native_api)) as client:
        tables = client.watch("4h", symbol="BTCUSDT", closed=True)
        first = await following(tables)
        assert (first.version, list(first.rows())) == (1, [("binance", "BTCUSDT", *CLOSED, True)])
        for version in (2, 5):
            await native_api.publish("1h", document(version), version)  # another document
            await native_api.publish("4h", document(version), version)
            assert (await following(tables)).version == version


async def test_each_overview_comes_once(kind: str, native_api: ServedApi) -> None:
    def body(version: int) -> bytes:
        return document_of([told(), told("bybit", "BTC", price=100.0 + version)], version)

    async with opened(kind, url_of(native_api)) as client:
        overviews = client.watch_overview(["BTC"])
        coming = asyncio.create_task(following(overviews))
        await until_true(lambda: native_api.counts["versions"] > 0)
        await native_api.publish("overview", body(1), 1)
        first = await coming
        assert (first["version"], [each["asset"] for each in first["assets"]]) == (1, ["BTC"])
        for version in (2, 5):
            await native_api.publish("5m", document(version), version)  # which comes before it
            await native_api.publish("overview", body(version), version)
            newer = await following(overviews)
            assert newer["version"] == version
            assert newer["assets"][0]["price"]["median"] == 100.0 + version
        with pytest.raises(NotFound, match="did you mean BTC"):
            await following(client.watch_overview("BTCC"))


async def test_it_polls_for_overviews_without_events(
    kind: str, start_api: StartApi, redis_url: str
) -> None:
    api = await start_api(redis_url=redis_url, max_listeners_per_client=1)
    await api.publish("overview", document_of([told()], 1), 1)
    async with api.http.get("/events"), opened(kind, url_of(api)) as client:
        overviews = client.watch_overview()
        assert (await following(overviews))["version"] == 1
        coming = asyncio.create_task(following(overviews))
        await api.held.until(1)
        await api.publish("overview", document_of([told()], 2), 2)
        assert (await coming)["version"] == 2


async def test_it_waits_for_the_first_one(kind: str, native_api: ServedApi) -> None:
    async with opened(kind, url_of(native_api)) as client:
        coming = asyncio.create_task(following(client.watch("4h")))
        await until_true(lambda: native_api.counts["versions"] > 0)
        await native_api.publish("4h", document(1), 1)
        assert list((await coming).rows()) == ROWS


async def test_it_goes_on_over_a_restart(kind: str, start_api: StartApi, redis_url: str) -> None:
    before = await start_api(redis_url=redis_url)
    await before.publish("4h", document(1), 1)
    relay = Relay()
    await relay.start(before.port)
    try:
        async with opened(kind, relay.url, timeout=2.0) as client:
            tables = client.watch("4h")
            assert (await following(tables)).version == 1
            await relay.stop()
            await before.publish("4h", document(2), 2)
            after = await start_api(redis_url=redis_url)
            await relay.start(after.port)
            assert (await following(tables)).version == 2
            await after.publish("4h", document(3), 3)
            assert (await following(tables)).version == 3
    finally:
        await relay.stop()


async def test_without_events_it_polls(kind: str, start_api: StartApi, redis_url: str) -> None:
    """A service that gives a client no stream of events."""
    api = await start_api(redis_url=redis_url, max_listeners_per_client=1)
    await api.publish("4h", document(1), 1)
    async with api.http.get("/events"), opened(kind, url_of(api)) as client:
        tables = client.watch("4h")
        assert (await following(tables)).version == 1
        coming = asyncio.create_task(following(tables))
        await api.held.until(1)
        await api.publish("4h", document(2), 2)
        assert (await coming).version == 2


async def test_events_that_are_cut_off_do_not_hold_up_versions(kind: str) -> None:
    """As a proxy does that passes on all but streams."""

    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    told = [answer(200, document(version), f'ETag: "{version}"') for version in (1, 2)]
    async with scripted(cut, NO_ARROW, *told) as service, opened(kind, service.url) as client:
        tables = client.watch("4h")
        assert [(await following(tables)).version for _ in told] == [1, 2]
        assert service.paths[:4] == [
            *("/events?event=document&timeframe=4h", "/cache/4h.arrow?wait=30"),
            *("/cache/4h?wait=30", "/cache/4h?wait=30"),
        ]


async def test_an_older_version_is_never_given(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """As an older process may answer for one that has seen more."""
    told = [answer(200, document(version), f'ETag: "{version}"') for version in (5, 4, 5, 6)]
    async with scripted(answer(404, b"{}"), NO_ARROW, *told) as service:
        async with opened(kind, service.url) as client:
            tables = client.watch("4h")
            assert (await following(tables)).version == 5
            assert (await following(tables)).version == 6
        tags = [head.lower().partition(b"if-none-match: ")[2] for head in service.heads]
        assert [tag.partition(b"\r")[0] for tag in tags[2:6]] == [b"", b'"5"', b'"4"', b'"5"']
    assert "version 4 is older than 5" in caplog.text


async def test_what_asking_again_does_not_mend_is_raised(kind: str, native_api: ServedApi) -> None:
    await native_api.publish("4h", document(1), 1)
    async with opened(kind, url_of(native_api)) as client:
        with pytest.raises(NotFound, match="no listed market"):
            await following(client.watch("4h", symbol="TYPO"))
    refused = answer(401, b'{"detail":"no"}')
    async with scripted(refused) as service, opened(kind, service.url) as client:
        with pytest.raises(Unauthorized):
            await following(client.watch("4h"))
