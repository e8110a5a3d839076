"""Stories for tests, as a reader gives them."""

from typing import Any

from providers.records import NewsItem

NOW_MS = 1_790_000_000_000
HOUR_MS = 3_600_000


def told(title: str = "Bitcoin rises again today", **fields: Any) -> NewsItem:
    values: dict[str, Any] = {
        "provider": "coindesk",
        "resource": "news/rss_coindesk",
        "fetched_at_ms": NOW_MS,
        "as_of_ms": None,
        "id": "",
        "source": "CoinDesk",
        "url": "https://www.coindesk.com/markets/a",
        "title": title,
        "summary": "",
        "published_at_ms": NOW_MS - HOUR_MS,
    }
    return NewsItem(**(values | fields))
