"""The limits of each exchange: who may send now, who waits, and pauses that hold for everybody.

Knows nothing of what is asked.
"""

import asyncio
import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from budgets.budget import ANSWER_SOON_S, Budget, Ticket
from budgets.shared_budgets import SharedBudgets
from market.markets import Exchange
from timing.clock import Clock, SystemClock
from venues import VENUES
from venues.errors import Banned, RateLimited
from venues.venue import Limit, Request

LONGEST_PAUSE_S: Final = 60.0  # a longer one ends the exchange's part of a job
LONGEST_WAIT_S: Final = 600.0  # for room, when others use up the limit of this address
_MINUTE_S: Final = 60
_LOOK_AGAIN_S: Final = 1.0  # waiters notice new pauses and corrections this soon
_WORTH_TELLING_S: Final = 0.2  # by so much a pause must be longer than the one others know of


class ExchangeLimits:
    """All counters of one exchange, and its pauses. One for everything in the process."""

    def __init__(
        self, exchange: Exchange, fraction: float, clock: Clock, shared: SharedBudgets | None
    ) -> None:
        self.exchange = exchange
        self._clock = clock
        self._shared = shared
        self.budgets = {
            counter: Budget(limit, fraction) for counter, limit in VENUES[exchange].limits.items()
        }
        # In turn, so that a heavy request is not overtaken for ever by light ones.
        self._turns = {counter: asyncio.Lock() for counter in self.budgets}
        self._paused_until = 0.0
        self._pause_cause = ""

    async def admit(self, request: Request) -> Ticket:
        """Waits until the request may be sent.

        Raises Banned at once while a pause lasts longer than LONGEST_PAUSE_S, RateLimited when
        no room was found within LONGEST_WAIT_S.
        """
        budget = self.budgets[request.counter]
        waiting_since = self._clock.monotonic_s()
        async with self._turns[request.counter]:
            while True:
                now = self._clock.monotonic_s()
                paused_s = self._paused_until - now
                if paused_s > 0 and self._shared is not None:
                    await self._shared.tell_again(self.exchange)
                if paused_s > LONGEST_PAUSE_S:
                    raise self._banned(request, paused_s)
                delay_s = max(paused_s, budget.delay(now, request.weight))
                if delay_s <= 0:
                    delay_s = await self._others_leave(request, budget)
                if delay_s <= 0:
                    now = self._clock.monotonic_s()
                    delay_s = self._paused_until - now  # it may have begun while we asked
                if delay_s <= 0:
                    return budget.take(now, request.weight)
                if now - waiting_since > LONGEST_WAIT_S:
                    raise RateLimited(
                        "no room within the limit: other programs use this address",
                        until_ms=self._clock.wall_ms() + round(delay_s * 1000),
                        exchange=self.exchange,
                        endpoint=request.endpoint,
                        market=request.symbol,
                    )
                await self._clock.sleep(min(delay_s, _LOOK_AGAIN_S))

    def answered(
        self,
        request: Request,
        ticket: Ticket,
        headers: Mapping[str, str],
    ) -> None:
        """Takes the ticket back, and the word of the headers on what is used, if they have it."""
        budget = self.budgets[request.counter]
        now = self._clock.monotonic_s()
        budget.give_back(now, ticket)
        if budget.limit.header is None:
            return
        told = headers.get(budget.limit.header, "")
        if told.isdecimal():
            left_s = window_left_s(budget.limit, headers)
            valid_s = budget.limit.window_s if left_s is None else left_s
            budget.correct(now, ticket, int(told), valid_s)

    async def pause(self, duration_s: float, cause: str) -> None:
        """Nothing more is sent for so long; a shorter pause never cuts a longer one."""
        # Many requests may be under way when it begins, and each answer tells of it.
        longer = self._clock.monotonic_s() + duration_s > self._paused_until + _WORTH_TELLING_S
        self.heard(duration_s, cause)
        if longer and self._shared is not None:
            await self._shared.pause(self.exchange, duration_s, cause)

    def heard(self, duration_s: float, cause: str) -> None:
        """A pause that those who share the limits have been told of already."""
        until = self._clock.monotonic_s() + duration_s
        if until > self._paused_until:
            self._paused_until, self._pause_cause = until, cause

    async def _others_leave(self, request: Request, budget: Budget) -> float:
        """0 when what is shared with other processes has room too, else seconds to wait."""
        if self._shared is None:
            return 0.0
        answer = await self._shared.cover(
            self.exchange, request.counter, budget.limit, budget.quantity, request.weight
        )
        if answer.paused_s > 0:
            self.heard(answer.paused_s, answer.cause)
            return ANSWER_SOON_S  # then it counts like a pause of our own
        return 0.0 if answer.room >= request.weight else max(answer.for_s, ANSWER_SOON_S)

    def used(self, counter: str) -> int:
        """What is taken of the counter's budget now."""
        return self.budgets[counter].used(self._clock.monotonic_s())

    def pause_left_s(self) -> float:
        return max(0.0, self._paused_until - self._clock.monotonic_s())

    def _banned(self, request: Request, paused_s: float) -> Banned:
        return Banned(
            f"paused for {math.ceil(paused_s)} s more: {self._pause_cause}",
            until_ms=self._clock.wall_ms() + round(paused_s * 1000),
            exchange=self.exchange,
            endpoint=request.endpoint,
            market=request.symbol,
        )


class RateLimits:
    """The limits of every exchange at one stated fraction."""

    def __init__(
        self, fraction: float, clock: Clock | None = None, shared: SharedBudgets | None = None
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self._exchanges = {
            exchange: ExchangeLimits(exchange, fraction, self.clock, shared) for exchange in VENUES
        }

    def of(self, exchange: Exchange) -> ExchangeLimits:
        return self._exchanges[exchange]


def exchange_time_ms(headers: Mapping[str, str]) -> int | None:
    """The exchange's clock as the answer's Date says it, to the second."""
    try:
        return int(parsedate_to_datetime(headers["Date"]).timestamp()) * 1000
    except (KeyError, ValueError):
        return None


def window_left_s(limit: Limit, headers: Mapping[str, str]) -> float | None:
    """Seconds until the limit's window ends, a second added for the Date's resolution.

    None where nobody knows: the windows slide, or the answer has no usable Date.
    """
    time_ms = exchange_time_ms(headers)
    if time_ms is None or not limit.at_full_minutes:
        return None
    return _MINUTE_S - time_ms // 1000 % _MINUTE_S + 1.0
