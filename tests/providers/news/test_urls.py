"""Canonical URLs: every link to a page is one; what leads to no page is none."""

import pytest

from providers.news.urls import canonical_url


@pytest.mark.parametrize(
    "link",
    [
        "https://example.com/news/a-story",
        "http://example.com/news/a-story/",
        "https://EXAMPLE.com:443/news/a-story#comments",
        "http://example.com:80/news/a-story?",
        " https://example.com/news/a-story?utm_source=rss&utm_medium=feed ",
        "https://example.com/news/a-story?ref=homepage&fbclid=1&gclid=2",
        "https://example.com/news/a-story/amp/",
        "https://example.com/amp/news/a-story",
        "https://example.com/news/a-story.amp",
        "https://example.com/news/a-story?outputType=amp",
        "https://m.example.com/news/a-story",
        "https://amp.example.com/news/a-story",
        "https://www.google.com/amp/s/example.com/news/a-story",
        "https://example-com.cdn.ampproject.org/c/s/example.com/news/a-story",
        "https://reader:pw@example.com/news/a-story",
        "https://example.com/news/a-story?auth_token=secret&api_key=secret",
    ],
)
def test_links_to_one_page_are_one(link: str) -> None:
    assert canonical_url(link) == "https://example.com/news/a-story"


@pytest.mark.parametrize(
    ("link", "canonical"),
    [
        ("https://example.com", "https://example.com/"),
        ("https://example.com/?p=2&id=1", "https://example.com/?id=1&p=2"),
        ("https://example.com:8443/a", "https://example.com:8443/a"),
        ("https://m.io/a", "https://m.io/a"),
        ("https://example.com/Camp/a", "https://example.com/Camp/a"),
        ("https://münchen.de/ä", "https://xn--mnchen-3ya.de/%C3%A4"),
    ],
)
def test_what_tells_pages_apart_is_kept(link: str, canonical: str) -> None:
    assert canonical_url(link) == canonical
    assert canonical_url(canonical) == canonical


@pytest.mark.parametrize(
    "link",
    [
        "",
        "true",
        "/news/a-story",
        "javascript:alert(1)",
        "data:text/html,hi",
        "ftp://example.com/a",
        "http://localhost/a",
        "http://example.com:99999/a",
        "https://example.com/" + "a" * 2_048,
    ],
)
def test_what_is_no_link_to_a_page_is_none(link: str) -> None:
    assert canonical_url(link) is None
