"""Passing: questions that only the exchange can answer are put to it, each once for all who ask.

Under the budget that the collector uses, of which it takes FACADE_FRACTION of what is left; fairly,
by client. What was told is given to others who ask the same for a moment, in every process of ours.
"""

import asyncio
import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec
import structlog

from budgets.exchange_client import ExchangeClient, Told
from budgets.headers import answered_at_ms, exchange_time_ms, retry_after_s
from budgets.left_over import LeftOver, Room
from budgets.rate_limits import LONGEST_PAUSE_S, ExchangeLimits
from budgets.request_counts import RequestCounts
from facade.question import Question
from facade.shared_answers import Given, Kept, Ours, SharedAnswers
from facade.shares import NoRoom, Paused, Shares, Turn
from facade.takings import Takings
from logging_setup import ThrottledLog
from market.markets import Exchange
from metrics.facade import FacadeMetrics
from stores.hot.store import StoreUnavailable
from texts.hidden_addresses import without_ips
from venues import VENUES
from venues.errors import (
    BadPayload,
    BadRequest,
    Banned,
    ExchangeError,
    RateLimited,
    SourceDown,
    SymbolGone,
    WindowRefused,
)
from venues.venue import Endpoint, Request

ROOM_S: Final = 5.0  # for which a question waits for room
ANSWER_S: Final = 15.0  # for which a client waits for its answer; clients wait 10 s and more
_ASK_S: Final = 11.0  # for one request, with its admission
_CLAIM_S: Final = ROOM_S + _ASK_S + 1.0
_MOMENT_MS: Final = 60_000  # answers of a minute do not serve the next one: a candle may close
_MOST_KEPT: Final = 32_000_000  # bytes of answers in this process
_LISTED_S: Final = 10.0  # rows that are told for so long do not depend on the minute
_ERROR_S: Final = 2.0  # for which a refusal of a question is told to others
_OF_THE_QUESTION: Final = (BadRequest, SymbolGone, WindowRefused)
_MOST_SHARES: Final = 1_000  # limits, of those by market each market's, that questions wait for
_IN_THREAD: Final = 64 * 1024  # bytes of which reading would keep the event loop busy
_WHOLE: Final = msgspec.json.Decoder(msgspec.Raw)

log = structlog.get_logger(__name__)
throttled = ThrottledLog(log)

Heard = Callable[[Question, bytes, int], None]
# An exchange, one of its limits, and the market if that is counted by market.
_Limited = tuple[Exchange, str, str | None]


@dataclass(frozen=True, slots=True)
class Passed:
    """`asked_at`: monotonic seconds; `is_kept`: it was asked for others before."""

    given: Given
    asked_at: float
    is_kept: bool


class Failed(Exception):
    """No answer of the exchange: answered in its form, with this status and cause."""

    def __init__(
        self, status: int, cause: str, outcome: str, retry_after_s: int | None = None
    ) -> None:
        super().__init__(cause)
        self.status = status
        self.outcome = outcome
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class _Flight:
    """A question under way, and the clients that wait for it."""

    task: "asyncio.Task[Passed]"
    clients: list[str]
    turn: Turn | None = None


@dataclass(slots=True)
class _Remembered:
    """Answers in this process, the oldest first."""

    answers: "OrderedDict[str, tuple[Passed, float]]" = field(default_factory=OrderedDict)
    size: int = 0

    def get(self, name: str, now: float) -> Passed | None:
        found = self.answers.get(name)
        return found[0] if found is not None and now < found[1] else None

    def put(self, name: str, passed: Passed, until: float, now: float) -> None:
        self._drop(name)
        self.answers[name] = passed, until
        self.size += len(passed.given.body)
        for old, (_, ends) in list(self.answers.items()):
            if self.size <= _MOST_KEPT and ends > now:
                break
            self._drop(old)

    def _drop(self, name: str) -> None:
        found = self.answers.pop(name, None)
        self.size -= len(found[0].given.body) if found is not None else 0


