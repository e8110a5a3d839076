"""Rate limits of each exchange: admission of requests, their pace, and pauses of all of them."""

import math
from collections.abc import Mapping
from typing import Final

from budgets.accounts import Account, Accounts, used_by
from budgets.budget import ANSWER_SOON_S, Budget, Ticket
from budgets.headers import exchange_time_ms, number_of
from budgets.pace import Pace
from budgets.shared_budgets import SharedBudgets, is_lift
from market.markets import Exchange
from timing.clock import Clock, SystemClock
from venues import VENUES
from venues.errors import Banned, RateLimited
from venues.venue import Limit, Request

LONGEST_PAUSE_S: Final = 60.0  # a longer pause ends the exchange's part of a job
LONGEST_WAIT_S: Final = 600.0  # for room, while other programs use up this address's limit
_MINUTE_S: Final = 60
_RECHECK_S: Final = 1.0  # how soon waiting requests notice new pauses and reports
_HIGHEST_USE: Final = 100  # times the limit: a report of more is wrong
_MIN_EXTENSION_S: Final = 0.2  # other processes are told only of pauses longer by this much


class ExchangeLimits:
    """All budgets of one exchange, its pace and its pause; one instance per process."""

    def __init__(
        self, exchange: Exchange, fraction: float, clock: Clock, shared: SharedBudgets | None
    ) -> None:
        self.exchange = exchange
        self._clock = clock
        self._shared = shared
        self._accounts = Accounts(VENUES[exchange].limits, fraction)
        self.pace = Pace()
        # Of each limit, where a refusal concerns that alone; of one by market of all markets, in
        # case the exchange counts them together.
        hold_s = VENUES[exchange].default_pause_s if VENUES[exchange].refuses_by_limit else None
        self._hold_s = hold_s
        self._paces = (
            {} if hold_s is None else {each: Pace(hold_s) for each in VENUES[exchange].limits}
        )
        self._paused_until = 0.0
        self._pause_cause = ""

    @property
    def budgets(self) -> Mapping[str, Budget]:
        """By counter; of a limit by market the budget of the requests about none."""
        return self._accounts.budgets

    def account(self, counter: str, market: str | None) -> Account | None:
        """The budget that such requests count against, and who waits for it; None if it is one by
        market of which nothing is used."""
        return self._accounts.find(counter, market)

    async def admit(self, request: Request, share: float | None = None) -> Ticket:
        """Waits until the request may be sent.

        `share`: such requests together take no more than this part of the budget, so that others
        find room (0 < share <= 1). Raises Banned at once while a pause lasts longer
        than LONGEST_PAUSE_S, RateLimited when there is no room within LONGEST_WAIT_S.
        """
        waiting_since = self._clock.monotonic_s()
        while (account := self._accounts.of(request, self._clock.monotonic_s())) is None:
            self._check_wait(request, waiting_since, _RECHECK_S)
            await self._clock.sleep(_RECHECK_S)
        with used_by(account):
            if share is None:
                return await self._admit(request, None, account)
            async with account.share_lock:
                while delay_s := account.budget.share_delay(
                    self._clock.monotonic_s(), request.weight, share
                ):
                    await self._clock.sleep(min(delay_s, _RECHECK_S))
                return await self._admit(request, share, account)

    async def _admit(self, request: Request, share: float | None, account: Account) -> Ticket:
        budget = account.budget
        waiting_since = self._clock.monotonic_s()
        async with account.lock:
            while True:
                now = self._clock.monotonic_s()
                paused_s = self._paused_until - now
                if paused_s > 0 and self._shared is not None:
                    if await self._shared.was_lifted(self.exchange):
                        self.lift_pause()
                        continue
                    await self._shared.resend_pause(self.exchange)
                if paused_s > LONGEST_PAUSE_S:
                    raise self._banned(request, paused_s)
                delay_s = max(
                    paused_s, budget.delay(now, request.weight), self._pace_delay(request, now)
                )
                slot = ""
                if delay_s <= 0:
                    delay_s, slot = await self._shared_delay_s(request, budget)
                if delay_s <= 0:
                    now = self._clock.monotonic_s()
                    # A pause may have begun meanwhile, or another request may have been sent.
                    delay_s = max(self._paused_until - now, self._pace_delay(request, now))
                if delay_s <= 0:
                    for pace in self._paces_of(request):
                        pace.take(now)
                    ticket = budget.take(now, request.weight, share)
                    ticket.slot = slot
                    return ticket
                self._check_wait(request, waiting_since, delay_s)
                await self._clock.sleep(min(delay_s, _RECHECK_S))

    def _paces_of(self, request: Request) -> list[Pace]:
        own = self._paces.get(request.counter)
        return [self.pace] if own is None else [self.pace, own]

    def _pace_delay(self, request: Request, now: float) -> float:
        return max(pace.delay(now) for pace in self._paces_of(request))

    def _check_wait(self, request: Request, since: float, delay_s: float) -> None:
        if self._clock.monotonic_s() - since > LONGEST_WAIT_S:
            raise RateLimited(
                f"no room in the rate limit for {LONGEST_WAIT_S:g} s: "
                "other programs at this address use it up",
                until_ms=self._clock.wall_ms() + round(delay_s * 1000),
                exchange=self.exchange,
                endpoint=request.endpoint,
                market=request.symbol,
            )

    def wait_s(self, request: Request, share: float) -> float:
        """How long `admit` would wait, as far as this process knows; 0: not at all."""
        now = self._clock.monotonic_s()
        waits = [0.0, self._paused_until - now, self._pace_delay(request, now)]
        if (account := self.account(request.counter, request.symbol)) is not None:
            waits.append(account.budget.delay(now, request.weight))
            waits.append(account.budget.share_free_in(now, request.weight, share))
        return max(waits)

    def answered(
        self,
        request: Request,
        ticket: Ticket,
        headers: Mapping[str, str],
    ) -> None:
        """Takes the ticket back, and the usage that the headers report, if any."""
        account = self.account(request.counter, request.symbol)
        if account is None:
            return  # it holds no ticket
        now, budget = self._clock.monotonic_s(), account.budget
        budget.give_back(now, ticket)
        if headers and self._shared is not None:
            self._shared.answered(
                self.exchange,
                request.counter,
                budget.limit,
                ticket.slot,
                ticket.weight,
                request.symbol,
            )
        reported = number_of(headers, budget.limit.header)
        if reported is not None and reported <= _HIGHEST_USE * budget.limit.quantity:
            left_s = window_left_s(budget.limit, headers)
            valid_s = budget.limit.window_s if left_s is None else left_s
            budget.correct(now, ticket, reported, valid_s)

    def slow_down(self, sent_at: float) -> float | None:
        """Halves the pace, as a request sent at `sent_at` was refused as too fast.

        The new pace, in requests per second; None if the refusal belongs to one seen before.
        """
        now = self._clock.monotonic_s()
        return self.pace.per_s(now) if self.pace.refused(now, sent_at) else None

    def is_of_limit(self, pause_s: float) -> bool:
        """Whether an answer that demands this pause concerns the limit of its request alone."""
        return self._hold_s is not None and pause_s <= self._hold_s

    def slow_limit_down(self, counter: str, sent_at: float) -> float | None:
        """Holds the limit, then halves its pace, as a request sent at `sent_at` was refused; as
        `slow_down`, for a venue whose refusals concern one limit."""
        now, pace = self._clock.monotonic_s(), self._paces[counter]
        return pace.per_s(now) if pace.refused(now, sent_at) else None

    async def pause(self, duration_s: float, cause: str) -> None:
        """Sends nothing for `duration_s`; a shorter pause never cuts a longer one."""
        # Many requests may be under way when it begins, and each answer reports it.
        longer = self._clock.monotonic_s() + duration_s > self._paused_until + _MIN_EXTENSION_S
        self.extend_pause(duration_s, cause)
        if longer and self._shared is not None:
            await self._shared.pause(self.exchange, duration_s, cause)

    def lift_pause(self) -> None:
        """Ends the pause in this process."""
        self._paused_until = self._clock.monotonic_s()

    def heard(self, duration_s: float, cause: str) -> None:
        """Takes over a pause, or its end, that another process has told."""
        if is_lift(duration_s, cause):
            self.lift_pause()
        else:
            self.extend_pause(duration_s, cause)

    def extend_pause(self, duration_s: float, cause: str) -> None:
        """Extends the pause without telling the processes that share the limits."""
        until = self._clock.monotonic_s() + duration_s
        if until > self._paused_until:
            self._paused_until, self._pause_cause = until, cause

    async def _shared_delay_s(self, request: Request, budget: Budget) -> tuple[float, str]:
        """0 if the budget shared with other processes has room too, else seconds to wait; and the
        slot in which the room was taken."""
        if self._shared is None:
            return 0.0, ""
        answer = await self._shared.reserve(
            self.exchange,
            request.counter,
            budget.limit,
            budget.quantity,
            request.weight,
            request.symbol,
        )
        if answer.paused_s > 0:
            self.extend_pause(answer.paused_s, answer.cause)
            return ANSWER_SOON_S, ""  # the next round sees the pause as our own
        if answer.room >= request.weight:
            return 0.0, answer.slot
        return max(answer.valid_s, ANSWER_SOON_S), ""

    def used(self, counter: str) -> int:
        """The weight in use of the counter's budget now; of a limit by market the most of any."""
        now = self._clock.monotonic_s()
        return max(each.budget.used(now) for each in self._accounts.all_of(counter))

    def fits_each(self, counter: str, markets: int, part: float) -> bool:
        """Whether a request for each of so many markets fits in this part of the counter's budget,
        beside what is in use; of a limit by market in that of each."""
        budget = self.budgets[counter]
        needed = 1 if budget.limit.by_market else markets
        return self.used(counter) + needed <= budget.quantity * part

    def used_of(self, counter: str, market: str | None) -> int:
        """The same of a limit by market for this market, or for requests about none."""
        account = self.account(counter, market)
        return account.budget.used(self._clock.monotonic_s()) if account is not None else 0

    @property
    def pause_cause(self) -> str:
        """Why nothing is sent, or was not when there was a pause last."""
        return self._pause_cause

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
    """The limits of all exchanges, each used up to `fraction`."""

    def __init__(
        self, fraction: float, clock: Clock | None = None, shared: SharedBudgets | None = None
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self._exchanges = {
            exchange: ExchangeLimits(exchange, fraction, self.clock, shared) for exchange in VENUES
        }

    def for_exchange(self, exchange: Exchange) -> ExchangeLimits:
        return self._exchanges[exchange]


def window_left_s(limit: Limit, headers: Mapping[str, str]) -> float | None:
    """Seconds until the limit's window ends, plus one for the resolution of Date.

    None if unknown: the windows slide, or the answer has no usable Date.
    """
    time_ms = exchange_time_ms(headers)
    if time_ms is None or not limit.at_full_minutes:
        return None
    return _MINUTE_S - time_ms // 1000 % _MINUTE_S + 1.0
