"""Reads feeds, RSS and Atom, as the publisher has them: providers.news makes stories of them."""

import calendar
import io
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import feedparser

from providers.errors import ErrorClass
from providers.readers.articles import DEFAULT_LANGUAGE
from providers.readers.asked import Asked
from providers.records import NewsItem, Record

_ENDS: Final = (b"</rss>", b"</feed>", b"</rdf:rdf>")
_TAIL: Final = 2000  # bytes in which the end of a feed must stand
_MOST: Final = 500  # items of one feed
_PROLOG: Final = re.compile(rb"\s*(?:<\?.*?\?>|<!--.*?-->)", re.DOTALL)
_DECLARATION: Final = re.compile(rb"\s*<!")


def read_feed(body: bytes, asked: Asked) -> list[Record]:
    """`<rss><channel><item><title/><link/><guid/><pubDate/><description/></item>`. A feed without
    items is an answer. This takes milliseconds of CPU for each 100 KB: call it in a thread."""
    _check(body, asked)
    # As a file: the library would take a text for an address, and open or fetch it.
    feed = feedparser.parse(io.BytesIO(body), sanitize_html=False, resolve_relative_uris=False)
    if not feed.get("version") and not feed.entries:
        raise asked.bad("not a feed")
    language = str(dict.get(feed.feed, "language") or DEFAULT_LANGUAGE)[:2].lower()
    items = (_item(entry, asked, language) for entry in feed.entries[:_MOST])
    return [item for item in items if item is not None]


def _check(body: bytes, asked: Asked) -> None:
    """Refuses pages, feeds that were cut off, and documents with declarations of their own: no
    feed has entities to define."""
    start = body[:400].lstrip().lower()
    if not start or start.startswith((b"<!doctype html", b"<html")) or start[:1] in b"{[":
        raise asked.refused(ErrorClass.TRANSIENT, "not a feed but a page, or nothing")
    if b"\0" in body[:400]:
        raise asked.bad("a feed in UTF-16, which none of them is")
    at = 3 if body.startswith(b"\xef\xbb\xbf") else 0
    while (found := _PROLOG.match(body, at)) is not None:
        at = found.end()
    if _DECLARATION.match(body, at):
        raise asked.bad("the feed has declarations (DOCTYPE)")
    if not any(end in body[-_TAIL:].lower() for end in _ENDS):
        raise asked.refused(ErrorClass.TRANSIENT, "the feed was cut off")


def _item(entry: Any, asked: Asked, language: str) -> NewsItem | None:
    url, title = _url(entry), _text(entry, "title")
    if not url or not title:
        return None
    source = dict.get(entry, "source") or {}
    published_ms = _time(entry, "published_parsed")
    return NewsItem(
        **asked.common(published_ms),
        id="",
        source=_text(source, "title")
        or asked.read.get("source_name", asked.resource.provider.name),
        url=url,
        title=title,
        summary=_text(entry, "summary"),
        published_at_ms=published_ms,
        updated_at_ms=_time(entry, "updated_parsed"),
        authors=tuple(
            name for each in dict.get(entry, "authors", ()) if (name := _text(each, "name"))
        ),
        language=language,
    )


def _authors(entry: Any) -> list[Any]:
    return list(dict.get(entry, "authors") or ())


def _url(entry: Any) -> str:
    """The guid where it is the story's own address, else the link: links of feeds carry trackers.

    A guid with a query (https://site/?p=1) is an address that is of no use to readers.
    """
    link, guid = _text(entry, "link"), _text(entry, "id")
    try:
        ours, theirs = urlsplit(guid), urlsplit(link)
    except ValueError:
        return link
    same = _site(ours.netloc) == _site(theirs.netloc)
    if ours.scheme in ("http", "https") and not ours.query and len(ours.path) > 1 and same:
        return guid
    return link


def _site(netloc: str) -> str:
    return netloc.lower().removeprefix("www.")


def _text(of: Mapping[str, Any], key: str) -> str:
    """A text of the feed's; not by the library's own access, which has other names for some."""
    value = dict.get(of, key) if isinstance(of, dict) else None
    return value.strip() if isinstance(value, str) else ""


def _time(entry: Any, key: str) -> int | None:
    """A time that the library could read, which gives it in UTC; None where it could not."""
    value = dict.get(entry, key)
    try:
        return None if value is None else calendar.timegm(value) * 1000
    except (ValueError, OverflowError, TypeError):
        return None
