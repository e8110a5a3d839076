"""Told stories: what was told of a story first, so that another feed does not bring it again.

Feeds drop what is old, and carry what others have told hours ago. Under which address a story was
told first is known for 48 hours after it was told last, to all processes.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from logging_setup import OutageLog
from providers.news.merging import time_of
from providers.records import NewsItem
from stores.hot.replies import list_of, text
from stores.hot.store import HotStore, StoreUnavailable
from texts.titles import SAME_TITLE_MS, title_key

_KEPT_MS: Final = SAME_TITLE_MS
_LOOK_AGAIN_MS: Final = 3_600_000  # so that what is still told does not run out
_AT_ONCE: Final = 500

log = structlog.get_logger(__name__)

# KEYS: of each story, one for its address and one for its title. ARGV: for each, its time, and what
# is told of it if nobody was first. Answers with what was told first of each. What is known of an
# address holds whatever its title is now; equal titles are one within the window, and the latest
# of those that are not is the one that later ones are compared with.
_TELL: Final = f"""
local function told_at(word) return tonumber(string.match(word, '^%d+')) end
local reply = {{}}
for i = 1, #KEYS / 2 do
    local address, title, at = KEYS[2 * i - 1], KEYS[2 * i], tonumber(ARGV[2 * i - 1])
    local first, titled = redis.call('GET', address), redis.call('GET', title)
    if not first and titled and math.abs(told_at(titled) - at) < {SAME_TITLE_MS} then
        first = titled
    end
    first = first or ARGV[2 * i]
    redis.call('SET', address, first, 'PX', {_KEPT_MS})
    if not titled or told_at(titled) <= told_at(first) then
        redis.call('SET', title, first, 'PX', {_KEPT_MS})
    end
    reply[i] = first
end
return reply
"""


@dataclass(frozen=True, slots=True)
class _First:
    id: str
    url: str
    source: str
    title: str
    published_at_ms: int | None


class ToldStories:
    """One per process."""

    def __init__(self, store: HotStore) -> None:
        self._tell = store.script("provider_news_told", _TELL)
        # By a story's id and its title's key: what was told first, and until when that is held.
        self._known: dict[tuple[str, str], tuple[_First, int]] = {}
        self._outage = OutageLog(log, "news_told_not_shared", "news_told_shared_again")

    async def as_first_told(self, stories: Sequence[NewsItem], now_ms: int) -> list[NewsItem]:
        """The stories, each with the address, publisher, title and time of who told it first. By
        that, two of them may have become one. While the store is away, by what is known here."""
        keys = [(story.id, title_key(story.title)) for story in stories]
        known = {key: self._known[key] for key in keys if key in self._known}
        asked = [
            (key, story)
            for key, story in zip(keys, stories, strict=True)
            if key[1] and (key not in known or known[key][1] <= now_ms)
        ]
        try:
            for at in range(0, len(asked), _AT_ONCE):
                some = asked[at : at + _AT_ONCE]
                for (key, _), first in zip(some, await self._told(some), strict=True):
                    known[key] = first, now_ms + _LOOK_AGAIN_MS
            self._outage.recovered()
        except StoreUnavailable as error:
            self._outage.failed(error)
        self._known = known
        return [
            _as(known[key][0], story) if key in known else story
            for key, story in zip(keys, stories, strict=True)
        ]

    async def _told(self, some: Sequence[tuple[tuple[str, str], NewsItem]]) -> list[_First]:
        keys, words = list[str](), list[str | int]()
        for (id_, title), story in some:
            keys += [_key("address", id_), _key("title", title)]
            words += [time_of(story), _encoded(story)]
        found = await self._tell.run(keys, words, reply=list_of(text, len(some)))
        return [_decoded(each) for each in found]


def _as(first: _First, story: NewsItem) -> NewsItem:
    """What is told by the story's own address changes with it; only another's is taken over."""
    if first.id == story.id:
        return story
    return replace(
        story,
        id=first.id,
        url=first.url,
        source=first.source,
        title=first.title,
        published_at_ms=first.published_at_ms,
        as_of_ms=first.published_at_ms,
    )


def _key(what: str, name: str) -> str:
    return f"provider:told:{what}:{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _encoded(story: NewsItem) -> str:
    fields = [story.id, story.url, story.source, story.title, story.published_at_ms]
    return f"{time_of(story)} {json.dumps(fields, separators=(',', ':'))}"


def _decoded(told: bytes) -> _First:
    fields: Any = json.loads(told.partition(b" ")[2])
    return _First(*fields)
