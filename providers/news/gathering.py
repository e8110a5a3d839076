"""Gathering of news: every feed asked at its own pace, and one list of stories made of them all.

News is no fallback: all members of the chain that are due are asked at once, with the marks of what
is known of them (ETag), and what the others told before stays in the list.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

import structlog

from logging_setup import OutageLog
from providers.answers import Answer, Answers, Known
from providers.client import Client
from providers.errors import ErrorClass, NoAnswer, ProviderError, Tried
from providers.gate import Skipped
from providers.http import Response
from providers.lineup import Lineups, Place
from providers.news.cleaning import cleaned
from providers.news.mentions import Mentions
from providers.news.merging import merged
from providers.news.told import ToldStories
from providers.questions import AGENT_S, Kind, Question
from providers.records import NewsItem
from providers.requests import PreparedRequest
from stores.hot.store import StoreUnavailable

LEAST_TTL_S: Final = 300.0  # how often a feed is asked at most
KEPT: Final = 100  # stories of one feed
_ALL: Final = Question("news", ("*",))  # what feeds are known under, whatever was asked
_NOT_MODIFIED: Final = 304
_SHARE: Final = 0.95  # of the time, for feeds; the rest is for merging what they told

log = structlog.get_logger(__name__)


class Gathering:
    """One per process."""

    def __init__(
        self,
        client: Client,
        lineups: Lineups,
        answers: Answers,
        told: ToldStories,
        mentions: Mentions,
    ) -> None:
        self._client = client
        self._lineups = lineups
        self._answers = answers
        self._told = told
        self._mentions = mentions
        self._known: dict[str, Known] = {}  # in front of the hot store, and while that is away
        self._merged: tuple[object, tuple[NewsItem, ...]] = (None, ())
        self._asking: dict[str, asyncio.Task[Known]] = {}
        self._one_feed = asyncio.Semaphore(1)  # see Client: threads slow the event loop
        self._outage = OutageLog(log, "news_not_shared", "news_shared_again")

    async def ask(self, question: Question, within_s: float) -> Answer:
        """The stories of all feeds, newest first, as `merged` orders them. What a feed told
        before, and does not tell now, is stale. Raises NoAnswer if there is no story of the last
        day."""
        lineup = await self._lineups.look(question.chain)
        known = await self._read([resource.id for resource, _ in lineup.members])
        now_ms = self._client.clock.wall_ms()
        asked = [*lineup.line, *lineup.last_resort]
        due = [each for each in asked if not _is_fresh(known.get(each.resource.id), now_ms)]
        came, tried = await self._ask_all(due, known, within_s * _SHARE)
        await self._keep(came)
        found = {**_usable(known, now_ms), **came}
        if not found:
            raise NoAnswer(str(question), (*tried, *lineup.skipped))
        return Answer(
            question=question,
            records=await self._stories(found, now_ms),
            tried=(*tried, *lineup.skipped),
            served_by={name: each.resource for name, each in found.items()},
            levels={name: each.level for name, each in found.items()},
            cached=not due,
        )

    async def aclose(self) -> None:
        """Ends the calls that still go on."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask_all(
        self, due: list[Place], known: Mapping[str, Known], within_s: float
    ) -> tuple[dict[str, Known], list[Tried]]:
        """What came in time. A feed that is slow goes on, and is known the next time."""
        tasks = {each.resource.id: self._begun(each, known) for each in due}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=within_s)
        came: dict[str, Known] = {}
        tried: list[Tried] = []
        for each in due:
            resource = each.resource
            told = self._ended(tasks[resource.id])
            if isinstance(told, Known):
                came[resource.id] = told
                continue
            class_ = told.error_class if isinstance(told, ProviderError) else None
            skipped = told.reason if isinstance(told, Skipped) else None
            times = 0 if skipped else 1
            tried.append(Tried(resource.id, resource.level.name, class_, skipped, str(told), times))
        return came, tried

    def _begun(self, place: Place, known: Mapping[str, Known]) -> "asyncio.Task[Known]":
        name = place.resource.id
        running = self._asking.get(name)
        if running is None:
            running = asyncio.create_task(self._feed(place, known.get(name)))
            self._asking[name] = running
            running.add_done_callback(lambda done: self._landed(name, done))
        return running

    def _landed(self, name: str, task: "asyncio.Task[Known]") -> None:
        del self._asking[name]
        if not task.cancelled() and task.exception() is None:
            self._known[name] = task.result()

    def _ended(self, task: "asyncio.Task[Known]") -> Known | ProviderError | Skipped:
        if not task.done():
            return ProviderError(ErrorClass.TRANSIENT, "it has not answered yet")
        try:
            return task.result()
        except (ProviderError, Skipped) as error:
            return error

    async def _feed(self, place: Place, known: Known | None) -> Known:
        """Takes as long as its level allows, whoever asks. Raises ProviderError, Skipped."""
        resource = place.resource
        requests = self._client.prepared(resource, _ALL)
        if not requests:
            raise ProviderError(ErrorClass.UNKNOWN, "it has no news")
        request = requests[0]
        if known is not None:
            request = replace(request, headers={**request.headers, **_conditions(known)})

        async def read(answer: Response) -> Known:
            ttl_ms = round(max(LEAST_TTL_S, resource.ttl_s) * 1000)
            until_ms = answer.fetched_at_ms + ttl_ms
            if answer.status == _NOT_MODIFIED and known is not None:
                return replace(known, fetched_at_ms=answer.fetched_at_ms, fresh_until_ms=until_ms)
            stories = await self._read_answer(place, request, answer)
            stories = _as_first_seen(stories, known)
            return Known(
                *(tuple(stories), resource.id, resource.level, answer.fetched_at_ms, until_ms),
                _marks(answer),
            )

        return await self._client.send(
            resource, request, within_s=AGENT_S, read=read, how=place.how
        )

    async def _read_answer(
        self, place: Place, request: PreparedRequest, answer: Response
    ) -> list[NewsItem]:
        told = await self._client.read(place.resource, _ALL, request, answer)
        items = [record for record in told if isinstance(record, NewsItem)]
        async with self._one_feed:
            return await asyncio.to_thread(
                lambda: merged(cleaned(items, self._mentions, answer.fetched_at_ms))[:KEPT]
            )

    async def _stories(self, found: Mapping[str, Known], now_ms: int) -> tuple[NewsItem, ...]:
        """One list of what all feeds tell; made anew when one of them tells something new."""
        state = {name: (each.fetched_at_ms, each.is_fresh(now_ms)) for name, each in found.items()}
        if self._merged[0] != state:
            told = [story for each in found.values() for story in each.records]
            items = [story for story in told if isinstance(story, NewsItem)]
            once = await asyncio.to_thread(merged, items)
            first = await self._told.as_first_told(once, now_ms)
            self._merged = (state, tuple(await asyncio.to_thread(merged, first)))
        return self._merged[1]

    async def _read(self, names: list[str]) -> dict[str, Known]:
        """What is known of each feed, here or in another process."""
        now_ms = self._client.clock.wall_ms()
        rest = [name for name in names if not _is_fresh(self._known.get(name), now_ms)]
        try:
            shared = await self._answers.read(_ALL, rest)
        except StoreUnavailable as error:
            self._outage.failed(error)
            return dict(self._known)
        self._outage.recovered()
        # A feed that came too late for a question is known here alone.
        ours = {name: each for name, each in self._known.items() if _is_later(each, shared, name)}
        await self._keep({name: ours[name] for name in rest if name in ours})
        self._known = shared | ours
        return dict(self._known)

    async def _keep(self, came: Mapping[str, Known]) -> None:
        self._known |= came
        try:
            await self._answers.keep(_ALL, came, self._client.clock.wall_ms())
        except StoreUnavailable as error:
            self._outage.failed(error)


