"""Admission of calls: by the hot store's gate, or by this process alone while the store is away.

Exchanges that the collector asks, too, are asked within its budgets.
"""

import contextlib
from collections.abc import Sequence

import structlog

from config import Settings
from logging_setup import OutageLog
from providers.account import Account
from providers.errors import ErrorClass, ProviderError
from providers.exchange_budgets import ExchangeBudgets
from providers.gate import Gate, How, Kept, Outcome, Right, Settled, Skipped
from providers.local_gate import LocalGate
from providers.resources import Resource
from stores.hot.store import HotStore, StoreUnavailable
from timing.clock import Clock, SystemClock

log = structlog.get_logger(__name__)


class Admission:
    def __init__(self, settings: Settings, store: HotStore, clock: Clock | None) -> None:
        self._clock = clock or SystemClock()
        self.gate = Gate(store, fraction=settings.rate_fraction, clock=clock)
        self._exchanges = ExchangeBudgets(settings, store, self._clock)
        self._alone = LocalGate(self._clock)
        self._outage = OutageLog(log, "providers_not_shared", "providers_shared_again")

    async def admit(self, account: Account, how: How, *, budget: bool = True) -> Right:
        """The right to make one call; its outcome must be told by `settle`. Raises Skipped."""
        resource = account.resource
        shared = budget and self._exchanges.concern(resource)
        try:
            right = await self.gate.admit(
                account, weight=resource.weight, how=how, budget=budget and not shared
            )
            if shared:
                await self._take_of_exchange(account, right, how)
        except StoreUnavailable as error:
            self._outage.failed(error)
            self._alone.admit(account)
            return Right.OK
        self._outage.recovered()
        if budget:
            self._alone.asked(account)
        return right

    async def _take_of_exchange(self, account: Account, right: Right, how: How) -> None:
        """After the gate, so that a call that it refuses takes no room of the collector's."""
        try:
            await self._exchanges.take(account.resource)
        except Skipped as skipped:
            with contextlib.suppress(StoreUnavailable):  # the right ends by itself
                await self.gate.give_back(account, right, how, skipped.reason)
            raise

    async def settle(
        self,
        account: Account,
        right: Right,
        ms: int,
        error: ProviderError | None,
    ) -> Settled:
        """Tells the outcome of an admitted call."""
        self._alone.told(account, error)
        try:
            settled = await self.gate.settle(account, right, ms=ms, error=error)
            if error and error.error_class is ErrorClass.RATE_LIMITED:
                await self._pause_exchange(account.resource, settled, str(error))
        except StoreUnavailable as failure:
            self._outage.failed(failure)
            return Settled("", 0)
        return settled

    async def tell(self, outcomes: Sequence[Outcome], kept: Sequence[Kept]) -> None:
        """Tells outcomes of calls that brought what was asked, and keeps what they brought."""
        try:
            await self.gate.settle_all(outcomes, kept)
        except StoreUnavailable as failure:
            self._outage.failed(failure)

    async def remember(self, account: Account, names: Sequence[str]) -> None:
        """What the resource has nothing of."""
        try:
            await self.gate.remember(account, names)
        except StoreUnavailable as error:
            self._outage.failed(error)

    async def _pause_exchange(self, resource: Resource, settled: Settled, cause: str) -> None:
        if self._exchanges.concern(resource):
            seconds = max(1.0, (settled.until_ms - self._clock.wall_ms()) / 1000)
            await self._exchanges.pause(resource, seconds, cause)


class Successes:
    """The calls of one walk that brought what was asked: told together with what is kept of it.

    A command of the hot store costs more than reading an answer. Whoever makes this closes it; what
    succeeds later is told by itself.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._waiting: list[Outcome] = []
        self._closed = False

    def take(self, outcome: Outcome) -> bool:
        """Whether it will be told with the others."""
        if not self._closed:
            self._waiting.append(outcome)
        return not self._closed

    async def tell(self, kept: Sequence[Kept] = ()) -> None:
        """Tells what was taken so far."""
        told, self._waiting = self._waiting, []
        if told or kept:
            await self._admission.tell(told, kept)

    async def close(self, kept: Sequence[Kept] = ()) -> None:
        self._closed = True
        await self.tell(kept)
