"""A WebSocket worker whose configuration changes is called again with it, under the same lease."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from pydantic import BaseModel

from database import Database
from stores.hot.store import HotStore
from tests.fixtures.signals import until, until_true
from tests.workers.streams.hosting import QUICK, RunningHost, definition, hosting, put_row
from tests.workers.streams.source import Source
from tests.workers.streams.test_reconciler import published, state_of
from workers.changes import Changes
from workers.configuration import Configuration
from workers.context import Context

TRADES = "trades"


class Config(BaseModel):
    url: str = "ws://127.0.0.1:1/nowhere"
    symbols: list[str] = []


async def set_value(database: Database, key: str, value: object) -> None:
    """As PUT /api/config/trades/<key> does."""
    await database.worker_config.put(TRADES, key, value, secret=False, by="test")


async def token_of(store: HotStore) -> int | None:
    return (await state_of(store, TRADES)).run


@pytest.fixture
async def changes(database: Database) -> AsyncIterator[Changes]:
    changes, stop = Changes(database), asyncio.Event()
    listening = asyncio.create_task(changes.run(stop))
    await until_true(lambda: changes.is_heard)
    yield changes
    stop.set()
    await listening


async def told_symbols(feed: Context) -> None:
    async for message in feed.messages():
        await feed.publish([message, feed.config["symbols"]])


async def test_its_connection_is_opened_anew_as_it_is_configured_now(
    store: HotStore, database: Database, database_url: str, source: Source, changes: Changes
) -> None:
    await put_row(database_url, TRADES)
    await set_value(database, "url", f"{source.url}/old")
    configuration = Configuration(database.worker_config, {})
    changes.on("config", configuration.forget)
    trades = definition(TRADES, told_symbols, config=Config)
    async with hosting(store, database, trades, configuration=configuration, changes=changes):
        await source.until_open()
        await source.tell("1")
        await published(store, TRADES, 1)
        await set_value(database, "symbols", ["FPT"])
        await set_value(database, "url", f"{source.url}/new")
        await until_true(lambda: source.opened[-1] == "new" and len(source.sockets) == 1)
        await source.tell("2")
        found = await published(store, TRADES, 2)
        assert [value.value for value in found.values] == [["1", []], ["2", ["FPT"]]]
        assert [value.number for value in found.values] == [1, 2]
        assert len({value.token for value in found.values}) == 1  # no other lease

        async def restarts() -> tuple[int] | None:
            stream = (await state_of(store, TRADES)).stream
            return None if stream is None or stream.restarts is None else (stream.restarts,)

        assert await until(restarts) == (0,)
        # What leaves its configuration as it is leaves the worker alone.
        opened = len(source.opened)
        await set_value(database, "url", f"{source.url}/new")
        await database.worker_config.put("other", "url", "x", secret=False, by="test")
        await source.tell("3")
        await published(store, TRADES, 3)
        assert len(source.opened) == opened


async def test_a_function_that_does_not_end_is_cancelled(
    store: HotStore, database: Database, database_url: str
) -> None:
    """Without notifications: by the next look."""
    calls: list[list[str]] = []

    async def waits(feed: Context) -> None:
        calls.append(feed.config["symbols"])
        await asyncio.Event().wait()

    await put_row(database_url, TRADES)
    configuration = Configuration(database.worker_config, {})
    trades = definition(TRADES, waits, config=Config)
    async with hosting(store, database, trades, configuration=configuration):
        await until_true(lambda: calls == [[]])
        token = await until(lambda: token_of(store))
        await set_value(database, "symbols", ["FPT"])
        await until_true(lambda: calls == [[], ["FPT"]])
        assert await token_of(store) == token


async def test_what_was_wrong_is_tried_again_once_it_is_set_right(
    store: HotStore, database: Database, database_url: str, source: Source
) -> None:
    """In the pause after a failure, and where it has been given up."""
    await put_row(database_url, TRADES)
    await set_value(database, "url", "nowhere")
    options: dict[str, Any] = {"config": Config, "first_pause_s": 3000.0, "longest_pause_s": 3000.0}
    configuration = Configuration(database.worker_config, {})

    def host(**more: Any) -> AbstractAsyncContextManager[RunningHost]:
        trades = definition(TRADES, told_symbols, **options | more)
        return hosting(store, database, trades, configuration=configuration)

    async def is_waiting() -> bool:
        stream = (await state_of(store, TRADES)).stream
        return stream is not None and stream.status == "waiting"

    async def has_failed() -> bool:
        return (await state_of(store, TRADES)).state == "failed"

    async with host():
        await until(is_waiting)
        await set_value(database, "url", f"{source.url}/right")
        await source.until_open()
    await set_value(database, "url", "nowhere")
    async with host(restarts=0):
        await until(has_failed)
        await set_value(database, "url", f"{source.url}/right")
        await source.until_open(2)


async def test_a_worker_without_a_model_is_called_again_too(
    store: HotStore, database: Database, database_url: str
) -> None:
    calls: list[object] = []

    async def waits(feed: Context) -> None:
        calls.append(feed.config.get("symbol"))
        async for _ in feed.messages():
            pass

    await put_row(database_url, TRADES)
    configuration = Configuration(database.worker_config, {})
    trades = definition(TRADES, waits, "ws://127.0.0.1:1/nowhere", restarts=100)
    async with hosting(store, database, trades, configuration=configuration, pace=QUICK):
        await until_true(lambda: calls == [None])
        await set_value(database, "symbol", "FPT")
        await until_true(lambda: calls == [None, "FPT"])
        await database.worker_config.delete(TRADES, "symbol")
        await until_true(lambda: calls == [None, "FPT", None])