class Passing:
    """`heard` is told of each successful answer, and when it was asked for, by the exchange's time
    (`now_ms`); `dated` of the second of each answer, by its headers. `market` tells our symbol of
    the market that a question is about, None if the exchange lists none of that name. `share`: of
    what is left; `processes`: that take of it."""

    def __init__(
        self,
        client: ExchangeClient,
        left_over: LeftOver,
        shared: SharedAnswers,
        metrics: FacadeMetrics,
        *,
        share: float,
        processes: int,
        now_ms: Callable[[Exchange], int],
        heard: Heard,
        dated: Callable[[Exchange, int], None],
        market: Callable[[Question], Awaitable[str | None]],
    ) -> None:
        self._client = client
        self._left_over = left_over
        self._shared = shared
        self._metrics = metrics
        self._share = share
        self._processes = processes
        self._is_alone = False  # the store is away
        self._now_ms = now_ms
        self._heard = heard
        self._dated = dated
        self._market = market
        self._banned_until: dict[Exchange, float] = {}  # monotonic seconds
        self._flights: dict[str, _Flight] = {}
        self._kept = _Remembered()
        self._shares: dict[_Limited, Shares] = {}

    async def ask(self, question: Question, client: str) -> Passed:
        """The exchange's answer, whatever it says. Raises Failed."""
        name = self._name(question)
        kept = self._kept.get(name, time.monotonic())
        if kept is not None:
            return kept
        flight = self._flights.get(name)
        if flight is None:
            flight = self._begin(name, question, client)
        else:
            _join(flight, client)
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.shield(flight.task)
        except TimeoutError:
            raise Failed(504, "the exchange did not answer in time", "late") from None

    async def aclose(self) -> None:
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for shares in self._shares.values():
            await shares.aclose()

    def used(self, exchange: Exchange, counter: str) -> int:
        """Of the whole budget, as far as this process knows; of one by market the most of any."""
        return self._limits(exchange).used(counter)

    async def look(self, exchange: Exchange, counter: str) -> int:
        """What all behind this address use of the budget now; of one by market for requests about
        none."""
        return (await self._room((exchange, counter, None), 0)).used

    def _name(self, question: Question) -> str:
        name = question.name
        if question.path.ttl_s > _LISTED_S:
            return name
        return f"{name} {self._now_ms(question.exchange) // _MOMENT_MS}"

    def _begin(self, name: str, question: Question, client: str) -> _Flight:
        clients = [client]
        task = asyncio.create_task(self._fly(name, question, clients))
        flight = self._flights[name] = _Flight(task, clients)

        def landed(done: "asyncio.Task[Passed]") -> None:
            del self._flights[name]
            if not done.cancelled():
                done.exception()  # who asked may have gone

        task.add_done_callback(landed)
        return flight

    async def _fly(self, name: str, question: Question, clients: list[str]) -> Passed:
        state = await self._shared.claim(name, _CLAIM_S)
        if isinstance(state, Kept):
            age_s = max(0.0, state.given.kept_s - state.left_s)
            passed = Passed(state.given, time.monotonic() - age_s, True)
            self._remember(name, passed)
            return passed
        given: Given | None = None
        try:
            passed = await self._put(name, question, clients)
            given = passed.given
            self._remember(name, passed)
            return passed
        finally:
            if state is Ours.CLAIMED:
                await self._shared.end(name, given)

    def _remember(self, name: str, passed: Passed) -> None:
        until, now = passed.asked_at + passed.given.kept_s, time.monotonic()
        if until > now:
            self._kept.put(name, Passed(passed.given, passed.asked_at, True), until, now)

    async def _put(self, name: str, question: Question, clients: list[str]) -> Passed:
        """Puts the question to the exchange. Raises Failed."""
        exchange, path = question.exchange, question.path
        weight = path.weight(question.query)
        # Any name may be asked for, but only those of markets have room of their own.
        by_market = VENUES[exchange].limits[path.counter].by_market
        market = await self._market(question) if by_market else None
        request = Request(exchange, Endpoint.OTHER, question.target, path.counter, weight, market)
        share = self._share / (self._processes if self._is_alone else 1)
        await self._await_room(name, request, clients, share)
        asked_at = time.monotonic()
        counts = RequestCounts(metrics=self._client.counts.metrics)
        try:
            async with asyncio.timeout(_ASK_S):
                told = await self._client.ask(request, counts, share)
        except TimeoutError:
            if not counts.requests:
                raise self._not_admitted(request, share) from None
            raise Failed(504, "the exchange did not answer in time", "late") from None
        except ExchangeError as error:
            self._metrics.upstream(exchange, "error")
            throttled.warning(
                "facade_not_answered",
                exchange=exchange,
                path=path.path,
                cause=error.cause,
                market=question.symbol,
            )
            raise self._failed(error) from None
        self._metrics.upstream(exchange, str(told.status))
        if (date_ms := answered_at_ms(told.headers)) is not None:
            self._dated(exchange, date_ms)
        is_whole = await _is_json(told.body)
        if is_whole and told.refusal is None and told.status == 200:
            took_ms = round((time.monotonic() - asked_at) * 1000)
            self._heard(question, told.body, self._now_ms(exchange) - took_ms)
        kept_s = _kept_s(question, told) if is_whole else 0.0
        return Passed(self._given(question, told, kept_s), asked_at, False)

    async def _await_room(
        self, name: str, request: Request, clients: list[str], share: float
    ) -> None:
        """`share`: of the budget, for such requests of this process."""
        limits = self._limits(request.exchange)
        shares = self._shares_of((request.exchange, request.counter, request.symbol))
        if limits.wait_s(request, share) > ROOM_S or limits.pause_left_s() > 0:
            raise self._not_admitted(request, share)
        try:
            turn = shares.turn(clients, request.weight)
            if (flight := self._flights.get(name)) is not None:
                flight.turn = turn
            await shares.room(turn, ROOM_S)
        except Paused as paused:
            raise self._paused(request.exchange, str(paused), paused.retry_s) from None
        except NoRoom as error:
            raise _no_room(str(error), error.retry_s) from None

    def _not_admitted(self, request: Request, share: float) -> Failed:
        """The limits that this process keeps leave no room for the request."""
        limits = self._limits(request.exchange)
        if (left_s := limits.pause_left_s()) > 0:
            return self._paused(request.exchange, limits.pause_cause, left_s)
        return _no_room("no room in time", max(1.0, limits.wait_s(request, share)))

    def _failed(self, error: ExchangeError) -> Failed:
        if isinstance(error, RateLimited | Banned):
            left_s = max(1.0, (error.until_ms - self._client.clock.wall_ms()) / 1000)
            is_ban = isinstance(error, Banned)
            return self._paused(error.exchange, error.cause, left_s, is_ban=is_ban)
        if isinstance(error, SourceDown):
            status = 504 if error.is_late else 502
            return Failed(status, error.cause, "source down")
        if isinstance(error, BadPayload):
            return Failed(502, error.cause, "source down")
        return Failed(503, error.cause, "source down")

    def _paused(
        self, exchange: Exchange, cause: str, left_s: float, *, is_ban: bool = False
    ) -> Failed:
        """A ban is told as one until it ends, also where others behind this address got it: those
        are known by their words, or as they are longer than any limit's pause."""
        now, words = time.monotonic(), VENUES[exchange].banned_until
        is_ban = is_ban or left_s > LONGEST_PAUSE_S or now < self._banned_until.get(exchange, 0.0)
        if is_ban or (words is not None and words.search(cause.lower())):
            self._banned_until[exchange] = now + left_s
            status = 418
        else:
            status = 429
        cause = f"{cause} (the exchange is asked nothing from here for {math.ceil(left_s)} s)"
        return Failed(status, cause, "paused", math.ceil(left_s))

    def _given(self, question: Question, told: Told, kept_s: float) -> Given:
        """The answer as it came; a ban or a limit in words of ours, without our address."""
        refusal = told.refusal
        now_ms = self._client.clock.wall_ms()
        if isinstance(refusal, RateLimited | Banned):
            raise self._failed(refusal)
        content_type = told.headers.get("Content-Type", "application/json")
        if not content_type.isprintable() or not content_type.isascii():
            content_type = "application/octet-stream"
        if refusal is not None:
            throttled.info(
                "facade_told_an_error",
                exchange=question.exchange,
                path=question.path.path,
                market=question.symbol,
                status=told.status,
                cause=refusal.cause,
            )
        wait_s = retry_after_s(told.headers, exchange_time_ms(told.headers) or now_ms)
        retry = math.ceil(wait_s) if wait_s is not None and 0 < wait_s < 86_400 else None
        body = told.body if refusal is None else _without_ips(told.body)
        return Given(told.status, content_type[:100], body, kept_s, retry)

    def _limits(self, exchange: Exchange) -> ExchangeLimits:
        return self._client.limits.for_exchange(exchange)

    def _shares_of(self, limited: _Limited) -> Shares:
        """Raises Failed."""
        if limited not in self._shares:
            if len(self._shares) >= _MOST_SHARES:
                self._shares = {key: each for key, each in self._shares.items() if each.is_busy}
            if len(self._shares) >= _MOST_SHARES:
                raise _no_room("too many markets are asked for at once", 1.0)
            exchange, counter, _ = limited
            window_s = self._limits(exchange).budgets[counter].limit.window_s
            takings = Takings(window_s, self._processes)
            self._shares[limited] = Shares(partial(self._room, limited), takings)
        return self._shares[limited]

    async def _room(self, limited: _Limited, weight: int, part: float = 1.0) -> Room:
        exchange, counter, market = limited
        limits = self._limits(exchange)
        budget = limits.budgets[counter]
        known = limits.used_of(counter, market)
        try:
            room = await self._left_over.take(
                exchange, counter, budget.limit, budget.quantity, weight, known, part, market
            )
        except StoreUnavailable:
            self._is_alone = True  # it keeps to its own part (ExchangeLimits.admit)
            return Room(True, 0.0, 0.0, "", known, budget.quantity)
        self._is_alone = False
        if room.paused_s > 0:
            limits.extend_pause(room.paused_s, room.cause)
        return room


