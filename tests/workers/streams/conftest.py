"""Fixtures of WebSocket workers: a source, workers of a test, and processes that share them."""

from collections.abc import AsyncIterator

import pytest

from database import Database
from stores.hot.opening import open_hot_store
from stores.hot.store import HotStore
from tests.workers.streams.source import Source, serving


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    """A WebSocket server that sends what the test tells it."""
    async with serving(Source()) as found:
        yield found


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[HotStore]:
    """A client of an empty Valkey: what these tests are about is the same over Upstash."""
    found = open_hot_store(redis_url, client_name="test")
    yield found
    await found.aclose()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    await found.open()
    yield found
    await found.aclose()
