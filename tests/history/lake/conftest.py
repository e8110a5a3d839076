"""An empty record for each test."""

from collections.abc import AsyncIterator

import pytest

from database import Database


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url, read_s=20)
    yield found
    await found.aclose()
