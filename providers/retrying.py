"""Retries of calls that failed in passing: after random waits, and within a share of all calls."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_any,
    wait_random_exponential,
)
from tenacity.stop import stop_base

from providers.errors import ErrorClass, ProviderError
from timing.clock import Clock

SHARE: Final = 0.2
_MINUTE_S: Final = 60.0
_FIRST_S: Final = 0.1
_SLOWEST_S: Final = 2.0

T = TypeVar("T")


class RetryBudget:
    """Of one process. One retry a minute is always allowed: one of few calls is more than a
    fifth."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: deque[float] = deque()
        self._retries: deque[float] = deque()

    def called(self) -> None:
        self._calls.append(self._clock.monotonic_s())

    def take(self) -> bool:
        """Whether one more retry may be made now; counts it."""
        now = self._clock.monotonic_s()
        for times in (self._calls, self._retries):
            while times and times[0] <= now - _MINUTE_S:
                times.popleft()
        if len(self._retries) >= max(1, SHARE * len(self._calls)):
            return False
        self._retries.append(now)
        return True


class _Over(stop_base):
    """Ends retries where the next one would come too late, or the budget has none left."""

    def __init__(self, deadline_s: float, budget: RetryBudget, clock: Clock) -> None:
        self._deadline_s = deadline_s
        self._budget = budget
        self._clock = clock

    def __call__(self, retry_state: RetryCallState) -> bool:
        next_s = self._clock.monotonic_s() + retry_state.upcoming_sleep
        return next_s >= self._deadline_s or not self._budget.take()


async def retried(
    failed: ProviderError,
    call: Callable[[], Awaitable[T]],
    *,
    times: int,
    deadline_s: float,
    budget: RetryBudget,
    clock: Clock,
) -> T:
    """Makes a call again that has `failed`, `times` at most, while time and budget allow. Raises
    what the last one raised, or what that of another kind raises."""

    async def again() -> T:
        if state["first"]:
            state["first"] = False
            raise failed
        return await call()

    def may_pass(error: BaseException) -> bool:
        return isinstance(error, ProviderError) and error.error_class is ErrorClass.TRANSIENT

    state = {"first": True}
    retrying = AsyncRetrying(
        stop=stop_any(stop_after_attempt(times + 1), _Over(deadline_s, budget, clock)),
        wait=wait_random_exponential(multiplier=_FIRST_S, max=_SLOWEST_S),
        retry=retry_if_exception(may_pass),
        sleep=clock.sleep,
        reraise=True,
    )
    return await retrying(again)
