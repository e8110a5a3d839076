"""Merging: a story that several feeds carry is one, and nothing else is."""

from itertools import permutations

from providers.assets import Assets
from providers.news.cleaning import cleaned
from providers.news.mentions import Mentions
from providers.news.merging import merged
from providers.records import NewsItem
from tests.providers.news.stories import HOUR_MS, NOW_MS, told
from texts.titles import title_key

SAME_TITLE_MS = 48 * HOUR_MS
TITLE = "Brazil’s Petrobras uses Cardano to track fuel"


def stories(*items: NewsItem) -> list[NewsItem]:
    return merged(cleaned(items, Mentions(Assets([])), NOW_MS))


def test_stories_of_one_address_are_one() -> None:
    one = told("A first title of it", url="https://a.com/x?utm_source=rss")
    other = told("Another title of it", url="http://a.com/x/", resource="news/cryptopanic")
    (story,) = stories(one, other)
    assert story.url == "https://a.com/x"
    assert set(story.via) == {"news/rss_coindesk", "news/cryptopanic"}


def test_an_edited_story_has_its_latest_text_and_its_first_time() -> None:
    first = told("What happened in crypto today", published_at_ms=NOW_MS - 9 * HOUR_MS)
    later = told(
        "What happened in crypto today, again",
        published_at_ms=NOW_MS - 8 * HOUR_MS,
        updated_at_ms=NOW_MS - HOUR_MS,
    )
    for order in permutations((first, later)):
        (story,) = stories(*order)
        assert story.title == "What happened in crypto today, again"
        assert story.published_at_ms == NOW_MS - 9 * HOUR_MS
        assert story.updated_at_ms == NOW_MS - HOUR_MS


def test_stories_of_one_title_within_48_hours_are_one_of_the_first_publisher() -> None:
    items = [
        told(TITLE, url="https://a.com/x", source="A", published_at_ms=NOW_MS - 3 * HOUR_MS),
        told(TITLE.upper(), url="https://b.com/y", source="B", summary="It does."),
        told(TITLE.replace("’", "'") + "!", url="https://c.com/z", source="C"),
    ]
    for order in permutations(items):
        (story,) = stories(*order)
        assert (story.source, story.url) == ("A", "https://a.com/x")
        assert story.summary == "It does."


def test_a_story_is_told_by_its_own_address_before_one_that_leads_to_it() -> None:
    redirect = told(
        TITLE,
        url="https://news.google.com/rss/articles/abc",
        published_at_ms=NOW_MS - 5 * HOUR_MS,
    )
    (story,) = stories(redirect, told(TITLE, url="https://a.com/x"))
    assert story.url == "https://a.com/x"


def test_the_same_title_after_48_hours_is_another_story() -> None:
    early = told(TITLE, url="https://a.com/x", published_at_ms=NOW_MS - SAME_TITLE_MS)
    assert len(stories(early, told(TITLE, url="https://a.com/y", published_at_ms=NOW_MS))) == 2
    late = told(TITLE, url="https://a.com/y", published_at_ms=NOW_MS - 1)
    assert len(stories(early, late)) == 1


def test_a_chain_of_equal_titles_ends_48_hours_after_its_first() -> None:
    day_ms = 24 * HOUR_MS
    items = [
        told(TITLE, url=f"https://a.com/{day}", published_at_ms=NOW_MS - day * day_ms)
        for day in range(6)
    ]
    assert [story.url[-1] for story in stories(*items)] == ["1", "3", "5"]


def test_short_titles_are_no_proof() -> None:
    items = [told("Market wrap", url=f"https://a.com/{n}") for n in range(2)]
    assert len(stories(*items)) == 2


def test_stories_come_newest_first_and_those_without_a_time_last() -> None:
    items = [
        told("An old story of the day", url="https://a.com/1"),
        told("A story without any time", url="https://a.com/2", published_at_ms=None),
        told(
            "A story without a time that was seen before",
            url="https://a.com/0",
            published_at_ms=None,
            fetched_at_ms=NOW_MS - HOUR_MS,
        ),
        told("The newest story of all", url="https://a.com/3", published_at_ms=NOW_MS + 1),
    ]
    assert [story.url[-1] for story in stories(*items)] == ["3", "1", "2", "0"]
    assert [found.published_at_ms for found in stories(*items)[2:]] == [None, None]


def test_titles_are_compared_by_their_words() -> None:
    assert title_key("It’s  “Café” – a\tStory!") == title_key("its cafe: A story")
    assert title_key("Bitcoin falls below it") != title_key("Bitcoin falls above it")
