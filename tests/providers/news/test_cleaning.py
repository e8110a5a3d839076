"""Cleaning: what a feed told becomes a story that may be stored and shown, or nothing."""

import hashlib

import pytest

from providers.assets import Asset, Assets
from providers.news.cleaning import cleaned
from providers.news.mentions import Mentions
from providers.records import NewsItem
from tests.providers.news.stories import NOW_MS, told

MENTIONS = Mentions(Assets([Asset("btc", "Bitcoin", "BTC"), Asset("eth", "Ethereum", "ETH")]))
MINUTE_MS = 60_000


def clean(item: NewsItem) -> NewsItem | None:
    found = cleaned([item], MENTIONS, NOW_MS)
    return found[0] if found else None


def test_a_story_is_plain_and_has_one_address() -> None:
    story = clean(
        told(
            "Bitcoin <b>rises</b> &amp; falls",
            url="http://www.coindesk.com/a/?utm_source=rss",
            summary="<p>It did.</p><script>alert(1)</script>",
            authors=("<i>A. Writer</i>", "", "A. Writer"),
            assets=("ETH", "NOPE"),
        )
    )
    assert story is not None
    assert (story.title, story.summary) == ("Bitcoin rises & falls", "It did.")
    assert story.url == "https://www.coindesk.com/a"
    assert story.id == hashlib.sha256(story.url.encode()).hexdigest()
    assert story.authors == ("A. Writer",)
    assert story.assets == ("eth", "btc")
    assert story.via == ("news/rss_coindesk",)
    assert story.as_of_ms == story.published_at_ms


@pytest.mark.parametrize(
    "item",
    [
        told(""),
        told("<script>alert(1)</script>"),
        told("[Removed]"),
        told(url="javascript:alert(1)"),
        told(url=""),
    ],
)
def test_what_is_no_story_is_left_out(item: NewsItem) -> None:
    assert clean(item) is None


@pytest.mark.parametrize(
    ("told_ms", "kept_ms"),
    [
        (NOW_MS + 15 * MINUTE_MS, NOW_MS + 15 * MINUTE_MS),
        (NOW_MS + 15 * MINUTE_MS + 1, None),
        (0, None),
        (None, None),
    ],
)
def test_a_time_that_cannot_be_is_none_and_never_now(
    told_ms: int | None, kept_ms: int | None
) -> None:
    story = clean(told(published_at_ms=told_ms, updated_at_ms=told_ms))
    assert story is not None
    assert (story.published_at_ms, story.updated_at_ms, story.as_of_ms) == (kept_ms,) * 3


def test_the_publisher_behind_a_title_of_google_news_is_not_of_the_title() -> None:
    story = clean(told("Bitcoin rises - The Block", source="The Block"))
    assert story is not None
    assert (story.title, story.source) == ("Bitcoin rises", "The Block")


def test_long_texts_are_cut() -> None:
    story = clean(told("word " * 200, summary="word " * 2_000))
    assert story is not None
    assert len(story.title) <= 300
    assert 450 < len(story.summary) <= 500
