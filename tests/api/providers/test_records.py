"""What was kept of providers, page by page."""

from decimal import Decimal
from typing import Any

import pytest

from database import Database
from stores.cold.providers.news import NewsRow
from stores.cold.providers.prices import PriceRow
from stores.cold.providers.sentiment import SentimentRow
from tests.fixtures.api import ServedApi, StartApi, ask, get

DAY_MS = 86_400_000
BEGIN_MS = 1_764_547_200_000  # 2025-12-01


@pytest.fixture
async def kept_api(redis_url: str, database_url: str, start_api: StartApi) -> ServedApi:
    """An API that asks nobody, over five days of rows."""
    database = Database(database_url)
    tables = database.providers
    for day in range(5):
        at_ms = BEGIN_MS + day * DAY_MS
        common = {"timestamp_ms": at_ms, "known_at_ms": at_ms + 60_000}
        prices = [
            PriceRow(
                symbol="btc",
                source=source,
                quote="USD",
                kind="aggregate",
                price=Decimal(f"9{day}000.123456789012345678"),
                volume_24h=None,
                change_24h=None,
                market_cap=None,
                stated=True,
                **common,
            )
            for source in ("price.aggregate/coingecko", "price.aggregate/coinpaprika")
        ]
        await tables.prices.add(prices)
        reading = SentimentRow(
            metric="fear_greed_altme",
            asset="MARKET",
            value=Decimal(20 + day),
            scale_min=Decimal(0),
            scale_max=Decimal(100),
            label="Fear",
            source="sentiment.market/fng",
            **common,
        )
        await tables.sentiment.add([reading])
        story = NewsRow(
            id=f"{day:064x}",
            source="Desk" if day % 2 else "Wire",
            url=f"https://desk.example/{day}",
            title=f"Day {day}",
            summary="",
            published_at_ms=at_ms,
            updated_at_ms=None,
            authors=(),
            assets=("btc",) if day < 2 else (),
            language="en",
            via=("news/rss_desk",),
            known_at_ms=at_ms,
            changed_at_ms=at_ms,
        )
        await tables.news.add([story])
    await database.aclose()
    return await start_api(redis_url=redis_url, dsn=database_url)


async def pages(api: ServedApi, path: str, name: str) -> list[list[Any]]:
    """The rows of each page, followed by `next`."""
    found: list[list[Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        status, _, answer = await ask(api, "GET", f"{path}&cursor={cursor}")
        assert status == 200, answer
        found.append(answer[name])
        cursor = answer["next"]
    return found


async def test_prices_of_providers_beside_those_of_candles(kept_api: ServedApi) -> None:
    path = "/api/historical/prices/bitcoin?source=providers&limit=3"
    found = await pages(kept_api, path, "prices")
    assert [len(page) for page in found] == [3, 3, 3, 1]
    rows = [row for page in found for row in page]
    assert [(row["timestamp"], row["source"]) for row in rows] == sorted(
        {(row["timestamp"], row["source"]) for row in rows}
    )
    _, _, body = await get(kept_api, path)
    assert b'"price_usd":90000.123456789012345678' in body
    one = "/api/historical/prices/btc?source=price.aggregate/coingecko&to=2025-12-03"
    _, _, answer = await ask(kept_api, "GET", one)
    assert [row["timestamp"] for row in answer["prices"]] == [BEGIN_MS, BEGIN_MS + DAY_MS]
    _, _, answer = await ask(kept_api, "GET", f"{path}&as_of={BEGIN_MS + 60_000}")
    assert [row["timestamp"] for row in answer["prices"]] == [BEGIN_MS] * 2
    status, _, answer = await ask(kept_api, "GET", "/api/historical/prices/btc?source=nobody")
    assert status == 422
    assert "must be candles, providers or a resource" in answer["detail"][0]["msg"]


async def test_sentiment_day_by_day(kept_api: ServedApi) -> None:
    path = "/api/historical/sentiment?limit=2&from=2025-12-02&to=2025-12-05"
    found = await pages(kept_api, path, "sentiment")
    assert [[row["value"] for row in page] for page in found] == [[21, 22], [23]]
    assert found[0][0]["scale"] == [0, 100]
    _, _, answer = await ask(kept_api, "GET", "/api/historical/sentiment?metric=another")
    assert answer == {"sentiment": [], "next": None}
    _, _, answer = await ask(kept_api, "GET", "/api/historical/sentiment?asset=market&limit=1")
    assert answer["sentiment"][0]["asset"] == "MARKET"


async def test_news_by_cursor_and_by_offset(kept_api: ServedApi) -> None:
    found = await pages(kept_api, "/api/historical/news?limit=2", "news")
    assert [[row["title"] for row in page] for page in found] == [
        ["Day 4", "Day 3"],
        ["Day 2", "Day 1"],
        ["Day 0"],
    ]
    for query, days in (
        ("limit=2&offset=1", [3, 2]),
        ("assets=bitcoin", [1, 0]),
        ("source=Desk", [3, 1]),
        ("since=2025-12-04", [4, 3]),
    ):
        _, _, answer = await ask(kept_api, "GET", f"/api/historical/news?{query}")
        assert [row["title"] for row in answer["news"]] == [f"Day {day}" for day in days]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("cursor=zzz", "must be `next` of an answer, as it was"),
        ("offset=1000001", "must be at most 1000000"),
        ("assets=nosuch", "'nosuch' is no asset that is known"),
        ("from=2025-12-01", "unknown parameter"),
    ],
)
async def test_wrong_pages_are_refused(kept_api: ServedApi, query: str, told: str) -> None:
    status, _, answer = await ask(kept_api, "GET", f"/api/historical/news?{query}")
    assert status == 422
    assert told in answer["detail"][0]["msg"]


async def test_a_cursor_is_of_its_own_list(kept_api: ServedApi) -> None:
    _, _, answer = await ask(kept_api, "GET", "/api/historical/news?limit=1")
    path = f"/api/historical/news?limit=1&source=Desk&cursor={answer['next']}"
    status, _, answer = await ask(kept_api, "GET", path)
    assert status == 422
    assert answer["detail"][0]["msg"] == "is of another request: only limit may differ"
