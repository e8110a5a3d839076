"""GET and HEAD of the exchanges' own paths, /<exchange>/...: from the cache, or passed through.

Plain ASGI for speed, because bots poll it. Every error is in the form of the exchange that was
meant. Nothing of a request is logged, and nothing but the parameters of a listed path goes further.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import structlog

from api.answers import (
    CSP,
    NOSNIFF,
    PIECE_DEADLINE_S,
    Answer,
    Body,
    Header,
    Receive,
    Scope,
    Send,
    send_answer,
    sent_at_once,
)
from api.bytes_in_flight import NOT_COUNTED, BytesInFlight, TooManyBytes
from api.cors import Cors, origin_of
from api.tokens import Tokens
from facade.answers import CachedAnswer, CachedAnswers
from facade.asked_beside import AskedBeside
from facade.exchange_times import KnownTime
from facade.exchanges import FACADES
from facade.limit_headers import LimitHeaders
from facade.passing import Failed, Passing
from facade.question import (
    AUTHORIZATION,
    READING,
    Question,
    Refused,
    check_headers,
    check_query,
    found_path,
    read_question,
)
from facade.venue import FacadeVenue
from metrics.api import ApiMetrics
from metrics.facade import UNKNOWN, FacadeMetrics

_JSON: Final = b"application/json;charset=UTF-8"
_ALWAYS: Final[tuple[Header, ...]] = (NOSNIFF, CSP, (b"cache-control", b"no-store"))
# The cache of parsed questions: its entries, and the bytes of the longest one.
_MOST_PARSED: Final = 4096
_LONGEST_PARSED: Final = 512

log = structlog.get_logger(__name__)


class FacadeEndpoint:
    """Answers the paths of the exchanges (question.py: found_path)."""

    def __init__(
        self,
        answers: CachedAnswers,
        passing: Passing,
        limits: LimitHeaders,
        beside: AskedBeside,
        *,
        tokens: Tokens,
        metrics: ApiMetrics,
        counts: FacadeMetrics,
        cors: Cors,
        in_flight: BytesInFlight,
        piece_deadline_s: float = PIECE_DEADLINE_S,
    ) -> None:
        self._answers = answers
        self._passing = passing
        self._limits = limits
        self._beside = beside
        self._tokens = tokens
        self._metrics = metrics
        self._counts = counts
        self._cors = cors
        self._in_flight = in_flight
        self._piece_deadline_s = piece_deadline_s
        self._parsed: dict[tuple[bytes, bytes], Question] = {}
        self._routes = {exchange: f"/{exchange}/{{path}}" for exchange in FACADES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        began = time.perf_counter()
        question = self._parsed.get((scope["raw_path"], scope["query_string"]))  # as most are
        found = (question.facade, question.path) if question is not None else found_path(path)
        assert found is not None, path  # noqa: S101 - see Middleware
        facade, listed = found
        label = listed.path if listed is not None else UNKNOWN
        try:
            answer, outcome = await self._answer(scope, facade, path, question)
        except Refused as refused:
            answer, outcome = _error(facade, refused.status, str(refused)), "refused"
        except Failed as failed:
            retry = failed.retry_after_s
            answer, outcome = _error(facade, failed.status, str(failed), retry), failed.outcome
        except TooManyBytes as error:
            answer, outcome = _error(facade, error.status, str(error), 5), "refused"
        except asyncio.CancelledError:  # the server is shutting down
            answer, outcome = _error(facade, 503, "the service is stopping", 5), "refused"
        except Exception as error:
            log.error("facade_failed", exchange=facade.exchange, path=label, exc_info=error)
            answer, outcome = _error(facade, 500, "internal error"), "refused"
        self._counts.answered(facade.exchange, label, outcome)
        took_s = time.perf_counter() - began
        route = self._routes[facade.exchange]
        self._metrics.answered(scope["method"], route, answer.status, took_s)
        answer = self._with_cors(answer, scope)
        if not sent_at_once(scope, answer):
            await send_answer(scope, send, answer, piece_deadline_s=self._piece_deadline_s)

    async def _answer(
        self, scope: Scope, facade: FacadeVenue, path: str, question: Question | None
    ) -> tuple[Answer, str]:
        """`question`: if the request was read before."""
        if self._cors.is_preflight(scope):
            return self._cors.preflight(scope), "refused"
        spared = AUTHORIZATION if self._tokens.guard_reading else b""
        check_headers(scope["headers"], spared=spared)
        if question is None:
            question = self._read(scope, facade, path)
        if scope["method"] not in READING:
            raise Refused(405, "only GET is answered here")
        if spared and not self._tokens.may_read(scope):
            raise Refused(401, "send the header Authorization: Bearer <READ_TOKEN>")
        if question.path.answerer is not None:
            time_there = self._answers.time(question.exchange)
            cached = self._answers.at_once(question, time_there)
            if cached is None:
                cached = await self._cached(question, time_there)
            if cached is not None:
                if not time_there.is_told:
                    self._beside.need_time(question.exchange)
                told = b"hit; age=%d" % cached.age_s
                return self._told(scope, question, 200, _JSON, cached.parts, told), "hit"
            if self._answers.lacks_contract(question):
                self._beside.need_contracts(question.exchange)
        passed = await self._passing.ask(question, self._in_flight.client(scope))
        given = passed.given
        age_s = time.monotonic() - passed.asked_at if passed.is_kept else 0.0
        how, outcome = (b"hit", "shared") if passed.is_kept else (b"pass", "pass")
        told = b"%b; age=%d" % (how, age_s)
        content_type = given.content_type.encode()
        answer = self._told(scope, question, given.status, content_type, (given.body,), told)
        if given.retry_after_s is not None:
            answer.headers.append((b"retry-after", b"%d" % given.retry_after_s))
        return answer, outcome

    async def _cached(self, question: Question, time_there: KnownTime) -> CachedAnswer | None:
        try:
            return await self._answers.answer(question, time_there)
        except Exception as error:  # the exchange knows, too
            log.error(
                "facade_cache_failed",
                exchange=question.exchange,
                path=question.path.path,
                market=question.symbol,
                exc_info=error,
            )
            return None

    def _read(self, scope: Scope, facade: FacadeVenue, path: str) -> Question:
        key: tuple[bytes, bytes] = scope["raw_path"], scope["query_string"]
        _, listed = found_path(path) or (None, None)
        if listed is None or not key[0].endswith(path.encode()):
            check_query(key[1])
            raise Refused(404, "only listed public paths of the exchange are answered here")
        question = read_question(facade, listed, key[1])
        if len(key[1]) <= _LONGEST_PARSED:
            if len(self._parsed) >= _MOST_PARSED:
                del self._parsed[next(iter(self._parsed))]
            self._parsed[key] = question
        return question

    def _told(
        self,
        scope: Scope,
        question: Question,
        status: int,
        content_type: bytes,
        parts: Sequence[bytes],
        how: bytes,
    ) -> Answer:
        length = sum(map(len, parts))
        headers = [
            (b"content-type", content_type),
            (b"content-length", b"%d" % length),
            (b"x-perpcache", how),
            *_ALWAYS,
            *self._limits.of(question),
        ]
        holding = None
        if length > NOT_COUNTED:
            client = self._in_flight.client(scope)
            holding = self._in_flight.hold(client, {("facade", id(parts[0])): length})
        return Answer(status, headers, Body(parts, length), holding)

    def _with_cors(self, answer: Answer, scope: Scope) -> Answer:
        if not self._cors.is_on:
            return answer
        headers = self._cors.add_headers(answer.headers, origin_of(scope))
        return Answer(answer.status, headers, answer.body, answer.holding)


def _error(
    facade: FacadeVenue, status: int, cause: str, retry_after_s: int | None = None
) -> Answer:
    """In the exchange's own form."""
    told, body = facade.error(status, f"Perpcache: {cause}")
    headers: list[Header] = [
        (b"content-type", _JSON),
        (b"content-length", b"%d" % len(body)),
        *_ALWAYS,
    ]
    if retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % retry_after_s))
    if status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    return Answer(told, headers, Body((body,), len(body)))
