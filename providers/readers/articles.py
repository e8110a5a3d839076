"""Reads news of JSON answers, as the provider has them: providers.news makes stories of them."""

from collections.abc import Iterator
from typing import Any

from providers.exact import BadValue, is_none, shown
from providers.naming import Named
from providers.paths import as_text, path_of
from providers.readers.asked import Asked
from providers.readers.fields import field_of
from providers.readers.rows import Row
from providers.records import NewsItem

DEFAULT_LANGUAGE = "en"
_MOST = 500  # of one answer


def articles_of(document: Any, asked: Asked) -> list[NewsItem]:
    """`{"articles":[{"source":{"name"},"author","title","url","publishedAt"}]}` by the row's paths.
    What has no title or no URL, or a value that cannot be, is left out."""
    listed = path_of(asked.read["items"].removesuffix("[*]")).find(document)
    if not isinstance(listed, list):
        raise asked.bad(f"{shown(listed)} is not a list of news")
    found = []
    for item in listed[:_MOST]:
        try:
            article = _article(Row(asked, document, item, Named("", {}), asked.read))
        except BadValue:
            continue
        if article is not None:
            found.append(article)
    if listed and not found:
        raise asked.bad("no item has a title and an address")
    return found


def _article(row: Row) -> NewsItem | None:
    url, title = row.text("url"), row.text("title")
    if url is None or title is None:
        return None
    published_ms = _time(row, "published")
    return NewsItem(
        **row.asked.common(published_ms),
        id="",
        source=row.text("source") or row.read.get("source_name", row.asked.resource.provider.name),
        url=url,
        title=title,
        summary=row.text("summary") or "",
        published_at_ms=published_ms,
        updated_at_ms=_time(row, "updated"),
        authors=tuple(_texts(row, "authors")),
        assets=tuple(_texts(row, "codes")),
        language=row.text("language") or DEFAULT_LANGUAGE,
    )


def _time(row: Row, key: str) -> int | None:
    """None where it cannot be read: a story is not lost for its date."""
    try:
        return row.time(key)
    except BadValue:
        return None


def _texts(row: Row, key: str) -> Iterator[str]:
    """The texts of a field that has several: a list, or a path with [*]. Nulls are left out."""
    if key not in row.read:
        return
    for path in field_of(row.read[key]).paths:
        for value in path.each(row.item, row.name.values):
            for each in value if isinstance(value, list) else (value,):
                text = None if isinstance(each, bool) else as_text(each)
                if not is_none(text) and text is not None:
                    yield text.strip()