def _join(flight: _Flight, client: str) -> None:
    if client in flight.clients:
        return
    flight.clients.append(client)
    if flight.turn is not None:
        with contextlib.suppress(NoRoom):  # the turn of another serves it
            flight.turn.join(client)


def _kept_s(question: Question, told: Told) -> float:
    """For how long others are given an answer."""
    if told.refusal is None and told.status == 200:
        return question.path.ttl_s
    if isinstance(told.refusal, _OF_THE_QUESTION):
        return min(question.path.ttl_s, _ERROR_S)
    return 0.0


async def _is_json(body: bytes) -> bool:
    """Whether it is whole: an answer may be cut, or the page of a network before the exchange."""
    try:
        if len(body) > _IN_THREAD:
            await asyncio.to_thread(_WHOLE.decode, body)
        else:
            _WHOLE.decode(body)
    except (ValueError, RecursionError):
        return False
    return True


def _without_ips(body: bytes) -> bytes:
    """An error, or the page of a network before the exchange, which may show our own address; cut
    where it is very long."""
    return without_ips(body.decode("latin-1")).encode("latin-1")


def _no_room(cause: str, retry_s: float) -> Failed:
    return Failed(
        429,
        f"what is left of the limits for requests passed through is used up ({cause}): "
        f"try again in {math.ceil(retry_s)} s",
        "no budget",
        math.ceil(retry_s),
    )
