"""Merging: one list of all feeds' stories, each once, however many feeds carry it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from providers.records import NewsItem
from texts.titles import SAME_TITLE_MS, title_key

_REDIRECTS: Final = ("news.google.com",)  # addresses that hide the story's own


def merged(items: Iterable[NewsItem]) -> list[NewsItem]:
    """Cleaned stories, newest first and those without a time after all others: those of one address
    are one, and so are those of one title within 48 hours. The earliest tells when and by whom, the
    latest edition what is written."""
    by_url: dict[str, NewsItem] = {}
    for item in items:
        known = by_url.get(item.id)
        by_url[item.id] = item if known is None else _edited(known, item)
    stories = list(_by_title(sorted(by_url.values(), key=time_of)))
    return sorted(stories, key=_place, reverse=True)


def same_story(one: NewsItem, other: NewsItem) -> NewsItem:
    """Two carriers of one story as one: the address and time of the earlier, but an address of its
    own before one that only leads to it."""
    first, second = sorted((one, other), key=lambda item: (_is_redirect(item), time_of(item)))
    return replace(
        first,
        summary=first.summary or second.summary,
        authors=first.authors or second.authors,
        assets=tuple(dict.fromkeys((*first.assets, *second.assets))),
        via=tuple(dict.fromkeys((*first.via, *second.via))),
    )


def _by_title(items: list[NewsItem]) -> Iterator[NewsItem]:
    latest: dict[str, NewsItem] = {}
    begun: dict[str, int] = {}
    for item in items:  # oldest first
        key = title_key(item.title)
        if not key:
            yield item
        elif key in latest and time_of(item) - begun[key] < SAME_TITLE_MS:
            latest[key] = same_story(latest[key], item)
        else:
            if key in latest:
                yield latest[key]
            latest[key], begun[key] = item, time_of(item)
    yield from latest.values()


def _edited(one: NewsItem, other: NewsItem) -> NewsItem:
    """Two editions of one address: the text of the later, the first time of publishing."""
    earlier, later = sorted((one, other), key=lambda item: (_edition_ms(item), item.fetched_at_ms))
    times = [item.published_at_ms for item in (one, other) if item.published_at_ms is not None]
    published_ms = min(times, default=None)
    return replace(
        later,
        summary=later.summary or earlier.summary,
        published_at_ms=published_ms,
        as_of_ms=published_ms,
        authors=later.authors or earlier.authors,
        assets=tuple(dict.fromkeys((*later.assets, *earlier.assets))),
        via=tuple(dict.fromkeys((*earlier.via, *later.via))),
    )


def _edition_ms(item: NewsItem) -> int:
    return max(item.updated_at_ms or 0, item.published_at_ms or 0)


def _place(story: NewsItem) -> tuple[bool, int, str]:
    return story.published_at_ms is not None, time_of(story), story.id


def time_of(item: NewsItem) -> int:
    """When it was published or, where that is not known, first seen."""
    return item.fetched_at_ms if item.published_at_ms is None else item.published_at_ms


def _is_redirect(item: NewsItem) -> bool:
    return urlsplit(item.url).hostname in _REDIRECTS
