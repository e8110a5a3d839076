"""Gathering: feeds at their own pace, and what one of them does not tell now is not lost."""

import asyncio
import threading
from collections.abc import Sequence
from email.utils import formatdate

import pytest
from aiohttp import web

from providers.errors import ErrorClass, NoAnswer
from providers.questions import Question
from providers.readers.asked import Asked
from providers.readers.table import READERS
from providers.records import NewsItem, Record
from providers.resources import Resource
from tests.providers.asking import FakeProviders, SetClock, row
from tests.providers.conftest import OpenChains

NEWS = Question("news", ("*",))
MINUTE_MS = 60_000


def feed_row(host: str) -> Resource:
    read = {"source_name": host}
    return row(host, "news", reader="rss", url=f"https://{host}/rss", read=read, batch=1)


class Feed:
    """Of one publisher: titles with their times in ms, or None for none."""

    def __init__(self, host: str, fake: FakeProviders) -> None:
        self.host = host
        self.stories: dict[str, int | None] = {}
        self.status = 200
        self.link: str | None = None  # of all its stories, in place of one of each title
        self.waits: asyncio.Event | None = None
        self.marks: list[str | None] = []
        fake.does[host] = self._answer

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.marks.append(request.headers.get("If-None-Match"))
        if self.waits is not None:
            await self.waits.wait()
        etag = self.etag
        if self.status != 200:
            return web.Response(status=self.status)
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        items = "".join(self._item(title, at_ms) for title, at_ms in self.stories.items())
        text = f'<rss version="2.0"><channel><title>x</title>{items}</channel></rss>'
        return web.Response(text=text, content_type="application/rss+xml", headers={"ETag": etag})

    @property
    def etag(self) -> str:
        return f'"{"|".join(self.stories)}"'

    def _item(self, title: str, at_ms: int | None) -> str:
        at = "" if at_ms is None else f"<pubDate>{formatdate(at_ms / 1000)}</pubDate>"
        link = f"https://{self.host}/{self.link or title.replace(' ', '-')}"
        return f"<item><title>{title}</title><link>{link}</link>{at}</item>"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


def titles(records: Sequence[Record]) -> list[str]:
    return [record.title for record in records if isinstance(record, NewsItem)]


def whose(records: Sequence[Record]) -> list[tuple[str, str, str, int | None]]:
    stories = [record for record in records if isinstance(record, NewsItem)]
    return [(each.title, each.url, each.source, each.published_at_ms) for each in stories]


async def test_a_feed_is_asked_every_five_minutes_and_only_for_what_is_new(
    asking: OpenChains, providers: FakeProviders, clock: SetClock
) -> None:
    feed = Feed("a.example", providers)
    feed.stories["One story of today"] = clock.now_ms - MINUTE_MS
    async with asking(feed_row("a.example"), clock=clock) as opened:
        for _ in range(2):
            answer = await opened.chains.ask(NEWS, 3.0)
            assert titles(answer.records) == ["One story of today"]
        assert feed.marks == [None]
        etag = feed.etag
        clock.now_ms += 5 * MINUTE_MS
        unchanged = await opened.chains.ask(NEWS, 3.0)
        assert titles(unchanged.records) == ["One story of today"]
        assert unchanged.records[0].stale_since_ms is None
        feed.stories["Another story of today"] = clock.now_ms
        clock.now_ms += 5 * MINUTE_MS
        answer = await opened.chains.ask(NEWS, 3.0)
    assert titles(answer.records) == ["Another story of today", "One story of today"]
    assert feed.marks == [None, etag, etag]


async def test_what_a_feed_has_told_stays_while_it_fails(
    asking: OpenChains, providers: FakeProviders, clock: SetClock
) -> None:
    failing, living = Feed("a.example", providers), Feed("b.example", providers)
    failing.stories["A story of the first"] = clock.now_ms - MINUTE_MS
    living.stories["A story of the second"] = clock.now_ms
    async with asking(feed_row("a.example"), feed_row("b.example"), clock=clock) as opened:
        await opened.chains.ask(NEWS, 3.0)
        failing.status = 503
        clock.now_ms += 5 * MINUTE_MS
        answer = await opened.chains.ask(NEWS, 3.0)
        assert titles(answer.records) == ["A story of the second", "A story of the first"]
        fresh, stale = answer.records
        assert fresh.stale_since_ms is None
        assert stale.stale_since_ms == clock.now_ms
        (tried,) = answer.tried
        assert (tried.resource, tried.error_class) == ("news/a.example", ErrorClass.TRANSIENT)
        clock.now_ms += 24 * 60 * MINUTE_MS
        answer = await opened.chains.ask(NEWS, 3.0)
        assert titles(answer.records) == ["A story of the second"]


