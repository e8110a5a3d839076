"""Cleaning: what a feed told, as a story of ours: canonical, plain, with a time that can be."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from providers.news.mentions import Mentions
from providers.news.plain import plain_text
from providers.news.urls import canonical_url
from providers.records import NewsItem

LONGEST_SUMMARY: Final = 500
_LONGEST_TITLE: Final = 300
_LONGEST_NAME: Final = 100
_MOST_AUTHORS: Final = 10
_AHEAD_MS: Final = 15 * 60_000
_FIRST_BLOCK_MS: Final = 1_230_940_800_000  # 2009-01-03: no story is older than Bitcoin
_REMOVED: Final = "[Removed]"  # what NewsAPI has in place of stories that it took back


def cleaned(items: Iterable[NewsItem], mentions: Mentions, now_ms: int) -> list[NewsItem]:
    """The stories among them, as they are stored and served. Readers give titles and summaries as
    the feed has them (HTML), links as they are, and in `assets` the provider's own codes.

    What has no title or no link to a page is left out. A time more than 15 minutes ahead is none.
    """
    stories = (_story(item, mentions, now_ms) for item in items)
    return [story for story in stories if story is not None]


def _story(item: NewsItem, mentions: Mentions, now_ms: int) -> NewsItem | None:
    url = canonical_url(item.url)
    source = plain_text(item.source, _LONGEST_NAME)
    # Google News writes the publisher behind each title.
    title = plain_text(plain_text(item.title).removesuffix(f" - {source}"), _LONGEST_TITLE)
    if url is None or not title or title == _REMOVED:
        return None
    summary = plain_text(item.summary, LONGEST_SUMMARY)
    authors = (plain_text(author, _LONGEST_NAME) for author in item.authors[:_MOST_AUTHORS])
    assets = (*mentions.of_codes(item.assets), *mentions.of(f"{title}\n{summary}"))
    published_ms = _time(item.published_at_ms, now_ms)
    return replace(
        item,
        id=hashlib.sha256(url.encode()).hexdigest(),
        source=source,
        url=url,
        title=title,
        summary="" if summary == title else summary,
        published_at_ms=published_ms,
        updated_at_ms=_time(item.updated_at_ms, now_ms),
        as_of_ms=published_ms,
        authors=tuple(dict.fromkeys(author for author in authors if author)),
        assets=tuple(dict.fromkeys(assets)),
        via=item.via or (item.resource,),
    )


def _time(time_ms: int | None, now_ms: int) -> int | None:
    if time_ms is None or not _FIRST_BLOCK_MS <= time_ms <= now_ms + _AHEAD_MS:
        return None
    return time_ms
