"""Feeds are read as their publishers write them; pages, pieces and declarations are refused."""

import pytest

from providers.errors import ErrorClass
from providers.records import NewsItem
from tests.providers.making import is_bad, read, refusal, resource

ROW = resource("news", reader="rss", read={"source_name": "The Paper"})
RSS = """<?xml version="1.0" encoding="UTF-8"?>
<!-- made by a machine -->
<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:atom="http://www.w3.org/2005/Atom">
<channel><title>The Paper</title><link>https://paper.example</link><language>en-us</language>
{items}</channel></rss>"""


def item(**fields: str) -> str:
    tags = {"title": "A title", "link": "https://paper.example/a?utm_source=rss", **fields}
    attributes = {"guid": ' isPermaLink="false"'}
    return (
        "<item>"
        + "".join(f"<{tag}{attributes.get(tag, '')}>{text}</{tag}>" for tag, text in tags.items())
        + "</item>"
    )


def one(**fields: str) -> NewsItem:
    (found,) = read(ROW, RSS.format(items=item(**fields)), "news")
    assert isinstance(found, NewsItem)
    return found


def test_a_story() -> None:
    story = one(
        guid="1b2c-33",
        pubDate="Wed, 30 Sep 2026 13:44:10 EDT",
        description="&lt;p&gt;A &amp;amp; B&lt;/p&gt;",
        **{"dc:creator": "A. Writer", "atom:updated": "Wed, 30 Sep 2026 18:00:00 +0000"},
    )
    assert (story.url, story.title) == ("https://paper.example/a?utm_source=rss", "A title")
    assert story.published_at_ms == story.as_of_ms == 1790790250000
    assert story.updated_at_ms == 1790791200000
    assert (story.source, story.authors, story.language) == ("The Paper", ("A. Writer",), "en")
    assert story.summary == "<p>A &amp; B</p>"
    assert (story.id, story.via, story.assets) == ("", (), ())


@pytest.mark.parametrize(
    ("guid", "url"),
    [
        ("https://www.paper.example/a", "https://www.paper.example/a"),
        ("https://paper.example/?p=77", "https://paper.example/a?utm_source=rss"),
        ("https://paper.example/", "https://paper.example/a?utm_source=rss"),
        ("https://other.example/a", "https://paper.example/a?utm_source=rss"),
        ("http://[", "https://paper.example/a?utm_source=rss"),
    ],
)
def test_a_guid_that_is_the_storys_address_is_taken(guid: str, url: str) -> None:
    assert one(guid=guid).url == url


@pytest.mark.parametrize("date", ["", "yesterday", "32 Foo 2026", "Wed, 99 Sep 2026 13:44:10 GMT"])
def test_a_time_that_cannot_be_read_is_none_and_never_now(date: str) -> None:
    story = one(pubDate=date)
    assert story.published_at_ms is None
    assert story.updated_at_ms is None


def test_the_publisher_of_an_item_comes_before_the_feeds() -> None:
    story = one(title="Big news - The Block", source="The Block")
    assert story.source == "The Block"


def test_items_without_title_or_address_are_left_out() -> None:
    items = item(title="") + item(link="") + item(title="Another")
    assert [story.title for story in read(ROW, RSS.format(items=items), "news")] == ["Another"]
    assert read(ROW, RSS.format(items=""), "news") == []


def test_atom() -> None:
    body = """<feed xmlns="http://www.w3.org/2005/Atom"><title>The Paper</title><entry>
    <title type="html">A &lt;b&gt;title&lt;/b&gt;</title><id>tag:paper.example,2026:1</id>
    <link href="https://paper.example/a"/><published>2026-09-30T17:44:10Z</published>
    <summary>Short</summary></entry></feed>"""
    (story,) = read(ROW, body, "news")
    assert (story.url, story.title) == ("https://paper.example/a", "A <b>title</b>")
    assert story.published_at_ms == 1790790250000


@pytest.mark.parametrize(
    "body",
    [
        "<!DOCTYPE html><html><body>Just a moment...</body></html>",
        "<html></html>",
        "",
        '{"error":"Too many requests"}',
        RSS.format(items=item())[:300],
    ],
)
def test_pages_and_pieces_are_asked_for_again(body: str) -> None:
    assert refusal(ROW, body, "news").error_class is ErrorClass.TRANSIENT


ENTITIES = '<!DOCTYPE rss [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "prolog",
    [
        ENTITIES,
        f'<?xml version="1.0"?>{ENTITIES}',
        f'\ufeff<?xml version="1.0"?>\n<!-- <rss> -->\n{ENTITIES}',
    ],
)
def test_declarations_are_refused(prolog: str) -> None:
    feed = RSS.format(items=item(title="&b;")).partition("-->")[2]
    assert is_bad(refusal(ROW, prolog + feed, "news"))


def test_a_doctype_within_a_story_is_text() -> None:
    story = one(description="<![CDATA[<!DOCTYPE html><html>x</html>]]>")
    assert "DOCTYPE" in story.summary


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_other_encodings_hide_declarations_and_are_refused(encoding: str) -> None:
    assert is_bad(refusal(ROW, (ENTITIES + RSS.format(items="")).encode(encoding), "news"))


def test_a_feed_is_never_taken_for_an_address() -> None:
    assert is_bad(refusal(ROW, "/etc/passwd </rss>", "news"))