async def test_a_slow_feed_holds_nobody_up_and_is_heard_the_next_time(
    asking: OpenChains, providers: FakeProviders, clock: SetClock
) -> None:
    slow, quick = Feed("a.example", providers), Feed("b.example", providers)
    slow.stories["A story of the first"] = quick.stories["A story of the second"] = clock.now_ms
    slow.waits = asyncio.Event()
    async with asking(feed_row("a.example"), feed_row("b.example"), clock=clock) as opened:
        first = asyncio.create_task(opened.chains.ask(NEWS, 0.3))
        assert titles((await first).records) == ["A story of the second"]
        slow.waits.set()
        answer = await opened.chains.ask(NEWS, 3.0)
    assert len(titles(answer.records)) == 2


async def test_a_story_without_a_time_is_never_the_newest(
    asking: OpenChains, providers: FakeProviders, clock: SetClock
) -> None:
    feed = Feed("a.example", providers)
    feed.stories["A story with a time"] = clock.now_ms - 40 * 60 * MINUTE_MS
    feed.stories["A story without any time"] = None
    async with asking(feed_row("a.example"), clock=clock) as opened:
        for _ in range(2):
            answer = await opened.chains.ask(NEWS, 3.0)
            assert titles(answer.records) == ["A story with a time", "A story without any time"]
            dated, dateless = (each for each in answer.records if isinstance(each, NewsItem))
            assert dated.published_at_ms is not None
            assert (dateless.published_at_ms, dateless.as_of_ms) == (None, None)
            clock.now_ms += 5 * MINUTE_MS


async def test_a_story_stays_that_of_who_told_it_first(
    asking: OpenChains, providers: FakeProviders, clock: SetClock
) -> None:
    """An hour later another feed carries it, says that it is older, and the first has dropped it;
    and then the process is another, which has never heard the first."""
    first, second = Feed("a.example", providers), Feed("b.example", providers)
    began_ms = clock.now_ms - clock.now_ms % 1000
    first.stories["One story of all feeds"] = began_ms - MINUTE_MS
    second.stories["Another story of the day"] = began_ms - 2 * MINUTE_MS
    rows = feed_row("a.example"), feed_row("b.example")
    told = ("One story of all feeds", "https://a.example/One-story-of-all-feeds", "a.example")
    async with asking(*rows, clock=clock) as opened:
        before = await opened.chains.ask(NEWS, 3.0)
        assert whose(before.records)[0] == (*told, began_ms - MINUTE_MS)
        first.stories = {"What came after it today": began_ms}
        second.stories["ONE STORY of all feeds!"] = began_ms - 9 * MINUTE_MS
        clock.now_ms += 60 * MINUTE_MS
        after = await opened.chains.ask(NEWS, 3.0)
    assert whose(after.records)[1:] == whose(before.records)
    async with asking(rows[1], clock=clock) as opened:
        restarted = await opened.chains.ask(NEWS, 3.0)
    assert whose(restarted.records) == whose(before.records)
    ids = [
        {each.id for each in found.records if isinstance(each, NewsItem)}
        for found in (before, restarted)
    ]
    assert ids[0] == ids[1]