def _is_fresh(known: Known | None, now_ms: int) -> bool:
    return known is not None and known.is_fresh(now_ms)


def _usable(known: Mapping[str, Known], now_ms: int) -> dict[str, Known]:
    """What feeds told in the last day, marked where it is not fresh."""
    return {
        name: each if each.is_fresh(now_ms) else replace(each, records=each.stale())
        for name, each in known.items()
        if each.is_usable(Kind.NEWS, now_ms)
    }


def _is_later(known: Known, shared: Mapping[str, Known], name: str) -> bool:
    return name not in shared or known.fetched_at_ms > shared[name].fetched_at_ms


def _as_first_seen(items: Iterable[NewsItem], known: Known | None) -> list[NewsItem]:
    """A story without a time keeps the moment at which it was first seen."""
    told = known.records if known is not None else ()
    seen = {story.id: story.fetched_at_ms for story in told if isinstance(story, NewsItem)}
    return [
        replace(item, fetched_at_ms=seen[item.id])
        if item.published_at_ms is None and item.id in seen
        else item
        for item in items
    ]


def _conditions(known: Known) -> dict[str, str]:
    names = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}
    return {names[mark]: value for mark, value in known.marks.items() if mark in names}


def _marks(answer: Response) -> dict[str, str]:
    names = {"etag": "ETag", "last-modified": "Last-Modified"}
    return {mark: answer.headers[name] for mark, name in names.items() if name in answer.headers}
