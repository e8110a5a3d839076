"""What comes from providers is stored, and what no column holds keeps nothing else from it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Final

import pytest

from database import Database
from providers.collecting.keep_log import KeepLog
from providers.collecting.keeper import Keeper
from providers.records import EarlierReading, NewsItem, Record, SentimentReading
from stores.cold.providers.news import NewsFilter
from stores.cold.providers.sentiment import SentimentFilter

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


async def test_readings_that_come_with_the_newest_are_kept_each_once(database: Database) -> None:
    keeper = Keeper(database.providers)
    day_ms = 86_400_000
    first_ms = NOW - NOW % day_ms

    def reading(at_ms: int, value: int, *earlier: int) -> SentimentReading:
        return SentimentReading(
            provider="p",
            resource="sentiment.market/p",
            fetched_at_ms=NOW,
            as_of_ms=at_ms,
            metric="fear",
            asset="MARKET",
            label=None,
            value=Decimal(value),
            scale=(Decimal(0), Decimal(100)),
            earlier=tuple(
                EarlierReading(as_of_ms=at_ms - n * day_ms, value=Decimal(each), label="Fear")
                for n, each in enumerate(earlier, 1)
            ),
        )

    assert await keeper.keep([reading(first_ms, 50, 40, 30)]) == 3
    assert await keeper.keep([reading(first_ms, 50, 40, 30)]) == 0
    assert await keeper.keep([reading(first_ms + day_ms, 60, 50, 40)]) == 1
    kept = await database.providers.sentiment.listed(SentimentFilter(metric="fear"))
    assert [(each.timestamp_ms - first_ms) // day_ms for each in kept] == [-2, -1, 0, 1]
    assert [int(each.value) for each in kept] == [30, 40, 50, 60]
    assert [each.label for each in kept] == ["Fear", "Fear", None, None]