async def test_an_edited_title_of_another_carrier_makes_no_second_story(
    asking: OpenChains, providers: FakeProviders, clock: SetClock
) -> None:
    first, second = Feed("a.example", providers), Feed("b.example", providers)
    first.stories["One story of all feeds"] = clock.now_ms - MINUTE_MS
    async with asking(feed_row("a.example"), feed_row("b.example"), clock=clock) as opened:
        await opened.chains.ask(NEWS, 3.0)
        first.stories = {"What came after it today": clock.now_ms}
        link = "One-story-of-all-feeds"
        for title in ("One story of all feeds", "One story of all feeds, and what it means"):
            clock.now_ms += 6 * MINUTE_MS
            second.stories, second.link = {title: clock.now_ms}, link
            answer = await opened.chains.ask(NEWS, 3.0)
            assert titles(answer.records)[0] == "What came after it today"
            assert titles(answer.records)[1:] == ["One story of all feeds"]


async def test_two_processes_that_hear_a_story_at_once_tell_the_same(
    asking: OpenChains, providers: FakeProviders, clock: SetClock
) -> None:
    names = ("a.example", "b.example")
    for name in names:
        Feed(name, providers).stories["One story of all feeds"] = clock.now_ms - MINUTE_MS
    async with (
        asking(feed_row(names[0]), clock=clock) as one,
        asking(feed_row(names[1]), clock=clock) as other,
    ):
        answers = await asyncio.gather(one.chains.ask(NEWS, 3.0), other.chains.ask(NEWS, 3.0))
    assert whose(answers[0].records) == whose(answers[1].records)


async def test_the_same_title_two_days_later_is_another_story(
    asking: OpenChains, providers: FakeProviders, clock: SetClock
) -> None:
    first, second = Feed("a.example", providers), Feed("b.example", providers)
    first.stories["What happened in crypto today"] = clock.now_ms
    second.stories["Another story of the day"] = clock.now_ms
    async with asking(feed_row("a.example"), feed_row("b.example"), clock=clock) as opened:
        await opened.chains.ask(NEWS, 3.0)
        clock.now_ms += 47 * 60 * MINUTE_MS
        await opened.chains.ask(NEWS, 3.0)  # all still tell what they told
        clock.now_ms += 2 * 60 * MINUTE_MS
        second.stories["What happened in crypto today"] = clock.now_ms
        answer = await opened.chains.ask(NEWS, 3.0)
    assert titles(answer.records).count("What happened in crypto today") == 2


async def test_processes_share_what_feeds_have_told(
    asking: OpenChains, providers: FakeProviders, clock: SetClock
) -> None:
    feed = Feed("a.example", providers)
    feed.stories["One story of today"] = clock.now_ms
    async with asking(feed_row("a.example"), clock=clock) as opened:
        await opened.chains.ask(NEWS, 3.0)
    async with asking(feed_row("a.example"), clock=clock) as opened:
        answer = await opened.chains.ask(NEWS, 3.0)
        assert answer.cached
        clock.now_ms += 5 * MINUTE_MS
        await opened.chains.ask(NEWS, 3.0)
    assert titles(answer.records) == ["One story of today"]
    assert feed.marks == [None, feed.etag]


async def test_feeds_that_come_at_once_are_read_one_by_one(
    asking: OpenChains, providers: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread that reads one takes its turn from the event loop."""
    inside, most, another = 0, 0, threading.Event()
    lock, read = threading.Lock(), READERS["rss"]

    def watched(body: bytes, asked: Asked) -> Sequence[Record]:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside > 1:
                another.set()
        another.wait(0.05)  # for whoever else would come
        try:
            return read(body, asked)
        finally:
            with lock:
                inside -= 1

    monkeypatch.setitem(READERS, "rss", watched)
    names = [f"{name}.example" for name in "abcd"]
    for name in names:
        Feed(name, providers).stories[f"One story of all of {name}"] = None
    async with asking(*map(feed_row, names)) as opened:
        answer = await opened.chains.ask(NEWS, 20.0)
    assert (len(titles(answer.records)), most) == (4, 1)


async def test_there_is_no_answer_without_any_story(
    asking: OpenChains, providers: FakeProviders, clock: SetClock
) -> None:
    Feed("a.example", providers).status = 503
    async with asking(feed_row("a.example"), clock=clock) as opened:
        with pytest.raises(NoAnswer) as caught:
            await opened.chains.ask(NEWS, 3.0)
    assert [tried.resource for tried in caught.value.tried] == ["news/a.example"]
    assert [alert.kind for alert in opened.alerts] == ["no_living_member"]
