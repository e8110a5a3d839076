"""Each exchange's budget, fed by its response headers; knows nothing of what is asked.

A budget is a share of a documented limit. It never lets more through than that share in any
window of the limit's length, wherever between sending and answering the exchange counts a
request: a request takes room from the moment it is let through until one window after its answer.
That holds for windows that slide and for windows that begin anew at each full minute. The first
half of a budget may be spent at once, the rest is spread evenly over the window.
"""

import asyncio
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

from market.markets import Exchange
from timing.clock import Clock, SystemClock
from venues.errors import Banned, RateLimited
from venues.venue import Limit, Request

LONGEST_PAUSE_S: Final = 60.0  # a longer one ends the exchange's part of a job
LONGEST_WAIT_S: Final = 600.0  # for room, when others use up the limit of this address
_MINUTE_S: Final = 60
_BURST: Final = 0.5  # of a budget, spent without pacing
_CATCH_UP: Final = 0.05  # of a window: how far pacing makes up for a late wake-up
_LOOK_AGAIN_S: Final = 1.0  # waiters notice new pauses and corrections this soon
_REMEMBERED: Final = 5000  # requests since the last one whose answer told what is used
_ANSWER_SOON_S: Final = 0.02  # while only requests under way take the room
_WORTH_TELLING_S: Final = 0.2  # by so much a pause must be longer than the one others know of


# Source: general information and endpoint pages of the exchanges' API documentation.
LIMITS: Final[Mapping[Exchange, Mapping[str, Limit]]] = {
    Exchange.BINANCE: {
        "weight": Limit(2400, 60, "X-MBX-USED-WEIGHT-1M", at_full_minutes=True),
        "funding": Limit(500, 300),
        "open_interest": Limit(1000, 300),
    },
    Exchange.BYBIT: {"requests": Limit(600, 5)},
}


class Shared(Protocol):
    """The room that several processes behind one address share: shared_budgets.py."""

    async def cover(
        self, exchange: Exchange, counter: str, limit: Limit, quantity: int, weight: int
    ) -> "Cover": ...
    async def pause(self, exchange: Exchange, duration_s: float, cause: str) -> None: ...
    async def tell_again(self, exchange: Exchange) -> None: ...


class Cover(Protocol):
    """Room for a request, or (0) when to ask again, or how long all are paused and why."""

    @property
    def room(self) -> int: ...
    @property
    def for_s(self) -> float: ...
    @property
    def paused_s(self) -> float: ...
    @property
    def cause(self) -> str: ...


@dataclass(slots=True, eq=False)
class Ticket:
    """The right to send one request; handed back when it is answered or given up."""

    number: int
    weight: int


class Budget:
    """The arithmetic of one counter. Synchronous; every method is told the monotonic time."""

    def __init__(self, limit: Limit, fraction: float) -> None:
        self.limit = limit
        self.quantity = max(1, math.floor(fraction * limit.quantity))
        self._spacing_s = limit.window_s / self.quantity
        self._held: deque[tuple[float, int]] = deque()  # (free again at, weight), in that order
        self._held_weight = 0
        self._under_way = 0
        self._next_at = 0.0
        self._number = 0
        # What the exchange said last, and what we have sent since that request.
        self._told = 0
        self._told_until = 0.0
        self._told_number = 0
        self._sent_since: deque[tuple[int, int]] = deque()
        self._sent_since_weight = 0

    def used(self, now: float) -> int:
        """What of the quantity is taken: by us, or by all of this address if that is more."""
        while self._held and self._held[0][0] <= now:
            self._held_weight -= self._held.popleft()[1]
        ours = self._held_weight + self._under_way
        if now >= self._told_until:
            return ours
        return max(ours, self._told + self._sent_since_weight)

    def delay(self, now: float, weight: int) -> float:
        """Seconds until it is worth asking again; 0: go."""
        used = self.used(now)
        if not used:
            return 0.0  # also for what is heavier than the whole budget: it goes alone
        if used + weight > self.quantity:
            return self._until_room(now, weight)
        if used + weight > self.quantity * _BURST:
            return max(0.0, self._next_at - now)
        return 0.0

    def take(self, now: float, weight: int) -> Ticket:
        """Lets a request through; only when `delay` was 0."""
        if self.used(now) + weight > self.quantity * _BURST:
            earliest = now - self.limit.window_s * _CATCH_UP
            self._next_at = max(self._next_at, earliest) + weight * self._spacing_s
        self._number += 1
        self._under_way += weight
        if self.limit.header is not None:
            self._sent_since.append((self._number, weight))
            self._sent_since_weight += weight
            if len(self._sent_since) > _REMEMBERED:  # the header has not come for very long
                self._sent_since_weight -= self._sent_since.popleft()[1]
        return Ticket(self._number, weight)

    def give_back(self, now: float, ticket: Ticket) -> None:
        """The request was answered, or given up, at `now`."""
        self._under_way -= ticket.weight
        self._held_weight += ticket.weight
        self._held.append((now + self.limit.window_s, ticket.weight))

    def correct(self, now: float, ticket: Ticket, told: int, valid_s: float) -> None:
        """The answer to `ticket` says that `told` is used in a window that ends in `valid_s`.

        It counts this request and those before it, of every program behind this address. What
        we sent afterwards is added to it, so nothing is counted twice.
        """
        if ticket.number < self._told_number:
            return  # overtaken by the answer to a later request
        self._told, self._told_until = told, now + valid_s
        self._told_number = ticket.number
        while self._sent_since and self._sent_since[0][0] <= ticket.number:
            self._sent_since_weight -= self._sent_since.popleft()[1]

    def _until_room(self, now: float, weight: int) -> float:
        excess = self._held_weight + self._under_way + weight - self.quantity
        wait_s = 0.0
        if excess > 0:
            wait_s = _ANSWER_SOON_S
            for free_at, held in self._held:
                excess -= held
                if excess <= 0:
                    wait_s = free_at - now
                    break
        if now < self._told_until and self._told + self._sent_since_weight + weight > self.quantity:
            wait_s = max(wait_s, self._told_until - now)
        return wait_s


class ExchangeLimits:
    """All counters of one exchange, and its pauses. One for everything in the process."""

    def __init__(
        self, exchange: Exchange, fraction: float, clock: Clock, shared: Shared | None
    ) -> None:
        self.exchange = exchange
        self._clock = clock
        self._shared = shared
        self.budgets = {
            counter: Budget(limit, fraction) for counter, limit in LIMITS[exchange].items()
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
            return _ANSWER_SOON_S  # then it counts like a pause of our own
        return 0.0 if answer.room >= request.weight else max(answer.for_s, _ANSWER_SOON_S)

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
        self, fraction: float, clock: Clock | None = None, shared: Shared | None = None
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self._exchanges = {
            exchange: ExchangeLimits(exchange, fraction, self.clock, shared) for exchange in LIMITS
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
