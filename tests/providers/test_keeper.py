"""What comes from providers is stored, and what no column holds keeps nothing else from it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

import pytest

from database import Database
from providers.collecting.keep_log import KeepLog
from providers.collecting.keeper import Keeper
from providers.records import NewsItem, Record
from stores.cold.providers.news import NewsFilter

NOW: Final = 1_795_185_441_250
STORY: Final = NewsItem(
    provider="p", resource="news/p", fetched_at_ms=NOW, as_of_ms=None, id="0", title="A title",
    summary="", url="https://example.org/0", source="A", published_at_ms=NOW, updated_at_ms=None,
    authors=(), assets=(), language="en",
)  # fmt: skip


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    yield found
    await found.aclose()


async def test_a_record_that_no_column_holds_is_left_out_and_all_others_are_stored(
    database: Database,
) -> None:
    keeper = Keeper(database.providers)
    kept = KeepLog(keeper)
    stories: list[Record] = [replace(STORY, id=str(number)) for number in range(4)]
    stories[1] = replace(STORY, id="1", published_at_ms=2**63)  # a bigint ends before
    assert await keeper.keep(stories[:3]) == 2
    kept.note(stories)
    assert await kept.flush()
    listed = await database.providers.news.listed(NewsFilter())
    assert {each.id for each in listed} == {"0", "2", "3"}
