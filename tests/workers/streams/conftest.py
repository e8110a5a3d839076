"""Fixtures of WebSocket workers: a source, workers of a test, and processes that share them."""

from collections.abc import AsyncIterator

import pytest

from database import Database
from tests.workers.streams.source import Source, serving


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    """A WebSocket server that sends what the test tells it."""
    async with serving(Source()) as found:
        yield found


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    await found.open()
    yield found
    await found.aclose()
