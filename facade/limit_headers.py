"""LimitHeaders: what is used of an exchange's limits by all behind this address, as it tells it."""

import asyncio
import time
from typing import Final

from facade.answers import CachedAnswers
from facade.passing import Passing
from facade.question import Question
from market.markets import Exchange
from venues import VENUES

_LOOK_S: Final = {"native": 1.0, "upstash": 10.0}  # by kind of store: between two looks

_MADE_S: Final = 0.1

Header = tuple[bytes, bytes]


class LimitHeaders:
    """A limit is looked at beside the answers, which never wait for it: what they say is as old as
    the last answer, but for a second. The fields are made anew a few times a second. Of a limit
    that is counted by market they tell the most that is used of any, as this process knows it."""

    def __init__(self, passing: Passing, answers: CachedAnswers, kind: str) -> None:
        self._passing = passing
        self._answers = answers
        self._look_s = _LOOK_S[kind]
        self._used: dict[tuple[Exchange, str], tuple[float, int]] = {}
        self._looking: dict[tuple[Exchange, str], asyncio.Task[None]] = {}
        self._made: dict[tuple[Exchange, str], tuple[float, list[Header]]] = {}

    def of(self, question: Question) -> list[Header]:
        key = question.facade.exchange, question.path.counter
        made = self._made.get(key)
        now = time.monotonic()
        if made is None or now >= made[0]:
            made = self._made[key] = now + _MADE_S, self._make(question)
        return made[1]

    def _make(self, question: Question) -> list[Header]:
        exchange, counter = question.exchange, question.path.counter
        limit = VENUES[exchange].limits[counter]
        at, seen = self._used.get((exchange, counter), (float("-inf"), 0))
        is_old = time.monotonic() - at > self._look_s and not limit.by_market
        if is_old and (exchange, counter) not in self._looking:
            task = asyncio.create_task(self._look(exchange, counter))
            self._looking[exchange, counter] = task
        used = max(seen, self._passing.used(exchange, counter))
        now_ms = self._answers.now_ms(exchange)
        return question.facade.limit_headers(counter, limit, used, now_ms)

    async def aclose(self) -> None:
        for task in self._looking.values():
            task.cancel()
        await asyncio.gather(*self._looking.values(), return_exceptions=True)

    async def _look(self, exchange: Exchange, counter: str) -> None:
        try:
            used = await self._passing.look(exchange, counter)
            self._used[exchange, counter] = time.monotonic(), used
            self._made.pop((exchange, counter), None)
        finally:
            del self._looking[exchange, counter]
